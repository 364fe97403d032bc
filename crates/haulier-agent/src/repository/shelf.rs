//! What the backup library reads from and writes to: a folder in any storage that has a connector.
//!
//! The library calls from threads of its own; each call waits for the runtime. Knows the layout of a repository and
//! nothing of what is in its files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use haulier_base::{Backoff, Error, Result};
use haulier_storage::layers::Retrying;
use haulier_storage::{Guard, Location, ObjectPath, ObjectWriter, ReadRequest, Storage, WriteRequest};
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};
use tokio::runtime::Handle;

/// Passing trouble with a storage is waited out this often.
const RETRIES: Backoff = Backoff { first: Duration::from_millis(200), cap: Duration::from_secs(10), attempts: 6 };
/// The name of the one file that lies in no folder.
const CONFIG: &str = "config";
/// Letters of the name of a file of a repository: a SHA-256 in hexadecimal digits.
const NAME_LEN: usize = 64;

/// A folder that holds a repository.
#[derive(Debug)]
pub(super) struct Shelf {
    storage: Arc<dyn Storage>,
    folder: ObjectPath,
    name: String,
    handle: Handle,
    /// Set by the first write that failed: then nothing more is written, so that no snapshot can name what is not
    /// there. The library goes on after some of its errors.
    broken: AtomicBool,
}

impl Shelf {
    /// Stands in front of a folder; `name` is for messages.
    pub(super) fn new(folder: Location, name: String, handle: Handle) -> Self {
        let storage = Arc::new(Retrying::new(folder.storage, RETRIES));
        Self { storage, folder: folder.path, name, handle, broken: AtomicBool::new(false) }
    }

    /// Whether a write has failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Lets nothing more be written.
    pub(super) fn close(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    fn path(&self, tpe: FileType, id: &Id) -> ObjectPath {
        if tpe == FileType::Config {
            return self.folder.join(CONFIG);
        }
        let name = id.to_hex();
        let folder = self.folder.join(tpe.dirname());
        match tpe {
            FileType::Pack => folder.join(&name.as_str()[..2]).join(name.as_str()),
            _ => folder.join(name.as_str()),
        }
    }

    /// The names and sizes of the files in a folder whose names are those of files of a repository.
    pub(super) fn names(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let path = self.folder.join(folder);
        self.handle.block_on(async {
            let mut found = Vec::new();
            let mut list = self.storage.list(&path).await?;
            while let Some(object) = list.next().await {
                let object = object?;
                let name = object.path.as_str().rsplit('/').next().unwrap_or_default().to_owned();
                if name.len() != NAME_LEN || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
                    continue;
                }
                let size = match object.meta.size {
                    Some(size) => size,
                    None => self.storage.stat(&object.path).await?.size.unwrap_or(0),
                };
                found.push((name, size));
            }
            Ok(found)
        })
    }

    /// The bytes of a file, or of a part of it.
    pub(super) fn bytes(&self, path: &ObjectPath, start: u64, end: Option<u64>) -> Result<Bytes> {
        self.handle.block_on(async {
            let request = ReadRequest { start, end, version: None };
            let mut stream = self.storage.read(path, request).await?.stream;
            let Some(first) = stream.next().await.transpose()? else { return Ok(Bytes::new()) };
            let Some(second) = stream.next().await.transpose()? else { return Ok(first) };
            let mut all = BytesMut::from(first);
            all.extend_from_slice(&second);
            while let Some(piece) = stream.next().await {
                all.extend_from_slice(&piece?);
            }
            Ok(all.freeze())
        })
    }

    /// Whether there is any key.
    pub(super) fn has_key(&self) -> Result<bool> {
        Ok(!self.names(FileType::Key.dirname())?.is_empty())
    }

    /// Takes the configuration of a repository away that nobody can open.
    pub(super) fn discard_config(&self) -> Result<()> {
        self.take(&self.folder.join(CONFIG))
    }

    /// A part of a pack.
    pub(super) fn pack_part(&self, pack: &Id, offset: u32, length: u32) -> Result<Bytes> {
        let start = u64::from(offset);
        self.bytes(&self.path(FileType::Pack, pack), start, Some(start + u64::from(length)))
    }

