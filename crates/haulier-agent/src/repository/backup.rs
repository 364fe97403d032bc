//! Makes a snapshot of local files, or of what a program prints.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use haulier_base::{Error, Result};
use rustic_core::repofile::SnapshotFile;
use rustic_core::{BackupOptions, SnapshotOptions};
use serde::{Deserialize, Serialize};

use super::shelf::Shelf;
use super::source::{self, Selection, Tree, Troubles};
use super::{Repository, ours};

/// How the level of a backup is noted at its snapshot.
const LEVEL: &str = "level-";
/// How the run that made a snapshot is noted at it.
const RUN: &str = "run-";

/// What to back up, and under which name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackupRequest {
    /// The file or folder; for a stream, the name that it gets.
    pub path: PathBuf,
    /// The name of the backup: levels are counted for each name, machine and path.
    pub name: String,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
    /// Patterns of the only files that are taken; none is all.
    pub include: Vec<String>,
    /// Whether folders where another file system is mounted stay empty.
    pub one_file_system: bool,
    /// After a backup of this level, the next one has level 0.
    pub max_level: Option<u32>,
    /// Backups after the first ones up to this level all have this level.
    pub always_level: Option<u32>,
    /// Whether every file is read again, whatever the last backup knows: level 0.
    pub full: bool,
    /// A word that this run alone has: a snapshot that has it already is the result, and nothing is done.
    pub run: Option<String>,
}

/// What a backup did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// The id of the snapshot.
    pub snapshot: String,
    /// When the files began to be read, seconds since 1970.
    pub started: i64,
    /// 0 when every file was read, else how many backups that trusted unchanged files lie between it and that one.
    pub level: u32,
    /// Regular and special files in the snapshot.
    pub files: u64,
    /// Folders in the snapshot.
    pub directories: u64,
    /// Bytes of the content of all files in the snapshot.
    pub size: u64,
    /// Bytes that the repository grew by, as they are stored.
    pub added: u64,
    /// The same bytes before they were compressed.
    pub added_raw: u64,
    /// Files whose content was stored or compared anew.
    pub files_read: u64,
    /// Files that are missing because they could not be read.
    pub unreadable: u64,
    /// Files that changed while they were read.
    pub changed: u64,
    /// What went wrong, file by file, a bounded number of lines.
    pub troubles: Vec<String>,
}

/// A stream whose end says whether it was whole.
pub struct Stream {
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
    /// Waits for whoever wrote the bytes, and says whether they are all there.
    pub finish: Box<dyn FnOnce() -> Result<()> + Send>,
}

/// What is being read.
enum Input {
    Tree(Box<Tree>),
    Stream(source::Stream<Whole>),
}

impl Repository {
    /// Makes a snapshot of a file or a folder.
    ///
    /// # Errors
    /// `NotFound` when the path does not exist. Single files that cannot be read are no error; they are counted.
    pub fn backup_tree(&self, request: &BackupRequest) -> Result<BackupSummary> {
        let path = std::path::absolute(&request.path)?;
        std::fs::symlink_metadata(&path).map_err(|error| {
            let error = Error::from(error);
            Error::new(error.kind(), format!("{} cannot be backed up: {error}", path.display()))
        })?;
        let request = BackupRequest { path, ..request.clone() };
        let troubles = Arc::new(Troubles::default());
        let selection = Selection {
            exclude: request.exclude.clone(),
            include: request.include.clone(),
            one_file_system: request.one_file_system,
        };
        self.backup(&request, &troubles, || {
            Ok(Input::Tree(Box::new(Tree::new(&request.path, &selection, Arc::clone(&troubles)).map_err(ours)?)))
        })
    }

