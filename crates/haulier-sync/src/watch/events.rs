//! Turns what the kernel says into what is worth a look. Pure.
//!
//! Knows no index: that a name went says nothing about what is there by the time somebody looks.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{ErrorKind, Event, EventKind};
use tokio::time::Instant;

use super::dirty::{Dirty, Lost};
use crate::model::FileName;

/// Takes in one answer of the kernel. Says so when a folder could not be watched because there are too many watches.
pub(super) fn take(dirty: &mut Dirty, root: &Path, answer: notify::Result<Event>, now: Instant) -> bool {
    match answer {
        Ok(event) if event.need_rescan() => dirty.lose(Lost::Overflow),
        Ok(event) => {
            if event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
                rename_event(dirty, root, &event.paths, now);
                return false;
            }
            for path in &event.paths {
                if path == root {
                    root_event(dirty, event.kind);
                } else if let Some(name) = name_of(root, path) {
                    name_event(dirty, name, event.kind, now);
                }
            }
        }
        Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => return true,
        Err(error) => {
            tracing::warn!(root = %root.display(), "watching a folder failed, so all of it is looked at: {error}");
            dirty.lose(Lost::Overflow);
        }
    }
    false
}

/// The name of a file that somebody may have; none for ours, and for what no entry could hold.
pub(super) fn name_of(root: &Path, path: &Path) -> Option<FileName> {
    let below = path.strip_prefix(root).ok()?.to_str()?;
    FileName::new(below).ok().filter(|name| !name.is_temporary())
}

/// The two halves came before.
fn rename_event(dirty: &mut Dirty, root: &Path, paths: &[PathBuf], now: Instant) {
    let name = |place: usize| paths.get(place).and_then(|path| name_of(root, path));
    if let (Some(from), Some(to)) = (name(0), name(1)) {
        dirty.renamed(&from, to, now);
    }
}

fn root_event(dirty: &mut Dirty, kind: EventKind) {
    if matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
        dirty.lose(Lost::Root);
    }
}

fn name_event(dirty: &mut Dirty, name: FileName, kind: EventKind, now: Instant) {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => dirty.done(name, now),
        // Our own looking and reading.
        EventKind::Access(_) => {}
        // Whether it is a folder is not said, so it is taken for both.
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => dirty.came(name, now),
        EventKind::Modify(ModifyKind::Name(_)) => dirty.went(name, now),
        EventKind::Create(CreateKind::Folder) => dirty.appeared(name),
        EventKind::Remove(RemoveKind::File) => dirty.done(name, now),
        EventKind::Remove(_) => dirty.went(name, now),
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => dirty.stirred(name, now),
    }
}
