//! Puts files of a snapshot back: first looks at what is there, then writes beside it, verifies, and renames.

mod apply;
mod facts;
mod plan;
mod unpack;

use std::path::PathBuf;

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};

use super::contents::{Find, root_of};
use super::{Repository, ours};

/// So many names are told in a refusal.
const NAMED_MAX: usize = 5;

/// What to put back, and where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// Which snapshot.
    pub find: Find,
    /// The file or folder of the snapshot; none is what was backed up.
    pub path: Option<PathBuf>,
    /// The folder that takes the file, or what the folder holds; none is where it came from.
    pub target: Option<PathBuf>,
    /// Whether files that were changed after the snapshot are replaced too.
    pub overwrite_newer: bool,
    /// Whether owners are left alone.
    pub no_owner: bool,
    /// Only look what would be done.
    pub dry_run: bool,
}

/// What was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The id of the snapshot.
    pub snapshot: String,
    /// Where the files are now.
    pub target: PathBuf,
    /// Files that were written and read again.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Files that were there already with the right content.
    pub unchanged: u64,
    /// Folders that were made or given their owner, mode and times.
    pub directories: u64,
    /// What could not be set of owners, modes, attributes and times.
    pub warnings: Vec<String>,
}

impl Repository {
    /// Puts files back and verifies each one before it gets its name.
    ///
    /// # Errors
    /// `Conflict` when files are newer than the snapshot and `overwrite_newer` is not given: then nothing is written.
    /// `Corrupt` when the repository is damaged, `NoSpace` when the disk is full: what has its name by then is whole.
    pub fn restore(&self, request: &RestoreRequest) -> Result<Restored> {
        let lock = self.lock(false)?;
        let snapshot = self.find(&request.find)?;
        let mut paths = snapshot.paths.iter().map(PathBuf::from);
        let path = match (&request.path, paths.next(), paths.next()) {
            (Some(path), ..) => path.clone(),
            (None, Some(only), None) => only,
            (None, ..) => PathBuf::from("/"),
        };
        let indexed = self.another()?.to_indexed().map_err(ours)?;
        let root = root_of(&snapshot, &path, |tree, path| indexed.node_from_path(tree, path))?;
        let target = match (&request.target, root.is_dir()) {
            (Some(target), true) => std::path::absolute(target)?,
            (Some(target), false) => std::path::absolute(target.join(path.file_name().unwrap_or_default()))?,
            (None, _) if path.is_absolute() => path.clone(),
            (None, _) => {
                return Err(Error::invalid(format!(
                    "{} was no file of a machine: name a folder to restore it to",
                    path.display()
                )));
            }
        };
        let plan = plan::Plan::read(&indexed, &root, &target)?;
        if !request.overwrite_newer {
            refuse_newer(&plan)?;
        }
        let mut restored = Restored {
            snapshot: snapshot.id.to_hex().as_str().to_owned(),
            target: target.clone(),
            ..Restored::default()
        };
        if request.dry_run {
            (restored.files, restored.bytes, restored.directories) = plan.totals();
            return Ok(restored);
        }
        let cipher = super::lock::Cipher::new(&self.opened.key());
        apply::apply(&plan, &self.shelf, &cipher, !request.no_owner, &mut restored)?;
        lock.check()?;
        Ok(restored)
    }

    /// Writes the content of one file of a snapshot.
    ///
    /// # Errors
    /// `NotFound` when it is not in the snapshot, `Invalid` when it is no file.
    pub fn dump(&self, find: &Find, path: &std::path::Path, into: &mut impl std::io::Write) -> Result<()> {
        let _lock = self.lock(false)?;
        let snapshot = self.find(find)?;
        let indexed = self.another()?.to_indexed().map_err(ours)?;
        let node = root_of(&snapshot, path, |tree, path| indexed.node_from_path(tree, path))?;
        if !node.is_file() {
            return Err(Error::invalid(format!("{} is no file", path.display())));
        }
        indexed.dump(&node, into).map_err(ours)
    }
}

fn refuse_newer(plan: &plan::Plan) -> Result<()> {
    let newer = plan.newer();
    if newer.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = newer.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
    let more = if newer.len() > NAMED_MAX { " and others" } else { "" };
    Err(Error::conflict(format!(
        "{} files were changed after the snapshot: {}{more}; nothing was restored",
        newer.len(),
        named.join(", ")
    )))
}
