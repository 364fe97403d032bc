//! What must be true of an object for a change of it to happen, and what may be set along with its bytes.
//!
//! Knows no connector.

use haulier_base::{Error, ErrorKind, Result, Timestamp};

use crate::{ObjectKind, ObjectMeta, ObjectPath, Storage, Version};

/// The mark on the errors of guards.
const REFUSED: &str = "guard";

/// What must be at a path for a change to happen there.
///
/// Storages with the capability `guarded_write` look and change in one step. The others look right before, and a
/// change that somebody makes within that moment is overwritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Anything, or nothing.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// This version, and no other.
    Version(Version),
}

impl Guard {
    /// The guard that what was found is still there; without a version that is more than can be asked for.
    pub fn unchanged(found: Option<&ObjectMeta>) -> Self {
        match found {
            None => Self::Absent,
            Some(meta) => meta.version.clone().map_or(Self::Any, Self::Version),
        }
    }

    /// Whether anything may be there.
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    /// Compares what was found just now.
    ///
    /// # Errors
    /// `Conflict`, which `is_refusal` recognizes.
    pub fn check(&self, found: Option<&ObjectMeta>) -> Result<()> {
        match (self, found) {
            (Self::Any, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(self.refusal()),
            (Self::Version(wanted), Some(meta))
                if meta.kind == ObjectKind::Regular && meta.version.as_ref() == Some(wanted) =>
            {
                Ok(())
            }
            (Self::Version(_), _) => Err(self.refusal()),
        }
    }

    /// The error of a change that did not happen, because something else is there.
    pub(crate) fn refusal(&self) -> Error {
        let message = match self {
            Self::Absent => "something is at the path by now",
            Self::Any | Self::Version(_) => "the object is not the same version any more",
        };
        Error::conflict(message).context(REFUSED, true)
    }

    /// Whether an error says that a guard kept a change from happening.
    pub fn is_refusal(error: &Error) -> bool {
        error.kind() == ErrorKind::Conflict && error.detail(REFUSED).is_some()
    }
}

/// What is set along with the bytes of an object, before they become visible. Storages without the capability
/// `attributes` leave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// When the bytes were last changed; none is now.
    pub modified: Option<Timestamp>,
    /// Permission bits, `0o777` at most; none is those of the object that is replaced, else the usual ones.
    pub mode: Option<u32>,
}

impl Attributes {
    /// Whether there is nothing to be set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Checks a guard by looking at the object.
pub(crate) async fn look<S: Storage + ?Sized>(storage: &S, path: &ObjectPath, guard: &Guard) -> Result<()> {
    if guard.is_any() {
        return Ok(());
    }
    match storage.stat(path).await {
        Ok(meta) => guard.check(Some(&meta)),
        Err(error) if error.kind() == ErrorKind::NotFound => guard.check(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_compare_versions_and_kinds() {
        let meta = ObjectMeta { version: Some("1".into()), ..ObjectMeta::default() };
        let folder = ObjectMeta { kind: ObjectKind::Directory, ..meta.clone() };
        let version = Guard::Version("1".into());
        for found in [None, Some(&meta), Some(&folder)] {
            Guard::Any.check(found).unwrap();
        }
        Guard::Absent.check(None).unwrap();
        version.check(Some(&meta)).unwrap();
        for error in [
            Guard::Absent.check(Some(&meta)).unwrap_err(),
            version.check(None).unwrap_err(),
            version.check(Some(&folder)).unwrap_err(),
            Guard::Version("2".into()).check(Some(&meta)).unwrap_err(),
        ] {
            assert!(Guard::is_refusal(&error), "{error:?}");
        }
        assert!(!Guard::is_refusal(&Error::conflict("another")));
        assert_eq!(Guard::unchanged(Some(&meta)), version);
        assert_eq!(Guard::unchanged(None), Guard::Absent);
    }
}
