//! Bringing the current version of a file to the entry: from another name here, or from another entry.

use std::sync::Arc;

use async_trait::async_trait;
use haulier_base::{Checksum, Error, ErrorKind, Result};
use haulier_mover::{
    ByteBudget, ByteRange, Checkpoint, Limits, Move, MoveOptions, MoveOutcome, NoCheckpoint, Progress, ResumePoint,
    move_object,
};
use haulier_storage::{Guard, Location, ObjectPath};
use haulier_work::StopReason;
use tokio_util::sync::CancellationToken;

use super::act::{Job, Outcome, attributes_of};
use super::{Done, Hands, LABEL};
use crate::driver::{Driver, found_of, version_of};
use crate::model::{ContentHash, EntryName, Fid, Found};
use crate::plan::{Carried, ConflictPolicy};
use crate::store::copies;
use crate::store::kept::{KeptReason, KeptRow};

/// Where what is there goes when it is replaced.
enum Old {
    /// Nothing is there, or it is not kept.
    None,
    /// Among the old versions.
    Kept(KeptRow),
    /// Beside it, because it lost a conflict.
    Aside,
}

impl Hands<'_> {
    pub(super) async fn fetch(&self, job: &Job<'_>, stop: &CancellationToken) -> Result<Outcome> {
        if let Some(done) = self.fetch_by_rename(job).await? {
            return Ok(Outcome::Did(done));
        }
        let sources = self.sources.of(&job.work.state, self.at, &self.active()).await;
        let mut last = Error::unavailable("no entry that has it can be read now");
        for (holder, driver) in sources {
            match self.fetch_from(job, &holder, &driver, stop).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    let stamp = job.work.state.copies.get(&holder).and_then(|copy| copy.stamp());
                    if let Ok(now) = driver.look(job.name()).await
                        && now.as_ref().map(|found| &found.stamp) != stamp
                    {
                        return Ok(Outcome::LookAgain(holder));
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn fetch_from(
        &self,
        job: &Job<'_>,
        holder: &EntryName,
        source: &Driver,
        stop: &CancellationToken,
    ) -> Result<Outcome> {
        let old = match self.old_of(job).await? {
            Ok(old) => old,
            Err(taken) => return Ok(Outcome::Did(vec![taken])),
        };
        let there = job.work.state.copies.get(holder).and_then(|copy| copy.stamp());
        let mut options = self.options(job, &old);
        options.source_version = there.and_then(version_of);
        if let (Some(keep), false) = (&options.keep_old, self.driver.storage().capabilities().rename) {
            self.keep_by_copy(job, keep).await?;
            options.keep_old = None;
        }
        let mv = Move {
            source: source.location(job.name()),
            target: self.driver.location(job.name()),
            range: ByteRange::default(),
            options,
            resume: job.work.resume.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        };
        let checkpoint = Fenced { hands: self, fid: &job.work.fid, number: job.record.number };
        let limits = Limits { node: self.carrier.budget.clone(), own: Arc::new(ByteBudget::new(None)) };
        let stopped = async {
            tokio::select! { () = stop.cancelled() => {}, _ = self.stopped() => {} }
        };
        let moved = move_object(mv, &checkpoint, &Progress::default(), &limits, stopped).await;
        let found = match moved {
            Ok(outcome) => self.put_in_place(job, old, outcome).await,
            Err(error) if error.kind() == ErrorKind::Canceled && stop.is_cancelled() => {
                // Another version is wanted, or none.
                self.driver.storage().discard(&self.driver.path(job.name()), LABEL, None).await?;
                return Ok(Outcome::Dropped);
            }
            Err(error) => Err(error),
        };
        found.map(|done| Outcome::Did(vec![done]))
    }

    fn options(&self, job: &Job<'_>, old: &Old) -> MoveOptions {
        let keep_old = match old {
            Old::None => None,
            Old::Kept(row) => Some(self.driver.own_place(&row.place)),
            Old::Aside => job.copy.aside.as_ref().map(|aside| self.driver.path(aside)),
        };
        MoveOptions {
            label: LABEL.to_owned(),
            create_parents: true,
            expected: job.record.content.as_ref().and_then(|hash| format!("sha256:{}", hash.as_str()).parse().ok()),
            guard: job.guard(),
            keep_old,
            attributes: attributes_of(job.record.attributes),
            ..MoveOptions::default()
        }
    }

    async fn put_in_place(&self, job: &Job<'_>, old: Old, outcome: MoveOutcome) -> Result<Done> {
        let found = match found_of(&outcome.target) {
            Some(found) => found,
            None => self.looked(job).await?,
        };
        let hashed = outcome.checksum.as_ref().map(content_of);
        let content = hashed.or_else(|| job.record.content.clone());
        let mut done = job.done(self.fetched(job, found, content));
        if let Old::Kept(row) = old {
            done.kept = Some(row);
        }
        Ok(done)
    }

    fn fetched(&self, job: &Job<'_>, found: Found, content: Option<ContentHash>) -> Carried {
        Carried::Fetched {
            number: job.record.number,
            found,
            content,
            asked: job.record.attributes,
            aside: job.copy.aside.clone(),
        }
    }

    async fn looked(&self, job: &Job<'_>) -> Result<Found> {
        let found = self.driver.look(job.name()).await?;
        found.ok_or_else(|| Error::unavailable("what was just written is gone again"))
    }

    /// Where what is there goes; a word to the referee where its name for that is taken.
    async fn old_of(&self, job: &Job<'_>) -> Result<Result<Old, Done>> {
        let Some(there) = &job.copy.state else { return Ok(Ok(Old::None)) };
        let kept = || self.kept_row(job, KeptReason::Replaced).map_or(Old::None, Old::Kept);
        let Some(aside) = job.copy.aside.as_ref().filter(|_| self.carrier.policy == ConflictPolicy::KeepBoth) else {
            return Ok(Ok(kept()));
        };
        let Some(taken) = self.driver.look(aside).await? else { return Ok(Ok(Old::Aside)) };
        let contents = self.driver.read_whole(aside, &taken, &CancellationToken::new()).await?;
        let content = contents.map(|contents| contents.hash);
        if content.is_some() && content == there.content {
            // It was put aside before we were cut off, or is there for another reason: it is kept.
            return Ok(Ok(kept()));
        }
        if content.is_some() && content == job.record.content {
            // The new version, which a crash left there before it was exchanged with the old one.
            let guard = version_of(&taken.stamp).map_or(Guard::Any, Guard::Version);
            self.driver.storage().remove_guarded(&self.driver.path(aside), &guard, None).await?;
            return Ok(Ok(Old::Aside));
        }
        Ok(Err(job.done(Carried::AsideTaken { aside: aside.clone() })))
    }

    /// For stores that cannot rename: what is there is copied to where it is kept before it is replaced or removed.
    pub(super) async fn keep_by_copy(&self, job: &Job<'_>, place: &ObjectPath) -> Result<()> {
        let storage = self.driver.storage();
        let options = MoveOptions {
            label: LABEL.to_owned(),
            create_parents: true,
            source_version: job.copy.stamp().and_then(version_of),
            ..MoveOptions::default()
        };
        let mv = Move {
            source: self.driver.location(job.name()),
            target: Location { storage, path: place.clone() },
            range: ByteRange::default(),
            options,
            resume: None,
        };
        let limits = Limits { node: self.carrier.budget.clone(), own: Arc::new(ByteBudget::new(None)) };
        let stopped = async {
            self.stopped().await;
        };
        match move_object(mv, &NoCheckpoint, &Progress::default(), &limits, stopped).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                Err(job.guard().check(None).err().unwrap_or(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Moves a file that is about to be deleted here and holds the same bytes (§4.4 25).
    async fn fetch_by_rename(&self, job: &Job<'_>) -> Result<Option<Vec<Done>>> {
        let storage = self.driver.storage();
        let (Some(content), None) = (&job.record.content, &job.copy.state) else { return Ok(None) };
        if !self.leaving.load(std::sync::atomic::Ordering::Relaxed) || !storage.capabilities().rename {
            return Ok(None);
        }
        let leaving = copies::leaving(&mut self.carrier.catalog.read().await?, self.at, content).await?;
        for old in leaving {
            let Some(stamp) = old.copy.stamp().filter(|stamp| self.claim(&old.fid, stamp)) else { continue };
            let guard = version_of(stamp).map_or(Guard::Any, Guard::Version);
            let to = self.driver.path(job.name());
            let Ok(meta) = storage.rename(&self.driver.path(&old.name), &guard, &to).await else { continue };
            let asked = attributes_of(job.record.attributes);
            let now = found_of(&meta).ok_or_else(|| Error::unavailable("the file became something else"))?;
            let found = match now.attributes == job.record.attributes || !storage.capabilities().attributes {
                true => now,
                false => {
                    let guard = version_of(&now.stamp).map_or(Guard::Any, Guard::Version);
                    let meta = storage.set_attributes(&to, &guard, &asked).await?;
                    found_of(&meta).ok_or_else(|| Error::unavailable("the file became something else"))?
                }
            };
            self.driver.remove_empty_folders(&old.name).await?;
            let gone = Done { name: old.name, known: Some(stamp.clone()), outcome: Carried::Deleted, kept: None };
            return Ok(Some(vec![job.done(self.fetched(job, found, Some(content.clone()))), gone]));
        }
        Ok(None)
    }

    pub(super) async fn stopped(&self) -> StopReason {
        self.ctx.stop_signal().stopped().await
    }
}

/// Whether another source would not help.
fn is_final(error: &Error) -> bool {
    Guard::is_refusal(error)
        || Guard::is_keep_taken(error)
        || matches!(error.kind(), ErrorKind::LostLease | ErrorKind::Canceled | ErrorKind::NoSpace)
}

fn content_of(checksum: &Checksum) -> ContentHash {
    let text = checksum.to_string();
    ContentHash::from_hex(text.rsplit_once(':').map_or(text.as_str(), |(_, hex)| hex))
}

/// Saves how far a large file has come, in transactions that fail when the lease is lost.
struct Fenced<'a> {
    hands: &'a Hands<'a>,
    fid: &'a Fid,
    number: u64,
}

#[async_trait]
impl Checkpoint for Fenced<'_> {
    async fn save(&self, point: &ResumePoint) -> Result<()> {
        let text = serde_json::to_string(point)
            .map_err(|error| Error::internal("a resume point could not be written as JSON").caused_by(error))?;
        let mut tx = self.hands.ctx.begin("sync.checkpoint").await?;
        copies::set_resume(&mut tx, self.hands.at, self.fid, self.number, &text).await?;
        tx.commit().await
    }

    async fn publish(&self) -> Result<()> {
        match self.hands.ctx.stop_signal().reason() {
            Some(StopReason::Lost) => Err(Error::lost_lease("the work is somebody else's by now")),
            _ => Ok(()),
        }
    }
}
