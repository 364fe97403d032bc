//! The one table from how a command ended to its exit code, and errors in three parts.

use std::process::ExitCode;

use haulier_base::{Error, ErrorKind};

/// How a command ends.
pub(crate) type Outcome = Result<Exit, Failure>;

/// The exit codes. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All is done.
    Done = 0,
    /// It did not work.
    Failed = 1,
    /// The request itself is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Not allowed.
    NotAllowed = 4,
    /// The thing is in a state that does not allow it.
    Conflict = 5,
    /// Some of it worked.
    Partial = 6,
    /// Bytes are not what they should be.
    Corrupt = 7,
    /// Waiting ended before the work did.
    TimedOut = 9,
    /// The other side could not be reached; trying again is safe.
    Unreachable = 11,
    /// Stopped by the user.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What failed, why, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) why: Error,
    advice: Option<String>,
}

impl Failure {
    /// A failure with the usual advice for its kind.
    pub(crate) fn new(what: impl Into<String>, why: Error) -> Self {
        Self { what: what.into(), why, advice: None }
    }

    /// Says what to do, better than the usual advice.
    #[must_use]
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What to do.
    pub(crate) fn what_to_do(&self) -> &str {
        if let Some(advice) = &self.advice {
            return advice;
        }
        match self.why.kind() {
            ErrorKind::Invalid => "correct the request; --help shows an example",
            ErrorKind::NotFound => "check the spelling, and that it still exists",
            ErrorKind::Conflict => "look at its present state, then decide",
            ErrorKind::Unauthenticated => "name a file that holds a valid token with --token-file",
            ErrorKind::Forbidden => "ask for the permission, or use another account",
            ErrorKind::TooLarge => "send less at once",
            ErrorKind::Unavailable => "try again; nothing was left half done",
            ErrorKind::LostLease => "another process does this work; leave it to that one",
            ErrorKind::Canceled => "run the same command again to go on",
            ErrorKind::Corrupt => "check the source and the target, then run it again",
            ErrorKind::NoSpace => "free some space on the target, then run it again",
            ErrorKind::Internal => "run it again with -vv and report what it says",
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        exit_of(self.why.kind())
    }
}

/// The exit code of a kind of error.
pub(crate) fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Invalid | ErrorKind::TooLarge => Exit::Usage,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Unauthenticated | ErrorKind::Forbidden => Exit::NotAllowed,
        ErrorKind::Conflict | ErrorKind::LostLease => Exit::Conflict,
        ErrorKind::Unavailable => Exit::Unreachable,
        ErrorKind::Canceled => Exit::Interrupted,
        ErrorKind::Corrupt => Exit::Corrupt,
        ErrorKind::NoSpace | ErrorKind::Internal => Exit::Failed,
    }
}
