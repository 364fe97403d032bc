//! Time and mode of files.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use haulier_base::{Result, Timestamp};
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_OMIT};

use super::guarded::refuse_irregular;
use super::{Roots, meta_of};
use crate::{Attributes, Guard, ObjectMeta};

/// Sets what is given of time and mode. Not flushed.
pub(super) fn set(file: &File, to: &Attributes) -> Result<()> {
    if let Some(mode) = to.mode {
        file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    }
    if let Some(modified) = to.modified {
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: omitted, last_modification: timespec(modified) };
        rustix::fs::futimens(file, &times).map_err(super::os_error)?;
    }
    Ok(())
}

/// Sets time and mode of an expected version.
pub(super) fn set_at(roots: &Roots, full: &Path, guard: &Guard, to: &Attributes) -> Result<ObjectMeta> {
    let place = match super::missing_is_none(roots.place_of_entry(full))? {
        Some(place) => place,
        None => return Err(guard.refusal()),
    };
    let Some(found) = place.stat(&place.name)? else { return Err(guard.refusal()) };
    refuse_irregular(&found)?;
    let file = place.open(&place.name, OFlags::RDONLY | OFlags::NONBLOCK)?;
    guard.check(Some(&meta_of(&file.metadata()?)))?;
    set(&file, to)?;
    file.sync_all()?;
    Ok(meta_of(&file.metadata()?))
}

fn timespec(at: Timestamp) -> Timespec {
    let (seconds, rest) = (at.as_micros().div_euclid(1_000_000), at.as_micros().rem_euclid(1_000_000));
    Timespec { tv_sec: seconds, tv_nsec: rest * 1_000 }
}
