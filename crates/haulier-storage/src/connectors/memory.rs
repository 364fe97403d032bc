//! Objects in memory, `memory://bucket/key`: the model that other connectors are measured by, for tests.
//!
//! Unfinished uploads live in the store, so they outlast their writer as they would outlast a process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, Result};
use serde_json::Value;

use crate::connector::{Connector, Environment, Side, join_literal};
use crate::{
    Attributes, Capabilities, Flushed, Guard, ListedObject, Location, ObjectKind, ObjectMeta, ObjectPath, ObjectRead,
    ObjectWriter, Placement, ReadRequest, Storage, Version, WriteRequest, Written,
};

/// The scheme of these URLs.
pub const SCHEME: &str = "memory";

/// The most bytes that one object may have.
const OBJECT_BYTES_MAX: u64 = 1 << 32;
/// How many bytes one item of a stream has.
const CHUNK_BYTES: usize = 256 * 1024;
/// How many entries of a listing are looked up at once.
const LIST_BATCH: usize = 256;

pub(crate) const CONNECTOR: Connector = Connector {
    scheme: SCHEME,
    readable: true,
    writable: true,
    secret_members: &[],
    offered: |environment| environment.config.memory.is_some(),
    check: |environment, url, options, side| open(environment, url, options, side).map(|_| ()),
    open,
    identity: |environment, url| {
        let location = open(environment, url, &Value::Null, Side::Source).ok()?;
        Some(format!("memory:{}", location.path))
    },
    redact_url: str::to_owned,
    join: join_literal,
    example: ("memory://bucket/key", "{}"),
};

fn open(environment: &Environment, url: &str, _options: &Value, _side: Side) -> Result<Location> {
    let store = environment.config.memory.clone().ok_or_else(|| Error::invalid("memory is not offered here"))?;
    let key = url.split_once("://").map_or("", |(_, key)| key);
    match key.split_once('/') {
        Some((bucket, name)) if !bucket.is_empty() && !name.is_empty() => {
            Ok(Location { storage: Arc::new(store), path: ObjectPath::new(key) })
        }
        _ => Err(Error::invalid("is not of the form memory://bucket/key")),
    }
}

/// A storage in memory. Clones share their objects.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<(String, String), Vec<u8>>,
    counter: u64,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    version: u64,
    attributes: Attributes,
}

impl Stored {
    fn meta(&self) -> ObjectMeta {
        ObjectMeta {
            size: Some(self.bytes.len() as u64),
            version: Some(Version::from(format!("memory-{}", self.version))),
            modified: self.attributes.modified,
            kind: ObjectKind::Regular,
            mode: self.attributes.mode,
        }
    }
}

impl Inner {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn publish(&mut self, path: &ObjectPath, bytes: Bytes) -> ObjectMeta {
        let stored = Stored { bytes, version: self.next(), attributes: Attributes::default() };
        self.put(path, stored)
    }

    fn put(&mut self, path: &ObjectPath, stored: Stored) -> ObjectMeta {
        let meta = stored.meta();
        self.objects.insert(path.as_str().to_owned(), stored);
        meta
    }

    /// What is at a path, if the guard lets a change of it happen.
    fn expect(&self, path: &ObjectPath, guard: &Guard) -> Result<Option<Stored>> {
        let found = self.objects.get(path.as_str());
        guard.check(found.map(Stored::meta).as_ref())?;
        Ok(found.cloned())
    }

    /// Moves an object to a name that nobody has.
    fn rename(&mut self, from: &ObjectPath, guard: &Guard, to: &ObjectPath) -> Result<ObjectMeta> {
        let missing = || Error::not_found("there is nothing to rename");
        let found = self.expect(from, guard)?.ok_or_else(missing)?;
        self.expect(to, &Guard::Absent)?;
        self.objects.remove(from.as_str());
        Ok(self.put(to, found))
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an object, for setting up a test.
    pub fn insert(&self, path: &ObjectPath, bytes: impl Into<Bytes>) {
        self.lock().publish(path, bytes.into());
    }

    /// The bytes of an object, for looking at the outcome of a test.
    pub fn find(&self, path: &ObjectPath) -> Option<Bytes> {
        self.lock().objects.get(path.as_str()).map(|stored| stored.bytes.clone())
    }

    /// How many unfinished uploads there are.
    pub fn upload_count(&self) -> usize {
        self.lock().uploads.len()
    }

    /// No caller panics while holding the lock in a half-changed state, so a poisoned lock is still sound.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, path: &ObjectPath) -> Result<Stored> {
        let found = self.lock().objects.get(path.as_str()).cloned();
        found.ok_or_else(|| Error::not_found("no such object").context("path", path))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} objects)", self.lock().objects.len())
    }
}

