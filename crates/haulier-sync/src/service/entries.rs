//! Entries: what they are, whether they run, and starting and stopping them (§1.3, §1.4, §4.6).

use haulier_access::Caller;
use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::queue::{Task, TaskState};
use haulier_catalog::{Tx, queue};
use serde_json::{Value, json};

use super::waiting::{EVERY_KIND, Holders};
use super::{Inner, Syncs, entry_name, may_change, no_such_entry};
use crate::events::{Happened, publish};
use crate::hold::Held;
use crate::model::EntryName;
use crate::options;
use crate::store::copies;
use crate::store::entries::{self, Entry, Wanted};
use crate::tasks::{ATTEND, CARRY, EntryTask};

/// An entry as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryDocument {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// As configured, secrets as `***`.
    pub options: Value,
    /// Whether a configuration brought it, so that it can only be removed there.
    pub configured: bool,
}

/// What an entry is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It was started, and its changes are not watched yet.
    Starting,
    /// It takes part.
    Active,
    /// It was stopped, and some work on it has not come to an end yet.
    Stopping,
    /// It rests.
    Stopped,
}

impl Phase {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// What an entry is doing, and what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub phase: Phase,
    /// What is wrong, for people.
    pub problem: Option<String>,
    /// Deletions that wait for a person's word.
    pub held: Option<Value>,
    /// When this was so.
    pub time: Timestamp,
}

impl EntryDocument {
    fn of(entry: Entry) -> Self {
        Self {
            options: options::redact(&entry.driver, &entry.options),
            name: entry.name.to_string(),
            driver: entry.driver,
            configured: entry.configured,
        }
    }
}

impl Syncs {
    /// All entries, in the order of the configuration.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn entries(&self, _caller: &Caller) -> Result<Vec<EntryDocument>> {
        let mut tx = self.inner.catalog.read().await?;
        Ok(entries::list(&mut tx).await?.into_iter().map(EntryDocument::of).collect())
    }

    /// One entry, running or not.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name.
    pub async fn entry(&self, _caller: &Caller, name: &str) -> Result<EntryDocument> {
        let mut tx = self.inner.catalog.read().await?;
        find(&mut tx, name).await.map(EntryDocument::of)
    }

    /// What an entry is doing.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name.
    pub async fn status(&self, _caller: &Caller, name: &str) -> Result<Status> {
        let mut tx = self.inner.catalog.read().await?;
        let entry = find(&mut tx, name).await?;
        let phase = match entry.wanted {
            Wanted::Active if entry.attended_at.is_none() && entry.problem.is_none() => Phase::Starting,
            Wanted::Active => Phase::Active,
            Wanted::Stopped if queue::held(&mut tx, EVERY_KIND, name).await?.is_empty() => Phase::Stopped,
            Wanted::Stopped => Phase::Stopping,
        };
        // What keeps the whole entry from working, else what keeps one of its files from being brought (§4.7 44).
        let problem = match entry.problem {
            Some(problem) => Some(problem),
            None => copies::problems(&mut tx, &entry.name, 1).await?.pop().map(|(file, why)| format!("{file}: {why}")),
        };
        let problem = problem.filter(|_| entry.wanted == Wanted::Active);
        Ok(Status { name: name.to_owned(), phase, problem, held: entry.held, time: tx.now() })
    }

    /// Stops an entry; answers when its root is no longer read or written.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is stopped; `Unavailable` when it has not come to rest after half a minute.
    pub async fn stop(&self, caller: &Caller, name: &str) -> Result<Timestamp> {
        may_change(caller)?;
        let inner = &self.inner;
        let wanted = entry_name(name)?;
        let mut tx = inner.catalog.begin("sync.stop").await?;
        // Tasks before the entry, as those who run them lock them. Refusals roll this back.
        let mut holders = stop_tasks(&mut tx, &wanted).await?;
        holders.extend(let_go(&mut tx, &wanted).await?);
        let entry = find_for_update(&mut tx, name).await?;
        if entry.wanted == Wanted::Stopped {
            return Err(Error::conflict(format!("entry {name} is already stopped")));
        }
        entries::set_wanted(&mut tx, &entry.name, Wanted::Stopped).await?;
        entries::set_carrying(&mut tx, &entry.name, false).await?;
        publish(&mut tx, Happened::EntryStopped, name, json!({})).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        inner.wait_for_rest(holders).await?;
        Ok(inner.catalog.now())
    }

    /// Starts an entry; answers when its changes are watched. The scan that finds the earlier ones goes on.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it runs; `Unavailable` when it takes longer than half a minute.
    pub async fn start(&self, caller: &Caller, name: &str) -> Result<Timestamp> {
        may_change(caller)?;
        let inner = &self.inner;
        // An earlier stop may have been given up waiting for.
        let mut tx = inner.catalog.read().await?;
        let entry = find(&mut tx, name).await?;
        let holders = match entry.wanted {
            Wanted::Active => Vec::new(),
            Wanted::Stopped => held_tasks(&mut tx, &entry.name).await?,
        };
        drop(tx);
        inner.wait_for_rest(holders).await?;
        inner.retry_now(&entry.name).await?;
        let mut tx = inner.catalog.begin("sync.start").await?;
        let entry = find_for_update(&mut tx, name).await?;
        if entry.wanted == Wanted::Active {
            return Err(Error::conflict(format!("entry {name} is already running")));
        }
        self.begin_again(&mut tx, &entry).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        inner.wait_for_start(&entry.name).await?;
        Ok(inner.catalog.now())
    }

    /// Stops and starts an entry. With `force`, deletions that waited for a person's word are believed, and a root
    /// that lost its mark is taken for the entry's own.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it does not run, and it stays stopped; `Unavailable` when it takes too long.
    pub async fn restart(&self, caller: &Caller, name: &str, force: bool) -> Result<Timestamp> {
        may_change(caller)?;
        let inner = &self.inner;
        let wanted = entry_name(name)?;
        let mut tx = inner.catalog.begin("sync.restart").await?;
        let holders = stop_tasks(&mut tx, &wanted).await?;
        let entry = find_for_update(&mut tx, name).await?;
        if entry.wanted == Wanted::Stopped {
            return Err(Error::conflict(format!("entry {name} is not running")));
        }
        // While it is stopped none of its tasks gives itself a successor. If we die here, the next start of a node
        // starts it again.
        entries::set_wanted(&mut tx, &entry.name, Wanted::Stopped).await?;
        entries::set_carrying(&mut tx, &entry.name, false).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        inner.wait_for_rest(holders).await?;

        inner.retry_now(&entry.name).await?;
        let mut tx = inner.catalog.begin("sync.restart").await?;
        let entry = find_for_update(&mut tx, name).await?;
        if force {
            release(&mut tx, &entry).await?;
        }
        self.begin_again(&mut tx, &entry).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        inner.wait_for_start(&entry.name).await?;
        Ok(inner.catalog.now())
    }

    /// Gives an entry the tasks that it lacks. One whose options are wrong gets none and says what is wrong (§5).
    pub(super) async fn begin_again(&self, tx: &mut Tx, entry: &Entry) -> Result<()> {
        entries::set_wanted(tx, &entry.name, Wanted::Active).await?;
        self.inner.meters.reset(&entry.name);
        let fault = match self.inner.opened(entry) {
            Ok(options) => options::fault(&entry.driver, &options),
            Err(error) => Some(error.message().to_owned()),
        };
        match fault {
            Some(fault) => {
                stop_tasks(tx, &entry.name).await?;
                entries::set_carrying(tx, &entry.name, false).await?;
                entries::set_problem(tx, &entry.name, Some(&fault)).await?;
            }
            None => {
                give_attendant(tx, &entry.name).await?;
                note_carrier(tx, &entry.name).await?;
            }
        }
        publish(tx, Happened::EntryStarted, entry.name.as_str(), json!({})).await
    }
}

