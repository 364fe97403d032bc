//! Putting bytes that an entry has already under another of its names, for conflicts and old versions.
//!
//! Works at the storage, as a person would: what changed is noticed and spread like any other change.

use haulier_base::{Error, ErrorKind, Result, Timestamp, id};
use haulier_mover::{Limits, Move, MoveOptions, Progress, ResumePoint, move_object};
use haulier_storage::{Attributes, Guard, Location, ObjectMeta, ObjectPath};

use super::Inner;
use crate::driver::{Driver, version_of};
use crate::model::{ContentHash, CopyState, EntryName, FileName, OWN_FOLDER};
use crate::store::entries::{self, Wanted};
use crate::store::kept::{self, KeptReason, KeptRow};

/// No move here is long enough to be worth a second life.
struct NoCheckpoint;

#[async_trait::async_trait]
impl haulier_mover::Checkpoint for NoCheckpoint {
    async fn save(&self, _point: &ResumePoint) -> Result<()> {
        Ok(())
    }
}

impl Inner {
    /// Opens an entry that takes part.
    ///
    /// # Errors
    /// `Conflict` when it does not run: a stopped entry is not written.
    pub(super) async fn open_running(&self, name: &EntryName) -> Result<Driver> {
        let mut tx = self.catalog.read().await?;
        let entry = entries::find(&mut tx, name).await?;
        drop(tx);
        let entry = entry.ok_or_else(|| super::no_such_entry(name.as_str()))?;
        if entry.wanted == Wanted::Stopped {
            return Err(Error::conflict(format!("entry {name} is not running")));
        }
        self.open(&entry).await
    }

    /// Copies what lies at a path of an entry under a file's name; what was there is kept.
    pub(super) async fn put_in_place(
        &self,
        driver: &Driver,
        at: &EntryName,
        from: ObjectPath,
        name: &FileName,
    ) -> Result<()> {
        let there = stat(driver, &driver.path(name)).await?;
        let mut options = MoveOptions { guard: Guard::unchanged(there.as_ref()), ..copying() };
        let source = Location { storage: driver.storage(), path: from };
        options.attributes = stat(driver, &source.path).await?.map(attributes).unwrap_or_default();
        let size = |meta: &ObjectMeta| meta.size.unwrap_or(0);
        let kept = there.as_ref().map(|meta| self.kept_row(at, name, size(meta), None, KeptReason::Replaced));
        if let Some(row) = &kept {
            if driver.storage().capabilities().rename && matches!(options.guard, Guard::Version(_)) {
                options.keep_old = Some(driver.own_path(&in_own_folder(&row.place)));
            } else {
                let copy = Location { storage: driver.storage(), path: driver.own_path(&in_own_folder(&row.place)) };
                carry_out(driver.location(name), copy, MoveOptions { guard: Guard::Absent, ..copying() }).await?;
            }
        }
        carry_out(source, driver.location(name), options).await?;
        self.record(kept).await
    }

    /// Removes a file of which the index says that it is in this state; it is kept.
    pub(super) async fn take_away(
        &self,
        driver: &Driver,
        at: &EntryName,
        name: &FileName,
        state: &CopyState,
    ) -> Result<()> {
        let guard = version_of(&state.found.stamp).map_or(Guard::Any, Guard::Version);
        let size = state.found.stamp.size_bytes;
        let row = self.kept_row(at, name, size, state.content.clone(), KeptReason::Deleted);
        let keep = driver.own_path(&in_own_folder(&row.place));
        let storage = driver.storage();
        if storage.capabilities().rename {
            storage.remove_guarded(&driver.path(name), &guard, Some(&keep)).await?;
        } else {
            let copy = Location { storage: driver.storage(), path: keep };
            carry_out(driver.location(name), copy, MoveOptions { guard: Guard::Absent, ..copying() }).await?;
            storage.remove_guarded(&driver.path(name), &guard, None).await?;
        }
        self.record(Some(row)).await
    }

    fn kept_row(
        &self,
        at: &EntryName,
        name: &FileName,
        size_bytes: u64,
        content: Option<ContentHash>,
        reason: KeptReason,
    ) -> KeptRow {
        let id = id::ordered_uuid();
        let place = format!("{OWN_FOLDER}/kept/{id}");
        let kept_at: Timestamp = self.catalog.now();
        KeptRow { id, entry: at.clone(), name: name.clone(), place, size_bytes, content, reason, kept_at }
    }

    async fn record(&self, row: Option<KeptRow>) -> Result<()> {
        let Some(row) = row else { return Ok(()) };
        let mut tx = self.catalog.begin("sync.keep").await?;
        kept::insert(&mut tx, &row).await?;
        tx.commit().await
    }
}

/// A place in our folder, as the driver takes it.
pub(super) fn in_own_folder(place: &str) -> String {
    place.strip_prefix(OWN_FOLDER).unwrap_or(place).trim_start_matches('/').to_owned()
}

fn copying() -> MoveOptions {
    MoveOptions { label: id::random_uuid(), create_parents: true, ..MoveOptions::default() }
}

fn attributes(meta: ObjectMeta) -> Attributes {
    Attributes { modified: None, mode: meta.mode }
}

async fn stat(driver: &Driver, path: &ObjectPath) -> Result<Option<ObjectMeta>> {
    match driver.storage().stat(path).await {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn carry_out(source: Location, target: Location, options: MoveOptions) -> Result<()> {
    let mv = Move { source, target, range: haulier_mover::ByteRange::default(), options, resume: None };
    let never = std::future::pending();
    move_object(mv, &NoCheckpoint, &Progress::default(), &Limits::none(), never).await.map(drop)
}