#[async_trait]
impl Storage for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            write: true,
            list: true,
            delete: true,
            any_key: true,
            ranged_read: true,
            one_version: false,
            parallel_reads: true,
            parallel_writes: true,
            resumable_write: true,
            read_back: true,
            cheap_read_back: true,
            kernel_copy: false,
            in_place: true,
            guarded_write: true,
            rename: true,
            attributes: true,
            checksums: false,
        }
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        Ok(self.get(path)?.meta())
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let stored = self.get(path)?;
        let meta = stored.meta();
        request.check_version(&meta)?;
        let range = request.range_of(stored.bytes.len() as u64)?;
        let mut rest = stored.bytes.slice(range.start as usize..range.end as usize);
        let chunks =
            std::iter::from_fn(move || (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(CHUNK_BYTES)))));
        let stream = stream::iter(chunks).boxed();
        Ok(ObjectRead { meta, start: range.start, end: Some(range.end), stream, handle: None, crc64: None })
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        let mut inner = self.lock();
        if let Placement::InPlace { offset } = request.placement {
            drop(inner);
            return Ok(Box::new(InPlaceWriter { store: self.clone(), path: path.clone(), offset }));
        }
        inner.expect(path, &request.guard)?;
        let known = |token: &String| inner.uploads.contains_key(&(path.as_str().to_owned(), token.clone()));
        let token = match request.resume.filter(known) {
            Some(token) => token,
            None => token_of(&request.label, inner.next()),
        };
        let upload = (path.as_str().to_owned(), token.clone());
        let resumed = inner.uploads.entry(upload).or_default().len() as u64;
        drop(inner);
        let (store, path) = (self.clone(), path.clone());
        let WriteRequest { guard, keep_old, attributes, .. } = request;
        Ok(Box::new(UploadWriter { store, path, token, resumed, guard, keep_old, attributes }))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        let folder = match prefix.as_str() {
            "" => String::new(),
            key => format!("{}/", key.trim_end_matches('/')),
        };
        let exact = prefix.as_str().trim_end_matches('/').to_owned();
        let at_prefix = self.get(&ObjectPath::new(&*exact)).ok();
        let first = at_prefix.map(|s| Ok(ListedObject { path: ObjectPath::new(exact), meta: s.meta() }));
        let store = self.clone();
        let batches = stream::unfold(folder.clone(), move |after| {
            let batch = store.batch_after(&folder, &after);
            // The smallest key after the last one: it plus a zero byte.
            let next = batch.last().map(|object| format!("{}\0", object.path));
            async move { next.map(|next| (stream::iter(batch.into_iter().map(Ok)), next)) }
        });
        Ok(stream::iter(first).chain(batches.flatten()).boxed())
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.lock().objects.remove(path.as_str());
        Ok(())
    }

    async fn remove_guarded(&self, path: &ObjectPath, guard: &Guard, keep_as: Option<&ObjectPath>) -> Result<()> {
        let mut inner = self.lock();
        let found = inner.expect(path, guard)?.is_some();
        match keep_as {
            Some(keep) if found => inner.rename(path, guard, keep).map(|_| ()),
            _ => {
                inner.objects.remove(path.as_str());
                Ok(())
            }
        }
    }

    async fn rename(&self, from: &ObjectPath, guard: &Guard, to: &ObjectPath) -> Result<ObjectMeta> {
        self.lock().rename(from, guard, to)
    }

    async fn set_attributes(&self, path: &ObjectPath, guard: &Guard, to: &Attributes) -> Result<ObjectMeta> {
        let mut inner = self.lock();
        let missing = || Error::not_found("no such object").context("path", path);
        let mut found = inner.expect(path, guard)?.ok_or_else(missing)?;
        found.attributes =
            Attributes { modified: to.modified.or(found.attributes.modified), mode: to.mode.or(found.attributes.mode) };
        found.version = inner.next();
        Ok(inner.put(path, found))
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        self.lock()
            .uploads
            .retain(|(key, upload), _| key != path.as_str() || (token != Some(upload) && !is_token_of(upload, label)));
        Ok(())
    }
}

