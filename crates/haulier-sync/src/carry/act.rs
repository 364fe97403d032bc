//! One thing that is to be done at an entry: removing, taking over time and mode, renaming, fetching.
//!
//! Everything is done only to what the index knows to be there.

use haulier_base::{Error, ErrorKind, Result};
use haulier_storage::Guard;
use tokio_util::sync::CancellationToken;

use super::{Done, Hands};
use crate::driver::{found_of, version_of};
use crate::model::{Copy, EntryName, FileName, FileRecord, Pending, Stamp};
use crate::plan::Carried;
use crate::store::copies::Work;
use crate::store::kept::KeptReason;

/// What came of trying.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is done, and with it perhaps something else.
    Did(Vec<Done>),
    /// At some entry something else is there than the index knows: that has to be judged first.
    LookAgain(EntryName),
    /// It is not wanted any more.
    Dropped,
}

/// One thing to be done, taken apart.
pub(super) struct Job<'a> {
    pub(super) work: &'a Work,
    pub(super) record: &'a FileRecord,
    pub(super) copy: &'a Copy,
}

impl<'a> Job<'a> {
    /// None when it is about nothing, which no index should say.
    pub(super) fn of(work: &'a Work, at: &EntryName) -> Option<Self> {
        Some(Self { work, record: work.state.record.as_ref()?, copy: work.state.copies.get(at)? })
    }

    pub(super) fn name(&self) -> &'a FileName {
        &self.record.name
    }

    pub(super) fn known(&self) -> Option<Stamp> {
        self.copy.stamp().cloned()
    }

    /// That there is what the index knows.
    pub(super) fn guard(&self) -> Guard {
        match self.copy.stamp() {
            None => Guard::Absent,
            Some(stamp) => version_of(stamp).map_or(Guard::Any, Guard::Version),
        }
    }

    pub(super) fn done(&self, outcome: Carried) -> Done {
        Done { name: self.name().clone(), known: self.known(), outcome, kept: None }
    }
}

impl Hands<'_> {
    /// Does one thing.
    ///
    /// # Errors
    /// Why it could not be done; `LostLease` when nothing more may be done.
    pub(super) async fn act(&self, job: &Job<'_>, stop: &CancellationToken) -> Result<Outcome> {
        if job.guard().is_any() && self.driver.look(job.name()).await?.map(|found| found.stamp) != job.known() {
            // A storage without versions can only be looked at right before.
            return Ok(Outcome::LookAgain(self.at.clone()));
        }
        let outcome = match job.copy.pending {
            None => return Ok(Outcome::Dropped),
            Some(Pending::Delete) => self.delete(job).await,
            Some(Pending::Touch) => self.touch(job).await,
            Some(Pending::Fetch) => self.fetch(job, stop).await,
        };
        match outcome {
            Err(error) if Guard::is_refusal(&error) => Ok(Outcome::LookAgain(self.at.clone())),
            outcome => outcome,
        }
    }

    async fn delete(&self, job: &Job<'_>) -> Result<Outcome> {
        let (storage, path) = (self.driver.storage(), self.driver.path(job.name()));
        let mut done = job.done(Carried::Deleted);
        if job.copy.state.is_some() {
            let row = self.kept_row(job, KeptReason::Deleted);
            let renames = storage.capabilities().rename;
            let place = row.as_ref().map(|row| self.driver.own_place(&row.place));
            if let (Some(place), false) = (&place, renames) {
                self.keep_by_copy(job, place).await?;
            }
            let keep = place.filter(|_| renames);
            match storage.remove_guarded(&path, &job.guard(), keep.as_ref()).await {
                Ok(()) => done.kept = row,
                // Somebody was faster, or is at it.
                Err(error) if Guard::is_refusal(&error) || error.kind() == ErrorKind::NotFound => {
                    if self.driver.look(job.name()).await?.is_some() {
                        return Ok(Outcome::LookAgain(self.at.clone()));
                    }
                }
                Err(error) => return Err(error),
            }
        } else if self.driver.look(job.name()).await?.is_some() {
            return Ok(Outcome::LookAgain(self.at.clone()));
        }
        self.discard_unfinished(job).await?;
        self.driver.remove_empty_folders(job.name()).await?;
        Ok(Outcome::Did(vec![done]))
    }

    async fn touch(&self, job: &Job<'_>) -> Result<Outcome> {
        let storage = self.driver.storage();
        let asked = job.record.attributes;
        let Some(there) = &job.copy.state else { return Ok(Outcome::LookAgain(self.at.clone())) };
        let found = if storage.capabilities().attributes {
            let path = self.driver.path(job.name());
            let meta = storage.set_attributes(&path, &job.guard(), &attributes_of(asked)).await?;
            found_of(&meta).ok_or_else(|| Error::unavailable("the file became something else"))?
        } else {
            there.found.clone()
        };
        Ok(Outcome::Did(vec![job.done(Carried::Touched { found, asked })]))
    }

    /// Removes what an unfinished fetch left that is not wanted any more.
    pub(super) async fn discard_unfinished(&self, job: &Job<'_>) -> Result<()> {
        if job.work.resume.is_some() {
            self.driver.storage().discard(&self.driver.path(job.name()), super::LABEL, None).await?;
        }
        Ok(())
    }
}

pub(super) fn attributes_of(attributes: crate::model::Attributes) -> haulier_storage::Attributes {
    haulier_storage::Attributes { modified: attributes.modified_at, mode: attributes.mode }
}
