//! The local files of a backup: walked and described by the library, opened and read under our eyes.
//!
//! What cannot be read, and what changes while it is read, is noted here: the library leaves it out in silence.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use haulier_base::{Error, Result};
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{
    ErrorKind, Excludes, LocalSource, LocalSourceFilterOptions, LocalSourceSaveOptions, ReadSource, ReadSourceEntry,
    ReadSourceOpen, RusticError, RusticResult,
};

use super::mode;

/// So many troubles are told one by one; further ones are only counted.
const TOLD_MAX: usize = 1000;

/// What went wrong with single files.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    unreadable: u64,
    changed: u64,
    lines: Vec<String>,
}

impl Troubles {
    fn unreadable(&self, line: String) {
        tracing::warn!("not backed up: {line}");
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.unreadable += 1;
        told.tell(format!("unreadable: {line}"));
    }

    fn changed(&self, path: &Path) {
        tracing::warn!("changed while it was read: {}", path.display());
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.changed += 1;
        told.tell(format!("changed while it was read: {}", path.display()));
    }

    /// How many files could not be read, how many changed meanwhile, and which.
    pub(super) fn take(&self) -> (u64, u64, Vec<String>) {
        let told = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (told.unreadable, told.changed, told.lines)
    }
}

impl Told {
    fn tell(&mut self, line: String) {
        if self.lines.len() < TOLD_MAX {
            self.lines.push(line);
        }
    }
}

/// What of a folder is backed up.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// Patterns of what is left out; `*.tmp`, `/var/cache`.
    pub(super) exclude: Vec<String>,
    /// Patterns of the only files that are taken; none is all.
    pub(super) include: Vec<String>,
    /// Whether folders where another file system is mounted stay empty.
    pub(super) one_file_system: bool,
}

/// A file or folder to back up.
pub(super) struct Tree {
    local: LocalSource,
    root: PathBuf,
    troubles: Arc<Troubles>,
}

impl Tree {
    pub(super) fn new(root: &Path, selection: &Selection, troubles: Arc<Troubles>) -> RusticResult<Self> {
        // A pattern that begins with "!" leaves out, one without takes.
        let out = selection.exclude.iter().map(|pattern| format!("!{pattern}"));
        let globs = selection.include.iter().cloned().chain(out).collect::<Vec<_>>();
        let mut filter = LocalSourceFilterOptions::default();
        filter.one_file_system = selection.one_file_system;
        let mut excludes = Excludes::default();
        excludes.globs = globs;
        let local = LocalSource::new(LocalSourceSaveOptions::default(), &excludes, &filter, &[root])?;
        Ok(Self { local, root: root.to_owned(), troubles })
    }
}

impl ReadSource for Tree {
    type Open = Opener;
    type Iter = Walk;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Walk {
        let folders = folders_to(&self.root, &self.troubles);
        Walk { folders: folders.into_iter(), inner: self.local.entries(), troubles: Arc::clone(&self.troubles) }
    }
}

/// The folders on the way to the root and the root, each with its owner, mode and times.
fn folders_to(root: &Path, troubles: &Troubles) -> Vec<ReadSourceEntry<Opener>> {
    let mut found = Vec::new();
    for path in root.ancestors().collect::<Vec<_>>().into_iter().rev() {
        let Some(name) = path.file_name() else { continue };
        match std::fs::symlink_metadata(path) {
            Ok(facts) if facts.is_dir() => found.push(folder(path, name, &facts)),
            Ok(_) => {}
            Err(error) => troubles.unreadable(format!("{}: {}", path.display(), Error::from(error))),
        }
    }
    found
}

fn folder(path: &Path, name: &OsStr, facts: &std::fs::Metadata) -> ReadSourceEntry<Opener> {
    let time = |seconds, nanos| Timestamp::new(seconds, i32::try_from(nanos).unwrap_or(0)).ok();
    let meta = Metadata {
        mode: Some(mode::to_stored(facts.mode())),
        mtime: time(facts.mtime(), facts.mtime_nsec()),
        atime: time(facts.mtime(), facts.mtime_nsec()),
        ctime: time(facts.ctime(), facts.ctime_nsec()),
        uid: Some(facts.uid()),
        gid: Some(facts.gid()),
        inode: facts.ino(),
        ..Metadata::default()
    };
    ReadSourceEntry { path: path.to_owned(), node: Node::new_node(name, NodeType::Dir, meta), open: None }
}

