//! Writes what was decided: rows, conflicts, events, and work for the entries' carriers.

use std::collections::BTreeSet;

use haulier_base::Result;
use haulier_catalog::{Tx, queue};

use super::events;
use crate::model::{EntryName, Fid, FileName, FileState};
use crate::plan::{Became, Conflict, Decision, free_conflict_name};
use crate::store::files::{self, Change};
use crate::store::{conflicts, entries};
use crate::tasks::{CARRY, EntryTask};

/// What was decided in one transaction.
#[derive(Debug, Default)]
pub(super) struct Judged {
    changes: Vec<Change>,
    pub(super) became: Vec<(FileName, Fid, Became)>,
    pub(super) conflicts: Vec<(FileName, Conflict)>,
}

impl Judged {
    pub(super) fn add(&mut self, fid: Fid, name: &FileName, before: FileState, decision: Decision) {
        self.became.push((name.clone(), fid.clone(), decision.became));
        self.conflicts.extend(decision.conflict.map(|conflict| (name.clone(), conflict)));
        self.changes.push(Change { fid, before, after: decision.state });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.conflicts.is_empty()
    }

    /// Writes it all. Files are held by now; the entries that get work are held from here to the commit.
    pub(super) async fn write(self, tx: &mut Tx, at: &EntryName) -> Result<()> {
        events::publish(tx, at, &self).await?;
        self.write_anew(tx).await
    }

    /// As [`Judged::write`], without a word of the files: they have the versions they had.
    pub(super) async fn write_anew(mut self, tx: &mut Tx) -> Result<()> {
        for change in &mut self.changes {
            choose_free_names(tx, change).await?;
        }
        for (name, conflict) in &self.conflicts {
            conflicts::insert(tx, name, conflict).await?;
        }
        files::save(tx, &self.changes).await?;
        let work = self.changes.iter().flat_map(given).collect();
        wake(tx, &work).await
    }
}

/// The entries that got other work than they had.
fn given(change: &Change) -> Vec<EntryName> {
    let number = |state: &FileState| state.record.as_ref().map(|record| record.number);
    let renewed = number(&change.before) != number(&change.after);
    let is_new = |entry: &EntryName| renewed || change.before.copies.get(entry) != change.after.copies.get(entry);
    let pending = change.after.copies.iter().filter(|(_, copy)| copy.pending.is_some());
    pending.filter(|(entry, _)| is_new(entry)).map(|(entry, _)| entry.clone()).collect()
}

/// Sees to it that what is set aside gets a name that no file has.
async fn choose_free_names(tx: &mut Tx, change: &mut Change) -> Result<()> {
    let Change { before, after, .. } = change;
    let Some(record) = &after.record else { return Ok(()) };
    for (entry, copy) in &mut after.copies {
        let earlier = before.copies.get(entry).and_then(|copy| copy.aside.as_ref());
        let Some(aside) = copy.aside.clone().filter(|aside| Some(aside) != earlier) else { continue };
        let (mut free, mut taken) = (aside, BTreeSet::new());
        while files::find(tx, &free.fid()).await?.is_some() {
            taken.insert(free);
            free = free_conflict_name(&record.name, entry, tx.now(), |name| taken.contains(name));
        }
        copy.aside = Some(free);
    }
    Ok(())
}

/// Gives entries with work a carrier, unless they have one or are not to be worked at yet.
pub(super) async fn wake(tx: &mut Tx, work: &BTreeSet<EntryName>) -> Result<()> {
    let now = tx.now();
    for entry in entries::hold(tx, work).await? {
        if entry.is_ready() && !entry.carrying {
            queue::enqueue(tx, EntryTask::new_task(CARRY, &entry.name, now)).await?;
            entries::set_carrying(tx, &entry.name, true).await?;
        }
    }
    Ok(())
}
