//! The referee: turns what was seen and what was done into what is known and what is to be done, in one transaction.
//!
//! Knows no storage. What follows from what is `plan.rs`'s to say; here are the rows, the locks and the events.

mod anew;
mod events;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use haulier_base::{Error, ErrorKind, Result, Timestamp};
use haulier_catalog::{Catalog, Tx};
use haulier_work::TaskContext;

use crate::carry::Done;
use crate::model::{EntryName, FileName, FileState, Observation};
use crate::plan::{ConflictPolicy, Law, Verdict, carried, observe};
use crate::rules::RuleSet;
use crate::store::files::{self, Hold};
use crate::store::{entries, kept, rules};

pub(crate) use anew::Judge;
use write::Judged;

/// How many names are judged in one transaction.
const BATCH: usize = 200;
/// How often a batch is judged again when somebody was faster. Two that collide once hardly collide again.
const TRIES_MAX: u32 = 10;

/// Judges for one node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Referee(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    policy: ConflictPolicy,
    /// The rules in force as last read, and since when they are.
    rules: Mutex<Option<(Timestamp, Arc<RuleSet>)>>,
}

impl fmt::Debug for Referee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Referee").field("policy", &self.0.policy).finish_non_exhaustive()
    }
}

/// What has to be looked at before a judgement is possible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Names where the index moved on after the look: look again.
    pub(crate) look_again: Vec<FileName>,
    /// Copies to be read first, at any entry; then the name has to be looked at again.
    pub(crate) read_first: Vec<(EntryName, FileName)>,
}

/// The law as of one transaction.
struct InForce {
    rules: Arc<RuleSet>,
    entries: BTreeSet<EntryName>,
    active: BTreeSet<EntryName>,
    policy: ConflictPolicy,
    now: Timestamp,
}

impl InForce {
    fn law(&self) -> Law<'_> {
        Law { rules: &*self.rules, entries: &self.entries, active: &self.active, policy: self.policy, now: self.now }
    }
}

impl Referee {
    pub(crate) fn new(catalog: Catalog, policy: ConflictPolicy) -> Self {
        Self(Arc::new(Inner { catalog, policy, rules: Mutex::new(None) }))
    }

