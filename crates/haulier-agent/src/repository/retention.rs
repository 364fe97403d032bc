//! Removes snapshots that are no longer wanted, and then what only they needed.

use haulier_base::{Result, Timestamp};
use rustic_core::jiff::{self, Span};
use rustic_core::repofile::{SnapshotFile, SnapshotId};
use rustic_core::{KeepOptions, PruneOptions};
use serde::{Deserialize, Serialize};

use super::contents::{Find, SnapshotInfo, info};
use super::{Repository, ours};

/// Files that nothing needs any more are kept for so long, hours: longer than any backup takes that began before.
const GRACE_HOURS: i64 = 23;

/// What is kept. A snapshot that any rule keeps is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// So many of the newest ones.
    pub last: Option<u32>,
    /// The newest of so many days.
    pub daily: Option<u32>,
    /// The newest of so many weeks.
    pub weekly: Option<u32>,
    /// The newest of so many months.
    pub monthly: Option<u32>,
    /// The newest of so many years.
    pub yearly: Option<u32>,
    /// Those begun at or after this instant, microseconds since 1970: "remove older than".
    pub since: Option<i64>,
}

impl Keep {
    /// Whether no rule is given, so that nothing would be kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn counts(&self) -> Option<KeepOptions> {
        let number = |count: Option<u32>| count.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        let mut options = KeepOptions::default();
        options.keep_last = number(self.last);
        options.keep_daily = number(self.daily);
        options.keep_weekly = number(self.weekly);
        options.keep_monthly = number(self.monthly);
        options.keep_yearly = number(self.yearly);
        let any = [self.last, self.daily, self.weekly, self.monthly, self.yearly].iter().any(Option::is_some);
        any.then_some(options)
    }
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The snapshots that are gone, or would be.
    pub removed: Vec<SnapshotInfo>,
    /// How many are left of those that were looked at.
    pub kept: u64,
    /// Bytes that nothing needs any more; a later run removes them.
    pub unused: u64,
    /// Bytes that were removed by this run.
    pub freed: u64,
}

impl Repository {
    /// Removes the snapshots that fit and that no rule keeps; rules count for each machine, name and path.
    ///
    /// # Errors
    /// `Conflict` when others use the repository.
    pub fn forget(&self, find: &Find, keep: &Keep, dry_run: bool) -> Result<Forgotten> {
        let lock = self.lock(true)?;
        let mut groups: std::collections::BTreeMap<_, Vec<SnapshotFile>> = std::collections::BTreeMap::new();
        for snapshot in self.snapshots_raw()? {
            let about = info(&snapshot);
            if find.fits(&about) {
                groups.entry((about.hostname, about.name, about.paths)).or_default().push(snapshot);
            }
        }
        let mut forgotten = Forgotten::default();
        let mut ids = Vec::new();
        for group in groups.into_values() {
            let total = group.len();
            let gone = unwanted(group, keep)?;
            forgotten.kept += (total - gone.len()) as u64;
            for snapshot in gone {
                ids.push(snapshot.id);
                forgotten.removed.push(info(&snapshot));
            }
        }
        if !dry_run {
            self.remove(&ids)?;
        }
        lock.check()?;
        Ok(forgotten)
    }

    /// Removes single snapshots.
    ///
    /// # Errors
    /// `NotFound` and `Invalid` as for one snapshot; then none is removed.
    pub fn forget_these(&self, ids: &[String], dry_run: bool) -> Result<Forgotten> {
        let lock = self.lock(true)?;
        let mut forgotten = Forgotten::default();
        let mut found = Vec::new();
        for id in ids {
            let snapshot = self.find(&Find { id: Some(id.clone()), ..Find::default() })?;
            found.push(snapshot.id);
            forgotten.removed.push(info(&snapshot));
        }
        if !dry_run {
            self.remove(&found)?;
        }
        lock.check()?;
        Ok(forgotten)
    }

    fn remove(&self, ids: &[SnapshotId]) -> Result<()> {
        if ids.is_empty() { Ok(()) } else { self.opened.delete_snapshots(ids).map_err(ours) }
    }

    /// Marks what no snapshot needs, packs anew what is mostly not needed, and removes what was marked long ago.
    ///
    /// # Errors
    /// `Conflict` when others use the repository.
    pub fn prune(&self) -> Result<Forgotten> {
        let lock = self.lock(true)?;
        let mut options = PruneOptions::default();
        // Never at once: a backup that began before may still count on it.
        options.instant_delete = false;
        options.keep_delete = Span::new().hours(GRACE_HOURS);
        let plan = self.opened.prune_plan(&options).map_err(ours)?;
        let (freed, marked) = (plan.stats.size_to_delete.remove, plan.stats.size_sum());
        let unused = marked.remove + marked.repackrm;
        lock.check()?;
        self.opened.prune(&options, plan).map_err(ours)?;
        Ok(Forgotten { freed, unused, ..Forgotten::default() })
    }
}

/// Those of a group that no rule keeps. The newest is always kept.
fn unwanted(group: Vec<SnapshotFile>, keep: &Keep) -> Result<Vec<SnapshotFile>> {
    let newest = group.iter().map(|snapshot| snapshot.time.timestamp()).max();
    let now = jiff::Zoned::now();
    let since = keep.since.map(|at| Timestamp::from_micros(at).as_micros());
    let is_recent = |snapshot: &SnapshotFile| {
        Some(snapshot.time.timestamp()) == newest
            || snapshot.must_keep(&now)
            || since.is_some_and(|since| snapshot.time.timestamp().as_microsecond() >= since)
    };
    let Some(counts) = keep.counts() else {
        return Ok(group.into_iter().filter(|snapshot| !is_recent(snapshot)).collect());
    };
    let judged = counts.apply(group, &now).map_err(ours)?;
    let gone = judged.into_iter().filter(|one| !one.keep && !is_recent(&one.snapshot)).map(|one| one.snapshot);
    Ok(gone.collect())
}
