//! Fails by script, never by chance: for tests of what happens when storage misbehaves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use haulier_base::{Error, ErrorKind, Result};

use crate::connectors::cut;
use crate::{
    Attributes, Capabilities, FileHandle, Flushed, Guard, ListedObject, Look, ObjectMeta, ObjectPath, ObjectRead,
    ObjectWriter, ReadRequest, Storage, StoreSource, WriteRequest, Written,
};

/// The steps that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `stat`.
    Stat,
    /// `read`.
    Read,
    /// `write`.
    Write,
    /// `put_at` and `copy_range`.
    Put,
    /// `flush`.
    Flush,
    /// `finish`.
    Finish,
    /// `delete`, `remove_guarded` and `discard`.
    Delete,
    /// `rename` and `set_attributes`.
    Rename,
    /// `list`.
    List,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The step fails with that kind, before it does anything.
    Fail(ErrorKind),
    /// A read's stream ends quietly after so many bytes, as if that were all.
    Short(u64),
    /// A read's stream fails with that kind after so many bytes.
    Break(u64, ErrorKind),
    /// The step takes that long, or a read's stream that long before each item.
    Slow(Duration),
    /// The step never comes to an end, or a read's stream never gives an item.
    Stall,
    /// A read or stat tells this size.
    LieAboutSize(Option<u64>),
    /// A put or finish says that all went well and does nothing.
    Lose,
}

/// Faults by step and turn. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct FaultScript(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    faults: Vec<(Step, Option<u64>, Fault)>,
    counts: Vec<(Step, u64)>,
}

impl FaultScript {
    /// A script without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the `turn`-th such step go wrong; the first is 1.
    #[must_use]
    pub fn on(self, step: Step, turn: u64, fault: Fault) -> Self {
        self.with(|script| script.faults.push((step, Some(turn), fault)));
        self
    }

    /// Lets every such step go wrong that has no fault of its own.
    #[must_use]
    pub fn always(self, step: Step, fault: Fault) -> Self {
        self.with(|script| script.faults.push((step, None, fault)));
        self
    }

    /// How many such steps were taken so far.
    pub fn count(&self, step: Step) -> u64 {
        self.with(|script| script.counts.iter().find(|(s, _)| *s == step).map_or(0, |(_, count)| *count))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self, step: Step) -> Option<Fault> {
        self.with(|script| {
            let place = script.counts.iter().position(|(s, _)| *s == step).unwrap_or_else(|| {
                script.counts.push((step, 0));
                script.counts.len() - 1
            });
            script.counts[place].1 += 1;
            let turn = Some(script.counts[place].1);
            let find = |turn| script.faults.iter().find(|(s, t, _)| *s == step && *t == turn);
            find(turn).or_else(|| find(None)).map(|(_, _, fault)| fault.clone())
        })
    }

    /// Counts the step and lets its fault act, as far as that is the same for all steps.
    async fn take(&self, step: Step) -> Result<Option<Fault>> {
        let fault = self.next(step);
        match &fault {
            Some(Fault::Fail(kind)) => Err(scripted(*kind)),
            Some(Fault::Slow(wait)) => {
                tokio::time::sleep(*wait).await;
                Ok(fault)
            }
            Some(Fault::Stall) if step != Step::Read => std::future::pending().await,
            _ => Ok(fault),
        }
    }
}

fn scripted(kind: ErrorKind) -> Error {
    Error::new(kind, "failed as the script says")
}

/// A storage that goes wrong as its script says.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Storage>,
    script: FaultScript,
}

impl Faulty {
    /// Puts a script around a storage.
    pub fn new(inner: Arc<dyn Storage>, script: FaultScript) -> Self {
        Self { inner, script }
    }
}

#[async_trait]
impl Storage for Faulty {
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
        let fault = self.script.take(Step::Stat).await?;
        let meta = self.inner.stat(path).await?;
        Ok(match fault {
            Some(Fault::LieAboutSize(size)) => ObjectMeta { size, ..meta },
            _ => meta,
        })
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let Some(fault) = self.script.take(Step::Read).await? else { return self.inner.read(path, request).await };
        let asked_end = request.end;
        let mut read = self.inner.read(path, request).await?;
        // A copy inside the kernel would go around the script.
        read.handle = None;
        read.stream = match fault {
            Fault::Short(bytes) => cut(read.stream, 0, Some(bytes)),
            Fault::Break(bytes, kind) => {
                let broken = stream::iter([Err(scripted(kind))]);
                cut(read.stream, 0, Some(bytes)).chain(broken).boxed()
            }
            Fault::Slow(wait) => read
                .stream
                .then(move |item| async move {
                    tokio::time::sleep(wait).await;
                    item
                })
                .boxed(),
            Fault::Stall => stream::pending().boxed(),
            Fault::LieAboutSize(size) => {
                read.meta.size = size;
                read.end = size.map(|size| asked_end.unwrap_or(size).min(size).max(read.start));
                read.stream
            }
            Fault::Fail(_) | Fault::Lose => read.stream,
        };
        Ok(read)
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        self.script.take(Step::Write).await?;
        let inner = self.inner.write(path, request).await?;
        Ok(Box::new(Writer { inner, script: self.script.clone() }))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<stream::BoxStream<'static, Result<ListedObject>>> {
        self.script.take(Step::List).await?;
        self.inner.list(prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.script.take(Step::Delete).await?;
        self.inner.delete(path).await
    }

    async fn remove_guarded(&self, path: &ObjectPath, guard: &Guard, keep_as: Option<&ObjectPath>) -> Result<()> {
        self.script.take(Step::Delete).await?;
        self.inner.remove_guarded(path, guard, keep_as).await
    }

    async fn rename(&self, from: &ObjectPath, guard: &Guard, to: &ObjectPath) -> Result<ObjectMeta> {
        self.script.take(Step::Rename).await?;
        self.inner.rename(from, guard, to).await
    }

    async fn set_attributes(&self, path: &ObjectPath, guard: &Guard, to: &Attributes) -> Result<ObjectMeta> {
        self.script.take(Step::Rename).await?;
        self.inner.set_attributes(path, guard, to).await
    }

    async fn remove_folder(&self, path: &ObjectPath) -> Result<bool> {
        self.inner.remove_folder(path).await
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        self.script.take(Step::Delete).await?;
        self.inner.discard(path, label, token).await
    }
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    script: FaultScript,
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

    async fn show_back(&self, offset: u64, len: u64, see: Look) -> Result<Option<u64>> {
        self.inner.show_back(offset, len, see).await
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
        match self.script.take(Step::Put).await? {
            Some(Fault::Lose) => Ok(()),
            _ => self.inner.put_at(offset, bytes).await,
        }
    }

    async fn copy_range(&self, source: &FileHandle, source_offset: u64, offset: u64, len: u64) -> Result<Option<u64>> {
        match self.script.take(Step::Put).await? {
            Some(Fault::Lose) => Ok(Some(len)),
            _ => self.inner.copy_range(source, source_offset, offset, len).await,
        }
    }

    async fn copy_within(
        &self,
        source: &StoreSource,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<Option<u64>> {
        match self.script.take(Step::Put).await? {
            Some(Fault::Lose) => Ok(Some(len)),
            _ => self.inner.copy_within(source, source_offset, offset, len).await,
        }
    }

    async fn flush(&self) -> Result<Flushed> {
        self.script.take(Step::Flush).await?;
        self.inner.flush().await
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        match self.script.take(Step::Finish).await? {
            Some(Fault::Lose) => Ok(ObjectMeta { size: Some(size), ..ObjectMeta::default() }.into()),
            _ => self.inner.finish(size).await,
        }
    }
}