/// All entries, in the order of their paths.
pub(super) struct Walk {
    folders: std::vec::IntoIter<ReadSourceEntry<Opener>>,
    inner: <LocalSource as ReadSource>::Iter,
    troubles: Arc<Troubles>,
}

impl Iterator for Walk {
    type Item = RusticResult<ReadSourceEntry<Opener>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(folder) = self.folders.next() {
            return Some(Ok(folder));
        }
        loop {
            match self.inner.next()? {
                Ok(ReadSourceEntry { path, node, .. }) => {
                    let open = node.is_file().then(|| Opener {
                        path: path.clone(),
                        size: node.meta.size,
                        modified: node.meta.mtime,
                        troubles: Arc::clone(&self.troubles),
                    });
                    return Some(Ok(ReadSourceEntry { path, node, open }));
                }
                Err(error) => self.troubles.unreadable(one_line(&error)),
            }
        }
    }
}

/// The first line of what the library says, and its cause.
pub(super) fn one_line(error: &RusticError) -> String {
    let said = error.display_log();
    let said = said.trim_start_matches("Error: ");
    said.lines().next().unwrap_or_default().to_owned()
}

/// A file that is going to be read.
pub(super) struct Opener {
    path: PathBuf,
    size: u64,
    modified: Option<Timestamp>,
    troubles: Arc<Troubles>,
}

impl ReadSourceOpen for Opener {
    type Reader = Watched;

    fn open(self) -> RusticResult<Watched> {
        // Not a FIFO that took the place of a file meanwhile, on which opening would wait for ever.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
        match rustix::fs::open(&self.path, flags, rustix::fs::Mode::empty()) {
            Ok(file) => Ok(Watched { file: File::from(file), opener: self, read: 0, ended: false }),
            Err(error) => {
                let error = std::io::Error::from(error);
                self.troubles.unreadable(format!("{}: {error}", self.path.display()));
                Err(RusticError::with_source(ErrorKind::InputOutput, "a file cannot be opened", error))
            }
        }
    }
}

/// A file that is being read.
pub(super) struct Watched {
    file: File,
    opener: Opener,
    read: u64,
    ended: bool,
}

impl Watched {
    /// Whether the file is still what it was when its folder was read.
    fn look_again(&self) -> Result<bool> {
        let facts = self.file.metadata()?;
        let modified = Timestamp::new(facts.mtime(), i32::try_from(facts.mtime_nsec()).unwrap_or(0)).ok();
        Ok(facts.len() == self.opener.size && self.read == self.opener.size && modified == self.opener.modified)
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.file.read(buffer) {
            Ok(0) if !buffer.is_empty() && !self.ended => {
                self.ended = true;
                if !self.look_again().unwrap_or(false) {
                    self.opener.troubles.changed(&self.opener.path);
                }
                Ok(0)
            }
            Ok(count) => {
                self.read += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.opener.troubles.unreadable(format!("{}: {error}", self.opener.path.display()));
                Err(error)
            }
        }
    }
}

/// One stream under one name: what a program prints.
pub(super) struct Stream<R> {
    name: PathBuf,
    reader: Mutex<Option<R>>,
}

impl<R: Read + Send + 'static> Stream<R> {
    pub(super) fn new(name: PathBuf, reader: R) -> Self {
        Self { name, reader: Mutex::new(Some(reader)) }
    }
}

impl<R: Read + Send + 'static> ReadSource for Stream<R> {
    type Open = R;
    type Iter = std::option::IntoIter<RusticResult<ReadSourceEntry<R>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let open = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let name = self.name.file_name().unwrap_or(OsStr::new("stdin"));
        let meta = Metadata { mode: Some(0o600), mtime: Some(Timestamp::now()), ..Metadata::default() };
        let node = Node::new_node(name, NodeType::File, meta);
        Some(Ok(ReadSourceEntry { path: self.name.clone(), node, open })).into_iter()
    }
}
