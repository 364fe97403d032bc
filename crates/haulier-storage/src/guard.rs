//! What must be true of an object for a change of it to happen, and what may be set along with its bytes.
//!
//! Knows no connector.

use async_trait::async_trait;
use bytes::Bytes;
use haulier_base::{Error, ErrorKind, Result, Timestamp};

use crate::{Flushed, ObjectKind, ObjectMeta, ObjectPath, ObjectWriter, Storage, StoreSource, Version, Written};

/// The mark on the errors of guards.
const REFUSED: &str = "guard";
const KEEP_TAKEN: &str = "keep_taken";

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

    /// The error of a change that did not happen, because something is where the old version was to be kept.
    pub(crate) fn keep_taken() -> Error {
        Error::conflict("something is at the place where the old version is to be kept").context(KEEP_TAKEN, true)
    }

    /// Whether an error says that something is where the old version was to be kept.
    pub fn is_keep_taken(error: &Error) -> bool {
        error.kind() == ErrorKind::Conflict && error.detail(KEEP_TAKEN).is_some()
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

/// A writer of a storage that cannot check guards itself: it looks right before it publishes.
pub(crate) struct Looking<S> {
    pub(crate) inner: Box<dyn ObjectWriter>,
    pub(crate) storage: S,
    pub(crate) path: ObjectPath,
    pub(crate) guard: Guard,
}

#[async_trait]
impl<S: Storage> ObjectWriter for Looking<S> {
    fn token(&self) -> Option<String> {
        self.inner.token()
    }

    fn resumed_size(&self) -> u64 {
        self.inner.resumed_size()
    }

    fn part_end(&self, offset: u64) -> Option<u64> {
        self.inner.part_end(offset)
    }

    fn must_remember(&self) -> bool {
        self.inner.must_remember()
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        self.inner.put_at(offset, bytes).await
    }

    async fn put_all_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<()> {
        self.inner.put_all_at(offset, pieces).await
    }

    async fn copy_within(&self, source: &StoreSource, from: u64, offset: u64, len: u64) -> Result<Option<u64>> {
        self.inner.copy_within(source, from, offset, len).await
    }

    async fn flush(&self) -> Result<Flushed> {
        self.inner.flush().await
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        match look(&self.storage, &self.path, &self.guard).await {
            Ok(()) => self.inner.finish(size).await,
            Err(refused) => {
                if Guard::is_refusal(&refused) {
                    self.inner.abort().await?;
                }
                Err(refused)
            }
        }
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        self.inner.suspend().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
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