impl Inner {
    /// Makes what failed at an entry due again. Apart from other changes of the entry: judges lock its copies first.
    pub(super) async fn retry_now(&self, name: &EntryName) -> Result<()> {
        let mut tx = self.catalog.begin("sync.retry").await?;
        copies::retry_now(&mut tx, name).await?;
        tx.commit().await
    }
}

/// Lets the next pass believe what it finds, and a root that is another one be claimed.
async fn release(tx: &mut Tx, entry: &Entry) -> Result<()> {
    let word = Held::force(entry.held.as_ref(), tx.now());
    entries::set_held(tx, &entry.name, Some(&word)).await
}

/// Stops all tasks of an entry; says which of them somebody holds.
pub(super) async fn stop_tasks(tx: &mut Tx, name: &EntryName) -> Result<Holders> {
    let held = held_tasks(tx, name).await?;
    queue::stop(tx, EVERY_KIND, name.as_str()).await?;
    Ok(held)
}

async fn held_tasks(tx: &mut Tx, name: &EntryName) -> Result<Holders> {
    let held = queue::held(tx, EVERY_KIND, name.as_str()).await?;
    Ok(held.into_iter().map(|id| (name.to_string(), id)).collect())
}

/// Makes the carriers of all other entries begin again, so that none of them reads from this one any more. A carrier
/// that is asked to stop gives itself a successor.
pub(super) async fn let_go(tx: &mut Tx, name: &EntryName) -> Result<Holders> {
    let mut holders = Vec::new();
    for other in entries::list(tx).await?.into_iter().filter(|other| other.name != *name) {
        let held = queue::held(tx, CARRY, other.name.as_str()).await?;
        if !held.is_empty() {
            queue::stop(tx, CARRY, other.name.as_str()).await?;
            holders.extend(held.into_iter().map(|id| (other.name.to_string(), id)));
        }
    }
    Ok(holders)
}

/// Enqueues an attendant, unless there is one that was not asked to stop.
async fn give_attendant(tx: &mut Tx, name: &EntryName) -> Result<()> {
    let lives = |task: &Task| task.kind == ATTEND && task.state != TaskState::Dead && !task.stop_asked;
    if queue::find_by_subject(tx, name.as_str()).await?.iter().any(lives) {
        return Ok(());
    }
    let task = EntryTask::new_task(ATTEND, name, tx.now());
    queue::enqueue(tx, task).await.map(drop)
}

/// Says whether a carrier lives; if none does, the end of the first scan makes one.
async fn note_carrier(tx: &mut Tx, name: &EntryName) -> Result<()> {
    let lives = |task: &Task| task.kind == CARRY && task.state != TaskState::Dead;
    let carried = queue::find_by_subject(tx, name.as_str()).await?.iter().any(lives);
    entries::set_carrying(tx, name, carried).await
}

pub(super) async fn find(tx: &mut Tx, name: &str) -> Result<Entry> {
    entries::find(tx, &entry_name(name)?).await?.ok_or_else(|| no_such_entry(name))
}

pub(super) async fn find_for_update(tx: &mut Tx, name: &str) -> Result<Entry> {
    entries::find_for_update(tx, &entry_name(name)?).await?.ok_or_else(|| no_such_entry(name))
}
