//! Does what the plan of a restore says: folders, then files under names of their own, then renames and facts.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use haulier_base::{Error, Result};
use rustic_core::DataId;

use super::super::lock::Cipher;
use super::super::shelf::Shelf;
use super::plan::{Blob, Plan};
use super::{Restored, facts, unpack};

/// So many reads of the repository go on at once.
const HANDS_MAX: usize = 8;
/// So many warnings are kept.
const WARNINGS_MAX: usize = 1000;

struct Work<'a> {
    plan: &'a Plan,
    owner: bool,
    /// For each item, how many of its pieces are still to come.
    left: Vec<AtomicUsize>,
    restored: Mutex<&'a mut Restored>,
    mark: u32,
}

pub(super) fn apply(plan: &Plan, shelf: &Shelf, cipher: &Cipher, owner: bool, restored: &mut Restored) -> Result<()> {
    let target = restored.target.clone();
    let left = plan.items.iter().map(|_| AtomicUsize::new(0)).collect();
    let work = Work { plan, owner, left, restored: Mutex::new(restored), mark: std::process::id() };
    let done = work.files(shelf, cipher);
    if done.is_err() {
        work.sweep();
    }
    done?;
    work.rest()?;
    // Everything at once is cheaper than file by file.
    let place = if target.is_dir() { target.as_path() } else { target.parent().unwrap_or(Path::new("/")) };
    rustix::fs::syncfs(File::open(place)?).map_err(std::io::Error::from)?;
    Ok(())
}

