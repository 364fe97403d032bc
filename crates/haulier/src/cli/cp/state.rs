//! Where a copy by this process remembers how far it came, so that running it again goes on.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use haulier_base::{Error, Result};
use haulier_mover::{Checkpoint, ResumePoint};

use crate::config::process_environment;

/// The remembered points of copies, one file each, under `$XDG_STATE_HOME/haulier/cp`.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    path: PathBuf,
}

/// While it lives, no other process makes the same copy.
#[derive(Debug)]
pub(super) struct Alone {
    path: PathBuf,
    _file: File,
}

impl Drop for Alone {
    fn drop(&mut self) {
        // A file that stays is harmless: only its lock counts.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// The folder of all remembered copies.
fn folder() -> PathBuf {
    let state = process_environment("XDG_STATE_HOME").map(PathBuf::from);
    let home = || process_environment("HOME").map(|home| Path::new(&home).join(".local/state"));
    state.or_else(home).unwrap_or_else(std::env::temp_dir).join("haulier/cp")
}

impl Memory {
    /// The memory of the copy with this name.
    pub(super) fn of(name: &str) -> Self {
        Self { path: folder().join(format!("{name}.json")) }
    }

    /// Keeps other processes from making the same copy at the same time.
    pub(super) fn lock(&self) -> Result<Alone> {
        let path = self.path.with_extension("lock");
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            if file.try_lock().is_err() {
                return Err(Error::conflict("another process makes the same copy now"));
            }
            // The one before us may have removed the file between our opening and our locking it.
            if std::fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|ours| ours.ino() == now.ino())) {
                return Ok(Alone { path, _file: file });
            }
        }
    }

    /// What is remembered; damage counts as nothing.
    pub(super) fn recall(&self) -> Option<ResumePoint> {
        serde_json::from_slice(&std::fs::read(&self.path).ok()?).ok()
    }

    /// Forgets a copy that is done.
    pub(super) fn forget(&self) {
        let _gone = std::fs::remove_file(&self.path);
    }

    /// Where the copy of a folder goes that was begun and has not come to its end.
    pub(super) fn recall_place(&self) -> Option<PathBuf> {
        let place = std::fs::read(self.path.with_extension("place")).ok()?;
        Some(PathBuf::from(OsString::from_vec(place))).filter(|place| place.is_dir())
    }

    /// Remembers where the copy of a folder goes.
    pub(super) fn keep_place(&self, place: &Path) -> Result<()> {
        replace(&self.path.with_extension("place"), place.as_os_str().as_bytes())
    }

    /// Forgets where the copy of a folder went.
    pub(super) fn forget_place(&self) {
        let _gone = std::fs::remove_file(self.path.with_extension("place"));
    }

    fn keep(&self, point: &ResumePoint) -> Result<()> {
        let text = serde_json::to_vec(point).map_err(|error| Error::internal("a point is JSON").caused_by(error))?;
        replace(&self.path, &text)
    }
}

/// Writes a whole file, or leaves the old one.
fn replace(path: &Path, text: &[u8]) -> Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    Ok(())
}

#[async_trait]
impl Checkpoint for Memory {
    async fn save(&self, point: &ResumePoint) -> Result<()> {
        self.keep(point)
    }

    async fn start_over(&self) -> Result<()> {
        self.forget();
        Ok(())
    }
}
