//! One whole scan of an attended entry: what changed, what is new, what was renamed, and what is missing and believed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use haulier_base::{Error, Result};
use haulier_catalog::queue;

use super::session::{Session, root_changed};
use crate::events::{Happened, publish};
use crate::hold::{Held, Tally};
use crate::inspect::Look;
use crate::model::{ContentHash, Observation, Seen};
use crate::progress::RunningPass;
use crate::scan::Scan;
use crate::store::{copies, entries};
use crate::tasks::{CARRY, EntryTask};

/// So many new names wait for the end of the walk, so that those that were renamed are told together with the names
/// that went. More are told at once: their bytes travel again.
const WAITING_MAX: usize = 10_000;
/// Names looked at closely at a time.
const BATCH: usize = 500;

/// Names that the index did not have.
#[derive(Default)]
struct New {
    /// Those that wait for the end of the walk.
    waiting: Vec<Look>,
    /// Whether there were too many to wait.
    told: bool,
    /// The bytes of all of them, as far as they were read.
    contents: HashSet<ContentHash>,
}

impl Session<'_> {
    /// Goes through everything once.
    pub(super) async fn pass(&mut self) -> Result<()> {
        let began = Instant::now();
        // Who wants one from here on wants another one.
        (self.scan_wanted, self.doubted) = (false, None);
        self.unreadable.clear();
        let mut scan = Scan::begin(&self.room.catalog, &self.at, &self.driver).await?;
        let shown = self.room.passes.begin(&self.at, scan.known(), self.room.catalog.now());
        let mut new = New { told: scan.known() == 0, ..New::default() };
        self.walk(&mut scan, &mut new, &shown).await?;
        let sizes = scan.look_for_leftovers(&self.stop).await?;
        let waiting = self.inspect_new(&mut new, &sizes, &shown).await?;
        let tally = scan.tally(|content| new.contents.contains(content)).await?;
        match tally.doubt().filter(|_| !self.held.as_ref().is_some_and(|held| held.forced)) {
            Some(reason) => {
                let since = self.room.catalog.now();
                let before = self.held.take().filter(|held| held.reason == Some(reason));
                let since = before.map_or(since, |held| held.since);
                self.set_held(Some(Held::new(reason, tally, since))).await?;
                self.observe(waiting).await?;
            }
            None => {
                self.believe(&mut scan, waiting).await?;
                self.set_held(None).await?;
            }
        }
        self.note_faults(&scan, tally);
        drop(shown);
        self.schedule(began.elapsed());
        // Whoever hears that the entry was scanned can ask what is wrong with it.
        self.say().await?;
        self.end().await
    }

    /// Says that the entry was scanned. What waited for that is carried now.
    async fn end(&self) -> Result<()> {
        let mut tx = self.ctx.begin("sync.scanned").await?;
        let now = tx.now();
        let entry = entries::hold(&mut tx, &[self.at.clone()].into()).await?;
        entries::set_scanned(&mut tx, &self.at, now).await?;
        let idle = entry.first().is_some_and(|entry| !entry.carrying);
        if idle && copies::next_due(&mut tx, &self.at).await?.is_some() {
            queue::enqueue(&mut tx, EntryTask::new_task(CARRY, &self.at, now)).await?;
            entries::set_carrying(&mut tx, &self.at, true).await?;
        }
        tx.commit().await?;
        self.room.catalog.wake_workers();
        Ok(())
    }

    /// Lists everything, and looks closer where it differs.
    async fn walk(&mut self, scan: &mut Scan, new: &mut New, shown: &RunningPass) -> Result<()> {
        while let Some(differing) = scan.walk().await {
            if self.stop.is_cancelled() {
                return Err(Error::canceled("stopped"));
            }
            let examined = differing.changed.len() + differing.new.len();
            new.waiting.extend(differing.new);
            let bytes = self.look(differing.changed).await?;
            shown.update(|pass| {
                pass.files_seen += differing.seen;
                pass.files_examined += examined as u64;
                pass.bytes_read += bytes;
            });
            new.told |= new.waiting.len() > WAITING_MAX;
            if new.told {
                let observations = self.inspect_new(new, &BTreeSet::new(), shown).await?;
                self.observe(observations).await?;
            }
            if self.serve().await? {
                return Err(if self.stop.is_cancelled() { Error::canceled("stopped") } else { root_changed() });
            }
        }
        Ok(())
    }

    /// Looks closely at the new names that wait. Those of a size of something missing are read, for they may be that.
    async fn inspect_new(
        &mut self,
        new: &mut New,
        sizes: &BTreeSet<u64>,
        shown: &RunningPass,
    ) -> Result<Vec<Observation>> {
        let mut all = Vec::new();
        let mut waiting = std::mem::take(&mut new.waiting).into_iter().peekable();
        while waiting.peek().is_some() {
            let looks = waiting.by_ref().take(BATCH).map(|look| {
                let read = look.found.as_ref().is_some_and(|found| sizes.contains(&found.stamp.size_bytes));
                Look { read, ..look }
            });
            let (observations, bytes) = self.inspect(looks.collect()).await?;
            shown.update(|pass| pass.bytes_read += bytes);
            new.contents.extend(observations.iter().filter_map(content_of).cloned());
            all.extend(observations);
        }
        Ok(all)
    }

    /// Tells what is missing, each together with the name it has now, if it was renamed; then what is new.
    async fn believe(&mut self, scan: &mut Scan, waiting: Vec<Observation>) -> Result<()> {
        let (mut by_content, mut rest) = (BTreeMap::<ContentHash, Vec<Observation>>::new(), Vec::new());
        for observation in waiting {
            match content_of(&observation).cloned() {
                Some(content) => by_content.entry(content).or_default().push(observation),
                None => rest.push(observation),
            }
        }
        while let Some(missing) = scan.missing().await? {
            let contents: Vec<_> = missing.iter().filter_map(|file| file.content.clone()).collect();
            // Once more, because it may have come back since it was looked for.
            let looks = missing.into_iter().map(|file| Look::at(file.name)).collect();
            let (gone, _) = self.inspect(looks).await?;
            let moved = contents.iter().filter_map(|content| by_content.get_mut(content)?.pop());
            let together = moved.chain(gone).collect();
            self.observe(together).await?;
        }
        rest.extend(by_content.into_values().flatten());
        self.observe(rest).await
    }

    async fn set_held(&mut self, held: Option<Held>) -> Result<()> {
        if self.held.is_none() && held.is_none() {
            return Ok(());
        }
        let mut tx = self.ctx.begin("sync.hold").await?;
        let before = entries::find(&mut tx, &self.at).await?.and_then(|entry| entry.held);
        entries::set_held(&mut tx, &self.at, held.as_ref().map(Held::document).as_ref()).await?;
        if let Some(held) = held.as_ref().filter(|_| before.is_none()) {
            publish(&mut tx, Happened::DeletionsHeld, self.at.as_str(), held.document()).await?;
        }
        tx.commit().await?;
        if let Some(held) = &held {
            tracing::warn!(entry = %self.at, ?held.reason, "entry {}: {}", self.at, held.problem());
        }
        self.held = held;
        Ok(())
    }

    fn note_faults(&mut self, scan: &Scan, tally: Tally) {
        for error in scan.faults() {
            tracing::warn!(entry = %self.at, error.chain = ?error, "entry {}: something cannot be listed: {error}", self.at);
        }
        self.unlisted = scan.faults().first().map(|error| error.message().to_owned());
        tracing::info!(
            entry = %self.at, files = tally.listed, missing = tally.missing,
            "entry {} was scanned: {} files, {} missing", self.at, tally.listed, tally.missing
        );
    }
}

fn content_of(observation: &Observation) -> Option<&ContentHash> {
    match &observation.seen {
        Seen::Present { content, .. } => content.as_ref(),
        Seen::Missing => None,
    }
}
