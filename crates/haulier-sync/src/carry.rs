//! Does what is pending at one entry, until nothing is.
//!
//! All work is in the column `pending`: nothing here has to be remembered over a crash. What was done is told to the
//! referee, who knows what follows from it.

mod act;
mod fetch;
mod kept;
mod shift;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use haulier_base::{Backoff, Error, ErrorKind, Result, Timestamp};
use haulier_catalog::queue::{self, Settlement};
use haulier_catalog::{Catalog, Tx};
use haulier_mover::ByteBudget;
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde_json::Value;

use crate::attend::OpenEntry;
use crate::driver::Driver;
use crate::model::{EntryName, Fid, FileName, Stamp};
use crate::plan::{Carried, ConflictPolicy};
use crate::referee::Referee;
use crate::store::entries::{self, Entry, Wanted};
use crate::store::kept::KeptRow;
use crate::store::{copies, kept as kept_rows};
use crate::tasks::{CARRY, EntryTask};

pub(crate) use kept::Prune;
use sources::Sources;

/// Between two attempts (§4.7 44).
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(300), attempts: u32::MAX };
/// Goes into the names of unfinished files.
const LABEL: &str = "sync";

/// What carriers need, made once.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    pub(crate) catalog: Catalog,
    pub(crate) referee: Referee,
    pub(crate) opener: Arc<dyn OpenEntry>,
    /// Bytes per second of all moves of this node.
    pub(crate) budget: Arc<ByteBudget>,
    pub(crate) policy: ConflictPolicy,
    /// For how long old versions are kept; zero keeps none.
    pub(crate) keep_for: Duration,
}

/// What was done with one name.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) name: FileName,
    /// What the index had for it before.
    pub(crate) known: Option<Stamp>,
    pub(crate) outcome: Carried,
    /// The old version that is kept.
    pub(crate) kept: Option<KeptRow>,
}

#[async_trait]
impl TaskHandler for Carrier {
    fn kind(&self) -> &'static str {
        CARRY
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let at = entry_of(payload)?;
        let outcome = self.carry(ctx, &at).await;
        match (ctx.stop_signal().reason(), outcome) {
            (Some(StopReason::Lost), _) => Err(Error::lost_lease("the work is somebody else's by now")),
            (_, Err(error)) if error.kind() == ErrorKind::LostLease => Err(error),
            (Some(StopReason::Shutdown), Err(_)) => Err(Error::canceled("stopped")),
            (Some(StopReason::Asked), Err(_)) => self.step_aside(ctx, &at).await,
            (_, Ok(())) => Ok(()),
            (None, Err(error)) => self.postpone(ctx, &at, &error).await,
        }
    }

    async fn give_up(&self, _ctx: &TaskContext, tx: &mut Tx, payload: Value, why: &Error) -> Result<()> {
        let at = entry_of(payload)?;
        if entries::find_for_update(tx, &at).await?.is_some() {
            entries::set_carrying(tx, &at, false).await?;
            entries::set_problem(tx, &at, Some(why.message())).await?;
        }
        Ok(())
    }
}

impl Carrier {
    /// Works until nothing is pending, and settles the task.
    async fn carry(&self, ctx: &TaskContext, at: &EntryName) -> Result<()> {
        loop {
            let entry = entries::find(&mut self.catalog.read().await?, at).await?;
            if let Some(entry) = entry.filter(Entry::is_ready) {
                let driver = self.open(&entry).await?;
                let hands = Hands::new(self, ctx, at, &driver);
                if ctx.task().attempt > 1 {
                    // The one before us was cut off.
                    hands.adopt_kept().await?;
                }
                shift::Shift::new(&hands).work().await?;
                if ctx.task().attempt > 1 {
                    // Again: the last thing that the one before us began may have been done after we began.
                    hands.adopt_kept().await?;
                    driver.sweep(LABEL).await?;
                }
            }
            if self.rest(ctx, at).await? {
                return Ok(());
            }
        }
    }

    async fn open(&self, entry: &Entry) -> Result<Driver> {
        let driver = self.opener.open(entry).await?;
        if let Some(root_id) = &entry.root_id {
            driver.check_root(root_id).await?;
        }
        Ok(driver)
    }

