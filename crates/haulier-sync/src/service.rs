//! The room, and what its verbs share; the verbs themselves are in `service/`.
//!
//! One verb, one transaction; verbs that answer after the effect wait outside of it.

mod beginning;
mod conflicts;
mod entries;
mod figures;
mod files;
mod membership;
mod placing;
mod ruling;
mod versions;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;

use haulier_access::{Caller, Locations};
use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::Catalog;
use haulier_storage::Storages;
use serde_json::Value;

use crate::config::SyncConfig;
use crate::driver::{Driver, DriverConfig, Drivers};
use crate::meter::Meters;
use crate::model::EntryName;
use crate::options;
use crate::progress::Passes;
use crate::referee::Referee;
use crate::store::entries::Entry;
use crate::store::identity;

pub use conflicts::{ConflictDocument, Keep};
pub use entries::{EntryDocument, Phase, Status};
pub use figures::Stats;
pub use files::{FileDocument, Listing};
pub use membership::Progress;
pub use ruling::{Effect, Explanation};
pub use versions::VersionDocument;

/// The sync room. Cheap to clone.
#[derive(Clone)]
pub struct Syncs {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) catalog: Catalog,
    /// Tells this catalogue from others.
    pub(crate) catalogue_id: String,
    pub(crate) locations: Locations,
    pub(crate) drivers: Drivers,
    pub(crate) referee: Referee,
    pub(crate) config: SyncConfig,
    pub(crate) meters: Meters,
    pub(crate) passes: Passes,
    /// Folders that belong to the node itself and are no part of any entry.
    pub(crate) own_folders: Vec<PathBuf>,
    /// When this process built the room.
    pub(crate) created_at: Timestamp,
}

impl Syncs {
    /// Builds the room. `own_folders` are the node's own, such as its data folder.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn new(
        catalog: Catalog,
        locations: Locations,
        storages: Storages,
        config: SyncConfig,
        own_folders: Vec<PathBuf>,
    ) -> Result<Self> {
        let created_at = catalog.now();
        let mut tx = catalog.begin("sync.identity").await?;
        let catalogue_id = identity::ensure(&mut tx).await?;
        tx.commit().await?;
        let (drivers, meters, passes) = (Drivers::new(storages), Meters::default(), Passes::default());
        let referee = Referee::new(catalog.clone(), config.conflict.into());
        let inner = Inner {
            catalog,
            catalogue_id,
            locations,
            drivers,
            referee,
            config,
            meters,
            passes,
            own_folders,
            created_at,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The settings in force.
    pub fn config(&self) -> &SyncConfig {
        &self.inner.config
    }
}

impl Inner {
    /// An entry's options with its secrets in clear.
    ///
    /// # Errors
    /// `Unavailable` when they were sealed with another key.
    pub(crate) fn opened(&self, entry: &Entry) -> Result<Value> {
        let place = place_of(&entry.name);
        options::map_secrets(&entry.driver, &entry.options, |secret| self.locations.open_sealed(&place, secret))
    }

    /// Opens an entry.
    ///
    /// # Errors
    /// What is wrong with its options, for the operator; for local roots also what the file system says.
    pub(crate) async fn open(&self, entry: &Entry) -> Result<Driver> {
        let config = DriverConfig {
            entry: entry.name.clone(),
            driver: entry.driver.clone(),
            options: self.opened(entry)?,
            configured: entry.configured,
        };
        self.drivers.open(&config).await
    }
}

/// What the secrets of an entry are sealed for.
pub(crate) fn place_of(entry: &EntryName) -> String {
    format!("sync/{entry}")
}

/// Reading is for every caller, changing for admins.
fn may_change(caller: &Caller) -> Result<()> {
    caller.require_admin()
}

/// §1.1; the name as it was asked for.
fn no_such_entry(name: &str) -> Error {
    Error::not_found(format!("entry {name} not found"))
}

/// A name from a path; one that no entry can have is the name of no entry.
fn entry_name(name: &str) -> Result<EntryName> {
    EntryName::new(name).map_err(|_| no_such_entry(name))
}
