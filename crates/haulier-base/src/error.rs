//! One error type for every floor. A kind answers one question: what can the caller do about it?
//!
//! Knows no HTTP status, no retry count and no exit code; three tables elsewhere translate.

use std::fmt;
use std::time::Duration;

/// The result of anything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error. A closed list: reuse before adding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong; change it.
    Invalid,
    /// There is no such thing; look elsewhere.
    NotFound,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// Say who you are.
    Unauthenticated,
    /// You may not.
    Forbidden,
    /// The request or object is larger than the named bound.
    TooLarge,
    /// Passing trouble: the same call may succeed later.
    Unavailable,
    /// Another process holds this work now; write nothing more.
    LostLease,
    /// Somebody asked for this to stop.
    Canceled,
    /// Bytes are not what they should be.
    Corrupt,
    /// No room left on the target.
    NoSpace,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The name used in `error.code` on the wire and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
            Self::LostLease => "lost_lease",
            Self::Canceled => "canceled",
            Self::Corrupt => "corrupt",
            Self::NoSpace => "no_space",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Kind, message for a person, context pairs, and the cause.
///
/// `Display` is one line that is safe to show to a client; `Debug` is the whole chain.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    retry_after: Option<Duration>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self { Self::new(ErrorKind::$kind, message) })*
    };
}

impl Error {
    /// Makes an error of a kind, with a sentence for a person.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), source: None, retry_after: None }))
    }

    constructors! {
        /// The request itself is wrong.
        invalid => Invalid,
        /// There is no such thing.
        not_found => NotFound,
        /// The state does not allow it.
        conflict => Conflict,
        /// Nobody said who is asking.
        unauthenticated => Unauthenticated,
        /// The caller may not.
        forbidden => Forbidden,
        /// Larger than the named bound.
        too_large => TooLarge,
        /// Passing trouble.
        unavailable => Unavailable,
        /// The lease is no longer ours.
        lost_lease => LostLease,
        /// Somebody asked for a stop.
        canceled => Canceled,
        /// Bytes are not what they should be.
        corrupt => Corrupt,
        /// No room left.
        no_space => NoSpace,
        /// A fault of ours.
        internal => Internal,
    }

    /// Adds a named detail for the log; it is not shown to clients.
    #[must_use]
    pub fn context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// The detail added under a name, if there is one.
    pub fn detail(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// Names the cause; it is logged, not shown to clients.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says how long the other side asked us to wait before trying again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence for a person.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The wait the other side asked for, if it did.
    pub fn wait_asked(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_temporary(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)?;
        for (key, value) in &self.0.context {
            write!(f, "; {key}={value}")?;
        }
        let mut source: Option<&dyn std::error::Error> = self.0.source.as_deref().map(|s| s as _);
        while let Some(cause) = source {
            write!(f, "; because: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

impl From<std::io::Error> for Error {
    /// Sorts operating system errors by what can be done about them.
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match error.kind() {
            K::NotFound => ErrorKind::NotFound,
            K::PermissionDenied => ErrorKind::Forbidden,
            K::IsADirectory | K::NotADirectory | K::InvalidInput | K::AlreadyExists | K::ReadOnlyFilesystem => {
                ErrorKind::Invalid
            }
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => ErrorKind::NoSpace,
            K::ConnectionRefused
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::TimedOut
            | K::UnexpectedEof
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::Interrupted => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        let message = match kind {
            ErrorKind::NoSpace => "no space left on the target".to_owned(),
            _ => describe(&error),
        };
        Self::new(kind, message).caused_by(error)
    }
}

/// The system's own words, without Rust's "(os error N)".
fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_the_message_and_debug_the_chain() {
        let error = Error::unavailable("cannot reach the source")
            .context("host", "a.example")
            .caused_by(std::io::Error::other("refused"));
        assert_eq!(error.to_string(), "cannot reach the source");
        assert_eq!(format!("{error:?}"), "unavailable: cannot reach the source; host=a.example; because: refused");
    }

    #[test]
    fn system_errors_are_sorted_by_what_can_be_done() {
        let full = Error::from(std::io::Error::from_raw_os_error(28));
        assert_eq!((full.kind(), full.message()), (ErrorKind::NoSpace, "no space left on the target"));
        let missing = Error::from(std::io::Error::from_raw_os_error(2));
        assert_eq!((missing.kind(), missing.message()), (ErrorKind::NotFound, "no such file or directory"));
    }
}