    /// Ends the task if there is nothing to do; false when there is something after all.
    async fn rest(&self, ctx: &TaskContext, at: &EntryName) -> Result<bool> {
        let mut tx = ctx.begin("sync.rest").await?;
        if let Some(entry) = entries::hold(&mut tx, &[at.clone()].into()).await?.first() {
            // Without a word about the entry itself: work of one that is not ready waits until it is.
            if entry.is_ready() && copies::next_due(&mut tx, at).await?.is_some() {
                return Ok(false);
            }
            entries::set_carrying(&mut tx, at, false).await?;
        }
        ctx.finish(tx, Settlement::Done).await?;
        Ok(true)
    }

    /// Ends because somebody asked: another task goes on, unless it is this entry that is stopped.
    async fn step_aside(&self, ctx: &TaskContext, at: &EntryName) -> Result<()> {
        let mut tx = ctx.begin("sync.step_aside").await?;
        if let Some(entry) = entries::hold(&mut tx, &[at.clone()].into()).await?.first() {
            let goes_on = entry.wanted == Wanted::Active && copies::next_due(&mut tx, at).await?.is_some();
            if goes_on {
                let now = tx.now();
                queue::enqueue(&mut tx, EntryTask::new_task(CARRY, at, now)).await?;
            }
            entries::set_carrying(&mut tx, at, goes_on).await?;
        }
        ctx.finish(tx, Settlement::Done).await
    }

    /// The entry cannot be worked at: says why, and when it is tried again.
    async fn postpone(&self, ctx: &TaskContext, at: &EntryName, error: &Error) -> Result<()> {
        tracing::warn!(entry = %at, ?error, "entry {at}: {error}");
        let tx = ctx.begin("sync.postpone").await?;
        let due = tx.now().plus(wait_after(ctx.task().attempt));
        ctx.finish(tx, Settlement::RetryAt(due, error.message().to_owned())).await
    }
}

/// One carrier at one entry.
struct Hands<'a> {
    carrier: &'a Carrier,
    ctx: &'a TaskContext,
    at: &'a EntryName,
    driver: &'a Driver,
    sources: Sources<'a>,
    /// Whether something is about to be deleted here, which a fetch may rename instead.
    leaving: AtomicBool,
    /// The entries that may be read, as of the last page of work.
    active: Mutex<Arc<BTreeSet<EntryName>>>,
    /// What was renamed by one of us, or was tried to.
    claimed: Mutex<BTreeSet<(Fid, String)>>,
}

impl<'a> Hands<'a> {
    fn new(carrier: &'a Carrier, ctx: &'a TaskContext, at: &'a EntryName, driver: &'a Driver) -> Self {
        let sources = Sources::new(carrier);
        let (leaving, active, claimed) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        Self { carrier, ctx, at, driver, sources, leaving, active, claimed }
    }

    fn active(&self) -> Arc<BTreeSet<EntryName>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_active(&self, active: BTreeSet<EntryName>) {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(active);
    }

    /// Claims a version of a file, to rename it. False: another one has it.
    fn claim(&self, fid: &Fid, stamp: &Stamp) -> bool {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert((fid.clone(), stamp.version.clone()))
    }

    /// Records what was done: what it means is the referee's to say. Names that it cannot judge by what was told are
    /// given back, to be looked at again.
    async fn record(&self, done: Vec<Done>) -> Result<Vec<FileName>> {
        self.carrier.referee.carried(self.ctx, self.at, &done).await
    }

    /// Records what could not be done.
    async fn record_failures(&self, failures: &[(FileName, u32, String)]) -> Result<()> {
        let mut tx = self.ctx.begin("sync.failed").await?;
        for (name, earlier, problem) in failures {
            let retry_at = tx.now().plus(wait_after(earlier.saturating_add(1)));
            copies::set_failed(&mut tx, self.at, &name.fid(), problem, retry_at).await?;
        }
        tx.commit().await
    }

    /// Old versions that a carrier before us put away and did not live to record.
    async fn adopt_kept(&self) -> Result<()> {
        let found = kept::find_unknown(self.carrier, self.at, self.driver).await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut tx = self.ctx.begin("sync.adopt").await?;
        for row in &found {
            kept_rows::insert(&mut tx, row).await?;
        }
        tx.commit().await
    }

    fn now(&self) -> Timestamp {
        self.carrier.catalog.now()
    }
}

fn wait_after(failures: u32) -> Duration {
    RETRY.wait(failures.max(1), 0.0).unwrap_or(RETRY.cap)
}

fn entry_of(payload: Value) -> Result<EntryName> {
    let task: EntryTask = serde_json::from_value(payload)
        .map_err(|error| Error::internal("a task's payload cannot be read").caused_by(error))?;
    EntryName::new(task.entry)
}
