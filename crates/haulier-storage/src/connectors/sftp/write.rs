//! Writing a file: into a temporary one beside the target, many requests under way, published by a rename.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use haulier_base::{Error, ErrorKind, Permit, Result};
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use tokio::sync::Mutex;

use super::errors::{is_end_of_file, missing_is_none, sftp_error};
use super::pool::Lease;
use super::sending::Queue;
use super::session::{intact, meta_of};
use super::target::{self, Target};
use crate::connectors::temp_name::is_temp_name;
use crate::{Attributes, Flushed, Guard, ObjectKind, ObjectMeta, ObjectWriter, WriteRequest, Written};

const READ_BACK_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Files are addressed with signed numbers.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

pub(super) async fn open(lease: Lease, key: &str, request: &WriteRequest) -> Result<FileWriter> {
    target::expect(&lease, key, &request.guard).await?;
    let target = target::find(&lease, key, request.create_parents).await?;
    let resumed = match &request.resume {
        Some(token) if is_temp_name(token) => reopen(&lease, &target, token).await?,
        _ => None,
    };
    let (handle, token, size) = match resumed {
        Some(resumed) => resumed,
        None => {
            let token = target.temp_name(&request.label);
            (create(&lease, &target.beside(&token), target.mode).await?, token, 0)
        }
    };
    let temp = target.beside(&token);
    let queue = Queue::default();
    let confirmed = AtomicU64::new(size);
    let wishes = Wishes {
        guard: request.guard.clone(),
        keep: request.keep_old.as_ref().map(|keep| keep.as_str().to_owned()),
        attributes: request.attributes,
    };
    Ok(FileWriter { lease, handle, target, temp, token, resumed: size, queue: Mutex::new(queue), confirmed, wishes })
}

/// What is asked of the publication.
struct Wishes {
    guard: Guard,
    keep: Option<String>,
    attributes: Attributes,
}

/// A temporary file of an earlier writer, unless it is missing or is no file.
async fn reopen(lease: &Lease, target: &Target, token: &str) -> Result<Option<(String, String, u64)>> {
    let temp = target.beside(token);
    let Some(found) = missing_is_none(lease.run(lease.raw().lstat(temp.as_str())).await)? else { return Ok(None) };
    if meta_of(&found.attrs).kind != ObjectKind::Regular {
        return Ok(None);
    }
    let flags = OpenFlags::READ | OpenFlags::WRITE;
    let opened = lease.run(lease.raw().open(temp, flags, FileAttributes::empty())).await;
    let Some(opened) = missing_is_none(opened)? else { return Ok(None) };
    let handle = intact(opened.handle)?;
    let found = lease.run(lease.raw().fstat(handle.as_str())).await?;
    Ok(Some((handle, token.to_owned(), found.attrs.size.unwrap_or(0))))
}

/// The file is never more open than the one whose place it takes.
async fn create(lease: &Lease, temp: &str, mode: Option<u32>) -> Result<String> {
    // A leftover may still be open in a writer that lost its lease: that one keeps it, nameless.
    missing_is_none(lease.run(lease.raw().remove(temp)).await)?;
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
    let attributes = FileAttributes { permissions: mode, ..FileAttributes::empty() };
    match lease.run(lease.raw().open(temp, flags, attributes)).await {
        Ok(opened) => intact(opened.handle),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::not_found("the folder of the target does not exist; the option create_parents makes it")
                .caused_by(error))
        }
        Err(error) => Err(error),
    }
}

pub(super) struct FileWriter {
    pub(super) lease: Lease,
    pub(super) handle: String,
    target: Target,
    pub(super) temp: String,
    token: String,
    resumed: u64,
    queue: Mutex<Queue>,
    /// Bytes from the first one on that the server has.
    pub(super) confirmed: AtomicU64,
    wishes: Wishes,
}

