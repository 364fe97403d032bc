//! Puts a watch on each folder. One watch per folder, made by ourselves: the kernel knows no trees, and the watcher's
//! own walk looks at every file, follows links, and reports a new folder before it is watched.

use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use haulier_base::{Error, Result};
use notify::{ErrorKind, RecursiveMode, Watcher};
use tokio::time::Instant;

use super::dirty::Lost;
use super::events::name_of;
use super::{Inner, identity_of};
use crate::model::FileName;

/// How putting a watch on a folder ended.
enum Put {
    Watched,
    /// It went meanwhile, or may not be read: whoever lists it will say so.
    Passed,
    /// The system allows no more.
    Limited,
}

impl Inner {
    /// Watches the root and all below it.
    pub(super) fn follow_root(&self) -> Result<()> {
        match self.put(&self.root) {
            Put::Watched => {}
            Put::Limited => self.shared.limited.store(true, Ordering::SeqCst),
            Put::Passed => {
                identity_of(&self.root)?;
                return Err(Error::forbidden("the root cannot be read"));
            }
        }
        self.walk(&self.root, None);
        Ok(())
    }

    /// Watches folders that appeared, and has the files looked at that are in them already.
    pub(super) fn follow_all(&self, folders: &[FileName]) {
        let mut files = Vec::new();
        for folder in folders {
            let path = self.root.join(folder.as_str());
            if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                self.put_or_note(&path);
                self.walk(&path, Some(&mut files));
            }
        }
        let (mut dirty, now) = (self.shared.dirty(), Instant::now());
        if files.len() > self.names_max {
            dirty.lose(Lost::Overflow);
        }
        // Whether their writers are done was said before anybody listened.
        files.into_iter().take(self.names_max).for_each(|file| dirty.stirred(file, now));
    }

    /// Walks a folder that is watched, and watches each folder in it before reading it, so that what appears
    /// meanwhile is either read or noticed.
    fn walk(&self, top: &Path, mut files: Option<&mut Vec<FileName>>) {
        let mut folders: Vec<PathBuf> = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                // Told by the folder itself almost everywhere: nobody looks at the files.
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    let path = entry.path();
                    if name_of(&self.root, &path).is_some() && self.put_or_note(&path) {
                        folders.push(path);
                    }
                } else if let Some(files) = files.as_deref_mut().filter(|files| files.len() <= self.names_max) {
                    files.extend(name_of(&self.root, &entry.path()).filter(|_| kind.is_file()));
                }
            }
            if self.ended.is_cancelled() {
                return;
            }
        }
    }

    /// Puts a watch on a folder; says whether it is worth going into.
    fn put_or_note(&self, folder: &Path) -> bool {
        if self.shared.limited.load(Ordering::SeqCst) {
            return true;
        }
        match self.put(folder) {
            Put::Watched => true,
            Put::Passed => false,
            Put::Limited => {
                self.shared.limited.store(true, Ordering::SeqCst);
                true
            }
        }
    }

    fn put(&self, folder: &Path) -> Put {
        let Err(error) = self.watcher().watch(folder, RecursiveMode::NonRecursive) else { return Put::Watched };
        match &error.kind {
            ErrorKind::MaxFilesWatch => Put::Limited,
            ErrorKind::PathNotFound => Put::Passed,
            ErrorKind::Io(io) if matches!(io.kind(), IoKind::NotFound | IoKind::NotADirectory) => Put::Passed,
            _ => {
                tracing::warn!(folder = %folder.display(), "a folder cannot be watched: {error}");
                Put::Passed
            }
        }
    }
}
