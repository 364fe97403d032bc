//! Attends an entry for as long as it is active: watches or polls it, scans it, and tells the referee what is so.
//!
//! Trouble never ends this: it is told by the entry, and tried again. Decides nothing about files.

mod asked;
mod pass;
mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use haulier_base::{Backoff, Error, ErrorKind, Result};
use haulier_catalog::queue::Settlement;
use haulier_catalog::{Catalog, Tx};
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde_json::Value;
use tokio::time::sleep;

use crate::driver::{Driver, RootClaim};
use crate::hold::{Held, Reason, Tally};
use crate::model::EntryName;
use crate::progress::Passes;
use crate::referee::Referee;
use crate::store::entries::{self, Entry, Wanted};
use crate::tasks::{ATTEND, EntryTask};

use session::{Ended, Session};

/// Between two tries after trouble.
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(300), attempts: u32::MAX };
/// A root that is missing is looked for this often: somebody is about to bring it back.
const ROOT_EVERY: Duration = Duration::from_secs(1);

/// Opens entries, whose options may hold sealed secrets.
#[async_trait]
pub(crate) trait OpenEntry: Send + Sync + fmt::Debug {
    /// Opens an entry.
    ///
    /// # Errors
    /// `NotFound` when its root is not there; else what is wrong with its options, for the operator.
    async fn open(&self, entry: &Entry) -> Result<Driver>;
}

/// The handler of [`ATTEND`].
#[derive(Clone, Debug)]
pub(crate) struct Attend {
    pub(crate) catalog: Catalog,
    pub(crate) referee: Referee,
    pub(crate) opener: Arc<dyn OpenEntry>,
    /// Written into roots: tells this catalogue from others.
    pub(crate) catalogue_id: String,
    /// Where running passes are shown.
    pub(crate) passes: Passes,
}

#[async_trait]
impl TaskHandler for Attend {
    fn kind(&self) -> &'static str {
        ATTEND
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let at = entry_of(payload)?;
        let (stop, mut failures) = (ctx.stop_signal(), 0);
        loop {
            let ended = self.attend(ctx, &at, &mut failures).await;
            match stop.reason() {
                Some(StopReason::Asked) => return self.leave(ctx, &at).await,
                Some(StopReason::Lost | StopReason::Shutdown) => return Err(Error::canceled("stopped")),
                None => {}
            }
            let wait = match ended {
                Ok(Ended::Gone) => return self.leave(ctx, &at).await,
                Ok(Ended::Again) => continue,
                Err(error) if error.kind() == ErrorKind::LostLease => return Err(error),
                Err(error) => {
                    failures += 1;
                    tracing::warn!(entry = %at, error.chain = ?error, "entry {at}: {error}");
                    self.tell(ctx, &at, error.message()).await?;
                    match error.kind() {
                        ErrorKind::NotFound => ROOT_EVERY,
                        _ => RETRY.wait(failures, 0.0).unwrap_or(RETRY.cap),
                    }
                }
            };
            tokio::select! {
                _ = stop.stopped() => {}
                () = sleep(wait) => {}
            }
        }
    }

    async fn give_up(&self, _ctx: &TaskContext, tx: &mut Tx, payload: Value, why: &Error) -> Result<()> {
        let at = entry_of(payload)?;
        if entries::find_for_update(tx, &at).await?.is_some() {
            entries::set_attended(tx, &at, None).await?;
            entries::set_problem(tx, &at, Some(why.message())).await?;
        }
        Ok(())
    }
}

impl Attend {
    /// Opens an entry and attends it until something ends that.
    async fn attend(&self, ctx: &TaskContext, at: &EntryName, failures: &mut u32) -> Result<Ended> {
        let Some(entry) = entries::find(&mut self.catalog.read().await?, at).await? else { return Ok(Ended::Gone) };
        if entry.wanted == Wanted::Stopped {
            return Ok(Ended::Gone);
        }
        let forced = Held::read(entry.held.as_ref()).is_some_and(|held| held.forced);
        let driver = match self.opener.open(&entry).await {
            Err(error) if error.kind() == ErrorKind::NotFound && entry.root_id.is_some() => {
                return Err(self.hold(ctx, &entry, Reason::RootMissing).await?);
            }
            opened => opened?,
        };
        // By the operator's word another folder may take the place of the one that was.
        let known = entry.root_id.as_deref().filter(|_| !forced);
        match driver.claim_root(&self.catalogue_id, at, known).await? {
            RootClaim::Lost => return Err(self.hold(ctx, &entry, Reason::RootReplaced).await?),
            RootClaim::Held(id) if entry.root_id.as_ref() != Some(&id) => {
                let mut tx = ctx.begin("sync.claim_root").await?;
                entries::set_root_id(&mut tx, at, Some(&id)).await?;
                tx.commit().await?;
            }
            RootClaim::Held(_) => {}
        }
        Session::open(self, ctx, &entry, driver).await?.run(failures).await
    }

    /// Holds all deletions because the root is not what it was; gives back what to say about it.
    async fn hold(&self, ctx: &TaskContext, entry: &Entry, reason: Reason) -> Result<Error> {
        let before = Held::read(entry.held.as_ref());
        let same = before.clone().filter(|held| held.reason == Some(reason));
        let held = match same {
            Some(held) => held,
            None => {
                let mut tx = ctx.begin("sync.hold").await?;
                let held = Held {
                    // The operator's word waits until the root is back.
                    forced: before.is_some_and(|held| held.forced),
                    ..Held::new(reason, Tally::default(), tx.now())
                };
                entries::set_held(&mut tx, &entry.name, Some(&held.document())).await?;
                entries::set_attended(&mut tx, &entry.name, None).await?;
                tx.commit().await?;
                held
            }
        };
        // NotFound is looked for again soon: somebody is about to bring it back.
        Ok(Error::not_found(held.problem()))
    }

    /// Says what is wrong, unless it is said already.
    async fn tell(&self, ctx: &TaskContext, at: &EntryName, problem: &str) -> Result<()> {
        let mut tx = ctx.begin("sync.tell").await?;
        let entry = entries::find_for_update(&mut tx, at).await?;
        if entry.is_some_and(|entry| entry.problem.as_deref() != Some(problem)) {
            entries::set_problem(&mut tx, at, Some(problem)).await?;
            return tx.commit().await;
        }
        Ok(())
    }

    /// Ends the task: nobody attends the entry any more.
    async fn leave(&self, ctx: &TaskContext, at: &EntryName) -> Result<()> {
        let mut tx = ctx.begin("sync.leave").await?;
        let entry = entries::find_for_update(&mut tx, at).await?;
        // One that is active again has another attendant by now.
        if entry.is_some_and(|entry| entry.wanted == Wanted::Stopped) {
            entries::set_attended(&mut tx, at, None).await?;
        }
        ctx.finish(tx, Settlement::Done).await
    }
}

fn entry_of(payload: Value) -> Result<EntryName> {
    let task: EntryTask = serde_json::from_value(payload)
        .map_err(|error| Error::internal("the payload of a task cannot be read").caused_by(error))?;
    EntryName::new(task.entry)
}
