//! The two traits in front of every place bytes can live, and what they promise.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use haulier_base::{Error, Result};

use crate::{
    Attributes, Capabilities, FileHandle, Flushed, Guard, ListedObject, ObjectMeta, ObjectPath, ObjectRead,
    ReadRequest, StoreSource, WriteRequest, Written, guard,
};

/// The detail on an error that says that no object can be at the path, because something that is no folder is in
/// the way to it.
pub const NO_WAY: &str = "no_way";

/// Sees the bytes of a target, piece by piece, on a thread that may block.
pub type Look = Box<dyn FnMut(&[u8]) + Send>;

/// A piece that is shown, where the storage has no opinion.
const SHOWN_BYTES: u64 = 1 << 20;

/// A place where objects live.
///
/// Every method may be dropped at any time: what was not yet promised may or may not have happened.
/// A method that `capabilities` denies fails with `Invalid`.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// What this storage can do.
    fn capabilities(&self) -> Capabilities;

    /// Looks at an object; `NotFound` when there is none.
    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta>;

    /// Starts reading. A start beyond the end is `Invalid`; a start at the end gives an empty stream.
    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead>;

    /// Starts writing. Nothing is visible at the path until `finish` (with `Placement::Replace`).
    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>>;

    /// Lists all objects at and below a folder, in no special order and in bounded memory.
    ///
    /// Folders themselves are not listed; a missing folder lists nothing.
    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>>;

    /// Removes an object; a missing one is fine.
    async fn delete(&self, path: &ObjectPath) -> Result<()>;

    /// Removes an object if the guard holds; a missing one is fine with `Guard::Any`. With `keep_as` it is moved
    /// there instead, where nothing may be; folders are made. Removing that cannot be undone looks first, where the
    /// storage cannot do both in one step (`guarded_write`).
    ///
    /// # Errors
    /// One that `Guard::is_refusal` recognizes. `Invalid` with `keep_as`, where there is no `rename`.
    async fn remove_guarded(&self, path: &ObjectPath, guard: &Guard, keep_as: Option<&ObjectPath>) -> Result<()> {
        if keep_as.is_some() {
            return Err(Error::invalid("this storage cannot rename"));
        }
        guard::look(self, path, guard).await?;
        self.delete(path).await
    }

    /// Gives an object another name, in one step, if it is what `guard` says and nothing is at the new name.
    /// Folders are made.
    ///
    /// # Errors
    /// One that `Guard::is_refusal` recognizes.
    async fn rename(&self, _from: &ObjectPath, _guard: &Guard, _to: &ObjectPath) -> Result<ObjectMeta> {
        Err(Error::invalid("this storage cannot rename"))
    }

    /// Sets time and mode of an object, if it is what `guard` says. Its bytes stay; its version may change.
    ///
    /// # Errors
    /// One that `Guard::is_refusal` recognizes.
    async fn set_attributes(&self, _path: &ObjectPath, _guard: &Guard, _to: &Attributes) -> Result<ObjectMeta> {
        Err(Error::invalid("this storage keeps neither time nor mode"))
    }

    /// Removes a folder if it is empty, and says whether it is gone; one that is missing is. A storage without
    /// folders has nothing to do.
    async fn remove_folder(&self, _path: &ObjectPath) -> Result<bool> {
        Ok(true)
    }

    /// Removes all that unfinished writers with that label left at that path; nothing there is fine.
    ///
    /// The label alone has to be enough: a writer may die before anybody has heard of its token. So a storage
    /// either derives what it makes from path and label, as a temporary name, or, where a server makes up the
    /// name of an unfinished upload, its writer has that name kept before the first byte (`must_remember`); an
    /// upload that is empty and long abandoned may be removed too. What writers with other labels have at the
    /// same path stays.
    ///
    /// `token` is one that is known, to spare the search and to reach what an older version of us named
    /// differently. A writer that is still open finds its place gone and fails: with `Unavailable` where a successor may have
    /// published what it finds, so that another look is worth while, else with `Conflict`.
    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()>;

    /// Names the store, when it can copy its objects by itself: a writer of a storage with an equal name
    /// takes this one's objects in `copy_within`.
    fn store(&self) -> Option<String> {
        None
    }

    /// Describes an object for `copy_within`; none when the store cannot copy this one by itself.
    async fn store_source(&self, _path: &ObjectPath) -> Result<Option<StoreSource>> {
        Ok(None)
    }
}

