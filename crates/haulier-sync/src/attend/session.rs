//! An open entry being attended: notices become looks, looks become observations. Scanning is the neighbour's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures::FutureExt;
use haulier_base::{Error, ErrorKind, Result, Timestamp};
use haulier_work::TaskContext;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Attend;
use crate::driver::Driver;
use crate::hold::Held;
use crate::inspect::{Inspected, Look, inspect};
use crate::model::{EntryName, FileName, Observation, Seen};
use crate::store::entries::{self, Entry};
use crate::store::seen;
use crate::watch::{self, Dirty, Lost, Notices, Watch};

/// How often the root and the clock are looked at.
const TICK: Duration = Duration::from_millis(500);
/// More deletions than this at once are not believed before everything was scanned (§4.2 10).
const FEW: usize = 20;
/// What was noticed within so long was at once.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A scan for doubtful deletions waits until there was none for so long, so that it sees all of them.
const DOUBT_QUIET: Duration = Duration::from_secs(1);
/// But no longer than this.
const DOUBT_MAX: Duration = Duration::from_secs(10);
/// What is told to the referee at a time.
const BATCH: usize = 300;
/// A local entry is scanned this often although it is watched (§4.2 11).
const SCAN_EVERY: Duration = Duration::from_secs(3600);
/// And this often where it cannot be watched as a whole.
const POLL_EVERY: Duration = Duration::from_secs(60);
/// Files that cannot be read are remembered by name up to this many.
const UNREADABLE_MAX: usize = 1_000;

/// Why attending ended without trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The entry is no longer there, or no longer wanted; or somebody said stop.
    Gone,
    /// The root changed under us: open it again.
    Again,
}

pub(super) struct Session<'a> {
    pub(super) room: &'a Attend,
    pub(super) ctx: &'a TaskContext,
    pub(super) at: EntryName,
    pub(super) driver: Driver,
    pub(super) stop: CancellationToken,
    watch: Option<Watch>,
    /// Why a local root is not watched, or not as a whole.
    unwatched: Option<String>,
    /// What is to be looked at once more in a moment.
    pub(super) later: Dirty,
    pub(super) held: Option<Held>,
    /// When the next whole scan is due.
    pub(super) scan_at: Timestamp,
    /// Whether one is wanted now, whenever the next is due.
    pub(super) scan_wanted: bool,
    /// What could not be read, and why.
    pub(super) unreadable: BTreeMap<FileName, String>,
    /// What the last scan could not list.
    pub(super) unlisted: Option<String>,
    /// When deletions were first doubted since the last scan, and when last.
    pub(super) doubted: Option<(Instant, Instant)>,
    /// Deletions that were believed a moment ago.
    deleted: VecDeque<(Instant, usize)>,
    /// What this session said is wrong.
    said: Option<String>,
}

enum Happened {
    Noticed(Notices),
    Due,
    Tick,
}

