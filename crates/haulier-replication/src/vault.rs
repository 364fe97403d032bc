//! Where this site keeps the bytes of its objects: one storage, one key for each record, never a client's name.
//!
//! Knows no SQL: what is wanted and what is useless, the records say.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use haulier_access::Locations;
use haulier_access::locations::Request;
use haulier_base::{Checksum, Error, ErrorKind, Result, Timestamp, id};
use haulier_mover::{Limits, Move, MoveOptions, NoCheckpoint, Progress, move_object};
use haulier_storage::connectors::local::LocalStorage;
use haulier_storage::{
    ByteStream, Capabilities, ListedObject, Location, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter, ReadRequest,
    Storage, WriteRequest,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{BucketName, RecordId};

/// The value of `store` that means a folder of the node's own.
const FILE: &str = "file";
/// Whose named locations `store` may name: those of the configuration, which are everybody's.
const OWNER: &str = "replication";
/// How long a client or a peer may give no byte (contract §6.6).
pub(crate) const IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// The site's store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    base: Location,
}

/// Bytes that are durable and hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) size_bytes: u64,
    /// 64 lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

impl Vault {
    /// Opens the store of the configuration.
    ///
    /// # Errors
    /// As the storage says.
    pub(crate) async fn open(store: &str, locations: &Locations, data_dir: &Path) -> Result<Self> {
        if store == FILE {
            let folder = data_dir.join("objects");
            tokio::fs::create_dir_all(&folder).await?;
            let storage = Arc::new(LocalStorage::confined(&folder).await?);
            return Ok(Self { base: Location { storage, path: ObjectPath::new("") } });
        }
        let base = locations.open_target(OWNER, "", Request { url: store, options: &Value::Null }).await?;
        Ok(Self { base })
    }

    /// Where the bytes of a record are, or will be.
    pub(crate) fn location(&self, id: &RecordId) -> Location {
        // The last characters of an id are random, so folders fill evenly.
        let text = id.as_str();
        let shard = text.get(text.len().saturating_sub(2)..).unwrap_or("00");
        Location { storage: self.base.storage.clone(), path: self.base.path.join(shard).join(text) }
    }

    /// Where people put files that are to become objects of a bucket; no key of a record begins like that.
    pub(crate) fn imports(&self, bucket: &BucketName) -> Location {
        Location { storage: self.base.storage.clone(), path: self.base.path.join("import").join(bucket.as_str()) }
    }

    /// Stores what a client or a peer sends, durable and hashed when this returns. Nothing stays after an error.
    ///
    /// # Errors
    /// What the stream says; `Corrupt` when the content is not the one that was expected.
    pub(crate) async fn put(&self, id: &RecordId, body: ByteStream, expected: Option<Checksum>) -> Result<Stored> {
        let source = Location { storage: Arc::new(Body(Mutex::new(Some(body)))), path: ObjectPath::new("body") };
        let target = self.location(id);
        let options = MoveOptions {
            label: id.to_string(),
            create_parents: true,
            stall: IDLE_MAX,
            expected,
            ..MoveOptions::default()
        };
        let mv = Move { source, target, range: Default::default(), options, resume: None };
        let (progress, limits) = (Progress::default(), Limits::none());
        let outcome = move_object(mv, &NoCheckpoint, &progress, &limits, std::future::pending()).await?;
        let sha256 = outcome.checksum.ok_or_else(|| Error::internal("stored bytes were not hashed"))?.to_hex();
        Ok(Stored { size_bytes: outcome.bytes, sha256 })
    }

    /// Starts reading.
    ///
    /// # Errors
    /// `NotFound` when the bytes are gone.
    pub(crate) async fn read(&self, id: &RecordId, start: u64, end: Option<u64>) -> Result<ObjectRead> {
        let Location { storage, path } = self.location(id);
        storage.read(&path, ReadRequest { start, end, version: None }).await
    }

    /// Reads all bytes and hashes them; none when they are gone.
    ///
    /// # Errors
    /// As the storage says.
    pub(crate) async fn hash(&self, id: &RecordId) -> Result<Option<Stored>> {
        let read = match self.read(id, 0, None).await {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut sha, mut size_bytes, mut stream) = (Sha256::new(), 0, read.stream);
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            size_bytes += piece.len() as u64;
            let hashing = tokio::task::spawn_blocking(move || {
                sha.update(&piece);
                sha
            });
            sha = hashing.await.map_err(|error| Error::internal("the hashing thread failed").caused_by(error))?;
        }
        Ok(Some(Stored { size_bytes, sha256: hex::encode(sha.finalize()) }))
    }

    /// How many bytes there are; none when they are gone.
    ///
    /// # Errors
    /// As the storage says.
    pub(crate) async fn size(&self, id: &RecordId) -> Result<Option<u64>> {
        let Location { storage, path } = self.location(id);
        match storage.stat(&path).await {
            Ok(meta) => Ok(meta.size),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the bytes, and what an unfinished writer left; nothing there is fine.
    ///
    /// # Errors
    /// As the storage says.
    pub(crate) async fn remove(&self, id: &RecordId) -> Result<()> {
        let Location { storage, path } = self.location(id);
        storage.delete(&path).await?;
        storage.discard(&path, id.as_str(), None).await
    }

    /// All records that there are bytes of, in no special order and in bounded memory, with the instant at which they
    /// were written where the storage knows. What lies there under other names is not the room's.
    ///
    /// # Errors
    /// As the storage says.
    pub(crate) async fn list(&self) -> Result<BoxStream<'static, Result<(RecordId, Option<Timestamp>)>>> {
        let (vault, listed) = (self.clone(), self.base.storage.list(&self.base.path).await?);
        let ours = move |found: ListedObject| {
            let name = found.path.as_str().rsplit('/').next().unwrap_or_default();
            let id = id::is_canonical_uuid(name).then(|| RecordId::from_text(name))?;
            (vault.location(&id).path == found.path).then_some((id, found.meta.modified))
        };
        Ok(listed.try_filter_map(move |found| std::future::ready(Ok(ours(found)))).boxed())
    }
}

/// The body of a request, as a source that can be read once from its beginning.
struct Body(Mutex<Option<ByteStream>>);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

fn only_read<T>() -> Result<T> {
    Err(Error::invalid("the body of a request can only be read"))
}

#[async_trait]
impl Storage for Body {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn stat(&self, _path: &ObjectPath) -> Result<ObjectMeta> {
        Ok(ObjectMeta::default())
    }

    async fn read(&self, _path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stream = stream.ok_or_else(|| Error::invalid("the body of a request was read already"))?;
        Ok(ObjectRead {
            meta: ObjectMeta::default(),
            start: request.start,
            end: None,
            stream,
            handle: None,
            crc64: None,
        })
    }

    async fn write(&self, _path: &ObjectPath, _request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        only_read()
    }

    async fn list(&self, _prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        only_read()
    }

    async fn delete(&self, _path: &ObjectPath) -> Result<()> {
        only_read()
    }

    async fn discard(&self, _path: &ObjectPath, _label: &str, _token: Option<&str>) -> Result<()> {
        only_read()
    }
}