impl MemoryStore {
    fn batch_after(&self, folder: &str, from: &str) -> Vec<ListedObject> {
        let inner = self.lock();
        let below = inner.objects.range(from.to_owned()..).take_while(|(key, _)| key.starts_with(folder));
        below
            .take(LIST_BATCH)
            .map(|(key, stored)| ListedObject { path: ObjectPath::new(key), meta: stored.meta() })
            .collect()
    }
}

fn token_of(label: &str, number: u64) -> String {
    format!("{label}-{number}")
}

fn is_token_of(token: &str, label: &str) -> bool {
    let number = token.strip_prefix(label).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Puts bytes into a buffer, which grows with zeros as a file would.
fn put(buffer: &mut Vec<u8>, offset: u64, bytes: &[u8]) -> Result<()> {
    let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= OBJECT_BYTES_MAX);
    let end = end.ok_or_else(|| Error::no_space("no space left on the target"))? as usize;
    if buffer.len() < end {
        buffer.resize(end, 0);
    }
    buffer[offset as usize..end].copy_from_slice(bytes);
    Ok(())
}

fn slice(buffer: &[u8], offset: u64, len: u64) -> Bytes {
    let size = buffer.len() as u64;
    let (start, end) = (offset.min(size), offset.saturating_add(len).min(size));
    Bytes::copy_from_slice(&buffer[start as usize..end as usize])
}

struct UploadWriter {
    store: MemoryStore,
    path: ObjectPath,
    token: String,
    resumed: u64,
    guard: Guard,
    keep_old: Option<ObjectPath>,
    attributes: Attributes,
}

impl UploadWriter {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T> {
        let mut inner = self.store.lock();
        let upload = inner.uploads.get_mut(&(self.path.as_str().to_owned(), self.token.clone()));
        upload.map(act).ok_or_else(|| Error::conflict("the unfinished upload was removed"))
    }
}

#[async_trait]
impl ObjectWriter for UploadWriter {
    fn token(&self) -> Option<String> {
        Some(self.token.clone())
    }

    fn resumed_size(&self) -> u64 {
        self.resumed
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        self.with(|upload| put(upload, offset, &bytes))?
    }

    async fn read_back(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        self.with(|upload| Some(slice(upload, offset, len)))
    }

    async fn flush(&self) -> Result<Flushed> {
        self.with(|_| Flushed::Everything)
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        self.with(|upload| put(upload, size, &[]))??;
        let mut inner = self.store.lock();
        let upload = inner.uploads.remove(&(self.path.as_str().to_owned(), self.token.clone()));
        let mut bytes = upload.ok_or_else(|| Error::conflict("the unfinished upload was removed"))?;
        bytes.truncate(size as usize);
        let old = inner.expect(&self.path, &self.guard)?;
        if let (Some(old), Some(keep), Guard::Version(_)) = (old, &self.keep_old, &self.guard) {
            inner.expect(keep, &Guard::Absent).map_err(|_| Guard::keep_taken())?;
            inner.put(keep, old);
        }
        let stored = Stored { bytes: bytes.into(), version: inner.next(), attributes: self.attributes };
        Ok(inner.put(&self.path, stored).into())
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.store.lock().uploads.remove(&(self.path.as_str().to_owned(), self.token));
        Ok(())
    }
}

/// Changes the object itself, a new version with every put.
struct InPlaceWriter {
    store: MemoryStore,
    path: ObjectPath,
    offset: u64,
}

impl InPlaceWriter {
    fn present(&self) -> Bytes {
        self.store.find(&self.path).unwrap_or_default()
    }
}

#[async_trait]
impl ObjectWriter for InPlaceWriter {
    fn token(&self) -> Option<String> {
        Some("in-place".to_owned())
    }

    fn resumed_size(&self) -> u64 {
        (self.present().len() as u64).saturating_sub(self.offset)
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let mut inner = self.store.lock();
        let mut object = inner.objects.get(self.path.as_str()).map(|s| s.bytes.to_vec()).unwrap_or_default();
        put(&mut object, self.offset.saturating_add(offset), &bytes)?;
        inner.publish(&self.path, object.into());
        Ok(())
    }

    async fn read_back(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        Ok(Some(slice(&self.present(), self.offset.saturating_add(offset), len)))
    }

    async fn flush(&self) -> Result<Flushed> {
        Ok(Flushed::Everything)
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        // An empty range still makes the object exist.
        self.put_at(size.min(self.resumed_size()), Bytes::new()).await?;
        self.store.stat(&self.path).await.map(Written::from)
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
