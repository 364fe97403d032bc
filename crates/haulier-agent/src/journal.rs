//! What an agent must not forget: one small file for each job, replaced at once.
//!
//! A crash at any moment leaves the old file or the new one. What is to be told to the server is part of the file, so
//! that a change and the news of it cannot be torn apart.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobState {
    /// The document as the server gave it last.
    pub(crate) doc: Value,
    /// Whether its schedule is followed.
    pub(crate) armed: bool,
    /// When the last run began, microseconds since 1970.
    pub(crate) last_run: Option<i64>,
    /// The run under way.
    pub(crate) run: Option<Run>,
    /// What the server has yet to be told, in this order.
    pub(crate) news: VecDeque<News>,
}

/// A run of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// A word that no other run has.
    pub(crate) id: String,
    /// When it began, seconds since 1970.
    pub(crate) started: i64,
    /// Which action is being done.
    pub(crate) action: usize,
    /// How often that action has failed.
    pub(crate) failed_tries: u32,
    /// How often the agent ended in the middle of the run.
    pub(crate) interruptions: u32,
    /// Whether an action has failed for good.
    pub(crate) failed: bool,
    /// Whether the run was aborted.
    pub(crate) aborted: bool,
    /// Whether the job stops after this run.
    pub(crate) stop_after: bool,
    /// The session that was told of the start, and its tag.
    pub(crate) session: Option<(String, i64)>,
}

/// Something that the server has to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum News {
    /// Members of the job that changed.
    Patch { patch: Value },
    /// A backup that was made.
    Record { run: String, metadata: Value, tried: bool },
    /// The end of the job's part in a session.
    SessionEnd { session: String, action: Value },
}

/// The folder of the files.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    _lock: OwnedFd,
}

impl Journal {
    /// Opens the journal of a data directory, which belongs to one agent at a time.
    ///
    /// # Errors
    /// `Conflict` when another agent uses it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let folder = data_dir.join("jobs");
        let named = |error| Error::from(error).context("folder", data_dir.display());
        fs::create_dir_all(&folder).map_err(named)?;
        let lock = File::create(data_dir.join("lock"))?;
        let locked = rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        locked.map_err(|_| Error::conflict(format!("another agent uses {}", data_dir.display())))?;
        Ok(Self { folder, _lock: lock.into() })
    }

    /// Everything that was kept. A file that cannot be understood is set aside.
    pub(crate) fn load(&self) -> Result<Vec<(String, JobState)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Some(id) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else { continue };
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(state) => found.push((id.to_owned(), state)),
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "a file of the journal is damaged; it is set aside");
                    fs::rename(&path, path.with_extension("damaged"))?;
                }
            }
        }
        Ok(found)
    }

    /// Keeps what is known of a job, flushed.
    pub(crate) fn save(&self, id: &str, state: &JobState) -> Result<()> {
        let text = serde_json::to_vec(state)
            .map_err(|error| Error::internal("the state of a job cannot be kept").caused_by(error))?;
        let (path, fresh) = (self.path(id), self.folder.join(format!("{id}.new")));
        let mut file = File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    /// Forgets a job.
    pub(crate) fn forget(&self, id: &str) -> Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

/// Whether an id is fit to name a file.
pub(crate) fn is_job_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_one_agent_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let news = News::Record { run: "r".into(), metadata: Value::Null, tried: true };
        let state = JobState { last_run: Some(7), news: [news].into(), ..JobState::default() };
        journal.save("a", &state).unwrap();
        fs::write(folder.path().join("jobs/b.json"), "{").unwrap();
        fs::write(folder.path().join("jobs/c.new"), "{").unwrap();
        assert_eq!(journal.load().unwrap(), [("a".to_owned(), state)]);
        assert!(Journal::open(folder.path()).is_err());
        journal.forget("a").unwrap();
        assert!(journal.load().unwrap().is_empty());
    }
}