impl<'a> Session<'a> {
    /// Starts to watch, and says that the entry is attended.
    pub(super) async fn open(room: &'a Attend, ctx: &'a TaskContext, entry: &Entry, driver: Driver) -> Result<Self> {
        let mut session = Self {
            room,
            ctx,
            at: entry.name.clone(),
            driver,
            stop: ctx.stop_signal().token(),
            watch: None,
            unwatched: None,
            later: Dirty::new(watch::NAMES_MAX),
            held: Held::read(entry.held.as_ref()),
            scan_at: room.catalog.now(),
            scan_wanted: true,
            unreadable: BTreeMap::new(),
            unlisted: None,
            doubted: None,
            deleted: VecDeque::new(),
            said: entry.problem.clone(),
        };
        session.start_watching().await?;
        let mut tx = ctx.begin("sync.attend").await?;
        let now = tx.now();
        entries::set_attended(&mut tx, &session.at, Some(now)).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// Attends until told to stop, or until the root is another one.
    pub(super) async fn run(mut self, failures: &mut u32) -> Result<Ended> {
        let mut tick = interval(TICK);
        loop {
            if self.scan_wanted || self.is_doubt_due() || self.scan_at <= self.room.catalog.now() {
                self.pass().await?;
                *failures = 0;
            }
            let later = self.later.due(Instant::now());
            let happened = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Ended::Gone),
                notices = next(self.watch.as_ref()) => Happened::Noticed(notices),
                () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => Happened::Due,
                _ = tick.tick() => Happened::Tick,
            };
            let again = match happened {
                Happened::Noticed(notices) => self.take(notices).await?,
                Happened::Due => self.look_later().await?,
                Happened::Tick => !self.is_in_place().await,
            };
            if again {
                return Ok(Ended::Again);
            }
            self.say().await?;
        }
    }

    /// Looks at what happened while something longer goes on; says whether the root is another one.
    pub(super) async fn serve(&mut self) -> Result<bool> {
        while let Some(notices) = next(self.watch.as_ref()).now_or_never() {
            if self.take(notices).await? || self.stop.is_cancelled() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Watches anew; what cannot be watched is polled, and said.
    async fn start_watching(&mut self) -> Result<()> {
        self.watch = None;
        self.unwatched = None;
        let Some(folder) = self.driver.folder().map(ToOwned::to_owned) else { return Ok(()) };
        match Watch::start(&folder).await {
            Ok(watch) => self.watch = Some(watch),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                self.unwatched = Some(format!("changes are looked for every minute only: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn is_in_place(&self) -> bool {
        match &self.watch {
            Some(watch) => watch.is_in_place().await,
            None => true,
        }
    }

    /// Has what was noticed looked at; says whether the root is another one.
    async fn take(&mut self, notices: Notices) -> Result<bool> {
        match notices.lost {
            Some(Lost::Root) => return Ok(true),
            Some(Lost::Overflow) => {
                // Folders may have come without a watch.
                self.start_watching().await?;
                self.scan_wanted = true;
            }
            None => {}
        }
        let looks = notices.names.into_iter().map(|noticed| Look { done: noticed.done, ..Look::at(noticed.name) });
        let mut looks: Vec<_> = looks.collect();
        looks.extend(self.below(notices.gone).await?);
        self.look(looks).await.map(|_| false)
    }

    async fn look_later(&mut self) -> Result<bool> {
        let notices = self.later.take(Instant::now(), watch::BATCH);
        self.take(notices).await
    }

    /// What the index has below what went, and the same below where it went.
    async fn below(&mut self, gone: Vec<(FileName, Option<FileName>)>) -> Result<Vec<Look>> {
        let (mut looks, mut count) = (Vec::new(), 0);
        let limit = i64::try_from(FEW + 1).unwrap_or(i64::MAX);
        for (folder, renamed) in gone {
            let files = seen::below(&mut self.room.catalog.read().await?, &self.at, &folder, limit).await?;
            count += files.len();
            if count > FEW {
                // The scan finds what was renamed as well, and looks whether it is too much.
                self.scan_wanted = true;
                return Ok(Vec::new());
            }
            for file in files {
                let moved = renamed.as_ref().map(|to| {
                    let rest = file.name.as_str().get(folder.as_str().len()..).unwrap_or_default();
                    FileName::new(format!("{to}{rest}"))
                });
                looks.extend(moved.and_then(Result::ok).map(Look::at));
                looks.push(Look::at(file.name));
            }
        }
        Ok(looks)
    }

    /// Looks at names, and tells what is so; of deletions only a few.
    pub(super) async fn look(&mut self, looks: Vec<Look>) -> Result<u64> {
        if looks.is_empty() {
            return Ok(0);
        }
        let (mut observations, bytes) = self.inspect(looks).await?;
        let is_missing = |observation: &Observation| observation.seen == Seen::Missing;
        let missing = observations.iter().filter(|observation| is_missing(observation)).count();
        if missing > 0 && !self.are_few(missing) {
            observations.retain(|observation| !is_missing(observation));
        }
        self.observe(observations).await?;
        Ok(bytes)
    }

    fn is_doubt_due(&self) -> bool {
        let now = Instant::now();
        let is_due = |(first, last)| now >= last + DOUBT_QUIET || now >= first + DOUBT_MAX;
        self.doubted.is_some_and(is_due)
    }

    /// Whether so many deletions are believed without a scan; if not, one is due in a moment.
    fn are_few(&mut self, missing: usize) -> bool {
        let now = Instant::now();
        self.deleted.retain(|(at, _)| now.duration_since(*at) < AT_ONCE);
        let recent: usize = self.deleted.iter().map(|(_, count)| count).sum();
        if self.held.is_some() || recent + missing > FEW {
            let first = self.doubted.map_or(now, |(first, _)| first);
            self.doubted = Some((first, now)).filter(|_| self.held.is_none());
            return false;
        }
        self.deleted.push_back((now, missing));
        true
    }

    /// Looks closely, and notes what could not be read or has to be looked at again. Says how many bytes were read.
    pub(super) async fn inspect(&mut self, looks: Vec<Look>) -> Result<(Vec<Observation>, u64)> {
        for look in &looks {
            self.unreadable.remove(&look.name);
        }
        let inspected = inspect(&self.driver, &self.room.catalog, &self.at, looks, &self.stop).await?;
        let Inspected { observations, again, faults, bytes_read } = inspected;
        let now = Instant::now();
        again.into_iter().for_each(|name| self.later.stirred(name, now));
        for (name, error) in faults {
            self.note_unreadable(name, error.message());
        }
        Ok((observations, bytes_read))
    }

    /// Tells the referee, and does what he asks for.
    pub(super) async fn observe(&mut self, observations: Vec<Observation>) -> Result<()> {
        for batch in observations.chunks(BATCH) {
            let at = self.at.clone();
            let asked = self.tell_referee(&at, batch).await?;
            self.read_asked(asked).await?;
        }
        Ok(())
    }

    /// Tells the referee what is so at an entry; gives back whose copies have to be read first.
    pub(super) async fn tell_referee(
        &mut self,
        at: &EntryName,
        observations: &[Observation],
    ) -> Result<Vec<(EntryName, FileName)>> {
        if observations.is_empty() {
            return Ok(Vec::new());
        }
        let asked = self.room.referee.observe(self.ctx, at, observations).await?;
        let now = Instant::now();
        asked.look_again.into_iter().for_each(|name| self.later.stirred(name, now));
        Ok(asked.read_first)
    }

    /// Remembers that a file could not be read, and why.
    pub(super) fn note_unreadable(&mut self, name: FileName, why: &str) {
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.insert(name, why.to_owned());
        }
    }

    /// When the next whole scan is due, after one that took so long.
    pub(super) fn schedule(&mut self, took: Duration) {
        let every = match (self.driver.changes_timer(), &self.watch) {
            (Some(timer), _) => timer,
            (None, Some(watch)) if !watch.is_limited() => SCAN_EVERY,
            (None, _) => POLL_EVERY.max(took * 10),
        };
        self.scan_at = self.room.catalog.now().plus(every);
    }

    /// Says what is wrong now, if that changed.
    pub(super) async fn say(&mut self) -> Result<()> {
        let problem = self.problem();
        if problem == self.said {
            return Ok(());
        }
        let mut tx = self.ctx.begin("sync.tell").await?;
        entries::set_problem(&mut tx, &self.at, problem.as_deref()).await?;
        tx.commit().await?;
        self.said = problem;
        Ok(())
    }

    fn problem(&self) -> Option<String> {
        if let Some(held) = &self.held {
            return Some(held.problem());
        }
        if let Some((name, why)) = self.unreadable.first_key_value() {
            let count = self.unreadable.len();
            return Some(match count {
                1 => format!("{:?} cannot be read: {why}", name.as_str()),
                _ => format!("{count} files cannot be read, such as {:?}: {why}", name.as_str()),
            });
        }
        if let Some(why) = &self.unlisted {
            return Some(format!("a part of it cannot be listed: {why}"));
        }
        let limited = self.watch.as_ref().is_some_and(Watch::is_limited);
        let limit = "the system allows no more watches, so some changes are seen after a minute only: raise \
                     fs.inotify.max_user_watches and restart the entry";
        limited.then(|| limit.to_owned()).or_else(|| self.unwatched.clone())
    }
}

/// What the watch says next; for ever nothing where there is none.
async fn next(watch: Option<&Watch>) -> Notices {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// The root changed in the middle of something.
pub(super) fn root_changed() -> Error {
    Error::unavailable("the root was moved or replaced")
}