    /// Makes a snapshot of one stream, which is always read whole. A stream that is not whole leaves no snapshot.
    ///
    /// # Errors
    /// What the end of the stream says.
    pub fn backup_stream(
        &self,
        request: &BackupRequest,
        open: impl FnOnce() -> Result<Stream>,
    ) -> Result<BackupSummary> {
        let request = BackupRequest { full: true, ..request.clone() };
        let fate = Arc::new(Mutex::new(None));
        let done = self.backup(&request, &Troubles::default(), || {
            let stream = open()?;
            let whole = Whole {
                reader: stream.reader,
                finish: Some(stream.finish),
                fate: Arc::clone(&fate),
                shelf: Arc::clone(&self.shelf),
            };
            Ok(Input::Stream(source::Stream::new(request.path.clone(), whole)))
        });
        match fate.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => done,
        }
    }

    fn backup(
        &self,
        request: &BackupRequest,
        troubles: &Troubles,
        open: impl FnOnce() -> Result<Input>,
    ) -> Result<BackupSummary> {
        let lock = self.lock(false)?;
        let before = self.like(request)?;
        if let Some(done) = before.iter().rev().find(|snapshot| is_run(snapshot, request)) {
            tracing::info!("this run has made its snapshot already");
            return Ok(summary(done, level_of(done).unwrap_or(0)));
        }
        let last = before.last();
        let level = next_level(last.and_then(level_of), request);
        let mut options = BackupOptions::default();
        options.no_scan = true;
        options.parent_opts.force = level == 0;
        options.parent_opts.parents = last.iter().map(|last| last.id.to_hex().as_str().to_owned()).collect();
        let snapshot = self.describe(request, level)?;
        let started = snapshot.time.timestamp().as_second();
        let indexed = self.another()?.to_indexed_ids().map_err(ours)?;
        let paths = [request.path.clone()];
        let made = match open()? {
            Input::Tree(tree) => indexed.archive(&options, tree.as_ref(), snapshot, &paths),
            Input::Stream(stream) => indexed.archive(&options, &stream, snapshot, &paths),
        };
        let made = made.map_err(ours)?;
        if self.shelf.is_broken() {
            return Err(Error::unavailable("the repository could not be written"));
        }
        lock.check()?;
        let (unreadable, changed, troubles) = troubles.take();
        Ok(BackupSummary { started, unreadable, changed, troubles, ..summary(&made, level) })
    }

    /// The snapshots that this one follows, oldest first.
    fn like(&self, request: &BackupRequest) -> Result<Vec<SnapshotFile>> {
        let path = request.path.to_string_lossy();
        let mut snapshots = self.snapshots_raw()?;
        snapshots.retain(|snapshot| {
            snapshot.hostname == self.access.hostname
                && snapshot.label == request.name
                && snapshot.paths.iter().eq([path.as_ref()])
        });
        Ok(snapshots)
    }

    fn describe(&self, request: &BackupRequest, level: u32) -> Result<SnapshotFile> {
        let mut options = SnapshotOptions::default();
        options.label = Some(request.name.clone());
        options.host = Some(self.access.hostname.clone());
        options.command = Some(format!("haulier backup of {}", request.path.display()));
        let mut snapshot = options.to_snapshot().map_err(ours)?;
        snapshot.tags.add(format!("{LEVEL}{level}"));
        if !request.name.is_empty() {
            snapshot.tags.add(request.name.clone());
        }
        if let Some(run) = &request.run {
            snapshot.tags.add(format!("{RUN}{run}"));
        }
        Ok(snapshot)
    }
}

fn is_run(snapshot: &SnapshotFile, request: &BackupRequest) -> bool {
    request.run.as_ref().is_some_and(|run| snapshot.tags.contains(&format!("{RUN}{run}")))
}

pub(super) fn level_of(snapshot: &SnapshotFile) -> Option<u32> {
    snapshot.tags.iter().find_map(|tag| tag.strip_prefix(LEVEL)?.parse().ok())
}

/// The level of a backup after one of that level.
fn next_level(last: Option<u32>, request: &BackupRequest) -> u32 {
    let Some(last) = last.filter(|_| !request.full) else { return 0 };
    match (request.always_level, request.max_level) {
        (Some(always), _) => last.saturating_add(1).min(always),
        (None, Some(max)) if last >= max => 0,
        (None, _) => last.saturating_add(1),
    }
}

fn summary(snapshot: &SnapshotFile, level: u32) -> BackupSummary {
    let facts = snapshot.summary.clone().unwrap_or_default();
    BackupSummary {
        snapshot: snapshot.id.to_hex().as_str().to_owned(),
        started: snapshot.time.timestamp().as_second(),
        level,
        files: facts.total_files_processed,
        directories: facts.total_dirs_processed,
        size: facts.total_bytes_processed,
        added: facts.data_added_packed,
        added_raw: facts.data_added,
        files_read: facts.files_new + facts.files_changed,
        ..BackupSummary::default()
    }
}

/// A stream that closes the repository for writing when it turns out not to be whole, so that no snapshot is made.
struct Whole {
    reader: Box<dyn Read + Send>,
    finish: Option<Box<dyn FnOnce() -> Result<()> + Send>>,
    fate: Arc<Mutex<Option<Error>>>,
    shelf: Arc<Shelf>,
}

impl Whole {
    fn fail(&self, error: Error) -> std::io::Error {
        let said = std::io::Error::other(error.to_string());
        self.shelf.close();
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        said
    }
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(0) if !buffer.is_empty() => match self.finish.take().map_or(Ok(()), |finish| finish()) {
                Ok(()) => Ok(0),
                Err(error) => Err(self.fail(error)),
            },
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Err(self.fail(Error::from(error))),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_each_other_as_asked() {
        let levels = |request: BackupRequest| {
            let mut last = None;
            let mut next = || {
                last = Some(next_level(last, &request));
                last.unwrap()
            };
            [next(), next(), next(), next()]
        };
        assert_eq!(levels(BackupRequest::default()), [0, 1, 2, 3]);
        assert_eq!(levels(BackupRequest { max_level: Some(2), ..BackupRequest::default() }), [0, 1, 2, 0]);
        assert_eq!(levels(BackupRequest { always_level: Some(1), ..BackupRequest::default() }), [0, 1, 1, 1]);
        assert_eq!(levels(BackupRequest { full: true, ..BackupRequest::default() }), [0, 0, 0, 0]);
    }
}