impl FileWriter {
    /// Reads on without a gap, as far as the server gives whole pieces; false at the end of the file.
    async fn read_on(&self, offset: u64, wanted: usize, bytes: &mut Vec<u8>) -> Result<bool> {
        let mut asked = FuturesOrdered::new();
        let mut at = bytes.len();
        while at < wanted {
            let piece = (self.lease.read_bytes as usize).min(wanted - at);
            let (raw, handle, from) = (self.lease.raw().clone(), self.handle.clone(), offset + at as u64);
            asked.push_back(async move { (piece, raw.read(handle, from, piece as u32).await) });
            at += piece;
        }
        while let Some((piece, answer)) = self.lease.try_run(asked.next()).await? {
            match answer {
                Ok(data) if data.data.is_empty() => return Ok(false),
                Ok(data) => {
                    bytes.extend_from_slice(&data.data);
                    if data.data.len() != piece {
                        return Ok(true);
                    }
                }
                Err(error) if is_end_of_file(&error) => return Ok(false),
                Err(error) => return Err(sftp_error(error)),
            }
        }
        Ok(true)
    }

    async fn settle(&self) -> Result<()> {
        let mut queue = self.queue.lock().await;
        self.wait_for(&mut queue, 0).await?;
        drop(queue);
        self.fsync().await
    }

    /// Makes the file as long as it has to be, as open as the one it replaces, and durable.
    async fn complete(&self, size: u64) -> Result<()> {
        let mut queue = self.queue.lock().await;
        self.wait_for(&mut queue, 0).await?;
        drop(queue);
        let found = self.own().await?;
        let held = found.attrs.size.unwrap_or(0);
        if held < size {
            return Err(Error::corrupt(format!("the server holds {held} bytes where {size} were written")));
        }
        let asked = target::attributes_of(&self.wishes.attributes);
        let wanted = FileAttributes {
            size: (held > size).then_some(size),
            permissions: asked.permissions.or(self.target.mode),
            ..asked
        };
        if held > size || wanted.permissions.is_some() || wanted.mtime.is_some() {
            self.lease.run(self.lease.raw().fsetstat(self.handle.as_str(), wanted)).await?;
        }
        self.fsync().await
    }

    async fn own(&self) -> Result<russh_sftp::protocol::Attrs> {
        self.lease.run(self.lease.raw().fstat(self.handle.as_str())).await
    }

    /// Whether the temporary name still leads to this writer's file, as far as the protocol lets one see:
    /// another writer may have taken over the name after this one lost its lease.
    async fn check_name(&self, size: u64) -> Result<()> {
        let gone = || Error::conflict("the temporary file was taken away while it was written");
        let own = meta_of(&self.own().await?.attrs);
        let named = missing_is_none(self.lease.run(self.lease.raw().lstat(self.temp.as_str())).await)?;
        let named = meta_of(&named.ok_or_else(gone)?.attrs);
        if named.size != Some(size) || named != own { Err(gone()) } else { Ok(()) }
    }

    /// Publishes if what is there is what is expected; what is refused is removed.
    async fn publish_guarded(&self) -> Result<()> {
        let (lease, to) = (&self.lease, self.target.path.as_str());
        let refused = match &self.wishes.guard {
            Guard::Any => return self.publish().await,
            guard => target::expect(lease, to, guard).await.err(),
        };
        let published = match (refused, &self.wishes.guard, &self.wishes.keep) {
            (Some(refused), ..) => Err(refused),
            (None, Guard::Version(_), None) => return self.publish().await,
            (None, Guard::Version(_), Some(keep)) => match target::rename_new(lease, to, keep).await {
                Ok(()) => target::rename_new(lease, &self.temp, to).await,
                Err(error) if Guard::is_refusal(&error) => Err(Guard::keep_taken()),
                Err(error) => Err(error),
            },
            (None, ..) => target::rename_new(lease, &self.temp, to).await,
        };
        if published.as_ref().is_err_and(|error| Guard::is_refusal(error) || Guard::is_keep_taken(error)) {
            missing_is_none(lease.run(lease.raw().remove(self.temp.as_str())).await)?;
        }
        published
    }

