//! Keeps many small things and a few large ones going at a time, and records what came of them in batches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use haulier_base::{Error, ErrorKind, Result, Timestamp};
use tokio_util::sync::CancellationToken;

use super::act::{Job, Outcome};
use super::{Done, Hands};
use crate::inspect::{Look, inspect};
use crate::model::{EntryName, Fid, FileName, Pending};
use crate::store::copies::{self, Work};
use crate::store::entries;
use crate::store::files::{self, Hold};

/// A larger file is fetched beside the small ones.
const LARGE_BYTES: u64 = 8 << 20;
/// Small things at a time.
const SMALL_AT_ONCE: usize = 16;
/// Large files at a time.
const LARGE_AT_ONCE: usize = 2;
/// Read from the catalogue at once.
const PAGE: i64 = 200;
/// More work than this is not read ahead.
const WAITING_MAX: usize = 1000;
/// So much is recorded at once.
const BATCH: usize = 100;
/// The order in which work is taken up: what is to be fetched may be had by renaming what is to be removed.
const ORDER: [Pending; 3] = [Pending::Fetch, Pending::Touch, Pending::Delete];
/// How often the same name is looked at, before it is left for later.
const LOOKS_MAX: usize = 3;

/// What came of one thing.
struct Ended {
    fid: Fid,
    name: FileName,
    failures: u32,
    outcome: Result<Outcome>,
}

/// A thing that waits or is being done.
struct Busy {
    number: u64,
    stop: CancellationToken,
}

/// Where reading the work has come to.
#[derive(Clone, Debug, Default)]
struct Cursor {
    /// Which of `ORDER`; behind the last when all was read.
    sort: usize,
    after: Option<Fid>,
}

/// One carrier's work, until nothing is left.
pub(super) struct Shift<'h> {
    hands: &'h Hands<'h>,
    cursor: Cursor,
    waiting: VecDeque<Work>,
    waiting_large: VecDeque<Work>,
    busy: BTreeMap<Fid, Busy>,
    small: FuturesUnordered<BoxFuture<'h, Ended>>,
    large: FuturesUnordered<BoxFuture<'h, Ended>>,
    ended: Vec<Ended>,
    recording: Option<BoxFuture<'h, Result<Vec<Fid>>>>,
}

impl<'h> Shift<'h> {
    pub(super) fn new(hands: &'h Hands<'h>) -> Self {
        Self {
            hands,
            cursor: Cursor::default(),
            waiting: VecDeque::new(),
            waiting_large: VecDeque::new(),
            busy: BTreeMap::new(),
            small: FuturesUnordered::new(),
            large: FuturesUnordered::new(),
            ended: Vec::new(),
            recording: None,
        }
    }

    /// Works until nothing is pending.
    ///
    /// # Errors
    /// `Canceled` when it was asked to stop, after what is done was recorded; `LostLease`; those of the catalogue.
    pub(super) async fn work(mut self) -> Result<()> {
        loop {
            let mut woken = pin!(self.hands.carrier.catalog.woken());
            if self.hands.ctx.stop_signal().reason().is_some() {
                return self.wind_down().await;
            }
            self.read_work().await?;
            self.begin();
            self.record_some();
            if !self.is_at_work() {
                match next_due(self.hands).await? {
                    None => return Ok(()),
                    Some(due) => self.wait_for_work(due, woken.as_mut()).await,
                }
                continue;
            }
            tokio::select! {
                Some(ended) = self.small.next(), if !self.small.is_empty() => self.ended.push(ended),
                Some(ended) = self.large.next(), if !self.large.is_empty() => self.ended.push(ended),
                recorded = recorded(&mut self.recording) => {
                    for fid in recorded? {
                        self.busy.remove(&fid);
                    }
                    // What was recorded may have led to more.
                    self.read_anew();
                }
                () = woken => {
                    self.read_anew();
                    self.stop_superseded().await?;
                }
                _ = self.hands.stopped() => {}
            }
        }
    }

    fn is_at_work(&self) -> bool {
        !self.busy.is_empty() || self.recording.is_some() || !self.ended.is_empty()
    }

    /// Begins again at the first thing, once the last was read.
    fn read_anew(&mut self) {
        if self.cursor.sort >= ORDER.len() {
            self.cursor = Cursor::default();
        }
    }

