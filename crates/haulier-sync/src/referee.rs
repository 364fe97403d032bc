//! Stand-in until the referee is merged: judges one batch in one transaction, and gives work to carriers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use haulier_base::Result;
use haulier_catalog::{Tx, queue};
use haulier_work::TaskContext;

use crate::carry::Done;
use crate::model::{EntryName, FileName, FileState, Observation, Owners, Subject};
use crate::plan::{self, ConflictPolicy, Law, Verdict};
use crate::store::files::{self, Change, Hold};
use crate::store::{entries, kept};
use crate::tasks::{CARRY, EntryTask};

#[derive(Clone)]
pub(crate) struct Referee(pub(crate) Arc<dyn Owners + Send + Sync>);

impl fmt::Debug for Referee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Referee")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) look_again: Vec<FileName>,
    pub(crate) read_first: Vec<(EntryName, FileName)>,
}

impl Referee {
    pub(crate) async fn observe(&self, ctx: &TaskContext, at: &EntryName, seen: &[Observation]) -> Result<Asked> {
        let names = seen.iter().map(|one| one.name.clone()).collect();
        self.judge(ctx, names, |tx_state, law, index| {
            let one = &seen[index];
            (one.name.clone(), plan::observe(tx_state, &one.name, at, &one.seen, one.known.as_ref(), law))
        })
        .await
    }

    pub(crate) async fn carried(&self, ctx: &TaskContext, at: &EntryName, done: &[Done]) -> Result<Vec<FileName>> {
        let names = done.iter().map(|one| one.name.clone()).collect();
        let asked = self
            .judge(ctx, names, |state, law, index| {
                let one = &done[index];
                (one.name.clone(), plan::carried(state, &one.name, at, one.known.as_ref(), &one.outcome, law))
            })
            .await?;
        let mut tx = ctx.begin("test.kept").await?;
        for row in done.iter().filter_map(|one| one.kept.as_ref()) {
            kept::insert(&mut tx, row).await?;
        }
        tx.commit().await?;
        Ok(asked.look_again)
    }

    async fn judge(
        &self,
        ctx: &TaskContext,
        names: Vec<FileName>,
        judge: impl Fn(&FileState, &Law<'_>, usize) -> (FileName, Verdict),
    ) -> Result<Asked> {
        let mut tx = ctx.begin("test.judge").await?;
        let mut asked = Asked::default();
        let mut states = files::load(&mut tx, &names.iter().cloned().collect(), Hold::Yes).await?;
        let all: BTreeSet<_> = entries::list(&mut tx).await?.into_iter().map(|entry| entry.name).collect();
        let active = entries::active(&mut tx).await?;
        let (mut changes, mut busy) = (Vec::new(), BTreeSet::new());
        for index in 0..names.len() {
            let law = Law {
                rules: &*self.0,
                entries: &all,
                active: &active,
                policy: ConflictPolicy::KeepBoth,
                now: tx.now(),
            };
            let fid = names[index].fid();
            let before = states.get(&fid).cloned().unwrap_or_default();
            match judge(&before, &law, index) {
                (_, Verdict::Decided(decision)) => {
                    let after = decision.state;
                    busy.extend(after.copies.iter().filter(|(_, c)| c.pending.is_some()).map(|(e, _)| e.clone()));
                    states.insert(fid.clone(), after.clone());
                    changes.push(Change { fid, before, after });
                }
                (_, Verdict::Unchanged) => {}
                (name, Verdict::NeedsContent(holder)) => asked.read_first.push((holder, name)),
                (name, Verdict::Stale) => asked.look_again.push(name),
            }
        }
        files::save(&mut tx, &changes).await?;
        wake(&mut tx, &busy).await?;
        tx.commit().await?;
        Ok(asked)
    }
}

async fn wake(tx: &mut Tx, busy: &BTreeSet<EntryName>) -> Result<()> {
    for entry in entries::hold(tx, busy).await?.into_iter().filter(|entry| !entry.carrying && entry.is_ready()) {
        let now = tx.now();
        queue::enqueue(tx, EntryTask::new_task(CARRY, &entry.name, now)).await?;
        entries::set_carrying(tx, &entry.name, true).await?;
    }
    Ok(())
}

/// Every file belongs everywhere.
#[derive(Debug)]
pub(crate) struct Everywhere(pub(crate) BTreeSet<EntryName>);

impl Owners for Everywhere {
    fn owners(&self, _from: &EntryName, _file: Subject<'_>) -> BTreeSet<EntryName> {
        self.0.clone()
    }
}