impl Work<'_> {
    fn restored<T>(&self, change: impl FnOnce(&mut Restored) -> T) -> T {
        change(&mut self.restored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn warn(&self, line: String) {
        tracing::warn!("{line}");
        self.restored(|restored| {
            if restored.warnings.len() < WARNINGS_MAX {
                restored.warnings.push(line);
            }
        });
    }

    /// The name of a file until it is whole.
    fn beside(&self, index: usize) -> PathBuf {
        let name = format!(".haulier-restore-{}-{index}", self.mark);
        self.plan.items[index].path.with_file_name(name)
    }

    fn files(&self, shelf: &Shelf, cipher: &Cipher) -> Result<()> {
        self.folders()?;
        let indexes: Vec<_> = self.plan.pieces.keys().copied().collect();
        in_parallel(&indexes, |index| self.prepare(*index))?;
        let needed = self.plan.blobs.iter().filter(|(_, blob)| blob.targets.iter().any(|(index, _)| self.open(*index)));
        let runs = unpack::runs(needed.map(|((pack, _), blob)| (*pack, blob)));
        in_parallel(&runs, |run| run.read(shelf, cipher, |blob, data| self.piece(blob, data)))
    }

    fn open(&self, index: usize) -> bool {
        self.left[index].load(Ordering::SeqCst) > 0
    }

    fn folders(&self) -> Result<()> {
        for item in self.plan.items.iter().filter(|item| item.node.is_dir()) {
            match fs::symlink_metadata(&item.path) {
                Ok(facts) if facts.is_dir() => continue,
                Ok(_) => fs::remove_file(&item.path)?,
                Err(_) => {}
            }
            fs::create_dir_all(&item.path).map_err(|error| named(&item.path, error))?;
        }
        let first = self.plan.items.first().filter(|item| !item.node.is_dir());
        if let Some(parent) = first.and_then(|item| item.path.parent()) {
            fs::create_dir_all(parent).map_err(|error| named(parent, error))?;
        }
        Ok(())
    }

    /// Makes the file that takes the content, if what is there is not that content already.
    fn prepare(&self, index: usize) -> Result<()> {
        let (item, pieces) = (&self.plan.items[index], &self.plan.pieces[&index]);
        let size: u64 = pieces.iter().map(|(_, length)| length).sum();
        if holds(&item.path, size, pieces) {
            facts::dress(&item.path, &item.node, self.owner, &mut |line| self.warn(line));
            self.restored(|restored| restored.unchanged += 1);
            return Ok(());
        }
        let beside = self.beside(index);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
        file.and_then(|file| file.set_len(size)).map_err(|error| named(&beside, error))?;
        if pieces.is_empty() {
            return self.finish(index);
        }
        self.left[index].store(pieces.len(), Ordering::SeqCst);
        Ok(())
    }

    fn piece(&self, blob: &Blob, data: &[u8]) -> Result<()> {
        for (index, offset) in &blob.targets {
            if !self.open(*index) {
                continue;
            }
            let beside = self.beside(*index);
            let file =
                OpenOptions::new().read(true).write(true).open(&beside).map_err(|error| named(&beside, error))?;
            unpack::put(&file, &beside, *offset, data)?;
            drop(file);
            if self.left[*index].fetch_sub(1, Ordering::SeqCst) == 1 {
                self.finish(*index)?;
            }
        }
        Ok(())
    }

    fn finish(&self, index: usize) -> Result<()> {
        let (item, beside) = (&self.plan.items[index], self.beside(index));
        facts::dress(&beside, &item.node, self.owner, &mut |line| self.warn(line));
        make_room(&item.path)?;
        fs::rename(&beside, &item.path).map_err(|error| named(&item.path, error))?;
        self.restored(|restored| {
            restored.files += 1;
            restored.bytes += item.node.meta.size;
        });
        Ok(())
    }

    /// Links, devices and pipes; then the facts of folders, from within, because what is made in them changes them.
    fn rest(&self) -> Result<()> {
        for (index, item) in self.plan.items.iter().enumerate() {
            if item.node.is_dir() || self.plan.pieces.contains_key(&index) {
                continue;
            }
            let beside = self.beside(index);
            let made = match item.same_as {
                Some(first) => fs::hard_link(&self.plan.items[first].path, &beside).map_err(Error::from),
                None => facts::make(&beside, &item.node),
            };
            if let Err(error) = made {
                self.warn(format!("{}: {error}", item.path.display()));
                continue;
            }
            if item.same_as.is_none() {
                facts::dress(&beside, &item.node, self.owner, &mut |line| self.warn(line));
            }
            make_room(&item.path)?;
            fs::rename(&beside, &item.path).map_err(|error| named(&item.path, error))?;
            // Renaming one name of a file onto another does nothing, and leaves both.
            if item.same_as.is_some() && fs::symlink_metadata(&beside).is_ok() {
                fs::remove_file(&beside)?;
            }
            self.restored(|restored| restored.files += 1);
        }
        for item in self.plan.items.iter().rev().filter(|item| item.node.is_dir()) {
            facts::dress(&item.path, &item.node, self.owner, &mut |line| self.warn(line));
            self.restored(|restored| restored.directories += 1);
        }
        Ok(())
    }

    /// Removes what is not whole.
    fn sweep(&self) {
        for index in self.plan.pieces.keys() {
            if let Err(error) = fs::remove_file(self.beside(*index))
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "an unfinished file could not be removed");
            }
        }
    }
}

/// A file cannot take the place of a folder by being renamed; an empty one goes, a full one stays.
fn make_room(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir(path).map_err(|error| named(path, error)),
        _ => Ok(()),
    }
}

/// Whether a file has that content already.
fn holds(path: &Path, size: u64, pieces: &[(DataId, u64)]) -> bool {
    let Ok(facts) = fs::symlink_metadata(path) else { return false };
    if !facts.is_file() || facts.len() != size {
        return false;
    }
    let Ok(file) = File::open(path) else { return false };
    let mut offset = 0;
    pieces.iter().all(|(id, length)| {
        let mut data = vec![0; usize::try_from(*length).unwrap_or(0)];
        let read = file.read_exact_at(&mut data, offset).is_ok();
        offset += length;
        read && unpack::is(id, &data)
    })
}

fn named(path: &Path, error: std::io::Error) -> Error {
    let error = Error::from(error);
    Error::new(error.kind(), format!("{}: {error}", path.display())).caused_by(error)
}

/// Does the same with every item, with several hands; stops at the first error.
fn in_parallel<T: Sync>(items: &[T], act: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let hands = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, HANDS_MAX);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..hands.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Err(error) = act(item) {
                        next.store(items.len(), Ordering::SeqCst);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