/// An object being written. Dropping it keeps what is there for a later resume, as a crash would.
#[async_trait]
pub trait ObjectWriter: Send + Sync {
    /// What a later writer needs to go on from here; none when that is impossible.
    fn token(&self) -> Option<String>;

    /// How many bytes an earlier writer left, 0 for a fresh one. They may be damaged after a crash:
    /// trust only what was flushed.
    ///
    /// A store of parts may find that the earlier writer finished, and that its object is still there: then this
    /// is the length of it, and what is put is compared and not stored again.
    fn resumed_size(&self) -> u64;

    /// Writes bytes at an offset. In order and one at a time, unless `parallel_writes`.
    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()>;

    /// Writes pieces that follow each other, as one put.
    async fn put_all_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<()> {
        let whole = match <[Bytes; 1]>::try_from(pieces) {
            Ok([only]) => only,
            Err(pieces) => pieces.concat().into(),
        };
        self.put_at(offset, whole).await
    }

    /// Where the part that holds an offset ends, for a store that takes whole parts only.
    ///
    /// No put may cross such an end, and only there can a later writer go on. `None`: anywhere.
    fn part_end(&self, _offset: u64) -> Option<u64> {
        None
    }

    /// Whether the token must be kept before anything more is put, because after a crash nothing else leads
    /// back to what is left at the store. May become true with a put.
    fn must_remember(&self) -> bool {
        false
    }

    /// Copies inside the kernel. `None`: impossible here, use `put_at`. May copy less than asked;
    /// 0 is the end of the source.
    async fn copy_range(
        &self,
        _source: &FileHandle,
        _source_offset: u64,
        _offset: u64,
        _len: u64,
    ) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Makes the whole target share the blocks of the whole source file. False: impossible here.
    async fn clone_from(&self, _source: &FileHandle, _source_offset: u64, _len: u64) -> Result<bool> {
        Ok(false)
    }

    /// Copies inside the store. `None`: impossible here, use `put_at`. May copy less than asked, never nothing.
    async fn copy_within(
        &self,
        _source: &StoreSource,
        _source_offset: u64,
        _offset: u64,
        _len: u64,
    ) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Reads what is in the target now, fewer bytes at its end. `None`: impossible here.
    async fn read_back(&self, _offset: u64, _len: u64) -> Result<Option<Bytes>> {
        Ok(None)
    }

    /// Shows what is in the target now, piece by piece from `offset` on, and says how many bytes those were. `None`:
    /// impossible here. Who hashes a large file by it needs no memory for it and no turn for every piece.
    async fn show_back(&self, offset: u64, len: u64, mut see: Look) -> Result<Option<u64>> {
        let mut shown = 0;
        while shown < len {
            match self.read_back(offset.saturating_add(shown), (len - shown).min(SHOWN_BYTES)).await? {
                None => return Ok(None),
                Some(bytes) if bytes.is_empty() => break,
                Some(bytes) => {
                    see(&bytes);
                    shown += bytes.len() as u64;
                    // Others of the same task have their turn, also where reading never waits.
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(Some(shown))
    }

    /// Lets the next `read_back` come from the medium and not from a cache, where that can be had.
    async fn forget_cached(&self) -> Result<()> {
        Ok(())
    }

    /// Makes completed puts survive a crash of the machine, and says how many do. Waits for no put.
    async fn flush(&self) -> Result<Flushed>;

    /// Flushes, sets the length, publishes at once, and makes that survive a crash too.
    ///
    /// A store that computes checksums itself has its own compared with those of the bytes it was given;
    /// a difference is `Corrupt`, and nothing is published.
    async fn finish(self: Box<Self>, size: u64) -> Result<Written>;

    /// Keeps what is there for a later resume.
    async fn suspend(self: Box<Self>) -> Result<()>;

    /// Removes what is there. The object at the path, if any, stays as it was.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// One object in one storage.
#[derive(Clone, Debug)]
pub struct Location {
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// The key in it.
    pub path: ObjectPath,
}
