//! Counts what goes through a storage. Whoever owns the metrics page reads the counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use haulier_base::{Error, Result};

use crate::{
    Attributes, Capabilities, FileHandle, Flushed, Guard, ListedObject, ObjectMeta, ObjectPath, ObjectRead,
    ObjectWriter, ReadRequest, Storage, StoreSource, WriteRequest, Written,
};

/// Counters that many storages may share.
#[derive(Debug, Default)]
pub struct Meters {
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    errors: AtomicU64,
}

/// The counts at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that streams gave.
    pub read_bytes: u64,
    /// Bytes that writers took, also those copied inside the kernel.
    pub written_bytes: u64,
    /// Reads started.
    pub reads: u64,
    /// Writers finished.
    pub writes: u64,
    /// Reads and writes that failed.
    pub errors: u64,
}

impl Meters {
    /// The counts so far.
    pub fn traffic(&self) -> Traffic {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            read_bytes: load(&self.read_bytes),
            written_bytes: load(&self.written_bytes),
            reads: load(&self.reads),
            writes: load(&self.writes),
            errors: load(&self.errors),
        }
    }

    fn note<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|_: &Error| add(&self.errors, 1))
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// A storage whose traffic is counted.
#[derive(Clone, Debug)]
pub struct Metered {
    inner: Arc<dyn Storage>,
    meters: Arc<Meters>,
}

impl Metered {
    /// Counts into `meters`.
    pub fn new(inner: Arc<dyn Storage>, meters: Arc<Meters>) -> Self {
        Self { inner, meters }
    }
}

#[async_trait]
impl Storage for Metered {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn store(&self) -> Option<String> {
        self.inner.store()
    }

    async fn store_source(&self, path: &ObjectPath) -> Result<Option<StoreSource>> {
        self.inner.store_source(path).await
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.inner.stat(path).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.inner.delete(path).await
    }

    async fn remove_guarded(&self, path: &ObjectPath, guard: &Guard, keep_as: Option<&ObjectPath>) -> Result<()> {
        self.inner.remove_guarded(path, guard, keep_as).await
    }

    async fn rename(&self, from: &ObjectPath, guard: &Guard, to: &ObjectPath) -> Result<ObjectMeta> {
        self.inner.rename(from, guard, to).await
    }

    async fn set_attributes(&self, path: &ObjectPath, guard: &Guard, to: &Attributes) -> Result<ObjectMeta> {
        self.inner.set_attributes(path, guard, to).await
    }

    async fn remove_folder(&self, path: &ObjectPath) -> Result<bool> {
        self.inner.remove_folder(path).await
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        self.inner.discard(path, label, token).await
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let read = self.meters.note(self.inner.read(path, request).await)?;
        add(&self.meters.reads, 1);
        let meters = self.meters.clone();
        let failing = meters.clone();
        let stream = read.stream.inspect_ok(move |bytes| add(&meters.read_bytes, bytes.len() as u64));
        let stream = stream.inspect_err(move |_| add(&failing.errors, 1)).boxed();
        Ok(ObjectRead { stream, ..read })
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.meters.note(self.inner.write(path, request).await)?;
        Ok(Box::new(Writer { inner, meters: self.meters.clone() }))
    }
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    meters: Arc<Meters>,
}

#[async_trait]
impl ObjectWriter for Writer {
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

    async fn clone_from(&self, source: &FileHandle, source_offset: u64, len: u64) -> Result<bool> {
        self.inner.clone_from(source, source_offset, len).await
    }

    async fn read_back(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        self.inner.read_back(offset, len).await
    }

    async fn forget_cached(&self) -> Result<()> {
        self.inner.forget_cached().await
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        self.inner.suspend().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let len = bytes.len() as u64;
        self.meters.note(self.inner.put_at(offset, bytes).await)?;
        add(&self.meters.written_bytes, len);
        Ok(())
    }

    async fn put_all_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<()> {
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.meters.note(self.inner.put_all_at(offset, pieces).await)?;
        add(&self.meters.written_bytes, len);
        Ok(())
    }

    async fn copy_range(&self, source: &FileHandle, source_offset: u64, offset: u64, len: u64) -> Result<Option<u64>> {
        let copied = self.meters.note(self.inner.copy_range(source, source_offset, offset, len).await)?;
        add(&self.meters.written_bytes, copied.unwrap_or(0));
        Ok(copied)
    }

    async fn copy_within(
        &self,
        source: &StoreSource,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<Option<u64>> {
        let copied = self.meters.note(self.inner.copy_within(source, source_offset, offset, len).await)?;
        add(&self.meters.written_bytes, copied.unwrap_or(0));
        Ok(copied)
    }

    async fn flush(&self) -> Result<Flushed> {
        self.meters.note(self.inner.flush().await)
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        let meta = self.meters.note(self.inner.finish(size).await)?;
        add(&self.meters.writes, 1);
        Ok(meta)
    }
}
