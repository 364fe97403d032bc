//! What is in a repository: snapshots, and the files in them.

use std::path::{Path, PathBuf};

use haulier_base::{Error, Result, Timestamp};
use rustic_core::LsOptions;
use rustic_core::repofile::{Node, NodeType, SnapshotFile};
use serde::{Deserialize, Serialize};

use super::backup::level_of;
use super::{Repository, mode, ours};

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: String,
    /// When it was begun, microseconds since 1970.
    pub time: i64,
    /// The machine it is of.
    pub hostname: String,
    /// The name of the backup.
    pub name: String,
    /// What was backed up.
    pub paths: Vec<String>,
    /// Words that were added to it.
    pub tags: Vec<String>,
    /// The level, where one was noted.
    pub level: Option<u32>,
    /// Bytes of the content of all files; none where the program that made it did not say.
    pub size: Option<u64>,
    /// Files in it.
    pub files: Option<u64>,
}

/// Which snapshots are meant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Find {
    /// The id or the beginning of it; `latest` or nothing is the newest one that fits the rest.
    pub id: Option<String>,
    /// Of that machine.
    pub hostname: Option<String>,
    /// With that name.
    pub name: Option<String>,
    /// Of that path.
    pub path: Option<String>,
    /// Not begun later than this, microseconds since 1970.
    pub as_of: Option<i64>,
}

impl Find {
    pub(super) fn fits(&self, info: &SnapshotInfo) -> bool {
        self.hostname.as_ref().is_none_or(|name| *name == info.hostname)
            && self.name.as_ref().is_none_or(|name| *name == info.name)
            && self.path.as_ref().is_none_or(|path| info.paths.contains(path))
            && self.as_of.is_none_or(|at| info.time <= at)
    }

    fn prefix(&self) -> Option<&str> {
        self.id.as_deref().filter(|id| *id != "latest")
    }
}

/// A file, folder or other thing in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its path, as it was on the machine.
    pub path: PathBuf,
    /// `file`, `dir`, `symlink` and others.
    pub kind: String,
    /// Bytes of its content.
    pub size: u64,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Number of its owner.
    pub uid: Option<u32>,
    /// Number of its group.
    pub gid: Option<u32>,
    /// When it was last changed, microseconds since 1970.
    pub modified: Option<i64>,
    /// Where a symbolic link points.
    pub target: Option<PathBuf>,
}

impl Repository {
    /// All snapshots that fit, oldest first.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn snapshots(&self, find: &Find) -> Result<Vec<SnapshotInfo>> {
        let all = self.snapshots_raw()?;
        let fitting = all
            .iter()
            .map(info)
            .filter(|info| find.fits(info) && find.prefix().is_none_or(|prefix| info.id.starts_with(prefix)));
        Ok(fitting.collect())
    }

    /// The one snapshot that is meant: by its id, or the newest that fits.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Invalid` when the beginning of an id fits several.
    pub fn snapshot(&self, find: &Find) -> Result<SnapshotInfo> {
        Ok(info(&self.find(find)?))
    }

    pub(super) fn find(&self, find: &Find) -> Result<SnapshotFile> {
        let mut fitting = self.snapshots_raw()?;
        fitting.retain(|snapshot| {
            let info = info(snapshot);
            find.fits(&info) && find.prefix().is_none_or(|prefix| info.id.starts_with(prefix))
        });
        if let (Some(prefix), true) = (find.prefix(), fitting.len() > 1) {
            return Err(Error::invalid(format!("\"{prefix}\" is the beginning of {} snapshots", fitting.len())));
        }
        fitting.pop().ok_or_else(|| Error::not_found("there is no such snapshot"))
    }

    /// The files at and below a path of a snapshot, in order, given to `each`.
    ///
    /// # Errors
    /// `NotFound` when the path is not in the snapshot; what `each` says.
    pub fn files(&self, find: &Find, below: &Path, mut each: impl FnMut(FileInfo) -> Result<()>) -> Result<()> {
        let snapshot = self.find(find)?;
        let indexed = self.another()?.to_indexed_ids().map_err(ours)?;
        let node = root_of(&snapshot, below, |tree, path| indexed.node_from_path(tree, path))?;
        for entry in indexed.ls(&node, &LsOptions::default()).map_err(ours)? {
            let (path, node) = entry.map_err(ours)?;
            each(describe(below.join(path), &node))?;
        }
        Ok(())
    }
}

/// The node at a path of a snapshot; the root is one that only the library makes up.
pub(super) fn root_of(
    snapshot: &SnapshotFile,
    path: &Path,
    look: impl FnOnce(rustic_core::TreeId, &Path) -> rustic_core::RusticResult<Node>,
) -> Result<Node> {
    look(snapshot.tree, path)
        .map_err(|error| Error::not_found(format!("{} is not in the snapshot", path.display())).caused_by(error))
}

pub(super) fn info(snapshot: &SnapshotFile) -> SnapshotInfo {
    SnapshotInfo {
        id: snapshot.id.to_hex().as_str().to_owned(),
        time: snapshot.time.timestamp().as_microsecond(),
        hostname: snapshot.hostname.clone(),
        name: snapshot.label.clone(),
        paths: snapshot.paths.iter().cloned().collect(),
        tags: snapshot.tags.iter().cloned().collect(),
        level: level_of(snapshot),
        size: snapshot.summary.as_ref().map(|facts| facts.total_bytes_processed),
        files: snapshot.summary.as_ref().map(|facts| facts.total_files_processed),
    }
}

fn describe(path: PathBuf, node: &Node) -> FileInfo {
    let target = node.is_symlink().then(|| node.node_type.to_link().to_owned());
    let kind = match node.node_type {
        NodeType::File => "file",
        NodeType::Dir => "dir",
        NodeType::Symlink { .. } => "symlink",
        NodeType::Dev { .. } => "block",
        NodeType::Chardev { .. } => "char",
        NodeType::Fifo => "fifo",
        NodeType::Socket => "socket",
    };
    FileInfo {
        path,
        kind: kind.to_owned(),
        size: node.meta.size,
        mode: node.meta.mode.map(mode::from_stored),
        uid: node.meta.uid,
        gid: node.meta.gid,
        modified: node.meta.mtime.map(|time| time.as_microsecond()),
        target,
    }
}

/// When a snapshot was begun.
impl SnapshotInfo {
    /// When it was begun.
    pub fn begun(&self) -> Timestamp {
        Timestamp::from_micros(self.time)
    }
}
