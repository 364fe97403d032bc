//! Holds reads and writes to a number of bytes per second, shared by all clones.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use haulier_base::Result;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{
    Attributes, Capabilities, FileHandle, Flushed, Guard, ListedObject, ObjectMeta, ObjectPath, ObjectRead,
    ObjectWriter, ReadRequest, Storage, StoreSource, WriteRequest, Written,
};

/// A storage that moves no more than a number of bytes per second.
#[derive(Clone, Debug)]
pub struct Throttled {
    inner: Arc<dyn Storage>,
    pace: Arc<Pace>,
}

impl Throttled {
    /// Puts a limit around a storage; 0 counts as 1.
    pub fn new(inner: Arc<dyn Storage>, bytes_per_second: u64) -> Self {
        let pace = Pace { bytes_per_second: bytes_per_second.max(1), free_at: Mutex::new(Instant::now()) };
        Self { inner, pace: Arc::new(pace) }
    }
}

#[derive(Debug)]
struct Pace {
    bytes_per_second: u64,
    /// When all bytes that were let through so far are paid for.
    free_at: Mutex<Instant>,
}

impl Pace {
    /// Waits until the bytes before these are paid for, so that a lone small write is never slow.
    async fn take(&self, bytes: u64) {
        let mut free_at = self.free_at.lock().await;
        let start = (*free_at).max(Instant::now());
        *free_at = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        drop(free_at);
        tokio::time::sleep_until(start).await;
    }
}

#[async_trait]
impl Storage for Throttled {
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
        let read = self.inner.read(path, request).await?;
        let pace = self.pace.clone();
        let stream = read.stream.and_then(move |bytes| {
            let pace = pace.clone();
            async move {
                pace.take(bytes.len() as u64).await;
                Ok(bytes)
            }
        });
        // A copy inside the kernel would go around the limit.
        Ok(ObjectRead { stream: stream.boxed(), handle: None, ..read })
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.inner.write(path, request).await?;
        Ok(Box::new(Writer { inner, pace: self.pace.clone() }))
    }
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    pace: Arc<Pace>,
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
        self.pace.take(bytes.len() as u64).await;
        self.inner.put_at(offset, bytes).await
    }

    async fn put_all_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<()> {
        self.pace.take(pieces.iter().map(|piece| piece.len() as u64).sum()).await;
        self.inner.put_all_at(offset, pieces).await
    }

    async fn copy_range(&self, source: &FileHandle, source_offset: u64, offset: u64, len: u64) -> Result<Option<u64>> {
        let copied = self.inner.copy_range(source, source_offset, offset, len).await?;
        self.pace.take(copied.unwrap_or(0)).await;
        Ok(copied)
    }

    async fn copy_within(
        &self,
        source: &StoreSource,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<Option<u64>> {
        let copied = self.inner.copy_within(source, source_offset, offset, len).await?;
        self.pace.take(copied.unwrap_or(0)).await;
        Ok(copied)
    }

    async fn flush(&self) -> Result<Flushed> {
        self.inner.flush().await
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        self.inner.finish(size).await
    }
}
