//! The room, and what its verbs share; the verbs themselves are in `service/`.
//!
//! One verb, one transaction.

mod beginning;
pub(crate) mod runs;

use std::path::PathBuf;
use std::sync::Arc;

use haulier_access::Locations;
use haulier_base::{Error, Result, Secret, id};
use haulier_catalog::Catalog;
use serde_json::Value;
use tokio::sync::Notify;

use crate::config::ReplicationConfig;
use crate::model::SiteId;
use crate::peer::{Peer, Peers};
use crate::store::sites::SiteRow;
use crate::vault::Vault;

/// The replication room. Cheap to clone.
#[derive(Clone)]
pub struct Replication {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) catalog: Catalog,
    pub(crate) locations: Locations,
    pub(crate) config: ReplicationConfig,
    /// This site.
    pub(crate) site: SiteId,
    pub(crate) vault: Vault,
    pub(crate) peers: Peers,
    /// This process, as the holder of uploads.
    pub(crate) holder: String,
    pub(crate) bells: Bells,
}

/// Shorten waits inside one process; polling is what makes it right.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// There are orders to send.
    pub(crate) outbox: Notify,
    /// There are orders to apply.
    pub(crate) orders: Notify,
    /// There is something to remove.
    pub(crate) trash: Notify,
}

/// What the room needs to know of the node.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node's name, which is this site's id.
    pub site: String,
    /// The node's data folder.
    pub data_dir: PathBuf,
}

impl Replication {
    /// Builds the room.
    ///
    /// # Errors
    /// `Invalid` when the node's name can be no site's; as the store says.
    pub async fn new(catalog: Catalog, locations: Locations, config: ReplicationConfig, place: Place) -> Result<Self> {
        let site = SiteId::new(place.site)?;
        let vault = Vault::open(&config.store, &locations, &place.data_dir).await?;
        let (peers, holder, bells) = (Peers::new()?, id::random_uuid(), Bells::default());
        let inner = Inner { catalog, locations, config, site, vault, peers, holder, bells };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This site.
    pub(crate) fn site(&self) -> &SiteId {
        &self.inner.site
    }
}

impl Inner {
    /// A site, ready to be asked.
    ///
    /// # Errors
    /// `Unavailable` when its token was sealed with another key.
    pub(crate) fn peer(&self, row: SiteRow) -> Result<Peer> {
        let token = match &row.token {
            None => None,
            Some(sealed) => match self.locations.open_sealed(&place_of(&row.site.id), sealed)? {
                Value::String(token) => Some(Secret::new(token)),
                _ => return Err(Error::corrupt(format!("the token of the site {} is no text", row.site.id))),
            },
        };
        Ok(self.peers.of(row.site, token))
    }
}

/// What the token of a site is sealed for.
pub(crate) fn place_of(site: &SiteId) -> String {
    format!("replication/{site}")
}
