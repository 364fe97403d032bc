//! A repository of snapshots in restic's format, and what can be done with it.
//!
//! Only this folder names the library that knows the format. Everything here blocks, so it runs on a thread that may.
//! Knows no job and no server.

mod backup;
mod check;
mod contents;
mod lock;
mod mode;
mod restore;
mod retention;
mod shelf;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haulier_base::{Error, Result, Secret};
use haulier_storage::Location;
use rustic_core::repofile::{MasterKey, SnapshotFile};
use rustic_core::{
    ConfigOptions, Credentials, KeyOptions, OpenStatus, RepositoryBackends, RepositoryOptions, RusticError,
};
use tokio::runtime::Handle;

pub use backup::{BackupRequest, BackupSummary, Stream};
pub use check::Checked;
pub use contents::{FileInfo, Find, SnapshotInfo};
pub use lock::let_go;
pub use restore::{RestoreRequest, Restored};
pub use retention::{Forgotten, Keep};

use lock::{Held, Locks};
use shelf::Shelf;

/// A repository without a key that is still so after this long was left half made.
const MAKING_MAX: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Opened = rustic_core::Repository<OpenStatus>;

/// Where a repository is and how it is opened.
#[derive(Clone, Debug)]
pub struct Access {
    /// The folder that holds it.
    pub folder: Location,
    /// What to call it in messages: its URL without secrets.
    pub name: String,
    /// The password.
    pub password: Secret<String>,
    /// Where copies of its index and its folders are kept on this machine, for one that is far away.
    pub cache: Option<PathBuf>,
    /// The name of this machine in locks and snapshots.
    pub hostname: String,
    /// How long to wait for others that hold a lock.
    pub patience: Duration,
}

/// An open repository.
pub struct Repository {
    opened: Opened,
    shelf: Arc<Shelf>,
    access: Access,
}

impl Repository {
    /// Opens a repository.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unauthenticated` when the password is wrong, `Unavailable` when the storage
    /// cannot be reached.
    pub fn open(access: Access, handle: Handle) -> Result<Self> {
        let (bare, shelf) = bare(&access, handle)?;
        if bare.config_id().map_err(ours)?.is_none() {
            return Err(Error::not_found(format!("there is no repository at {}", access.name)));
        }
        let credentials = Credentials::password(access.password.reveal());
        let opened = bare.open(&credentials).map_err(|error| locked_out(error, &access.name))?;
        Ok(Self { opened, shelf, access })
    }

    /// Opens a repository, or makes it where there is none. Several may do so at once: one of them makes it.
    ///
    /// # Errors
    /// As `open`; `NoSpace` and others when it cannot be written.
    pub fn open_or_init(access: Access, handle: Handle) -> Result<Self> {
        if access.password.reveal().is_empty() {
            return Err(Error::invalid("a repository needs a password that is not empty"));
        }
        let begun = Instant::now();
        loop {
            let (bare, shelf) = bare(&access, handle.clone())?;
            let exists = bare.config_id().map_err(ours)?.is_some();
            if exists && shelf.has_key()? {
                return Self::open(access, handle);
            }
            if !exists {
                match init(bare, &access) {
                    Ok(opened) => return Ok(Self { opened, shelf, access }),
                    // Somebody else was faster.
                    Err(error) if error.kind() == haulier_base::ErrorKind::Conflict => {}
                    Err(error) => return Err(error),
                }
            } else if begun.elapsed() > MAKING_MAX {
                tracing::warn!("{} was never finished; it is made anew", access.name);
                shelf.discard_config()?;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The library's object once more, for work that uses it up. Costs one read of the configuration.
    fn another(&self) -> Result<Opened> {
        let options = options(&self.access);
        let backends = RepositoryBackends::new(Arc::<Shelf>::clone(&self.shelf), None);
        let bare = rustic_core::Repository::new(&options, &backends).map_err(ours)?;
        bare.open(&Credentials::Masterkey(self.opened.key())).map_err(ours)
    }

    fn lock(&self, exclusive: bool) -> Result<Held> {
        let locks = Locks::new(Arc::clone(&self.shelf), &self.opened.key(), self.access.hostname.clone());
        locks.take(exclusive, self.access.patience)
    }

    fn snapshots_raw(&self) -> Result<Vec<SnapshotFile>> {
        let mut snapshots = self.opened.get_all_snapshots().map_err(ours)?;
        snapshots.sort_by_key(|snapshot| snapshot.time.timestamp());
        Ok(snapshots)
    }
}

/// Makes a repository: the configuration first, which only one can write, and then the key, without which nobody opens
/// it. The other way round, the key of one that died half way would open nothing and be tried all the same.
fn init(bare: rustic_core::Repository<()>, access: &Access) -> Result<Opened> {
    let (keys, master) = (KeyOptions::default(), Credentials::Masterkey(MasterKey::new()));
    let opened = bare.init(&master, &keys, &ConfigOptions::default()).map_err(ours)?;
    opened.add_key(access.password.reveal(), &keys).map_err(ours)?;
    tracing::info!("made a repository at {}", access.name);
    Ok(opened)
}

fn options(access: &Access) -> RepositoryOptions {
    let mut options = RepositoryOptions::default();
    options.no_cache = access.cache.is_none();
    options.cache_dir.clone_from(&access.cache);
    options
}

fn bare(access: &Access, handle: Handle) -> Result<(rustic_core::Repository<()>, Arc<Shelf>)> {
    let shelf = Arc::new(Shelf::new(access.folder.clone(), access.name.clone(), handle));
    let options = options(access);
    let backends = RepositoryBackends::new(Arc::<Shelf>::clone(&shelf), None);
    let bare = rustic_core::Repository::new(&options, &backends).map_err(ours)?;
    Ok((bare, shelf))
}

/// The error of ours that the library carries through, or what it says itself.
fn ours(error: Box<RusticError>) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    let mut kind = haulier_base::ErrorKind::Internal;
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<Error>() {
            kind = cause.kind();
            break;
        }
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            kind = Error::from(std::io::Error::from(cause.kind())).kind();
        }
        source = cause.source();
    }
    let corrupt = ["C001", "C003"].into_iter().any(|code| error.is_code(code));
    if corrupt && kind == haulier_base::ErrorKind::Internal {
        kind = haulier_base::ErrorKind::Corrupt;
    }
    Error::new(kind, source::one_line(&error)).caused_by(error)
}

fn locked_out(error: Box<RusticError>, name: &str) -> Error {
    if error.is_incorrect_password() {
        return Error::unauthenticated(format!("the password does not open the repository at {name}"));
    }
    ours(error)
}