    /// Reads ahead, one sort of work after the other.
    async fn read_work(&mut self) -> Result<()> {
        while self.waiting.len() < SMALL_AT_ONCE && self.waiting.len() + self.waiting_large.len() < WAITING_MAX {
            let Some(sort) = ORDER.get(self.cursor.sort) else { return Ok(()) };
            // What is about to be removed may be what a fetch can rename: those go first.
            let fetching = !self.waiting.is_empty() || !self.small.is_empty();
            if *sort == Pending::Delete && self.cursor.after.is_none() && fetching {
                return Ok(());
            }
            let (mut tx, at) = (self.hands.carrier.catalog.read().await?, self.hands.at);
            let page = copies::page_pending(&mut tx, at, *sort, self.cursor.after.as_ref(), PAGE).await?;
            // What is renamed is given as two things at once: who sees one of them asks for the other after that.
            match sort {
                Pending::Fetch => {
                    self.hands.set_active(entries::active(&mut tx).await?);
                    let leaving = !copies::due(&mut tx, at, Pending::Delete, 1).await?.is_empty();
                    self.hands.leaving.store(leaving, Ordering::Relaxed);
                }
                Pending::Delete => {
                    let fetches = copies::due(&mut tx, at, Pending::Fetch, self.busy.len() + 1).await?;
                    if fetches.iter().any(|fid| !self.busy.contains_key(fid)) {
                        self.cursor = Cursor::default();
                        continue;
                    }
                }
                Pending::Touch => {}
            }
            drop(tx);
            match page.last() {
                Some(last) => self.cursor.after = Some(last.fid.clone()),
                None => self.cursor = Cursor { sort: self.cursor.sort + 1, after: None },
            }
            for work in page {
                self.take(work);
            }
        }
        Ok(())
    }

    fn take(&mut self, work: Work) {
        let Some(job) = Job::of(&work, self.hands.at) else { return };
        if self.busy.contains_key(&work.fid) {
            return;
        }
        // What may be renamed is done before anything is removed, however large it is.
        let renamed = self.hands.leaving.load(Ordering::Relaxed) && job.record.content.is_some();
        let renamed = renamed && job.copy.state.is_none();
        let fetched = job.copy.pending == Some(Pending::Fetch);
        let large = fetched && job.record.size_bytes > LARGE_BYTES && !renamed;
        let busy = Busy { number: job.record.number, stop: CancellationToken::new() };
        self.busy.insert(work.fid.clone(), busy);
        if large { self.waiting_large.push_back(work) } else { self.waiting.push_back(work) }
    }

    fn begin(&mut self) {
        while self.small.len() < SMALL_AT_ONCE
            && let Some(work) = self.waiting.pop_front()
        {
            let doing = self.doing(work);
            self.small.push(doing);
        }
        while self.large.len() < LARGE_AT_ONCE
            && let Some(work) = self.waiting_large.pop_front()
        {
            let doing = self.doing(work);
            self.large.push(doing);
        }
    }

    fn doing(&self, work: Work) -> BoxFuture<'h, Ended> {
        let stop = self.busy.get(&work.fid).map(|busy| busy.stop.clone()).unwrap_or_default();
        let hands = self.hands;
        async move {
            let outcome = match Job::of(&work, hands.at) {
                Some(job) => hands.act(&job, &stop).await,
                None => Ok(Outcome::Dropped),
            };
            let name = work.state.record.map(|record| record.name);
            let name = name.expect("work is only taken when it is about a file");
            Ended { fid: work.fid, name, failures: work.failures, outcome }
        }
        .boxed()
    }

    /// Records what has ended, when it is much or nothing more is about to end.
    fn record_some(&mut self) {
        let enough = self.ended.len() >= BATCH || (self.small.is_empty() && self.waiting.is_empty());
        if self.recording.is_none() && !self.ended.is_empty() && enough {
            let rest = self.ended.len().saturating_sub(BATCH);
            let batch = self.ended.split_off(rest);
            self.recording = Some(record(self.hands, batch).boxed());
        }
    }

    async fn wait_for_work(&mut self, due: Timestamp, woken: impl Future<Output = ()>) {
        self.cursor = Cursor::default();
        let wait = due.since(self.hands.now());
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
                () = woken => {}
                _ = self.hands.stopped() => {}
            }
        }
    }

    /// Stops fetching versions that are not wanted any more (§4.3 14).
    async fn stop_superseded(&mut self) -> Result<()> {
        if self.large.is_empty() {
            return Ok(());
        }
        let fids: BTreeSet<_> = self.busy.keys().cloned().collect();
        let mut tx = self.hands.carrier.catalog.read().await?;
        let states = files::load_by_fid(&mut tx, &fids, Hold::No).await?;
        for (fid, busy) in &self.busy {
            let state = states.get(fid);
            let record = state.and_then(|state| state.record.as_ref());
            let pending = state.and_then(|state| state.copies.get(self.hands.at)).and_then(|copy| copy.pending);
            if record.is_none_or(|record| record.number != busy.number) || pending.is_none() {
                busy.stop.cancel();
            }
        }
        Ok(())
    }

    /// Comes to an end: large files keep what they have, and what is done is recorded.
    async fn wind_down(mut self) -> Result<()> {
        let stopped = Error::canceled("stopped");
        if let Some(recording) = self.recording.take() {
            recording.await?;
        }
        (self.waiting, self.waiting_large) = (VecDeque::new(), VecDeque::new());
        let rest = self.small.collect::<Vec<_>>().await.into_iter().chain(self.large.collect::<Vec<_>>().await);
        let ended: Vec<_> = self.ended.into_iter().chain(rest).collect();
        // Only what is done: what was broken off by the stop is no failure.
        let did = ended.into_iter().filter(|ended| matches!(ended.outcome, Ok(Outcome::Did(_)))).collect();
        record(self.hands, did).await?;
        Err(stopped)
    }
}

