//! One action of a job, as the child process is asked to do it, and what it answers: JSON on its standard input and
//! output. Knows no server.

mod child;
mod dump;

use std::path::PathBuf;
use std::time::Duration;

use haulier_base::{Error, ErrorKind, Result, Secret};
use haulier_storage::{StorageConfig, Storages};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

pub use child::serve;
pub(crate) use dump::Database;

use crate::repository::{
    Access, BackupRequest, BackupSummary, Find, Forgotten, Keep, Repository, RestoreRequest, Restored, SnapshotInfo,
};

/// Where a repository is, in words that can be sent to a child. Holds the password: never logged.
#[derive(Clone, Serialize, Deserialize)]
pub struct Place {
    /// The URL of its folder.
    pub url: String,
    /// What the connector of the URL needs.
    #[serde(default)]
    pub options: Value,
    /// The password of the repository.
    pub password: String,
    /// Where its index is kept on this machine, for one that is far away.
    pub cache: Option<PathBuf>,
    /// The name of this machine in locks and snapshots.
    pub hostname: String,
    /// How long to wait for others that hold a lock, seconds.
    pub patience: u64,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({})", Storages::redact_url(&self.url))
    }
}

impl Place {
    /// The folder, open, and what else it takes to open the repository.
    ///
    /// # Errors
    /// `Invalid` when the URL or its options are wrong.
    pub fn access(&self) -> Result<Access> {
        // Whoever may configure an agent reads and writes the whole machine anyway.
        let config = StorageConfig { allow_any_path: true, allow_private: true, ..StorageConfig::default() };
        let name = Storages::redact_url(&self.url);
        let folder = Storages::new(config)?
            .open_target(&self.url, &self.options)
            .map_err(|error| Error::new(error.kind(), format!("the repository {name} {error}")).caused_by(error))?;
        Ok(Access {
            folder,
            name,
            password: Secret::new(self.password.clone()),
            cache: self.cache.clone(),
            hostname: self.hostname.clone(),
            patience: Duration::from_secs(self.patience),
        })
    }

    /// Opens the repository, which must be there. Blocks.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn open(&self, handle: Handle) -> Result<Repository> {
        let access = {
            let _runtime = handle.enter();
            self.access()?
        };
        Repository::open(access, handle)
    }
}

/// What a child is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) place: Option<Place>,
    pub(crate) work: Work,
}

/// One action.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum Work {
    Backup { request: BackupRequest, database: Option<Database> },
    Restore { request: RestoreRequest, database: Option<Database> },
    Info,
    Admin { find: Find, keep: Keep },
    Exec { command: String },
}

/// What an action did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum Done {
    Backup(BackupSummary),
    Restore(Restored),
    Info { snapshots: Vec<SnapshotInfo> },
    Admin { forgotten: Forgotten, pruned: Forgotten },
    Exec,
}

/// What a child answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done(Done),
    Failed { code: String, message: String },
}

impl Answer {
    pub(crate) fn from_result(result: Result<Done>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(error) => Self::Failed { code: error.kind().as_str().to_owned(), message: error.to_string() },
        }
    }

    pub(crate) fn into_result(self) -> Result<Done> {
        let kinds = [
            ErrorKind::Invalid,
            ErrorKind::NotFound,
            ErrorKind::Conflict,
            ErrorKind::Unauthenticated,
            ErrorKind::Forbidden,
            ErrorKind::Unavailable,
            ErrorKind::LostLease,
            ErrorKind::Canceled,
            ErrorKind::Corrupt,
            ErrorKind::NoSpace,
        ];
        match self {
            Self::Done(done) => Ok(done),
            Self::Failed { code, message } => {
                let kind = kinds.into_iter().find(|kind| kind.as_str() == code).unwrap_or(ErrorKind::Internal);
                Err(Error::new(kind, message))
            }
        }
    }
}

/// Does what is asked. Blocks.
fn carry_out(order: &Order, handle: &Handle) -> Result<Done> {
    let place = || order.place.as_ref().ok_or_else(|| Error::invalid("the action has no repository"));
    match &order.work {
        Work::Backup { request, database } => {
            let access = {
                let _runtime = handle.enter();
                place()?.access()?
            };
            let repository = Repository::open_or_init(access, handle.clone())?;
            let summary = match database {
                None => repository.backup_tree(request)?,
                Some(database) => repository.backup_stream(request, || database.dump())?,
            };
            Ok(Done::Backup(summary))
        }
        Work::Restore { request, database: None } => {
            Ok(Done::Restore(place()?.open(handle.clone())?.restore(request)?))
        }
        Work::Restore { request, database: Some(database) } => {
            let repository = place()?.open(handle.clone())?;
            let snapshot = repository.snapshot(&request.find)?.id;
            let find = Find { id: Some(snapshot.clone()), ..Find::default() };
            database.load(|into| repository.dump(&find, &database.file(), into))?;
            Ok(Done::Restore(Restored { snapshot, files: 1, ..Restored::default() }))
        }
        Work::Info => Ok(Done::Info { snapshots: place()?.open(handle.clone())?.snapshots(&Find::default())? }),
        Work::Admin { find, keep } => {
            if keep.is_empty() {
                return Err(Error::invalid(
                    "admin says nothing that is to be kept: give remove_older_than, keep_last, keep_daily, \
                     keep_weekly, keep_monthly or keep_yearly",
                ));
            }
            let repository = place()?.open(handle.clone())?;
            let forgotten = repository.forget(find, keep, false)?;
            Ok(Done::Admin { forgotten, pruned: repository.prune()? })
        }
        Work::Exec { command } => dump::exec(command).map(|()| Done::Exec),
    }
}