    /// Judges what was seen at an entry, and gives the entries their work. The last sight of a name counts.
    ///
    /// # Errors
    /// `NotFound` when there is no such entry; `LostLease` when the task is not ours any more; `Unavailable` when the
    /// catalogue is too busy. What was judged before the error stays judged.
    pub(crate) async fn observe(
        &self,
        ctx: &TaskContext,
        at: &EntryName,
        observations: &[Observation],
    ) -> Result<Asked> {
        let mut asked = Asked::default();
        for batch in observations.chunks(BATCH) {
            let seen: BTreeMap<_, _> = batch.iter().map(|observation| (&observation.name, observation)).collect();
            let names: BTreeSet<_> = seen.keys().copied().cloned().collect();
            let verdict = |before: &FileState, name: &FileName, law: &Law<'_>| match seen.get(name) {
                Some(sight) => observe(before, name, at, &sight.seen, sight.known.as_ref(), law),
                None => Verdict::Unchanged,
            };
            let more = self.judge(ctx, at, &names, &[], &verdict).await?;
            asked.look_again.extend(more.look_again);
            asked.read_first.extend(more.read_first);
        }
        Ok(asked)
    }

    /// Records what a carrier did at an entry; gives back the names that have to be looked at again.
    ///
    /// # Errors
    /// As for [`Referee::observe`].
    pub(crate) async fn carried(&self, ctx: &TaskContext, at: &EntryName, done: &[Done]) -> Result<Vec<FileName>> {
        let mut look_again = Vec::new();
        for batch in done.chunks(BATCH) {
            let by_name: BTreeMap<_, _> = batch.iter().map(|done| (&done.name, done)).collect();
            let names: BTreeSet<_> = by_name.keys().copied().cloned().collect();
            let verdict = |before: &FileState, name: &FileName, law: &Law<'_>| match by_name.get(name) {
                Some(done) => carried(before, name, at, done.known.as_ref(), &done.outcome, law),
                None => Verdict::Unchanged,
            };
            let asked = self.judge(ctx, at, &names, batch, &verdict).await?;
            look_again.extend(asked.look_again);
        }
        Ok(look_again)
    }

    async fn judge(
        &self,
        ctx: &TaskContext,
        at: &EntryName,
        names: &BTreeSet<FileName>,
        done: &[Done],
        verdict: &(dyn Fn(&FileState, &FileName, &Law<'_>) -> Verdict + Sync),
    ) -> Result<Asked> {
        for _ in 1..TRIES_MAX {
            match self.judge_once(ctx, at, names, done, verdict).await {
                // Somebody else recorded one of these names first, or holds rows in another order than we do.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable) => {
                    tracing::debug!(entry = %at, ?error, "judging again at {at}: {error}");
                }
                judged => return judged,
            }
        }
        self.judge_once(ctx, at, names, done, verdict).await
    }

    async fn judge_once(
        &self,
        ctx: &TaskContext,
        at: &EntryName,
        names: &BTreeSet<FileName>,
        done: &[Done],
        verdict: &(dyn Fn(&FileState, &FileName, &Law<'_>) -> Verdict + Sync),
    ) -> Result<Asked> {
        let mut tx = ctx.begin("sync.judge").await?;
        let in_force = self.in_force(&mut tx).await?;
        if !in_force.entries.contains(at) {
            return Err(Error::not_found(format!("entry {at} not found")));
        }
        let mut states = files::load(&mut tx, names, Hold::Yes).await?;
        let mut asked = Asked::default();
        let mut judged = Judged::default();
        for name in names {
            let fid = name.fid();
            let before = states.remove(&fid).unwrap_or_default();
            match verdict(&before, name, &in_force.law()) {
                Verdict::Unchanged => {}
                Verdict::Stale => asked.look_again.push(name.clone()),
                Verdict::NeedsContent(entry) => asked.read_first.push((entry, name.clone())),
                Verdict::Decided(decision) => judged.add(fid, name, before, decision),
            }
        }
        for row in done.iter().filter_map(|done| done.kept.as_ref()) {
            kept::insert(&mut tx, row).await?;
        }
        let changed = !judged.is_empty();
        judged.write(&mut tx, at).await?;
        tx.commit().await?;
        if changed {
            self.0.catalog.wake_workers();
        }
        Ok(asked)
    }

    /// The rules in force until this transaction ends, and the entries there are.
    async fn in_force(&self, tx: &mut Tx) -> Result<InForce> {
        let rules = self.rules(tx).await?;
        let all = entries::list(tx).await?;
        let active = all.iter().filter(|entry| entry.wanted == entries::Wanted::Active);
        Ok(InForce {
            rules,
            active: active.map(|entry| entry.name.clone()).collect(),
            entries: all.into_iter().map(|entry| entry.name).collect(),
            policy: self.0.policy,
            now: tx.now(),
        })
    }

    async fn rules(&self, tx: &mut Tx) -> Result<Arc<RuleSet>> {
        let Some(since) = rules::hold(tx).await? else { return Ok(Arc::default()) };
        let read = self.0.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read_since, rules)) = read
            && read_since == since
        {
            return Ok(rules);
        }
        let lists = rules::find(tx).await?.ok_or_else(|| Error::internal("the rules vanished"))?;
        let rules = RuleSet::read(&lists.applied, None)
            .map_err(|error| Error::corrupt(format!("the rules in force cannot be read: {error}")))?;
        let rules = Arc::new(rules);
        *self.0.rules.lock().unwrap_or_else(PoisonError::into_inner) = Some((lists.changed_at, rules.clone()));
        Ok(rules)
    }
}
