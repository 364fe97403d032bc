//! A storage that never comes back from one of its calls, and whose power can be cut.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use haulier_base::Result;
use haulier_storage::{
    Capabilities, Flushed, ListedObject, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter, ReadRequest, Storage,
    WriteRequest, Written,
};
use tokio::sync::Notify;

/// Where the world ends: at which call, and whether that call still does its work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) call: u64,
    pub(crate) works: bool,
}

/// What both ends of one move share.
#[derive(Debug, Default)]
pub(crate) struct Peril {
    end: Option<End>,
    calls: Mutex<u64>,
    ended: Notify,
    unflushed: Mutex<Vec<(u64, u64)>>,
}

impl Peril {
    pub(crate) fn ending(end: Option<End>) -> Arc<Self> {
        Arc::new(Self { end, ..Self::default() })
    }

    pub(crate) fn calls(&self) -> u64 {
        *self.calls.lock().unwrap()
    }

    /// Comes to an end when the fatal call is reached.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// The puts that a power cut damages now.
    pub(crate) fn unflushed(&self) -> Vec<(u64, u64)> {
        self.unflushed.lock().unwrap().clone()
    }

    async fn call<T>(&self, work: impl Future<Output = T>) -> T {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
        match self.end {
            Some(end) if end.call == number => {
                if end.works {
                    work.await;
                }
                self.ended.notify_one();
                pending().await
            }
            _ => work.await,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Perilous(pub(crate) Arc<dyn Storage>, pub(crate) Arc<Peril>);

#[async_trait]
impl Storage for Perilous {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.1.call(self.0.stat(path)).await
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        self.1.call(self.0.read(path, request)).await
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.1.call(self.0.write(path, request)).await?;
        Ok(Box::new(Writer(inner, self.1.clone())))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        self.0.list(prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.1.call(self.0.delete(path)).await
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        self.1.call(self.0.discard(path, label, token)).await
    }
}

struct Writer(Box<dyn ObjectWriter>, Arc<Peril>);

#[async_trait]
impl ObjectWriter for Writer {
    fn token(&self) -> Option<String> {
        self.0.token()
    }

    fn resumed_size(&self) -> u64 {
        self.0.resumed_size()
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let end = offset + bytes.len() as u64;
        let put = async {
            let done = self.0.put_at(offset, bytes).await;
            self.1.unflushed.lock().unwrap().push((offset, end));
            done
        };
        self.1.call(put).await
    }

    async fn read_back(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        self.1.call(self.0.read_back(offset, len)).await
    }

    async fn flush(&self) -> Result<Flushed> {
        // What is put while the flush runs is not covered by it.
        let covered = self.1.unflushed();
        let flush = async {
            let done = self.0.flush().await;
            self.1.unflushed.lock().unwrap().retain(|put| !covered.contains(put));
            done
        };
        self.1.call(flush).await
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        let Self(inner, peril) = *self;
        peril.call(inner.finish(size)).await
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        let Self(inner, peril) = *self;
        peril.call(inner.suspend()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self(inner, peril) = *self;
        peril.call(inner.abort()).await
    }
}
