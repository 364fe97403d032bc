//! Entries that come and go while the node runs, and how far the work at one of them is.

use haulier_access::Caller;
use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::Tx;
use serde_json::json;

use super::entries::{find, let_go, stop_tasks};
use super::ruling::judge_all;
use super::{EntryDocument, Syncs, may_change};
use crate::events::{Happened, publish};
use crate::model::EntryName;
use crate::options;
use crate::progress::Pass;
use crate::setup::{NewEntry, Setup};
use crate::store::{copies, entries, members};

/// How many names that cannot be brought to their state are told.
const PROBLEMS_MAX: i64 = 100;

/// How far the work at an entry is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Its name.
    pub name: String,
    /// Names that are still to be fetched, deleted or touched here.
    pub files_left: u64,
    /// Bytes that are still to be fetched.
    pub bytes_left: u64,
    /// Whether the scan that follows a start is over.
    pub scanned: bool,
    /// When the last whole scan ended.
    pub scanned_at: Option<Timestamp>,
    /// Since when changes are watched.
    pub attended_at: Option<Timestamp>,
    /// The scan under way, if one is in this process.
    pub(crate) pass: Option<Pass>,
    /// Names that could not be brought to their state so far, and why.
    pub problems: Vec<(String, String)>,
}

impl Syncs {
    /// Adds an entry and starts it.
    ///
    /// # Errors
    /// `Invalid` when it could never start, or its root meets another one; `Conflict` when the name is taken.
    pub async fn add_entry(&self, caller: &Caller, new: NewEntry) -> Result<EntryDocument> {
        may_change(caller)?;
        options::check(&new.driver, &new.options)?;
        let inner = &self.inner;
        let mut tx = inner.catalog.read().await?;
        let present = entries::list(&mut tx).await?;
        drop(tx);
        if present.iter().any(|entry| entry.name == new.name) {
            return Err(Error::conflict(format!("entry {} is there already", new.name)));
        }
        let all = present.iter().map(|entry| NewEntry {
            name: entry.name.clone(),
            driver: entry.driver.clone(),
            options: entry.options.clone(),
        });
        let setup = Setup { entries: all.chain([new.clone()]).collect(), ..Setup::default() };
        self.refuse_nested(&setup, &[])?;
        let sealed = self.sealed(&new).await?;

        let mut tx = inner.catalog.begin("sync.add_entry").await?;
        let position = entries::list(&mut tx).await?.last().map_or(0, |last| last.position + 1);
        super::beginning::define(&mut tx, position, &new, &sealed, false).await?;
        let entry = find(&mut tx, new.name.as_str()).await?;
        self.begin_again(&mut tx, &entry).await?;
        judge_all(&mut tx).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        inner.wait_for_start(&new.name).await?;
        self.entry(caller, new.name.as_str()).await
    }

    /// Forgets an entry; its files stay. Versions that only it holds are forgotten with it, so without `force` it is
    /// refused while there are any that others wait for.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when a configuration brought it, or others wait for its versions.
    pub async fn remove_entry(&self, caller: &Caller, name: &str, force: bool) -> Result<()> {
        may_change(caller)?;
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("sync.remove_entry").await?;
        let entry = find(&mut tx, name).await?;
        if entry.configured {
            return Err(Error::conflict(format!("entry {name} is in the configuration; remove it there")));
        }
        let waiting = members::count_only_at(&mut tx, &entry.name).await?;
        if waiting > 0 && !force {
            return Err(Error::conflict(format!(
                "others still wait for {waiting} files that only entry {name} has; let them arrive, or use force"
            )));
        }
        let mut holders = stop_tasks(&mut tx, &entry.name).await?;
        holders.extend(let_go(&mut tx, &entry.name).await?);
        self.forget(&mut tx, &entry.name).await?;
        judge_all(&mut tx).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        inner.wait_for_rest(holders).await
    }

    /// Takes an entry out of all tables. Files whose current version nobody else has are forgotten whole: what others
    /// have under their names is found by their next scan, as new.
    pub(super) async fn forget(&self, tx: &mut Tx, name: &EntryName) -> Result<()> {
        stop_tasks(tx, name).await?;
        members::forget(tx, name).await?;
        entries::delete(tx, name).await?;
        self.inner.meters.reset(name);
        publish(tx, Happened::EntryRemoved, name.as_str(), json!({})).await
    }

    /// How far the work at an entry is.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name.
    pub async fn progress(&self, _caller: &Caller, name: &str) -> Result<Progress> {
        let mut tx = self.inner.catalog.read().await?;
        let entry = find(&mut tx, name).await?;
        let totals = copies::totals(&mut tx, &entry.name).await?;
        let problems = copies::problems(&mut tx, &entry.name, PROBLEMS_MAX).await?;
        Ok(Progress {
            name: name.to_owned(),
            files_left: u64::try_from(totals.files).unwrap_or(0),
            bytes_left: u64::try_from(totals.bytes).unwrap_or(0),
            scanned: entry.is_ready(),
            scanned_at: entry.scanned_at,
            attended_at: entry.attended_at,
            pass: self.inner.passes.of(&entry.name),
            problems: problems.into_iter().map(|(name, why)| (name.to_string(), why)).collect(),
        })
    }
}
