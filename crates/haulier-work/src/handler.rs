//! What a room brings, a handler per kind of task, and what the handler is given: its context.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use haulier_base::{Clock, Error, Result};
use haulier_catalog::queue::{self, Lease, Settlement, Task};
use haulier_catalog::{Catalog, Tx};
use tokio_util::sync::CancellationToken;

/// Does one kind of work.
#[async_trait]
pub trait TaskHandler: Send + Sync + 'static {
    /// The kind of task this handler takes.
    fn kind(&self) -> &'static str;

    /// Makes one attempt. It may have been made before and cut off anywhere, so it must be safe to repeat.
    ///
    /// Success is settled through [`TaskContext::finish`], together with what became true.
    /// An error is settled by `settle.rs`: tried again, given up, or released.
    async fn run(&self, ctx: &TaskContext, payload: serde_json::Value) -> Result<()>;

    /// Records the end in the settling transaction. Total: it has an answer for every state of its subject.
    async fn give_up(&self, ctx: &TaskContext, tx: &mut Tx, payload: serde_json::Value, why: &Error) -> Result<()>;
}

/// The handlers of one process, by kind.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<&'static str, Arc<dyn TaskHandler>>);

impl Handlers {
    /// No handlers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler.
    ///
    /// # Panics
    /// When its kind has one already: two would be a mistake in wiring, to be seen at start.
    #[must_use]
    pub fn register(mut self, handler: Arc<dyn TaskHandler>) -> Self {
        let kind = handler.kind();
        assert!(self.0.insert(kind, handler).is_none(), "two handlers for tasks of kind {kind}");
        self
    }

    pub(crate) fn of(&self, kind: &str) -> Option<Arc<dyn TaskHandler>> {
        self.0.get(kind).cloned()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.0.keys().map(|kind| (*kind).to_owned()).collect()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a handler should come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked for it through `queue::stop`.
    Asked,
    /// The lease is lost or about to be: write nothing more.
    Lost,
    /// The process is going down: reach a safe point and return `Error::canceled`.
    Shutdown,
}

/// Tells a handler to come to an end. Clones share the signal.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    reason: Mutex<Option<StopReason>>,
    token: CancellationToken,
}

impl StopSignal {
    /// Resolves when the handler should stop, with the first reason, or `Lost` if that came too.
    pub async fn stopped(&self) -> StopReason {
        self.0.token.cancelled().await;
        // A cancelled token always has a reason; losing the lease is the one that is safe to assume.
        self.reason().unwrap_or(StopReason::Lost)
    }

    /// Why the handler should stop, if it should.
    pub fn reason(&self) -> Option<StopReason> {
        *self.0.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same signal for callees that know no reasons.
    pub fn token(&self) -> CancellationToken {
        self.0.token.clone()
    }

    pub(crate) fn raise(&self, reason: StopReason) {
        let mut now = self.0.reason.lock().unwrap_or_else(PoisonError::into_inner);
        // Losing the lease outranks everything, because it forbids even to say goodbye.
        if now.is_none() || reason == StopReason::Lost {
            *now = Some(reason);
        }
        self.0.token.cancel();
    }
}

/// A handler's view of its task: what it is, when to stop, and the only two doors to writing.
#[derive(Debug)]
pub struct TaskContext {
    catalog: Catalog,
    lease: Lease,
    stop: StopSignal,
    settled: Mutex<Option<&'static str>>,
}

impl TaskContext {
    pub(crate) fn new(catalog: Catalog, lease: Lease, stop: StopSignal) -> Self {
        Self { catalog, lease, stop, settled: Mutex::new(None) }
    }

    /// The task as it was claimed.
    pub fn task(&self) -> &Task {
        &self.lease.task
    }

    /// When and why to stop.
    pub fn stop_signal(&self) -> StopSignal {
        self.stop.clone()
    }

    /// The clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.catalog.clock()
    }

    /// The name of the process that holds the lease.
    pub fn holder(&self) -> &str {
        &self.lease.holder
    }

    /// Opens a transaction that fails with `LostLease` unless the lease is still ours.
    pub async fn begin(&self, name: &'static str) -> Result<Tx> {
        let lost = || Error::lost_lease("the lease of this task is lost");
        if self.stop.reason() == Some(StopReason::Lost) {
            return Err(lost());
        }
        let mut tx = self.catalog.begin(name).await?;
        queue::fence(&mut tx, &self.lease).await?;
        Ok(tx)
    }

    /// Says in a transaction that this attempt got somewhere, so that earlier ones no longer count.
    pub async fn forgive(&self, tx: &mut Tx) -> Result<()> {
        queue::forgive(tx, &self.lease).await
    }

    /// Settles the task in a transaction and commits it.
    pub async fn finish(&self, mut tx: Tx, settlement: Settlement) -> Result<()> {
        let outcome = outcome(&settlement);
        queue::settle(&mut tx, &self.lease, settlement).await?;
        tx.commit().await?;
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.catalog.wake_workers();
        Ok(())
    }

    /// How the task was settled, if it was.
    pub(crate) fn outcome(&self) -> Option<&'static str> {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Done => "done",
        Settlement::RetryAt(..) => "retry",
        Settlement::Dead(_) => "dead",
        Settlement::Released => "released",
    }
}
