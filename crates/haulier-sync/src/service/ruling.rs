//! The rules: put, put in force, tried out and explained (§3.4).

use std::collections::BTreeSet;

use haulier_access::Caller;
use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::{Tx, queue};
use serde_json::{Value, json};

use super::{Syncs, entry_name, may_change};
use crate::events::{Happened, publish};
use crate::model::{EntryName, Fid, FileName, FileState, Owners, Subject};
use crate::rules::{RuleSet, Step};
use crate::store::entries;
use crate::store::files::{self, Hold};
use crate::store::rules::{self, RuleLists};
use crate::tasks::{JUDGE, JudgeTask};

/// How many files are looked at in one transaction.
const PAGE: i64 = 500;

/// What other rules would do, or what they began to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Copies that would be made.
    pub copies: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Copies that would be deleted: never any, because a rule deletes nothing.
    pub deletes: u64,
    /// Copies that would stay where they are and not be updated any more.
    pub released: u64,
}

/// Why a file belongs where it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The name that was asked about.
    pub filename: String,
    /// The entry that its change is thought to come from.
    pub from: String,
    /// What the type is taken for.
    pub mimetype: String,
    /// Whether the rules asked are those in force, and not only stored.
    pub in_force: bool,
    /// Rule by rule.
    pub steps: Vec<Step>,
    /// The rules themselves, in the same order.
    pub rules: Vec<Value>,
    /// Who would own it.
    pub owners: BTreeSet<EntryName>,
}

impl Syncs {
    /// The rules as they were put; they need not be in force.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn rules(&self, _caller: &Caller) -> Result<Value> {
        let mut tx = self.inner.catalog.read().await?;
        Ok(rules::find(&mut tx).await?.map_or_else(|| json!([]), |lists| lists.stored))
    }

    /// Stores a list of rules; it is not in force until [`Syncs::reload_rules`].
    ///
    /// # Errors
    /// `Invalid` with the place of the first fault; then nothing changes.
    pub async fn put_rules(&self, caller: &Caller, list: Value) -> Result<()> {
        may_change(caller)?;
        let mut tx = self.inner.catalog.begin("sync.put_rules").await?;
        RuleSet::read(&list, Some(&known(&mut tx).await?))?;
        let mut lists = lists(&mut tx).await?;
        lists.stored = list;
        let count = lists.stored.as_array().map_or(0, Vec::len);
        rules::put(&mut tx, &lists).await?;
        publish(&mut tx, Happened::RulesStored, "rules", json!({ "rules": count })).await?;
        tx.commit().await
    }

    /// Puts the stored rules in force; the copying it causes goes on in the background.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn reload_rules(&self, caller: &Caller) -> Result<()> {
        may_change(caller)?;
        let mut tx = self.inner.catalog.begin("sync.reload_rules").await?;
        let mut lists = lists(&mut tx).await?;
        if lists.stored == lists.applied {
            return Ok(());
        }
        lists.applied = lists.stored.clone();
        lists.changed_at = later(lists.changed_at, tx.now());
        rules::put(&mut tx, &lists).await?;
        judge_all(&mut tx).await?;
        let count = lists.applied.as_array().map_or(0, Vec::len);
        publish(&mut tx, Happened::RulesApplied, "rules", json!({ "rules": count })).await?;
        tx.commit().await?;
        self.inner.catalog.wake_workers();
        Ok(())
    }

    /// What a list of rules would do if it were put and reloaded now; the stored list when none is given.
    ///
    /// # Errors
    /// `Invalid` with the place of the first fault.
    pub async fn try_rules(&self, _caller: &Caller, list: Option<Value>) -> Result<Effect> {
        let mut tx = self.inner.catalog.read().await?;
        let known = known(&mut tx).await?;
        let rules = match list {
            Some(list) => RuleSet::read(&list, Some(&known))?,
            None => RuleSet::read(&lists(&mut tx).await?.stored, None)?,
        };
        drop(tx);
        let (mut effect, mut after) = (Effect::default(), None::<Fid>);
        loop {
            // Page by page, so that nobody waits for a long transaction; what changes meanwhile may be missed.
            let mut tx = self.inner.catalog.read().await?;
            let page = files::page_after(&mut tx, after.as_ref(), PAGE, Hold::No).await?;
            drop(tx);
            for (_, state) in &page {
                effect.add(state, &rules, &known);
            }
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Ok(effect),
            }
        }
    }

    /// Which rules decide about a name, and why. What is not given is taken from the file, if it is known.
    ///
    /// # Errors
    /// `Invalid` when it is no name of a file; `NotFound` when there is no such entry.
    pub async fn explain(
        &self,
        _caller: &Caller,
        name: &str,
        from: Option<&str>,
        size_bytes: Option<u64>,
        in_force: bool,
    ) -> Result<Explanation> {
        let name = FileName::new(name.trim_start_matches('/'))?;
        let mut tx = self.inner.catalog.read().await?;
        let lists = lists(&mut tx).await?;
        let record = files::find(&mut tx, &name.fid()).await?.and_then(|state| state.record);
        let known = known(&mut tx).await?;
        let from = match from {
            Some(from) => entry_name(from)?,
            None => match (&record, known.iter().next()) {
                (Some(record), _) => record.origin.clone(),
                (None, Some(first)) => first.clone(),
                (None, None) => return Err(Error::invalid("there are no entries, so that no rule can send a file")),
            },
        };
        if !known.contains(&from) {
            return Err(super::no_such_entry(from.as_str()));
        }
        let list = if in_force { lists.applied } else { lists.stored };
        let rules = RuleSet::read(&list, None)?;
        let subject = Subject {
            name: &name,
            size_bytes: size_bytes.or(record.as_ref().map(|record| record.size_bytes)).unwrap_or(0),
            modified_at: record.as_ref().and_then(|record| record.attributes.modified_at),
            kind: record.as_ref().and_then(|record| record.kind.as_deref()),
        };
        let mut owners = rules.owners(&from, subject);
        owners.retain(|owner| known.contains(owner));
        Ok(Explanation {
            filename: name.to_string(),
            from: from.to_string(),
            mimetype: crate::mime::kind_of(name.as_str(), subject.kind).to_owned(),
            in_force,
            steps: rules.explain(&from, subject),
            rules: list.as_array().cloned().unwrap_or_default(),
            owners,
        })
    }
}

