//! What a configuration says of sync becomes what is, at each start of a node (§3.4 7, §4.6 39, §6).

use std::collections::BTreeMap;
use std::time::Duration;

use haulier_base::{Backoff, Error, ErrorKind, Result};
use haulier_catalog::{Tx, queue};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::ruling::{judge_all, later, lists};
use super::{Syncs, place_of};
use crate::events::{Happened, publish};
use crate::model::EntryName;
use crate::options;
use crate::roots::Place;
use crate::setup::{NewEntry, Setup};
use crate::store::entries::{self, Entry, Wanted};
use crate::store::rules;
use crate::tasks::{ATTEND, prune_task};

/// Between two tries of a start that met others at work.
const AGAIN: Backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(1), attempts: 5 };

impl Syncs {
    /// Makes the catalogue's entries and rules those of a configuration, and starts all entries.
    ///
    /// Entries that were added through the API stay. Entries that the configuration had and has no longer are
    /// forgotten; their files stay. Rules put through the API stay in force until the configuration's rules change.
    ///
    /// # Errors
    /// `Invalid` when the rules are wrong, or two roots lie in one another.
    pub async fn begin(&self, setup: Setup) -> Result<()> {
        setup.check()?;
        let inner = &self.inner;
        let mut tx = inner.catalog.read().await?;
        let present = entries::list(&mut tx).await?;
        drop(tx);
        self.refuse_nested(&setup, &present)?;
        let mut sealed = BTreeMap::new();
        for entry in &setup.entries {
            sealed.insert(entry.name.clone(), self.sealed(entry).await?);
        }
        let mut failed = 0;
        loop {
            let begun = self.begin_once(&setup, &sealed).await;
            let Err(error) = begun else { return Ok(()) };
            failed += 1;
            // Whoever was at these entries or their tasks at the same moment is done in a moment.
            let Some(wait) = AGAIN.wait(failed, 0.0).filter(|_| error.is_temporary()) else { return Err(error) };
            tracing::debug!(error.chain = ?error, "what the configuration says of sync is begun again: {error}");
            sleep(wait).await;
        }
    }

    async fn begin_once(&self, setup: &Setup, sealed: &BTreeMap<EntryName, Value>) -> Result<()> {
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("sync.begin").await?;
        let mut changed = self.forget_unconfigured(&mut tx, setup).await?;
        for (position, entry) in (0..).zip(&setup.entries) {
            changed |= define(&mut tx, position, entry, &sealed[&entry.name], true).await?;
        }
        for entry in entries::list(&mut tx).await? {
            // An entry that another process of this catalogue attends is left to it.
            if entry.wanted == Wanted::Stopped || queue::held(&mut tx, ATTEND, entry.name.as_str()).await?.is_empty() {
                self.begin_again(&mut tx, &entry).await?;
            }
        }
        begin_rules(&mut tx, setup.rules.clone(), changed).await?;
        // Its task gives way to its successor when it ends, also when it is another node's, or a dead one's.
        if queue::find_by_subject(&mut tx, crate::tasks::PRUNE).await?.is_empty() {
            let prune = prune_task(tx.now());
            queue::enqueue(&mut tx, prune).await?;
        }
        tx.commit().await?;
        inner.catalog.wake_workers();
        Ok(())
    }

    /// Refuses entries of which one lies in another, or in what is the node's own.
    pub(super) fn refuse_nested(&self, setup: &Setup, present: &[Entry]) -> Result<()> {
        let of = |name: &EntryName, driver: &str, options: &Value| Place::of(format!("entry {name}"), driver, options);
        let configured = |name: &EntryName| setup.entries.iter().any(|entry| entry.name == *name);
        let mut places: Vec<_> =
            self.inner.own_folders.iter().map(|folder| Place::local("the node's data folder", folder)).collect();
        let added = present.iter().filter(|entry| !entry.configured && !configured(&entry.name));
        places.extend(added.filter_map(|entry| of(&entry.name, &entry.driver, &entry.options)));
        places.extend(setup.entries.iter().filter_map(|entry| of(&entry.name, &entry.driver, &entry.options)));
        Place::refuse_nested(&places)
    }

    /// The options with their secrets sealed.
    pub(super) async fn sealed(&self, entry: &NewEntry) -> Result<Value> {
        let seal =
            |act: &mut dyn FnMut(&Value) -> Result<Value>| options::map_secrets(&entry.driver, &entry.options, act);
        self.inner.locations.seal_by(&place_of(&entry.name), seal).await
    }

    async fn forget_unconfigured(&self, tx: &mut Tx, setup: &Setup) -> Result<bool> {
        let mut any = false;
        for entry in entries::list(tx).await? {
            if entry.configured && !setup.entries.iter().any(|one| one.name == entry.name) {
                self.forget(tx, &entry.name).await?;
                any = true;
            }
        }
        Ok(any)
    }
}

/// Writes what an entry is; says whether it is new.
pub(super) async fn define(
    tx: &mut Tx,
    position: i64,
    new: &NewEntry,
    sealed: &Value,
    configured: bool,
) -> Result<bool> {
    if let Some(before) = entries::find(tx, &new.name).await? {
        entries::set_definition(tx, &new.name, position, &new.driver, sealed, configured).await?;
        return Ok(before.driver != new.driver);
    }
    let entry = Entry {
        name: new.name.clone(),
        position,
        driver: new.driver.clone(),
        options: sealed.clone(),
        configured,
        wanted: Wanted::Stopped,
        started_at: None,
        attended_at: None,
        scanned_at: None,
        root_id: None,
        held: None,
        problem: None,
        problem_at: None,
        carrying: false,
        created_at: tx.now(),
    };
    entries::insert(tx, &entry).await.map_err(|error| match error.kind() {
        ErrorKind::Conflict => Error::conflict(format!("entry {} is there already", new.name)),
        _ => error,
    })?;
    publish(tx, Happened::EntryAdded, new.name.as_str(), json!({ "driver": new.driver })).await?;
    Ok(true)
}

/// At start the stored rules are in force; those of the configuration replace them when they are others than last time.
async fn begin_rules(tx: &mut Tx, configured: Option<Value>, entries_changed: bool) -> Result<()> {
    let mut lists = lists(tx).await?;
    let before = lists.applied.clone();
    let given = configured.unwrap_or_else(|| json!([]));
    if given != lists.configured {
        lists.stored = given.clone();
        lists.configured = given;
    }
    lists.applied = lists.stored.clone();
    let changed = lists.applied != before;
    if changed {
        lists.changed_at = later(lists.changed_at, tx.now());
        let count = lists.applied.as_array().map_or(0, Vec::len);
        publish(tx, Happened::RulesApplied, "rules", json!({ "rules": count })).await?;
    }
    rules::put(tx, &lists).await?;
    if changed || entries_changed { judge_all(tx).await } else { Ok(()) }
}