async fn next_due(hands: &Hands<'_>) -> Result<Option<Timestamp>> {
    let mut tx = hands.carrier.catalog.read().await?;
    copies::next_due(&mut tx, hands.at).await
}

async fn recorded(recording: &mut Option<BoxFuture<'_, Result<Vec<Fid>>>>) -> Result<Vec<Fid>> {
    match recording {
        Some(running) => {
            let outcome = running.await;
            *recording = None;
            outcome
        }
        None => std::future::pending().await,
    }
}

/// Tells what came of a batch, and says which names it was about.
async fn record(hands: &Hands<'_>, batch: Vec<Ended>) -> Result<Vec<Fid>> {
    let (mut fids, mut did, mut failures) = (Vec::new(), Vec::<Done>::new(), Vec::new());
    let (mut again, mut counts) = (BTreeMap::<EntryName, Vec<FileName>>::new(), BTreeMap::new());
    for ended in batch {
        fids.push(ended.fid);
        counts.insert(ended.name.clone(), ended.failures);
        match ended.outcome {
            Ok(Outcome::Did(done)) => did.extend(done),
            Ok(Outcome::LookAgain(entry)) => again.entry(entry).or_default().push(ended.name),
            Ok(Outcome::Dropped) => {}
            Err(error) if error.kind() == ErrorKind::LostLease => return Err(error),
            Err(error) if error.kind() == ErrorKind::Canceled => {}
            Err(error) => {
                tracing::warn!(
                    entry = %hands.at, name = %ended.name, ?error, "{} cannot be brought to entry {}: {error}",
                    ended.name, hands.at
                );
                failures.push((ended.name, ended.failures, error.message().to_owned()));
            }
        }
    }
    if !did.is_empty() {
        let stale = hands.record(did).await?;
        again.entry(hands.at.clone()).or_default().extend(stale);
    }
    for (entry, names) in again {
        for name in look_again(hands, &entry, names).await? {
            let earlier = counts.get(&name).copied().unwrap_or(0);
            failures.push((name, earlier, format!("it is being changed at {entry}")));
        }
    }
    if !failures.is_empty() {
        hands.record_failures(&failures).await?;
    }
    Ok(fids)
}

/// Looks at names where something unexpected was, and tells what is there. Gives back those that nothing new could be
/// told about: they are for later.
pub(super) async fn look_again(hands: &Hands<'_>, entry: &EntryName, names: Vec<FileName>) -> Result<Vec<FileName>> {
    let mut silent = Vec::new();
    let first = names.into_iter().map(|name| Look { read: true, ..Look::at(name) }).collect();
    let mut queue = VecDeque::from([(entry.clone(), first, 0usize)]);
    while let Some((at, looks, turn)) = queue.pop_front() {
        let looks: Vec<Look> = looks;
        let names: BTreeSet<_> = looks.iter().map(|look| look.name.clone()).collect();
        let driver = if at == *hands.at { Some(hands.driver.clone()) } else { hands.sources.driver(&at).await? };
        let Some(driver) = driver.filter(|_| !looks.is_empty() && turn < LOOKS_MAX) else {
            silent.extend(names);
            continue;
        };
        let stop = hands.ctx.stop_signal().token();
        let seen = inspect(&driver, &hands.carrier.catalog, &at, looks, &stop).await?;
        let told: BTreeSet<_> = seen.observations.iter().map(|seen| seen.name.clone()).collect();
        silent.extend(names.difference(&told).cloned());
        let asked = hands.carrier.referee.observe(hands.ctx, &at, &seen.observations).await?;
        let look = |name| Look { read: true, ..Look::at(name) };
        let mut next = BTreeMap::<EntryName, BTreeSet<FileName>>::new();
        next.entry(at.clone()).or_default().extend(asked.look_again);
        for (holder, name) in asked.read_first {
            next.entry(at.clone()).or_default().insert(name.clone());
            next.entry(holder).or_default().insert(name);
        }
        // Others are read first, so that this one can be judged then.
        let mut next: Vec<_> = next.into_iter().filter(|(_, names)| !names.is_empty()).collect();
        next.sort_by_key(|(entry, _)| *entry == at);
        queue.extend(next.into_iter().map(|(entry, names)| (entry, names.into_iter().map(look).collect(), turn + 1)));
    }
    Ok(silent)
}
