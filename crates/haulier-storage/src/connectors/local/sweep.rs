//! Clearing away what writers of a label left unfinished below a folder, when none of them is at work.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use haulier_base::Result;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::roots::open_beneath;
use super::{NO_FOLLOW, Roots, missing_is_none, os_error};
use crate::connectors::temp_name::is_temp_name_of;

/// Levels of folders, each of which costs a descriptor.
const DEPTH_MAX: usize = 512;

/// Removes the temporary files of a label, and says how many there were.
pub(super) fn sweep(roots: &Roots, full: &Path, label: &str) -> Result<u64> {
    let opened = roots.open_at(&roots.resolve(full)?, OFlags::RDONLY | OFlags::DIRECTORY);
    let Some(folder) = missing_is_none(opened)? else { return Ok(0) };
    let mut levels = vec![read(folder.into())?];
    let mut removed = 0;
    loop {
        let depth = levels.len();
        let Some((folder, entries)) = levels.last_mut() else { return Ok(removed) };
        let Some(entry) = entries.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.map_err(os_error)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let Ok(found) = rustix::fs::statat(&*folder, name, NO_FOLLOW) else { continue };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if depth < DEPTH_MAX => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                // What cannot be entered was not written to either.
                if let Ok(below) = open_beneath(&*folder, Path::new(name), flags, Mode::empty()) {
                    levels.push(read(below.into())?);
                }
            }
            FileType::RegularFile if name.to_str().is_some_and(|name| is_temp_name_of(name, label)) => {
                rustix::fs::unlinkat(&*folder, name, AtFlags::empty()).map_err(os_error)?;
                removed += 1;
            }
            _ => {}
        }
    }
}

fn read(folder: File) -> Result<(File, Dir)> {
    let entries = Dir::read_from(&folder).map_err(os_error)?;
    Ok((folder, entries))
}