impl Effect {
    fn add(&mut self, state: &FileState, rules: &RuleSet, known: &BTreeSet<EntryName>) {
        let Some(record) = state.record.as_ref().filter(|record| !record.deleted) else { return };
        let mut owners = rules.owners(&record.origin, Subject::of(record));
        owners.retain(|owner| known.contains(owner));
        let holders: BTreeSet<_> = state.holders().cloned().collect();
        // A file must not become unreachable (§3.4 6).
        if owners.is_disjoint(&holders) {
            owners.extend(state.copies.keys().filter(|entry| state.is_up_to_date(entry)).cloned());
        }
        let is_owner = |entry: &EntryName| state.copies.get(entry).is_some_and(|copy| copy.owner);
        let new = owners.iter().filter(|owner| !is_owner(owner) && !holders.contains(*owner)).count() as u64;
        self.copies += new;
        self.bytes += new * record.size_bytes;
        self.released +=
            state.copies.iter().filter(|(entry, copy)| copy.owner && !owners.contains(*entry)).count() as u64;
    }
}

/// The rules; empty lists before any were given.
pub(super) async fn lists(tx: &mut Tx) -> Result<RuleLists> {
    let none = || RuleLists {
        stored: json!([]),
        applied: json!([]),
        configured: json!([]),
        changed_at: Timestamp::from_micros(0),
    };
    Ok(rules::find(tx).await?.unwrap_or_else(none))
}

/// An instant that is surely another one, also when the clock stands still or goes back.
pub(super) fn later(than: Timestamp, now: Timestamp) -> Timestamp {
    now.max(Timestamp::from_micros(than.as_micros() + 1))
}

/// Has every known file judged anew, from the beginning.
pub(super) async fn judge_all(tx: &mut Tx) -> Result<()> {
    queue::stop(tx, JUDGE, JudgeTask::SUBJECT).await?;
    let task = JudgeTask::default().new_task(tx.now());
    queue::enqueue(tx, task).await.map(drop)
}

async fn known(tx: &mut Tx) -> Result<BTreeSet<EntryName>> {
    Ok(entries::list(tx).await?.into_iter().map(|entry| entry.name).collect())
}
