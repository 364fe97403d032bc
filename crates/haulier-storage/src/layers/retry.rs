//! Tries again what failed for a passing reason, where a second try cannot do harm.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use haulier_base::{Backoff, Result};

use crate::{
    Attributes, Capabilities, Guard, ListedObject, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter, ReadRequest,
    Storage, StoreSource, WriteRequest,
};

/// We wait no longer than this, whatever the other side asks for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Repeats lookups, deletions and the *start* of reads, writes and listings.
///
/// What fails once bytes flow is the mover's affair, which knows what is safe already.
#[derive(Clone, Debug)]
pub struct Retrying {
    inner: Arc<dyn Storage>,
    backoff: Backoff,
}

impl Retrying {
    /// Puts retries around a storage.
    pub fn new(inner: Arc<dyn Storage>, backoff: Backoff) -> Self {
        Self { inner, backoff }
    }

    async fn retry<T, F: Future<Output = Result<T>>>(&self, act: impl Fn() -> F) -> Result<T> {
        let mut failed = 0;
        loop {
            let error = match act().await {
                Err(error) if error.is_temporary() => error,
                outcome => return outcome,
            };
            failed += 1;
            let Some(wait) = self.backoff.wait(failed, 0.0) else { return Err(error) };
            tokio::time::sleep(wait.max(error.wait_asked().unwrap_or_default()).min(WAIT_MAX)).await;
        }
    }
}

#[async_trait]
impl Storage for Retrying {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn store(&self) -> Option<String> {
        self.inner.store()
    }

    async fn store_source(&self, path: &ObjectPath) -> Result<Option<StoreSource>> {
        self.retry(|| self.inner.store_source(path)).await
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.retry(|| self.inner.stat(path)).await
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        self.retry(|| self.inner.read(path, request.clone())).await
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        self.retry(|| self.inner.write(path, request.clone())).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        self.retry(|| self.inner.list(prefix)).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.retry(|| self.inner.delete(path)).await
    }

    // What is guarded is tried once: a second try would find what the first one did.
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
        self.retry(|| self.inner.remove_folder(path)).await
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        self.retry(|| self.inner.discard(path, label, token)).await
    }
}