    /// Puts a file in its place, flushed.
    pub(super) fn put(&self, path: &ObjectPath, pieces: Vec<Bytes>, guard: &Guard) -> Result<()> {
        if self.is_broken() {
            return Err(Error::unavailable("an earlier write to the repository failed"));
        }
        let written = self.handle.block_on(async {
            let mut failed = 0;
            loop {
                let error = match self.put_once(path, pieces.clone(), guard).await {
                    Err(error) if error.is_temporary() => error,
                    outcome => return outcome,
                };
                failed += 1;
                let Some(wait) = RETRIES.wait(failed, 0.0) else { return Err(error) };
                tokio::time::sleep(wait).await;
            }
        });
        if written.is_err() {
            self.broken.store(true, Ordering::SeqCst);
        }
        written
    }

    async fn put_once(&self, path: &ObjectPath, pieces: Vec<Bytes>, guard: &Guard) -> Result<()> {
        let size = pieces.iter().map(|piece| piece.len() as u64).sum();
        let request = WriteRequest {
            label: haulier_base::id::random_uuid(),
            create_parents: true,
            size: Some(size),
            guard: guard.clone(),
            ..WriteRequest::default()
        };
        let writer = self.storage.write(path, request).await?;
        match fill(writer.as_ref(), pieces).await {
            Ok(()) => writer.finish(size).await.map(|_| ()),
            Err(error) => {
                if let Err(error) = writer.abort().await {
                    tracing::debug!(%error, "what was written of a file could not be removed");
                }
                Err(error)
            }
        }
    }

    /// Takes a file away.
    pub(super) fn take(&self, path: &ObjectPath) -> Result<()> {
        self.handle.block_on(self.storage.delete(path))
    }

    /// The path of a lock.
    pub(super) fn lock_path(&self, name: &str) -> ObjectPath {
        self.folder.join("locks").join(name)
    }
}

/// Writes the pieces one after the other, cut where the storage wants its parts to end.
async fn fill(writer: &dyn ObjectWriter, pieces: Vec<Bytes>) -> Result<()> {
    let mut offset = 0;
    for mut piece in pieces {
        while !piece.is_empty() {
            let room = writer.part_end(offset).map_or(u64::MAX, |end| end.saturating_sub(offset));
            let take = piece.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            writer.put_at(offset, piece.split_to(take)).await?;
            offset += take as u64;
        }
    }
    Ok(())
}

/// The library's error for one of ours, which stays its source.
fn failed(what: &'static str, path: &ObjectPath, error: Error) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, format!("{what} `{{path}}`: {error}"), error)
        .attach_context("path", path.to_string())
}

impl ReadBackend for Shelf {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if tpe == FileType::Config {
            let path = self.folder.join(CONFIG);
            return match self.handle.block_on(self.storage.stat(&path)) {
                Ok(meta) => Ok(vec![(Id::default(), u32::try_from(meta.size.unwrap_or(0)).unwrap_or(u32::MAX))]),
                Err(error) if error.kind() == haulier_base::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(failed("cannot look at", &path, error)),
            };
        }
        let names = self.names(tpe.dirname());
        let names = names.map_err(|error| failed("cannot list", &self.folder.join(tpe.dirname()), error))?;
        let sized = |(name, size): (String, u64)| {
            let id = name.parse::<Id>()?;
            Ok((id, u32::try_from(size).unwrap_or(u32::MAX)))
        };
        names.into_iter().map(sized).collect()
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        let path = self.path(tpe, id);
        self.bytes(&path, 0, None).map_err(|error| failed("cannot read", &path, error))
    }

    fn read_partial(&self, tpe: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let path = self.path(tpe, id);
        let (start, end) = (u64::from(offset), u64::from(offset) + u64::from(length));
        let bytes = self.bytes(&path, start, Some(end)).map_err(|error| failed("cannot read", &path, error))?;
        if bytes.len() as u64 != u64::from(length) {
            return Err(failed("cannot read", &path, Error::corrupt("the file is shorter than its index says")));
        }
        Ok(bytes)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.path(tpe, id).to_string()
    }
}

impl WriteBackend for Shelf {
    fn write_bytes(&self, tpe: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        let path = self.path(tpe, id);
        // Two who make a repository at once must not both succeed.
        let guard = if tpe == FileType::Config { Guard::Absent } else { Guard::Any };
        self.put(&path, content.into_vec(), &guard).map_err(|error| failed("cannot write", &path, error))
    }

    fn remove(&self, tpe: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let path = self.path(tpe, id);
        if self.is_broken() {
            return Err(failed("cannot remove", &path, Error::unavailable("an earlier write failed")));
        }
        self.take(&path).map_err(|error| failed("cannot remove", &path, error))
    }
}
