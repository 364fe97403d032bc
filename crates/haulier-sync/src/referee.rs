//! A stand-in until the referee is merged: judges by rules that match everything. Not for shipping.

use std::collections::{BTreeMap, BTreeSet};

use haulier_base::{ErrorKind, Result};
use haulier_catalog::{Catalog, Tx, queue};
use haulier_work::TaskContext;

use crate::carry::Done;
use crate::model::{EntryName, Fid, FileName, FileState, Observation, Owners, Subject};
use crate::plan::{ConflictPolicy, Law, Verdict, carried, observe};
use crate::store::files::{self, Change, Hold};
use crate::store::{conflicts, entries, kept, rules};
use crate::tasks::{CARRY, EntryTask};

#[derive(Clone, Debug)]
pub(crate) struct Referee {
    catalog: Catalog,
    policy: ConflictPolicy,
}

#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) look_again: Vec<FileName>,
    pub(crate) read_first: Vec<(EntryName, FileName)>,
}

struct Everything(BTreeSet<EntryName>);

impl Owners for Everything {
    fn owners(&self, from: &EntryName, _file: Subject<'_>) -> BTreeSet<EntryName> {
        let mut owners = self.0.clone();
        owners.insert(from.clone());
        owners
    }
}

impl Referee {
    pub(crate) fn new(catalog: Catalog, policy: ConflictPolicy) -> Self {
        Self { catalog, policy }
    }

    pub(crate) async fn observe(
        &self,
        ctx: &TaskContext,
        at: &EntryName,
        observations: &[Observation],
    ) -> Result<Asked> {
        loop {
            let names = observations.iter().map(|observation| observation.name.clone()).collect();
            let judged = self
                .judge(ctx, names, &[], |state, name, law| {
                    let observation = observations.iter().find(|observation| observation.name == *name);
                    observation.map_or(Verdict::Unchanged, |seen| {
                        observe(state, name, at, &seen.seen, seen.known.as_ref(), law)
                    })
                })
                .await;
            match judged {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                judged => return judged,
            }
        }
    }

    pub(crate) async fn carried(&self, ctx: &TaskContext, at: &EntryName, done: &[Done]) -> Result<Vec<FileName>> {
        let names = done.iter().map(|done| done.name.clone()).collect();
        let asked = self
            .judge(ctx, names, done, |state, name, law| {
                let done = done.iter().find(|done| done.name == *name);
                done.map_or(Verdict::Unchanged, |done| {
                    carried(state, name, at, done.known.as_ref(), &done.outcome, law)
                })
            })
            .await?;
        Ok(asked.look_again)
    }

    async fn judge(
        &self,
        ctx: &TaskContext,
        names: BTreeSet<FileName>,
        done: &[Done],
        verdict: impl Fn(&FileState, &FileName, &Law<'_>) -> Verdict,
    ) -> Result<Asked> {
        let mut tx = ctx.begin("sync.judge").await?;
        let lists = rules::find(&mut tx).await?;
        let named = lists.iter().flat_map(|lists| lists.applied.as_array().cloned().unwrap_or_default());
        let all = Everything(
            named
                .flat_map(|rule| rule["sync"].as_array().cloned().unwrap_or_default())
                .filter_map(|name| EntryName::new(name.as_str()?).ok())
                .collect(),
        );
        let (active, known) = (entries::active(&mut tx).await?, entries::list(&mut tx).await?);
        let known = known.into_iter().map(|entry| entry.name).collect();
        let mut states: BTreeMap<Fid, FileState> = files::load(&mut tx, &names, Hold::Yes).await?;
        let verdicts: Vec<_> = {
            let law = Law { rules: &all, entries: &known, active: &active, policy: self.policy, now: tx.now() };
            let judge = |name: FileName| {
                let before = states.remove(&name.fid()).unwrap_or_default();
                let verdict = verdict(&before, &name, &law);
                (name, before, verdict)
            };
            names.into_iter().map(judge).collect()
        };
        let (mut asked, mut changes, mut work) = (Asked::default(), Vec::new(), BTreeSet::new());
        for (name, before, verdict) in verdicts {
            match verdict {
                Verdict::Unchanged => {}
                Verdict::Stale => asked.look_again.push(name),
                Verdict::NeedsContent(entry) => asked.read_first.push((entry, name)),
                Verdict::Decided(decision) => {
                    let pending = decision.state.copies.iter().filter(|(_, copy)| copy.pending.is_some());
                    work.extend(pending.map(|(entry, _)| entry.clone()));
                    if let Some(conflict) = &decision.conflict {
                        conflicts::insert(&mut tx, &name, conflict).await?;
                    }
                    changes.push(Change { fid: name.fid(), before, after: decision.state });
                }
            }
        }
        files::save(&mut tx, &changes).await?;
        for row in done.iter().filter_map(|done| done.kept.as_ref()) {
            kept::insert(&mut tx, row).await?;
        }
        wake(&mut tx, &work).await?;
        tx.commit().await?;
        self.catalog.wake_workers();
        Ok(asked)
    }
}

async fn wake(tx: &mut Tx, work: &BTreeSet<EntryName>) -> Result<()> {
    let now = tx.now();
    for entry in entries::hold(tx, work).await? {
        if !entry.carrying && entry.is_ready() {
            queue::enqueue(tx, EntryTask::new_task(CARRY, &entry.name, now)).await?;
            entries::set_carrying(tx, &entry.name, true).await?;
        }
    }
    Ok(())
}