    async fn publish(&self) -> Result<()> {
        let (lease, from, to) = (&self.lease, self.temp.as_str(), self.target.path.as_str());
        if lease.can.posix_rename {
            return lease.run(lease.posix_rename(from, to)).await;
        }
        // A plain rename replaces nothing, so there is a moment without a file.
        if lease.run(lease.raw().rename(from, to)).await.is_ok() {
            return Ok(());
        }
        missing_is_none(lease.run(lease.raw().remove(to)).await)?;
        lease.run(lease.raw().rename(from, to)).await.map(|_| ())
    }

    async fn publish_whole(&self, size: u64) -> Result<ObjectMeta> {
        if size > FILE_BYTES_MAX {
            return Err(Error::invalid("the size is larger than any file"));
        }
        self.complete(size).await?;
        self.check_name(size).await?;
        Permit::current().check()?;
        self.publish_guarded().await?;
        self.lease.run(self.lease.raw().close(self.handle.as_str())).await?;
        let meta = meta_of(&self.lease.run(self.lease.raw().lstat(self.target.path.as_str())).await?.attrs);
        match meta.size {
            Some(found) if found == size => Ok(meta),
            found => Err(Error::conflict(format!("the file was replaced at once by one of {found:?} bytes"))),
        }
    }
}

#[async_trait]
impl ObjectWriter for FileWriter {
    fn token(&self) -> Option<String> {
        Some(self.token.clone())
    }

    fn resumed_size(&self) -> u64 {
        self.resumed
    }

    /// Returns when the bytes are queued; what the server thinks of them comes out of a later call.
    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= FILE_BYTES_MAX);
        let end = end.ok_or_else(|| Error::invalid("the offset is larger than any file"))?;
        let mut queue = self.queue.lock().await;
        match queue.next {
            Some(next) if next != offset => return Err(Error::invalid("sftp takes puts in order")),
            Some(_) => {}
            // What lies behind the first put of a resumed writer is not trusted any more.
            None => {
                self.confirmed.fetch_min(offset, Ordering::AcqRel);
            }
        }
        queue.next = Some(offset);
        let mut left = bytes;
        while !left.is_empty() {
            let piece = left.split_to(left.len().min(self.lease.write_bytes));
            self.send(&mut queue, piece).await?;
        }
        debug_assert_eq!(queue.next, Some(end));
        Ok(())
    }

    async fn read_back(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        let mut queue = self.queue.lock().await;
        self.wait_for(&mut queue, 0).await?;
        drop(queue);
        let wanted = len.min(READ_BACK_BYTES_MAX) as usize;
        let mut bytes = Vec::with_capacity(wanted);
        // A server may give less than was asked for anywhere; only nothing is the end.
        while bytes.len() < wanted && self.read_on(offset, wanted, &mut bytes).await? {}
        Ok(Some(bytes.into()))
    }

    async fn flush(&self) -> Result<Flushed> {
        // A put that is under way takes in the answers itself.
        if let Ok(mut queue) = self.queue.try_lock() {
            // A server that cannot be asked to flush can be asked what it has taken.
            let most = if self.lease.can.fsync { usize::MAX } else { 0 };
            self.wait_for(&mut queue, most).await?;
            self.turn(&mut queue).await?;
        }
        // Taken before: what is confirmed while the server flushes may have come too late for that.
        let confirmed = self.confirmed.load(Ordering::Acquire);
        self.fsync().await?;
        Ok(Flushed::First(confirmed))
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        let published = self.publish_whole(size).await?;
        self.lease.give_back();
        Ok(published.into())
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        self.settle().await?;
        self.lease.run(self.lease.raw().close(self.handle.as_str())).await?;
        self.lease.give_back();
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let mut queue = self.queue.lock().await;
        // What failed does not matter any more.
        let _ = self.wait_for(&mut queue, 0).await;
        drop(queue);
        let own = meta_of(&self.own().await?.attrs);
        let named = missing_is_none(self.lease.run(self.lease.raw().lstat(self.temp.as_str())).await)?;
        if named.is_some_and(|named| meta_of(&named.attrs) == own) {
            missing_is_none(self.lease.run(self.lease.raw().remove(self.temp.as_str())).await)?;
        }
        self.lease.run(self.lease.raw().close(self.handle.as_str())).await?;
        self.lease.give_back();
        Ok(())
    }
}
