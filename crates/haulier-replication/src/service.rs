//! The room, and what its verbs share; the verbs themselves are in `service/`.
//!
//! One verb, one transaction.

mod beginning;
mod buckets;
pub(crate) mod denial;
pub(crate) mod elsewhere;
mod lag;
pub(crate) mod listing;
pub(crate) mod objects;
mod orders;
mod ownerships;
pub(crate) mod read_through;
mod repair;
pub(crate) mod runs;
mod topology;
pub(crate) mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use haulier_access::Locations;
use haulier_base::{Error, Result, Secret, id};
use haulier_catalog::Catalog;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::ReplicationConfig;
use crate::metrics::ReplicationMetrics;
use crate::model::SiteId;
use crate::peer::{Peer, Peers};
use crate::store::sites::SiteRow;
use crate::vault::Vault;

/// So long ago is a moment ago.
const HEARD_LATELY: Duration = Duration::from_secs(1);

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
    pub(crate) metrics: ReplicationMetrics,
    /// When another site last sent orders to this process.
    pub(crate) heard: Mutex<BTreeMap<SiteId, Instant>>,
    /// What is done after requests that broke off.
    pub(crate) aftermath: TaskTracker,
}

/// Shorten waits inside one process; polling is what makes it right.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// There are orders to send.
    pub(crate) outbox: Bell,
    /// There are orders to apply.
    pub(crate) orders: Bell,
    /// There is something to remove.
    pub(crate) trash: Bell,
    /// Another site sent orders, so it can probably be reached.
    pub(crate) heard: Bell,
}

/// Rings for everybody who listens, and still for those who were not listening just then.
#[derive(Debug, Default)]
pub(crate) struct Bell(watch::Sender<()>);

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }

    /// What it is to hear it from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Hears a bell.
#[derive(Debug)]
pub(crate) struct Listener(watch::Receiver<()>);

impl Listener {
    /// Resolves when the bell was rung since this last resolved.
    pub(crate) async fn rung(&mut self) {
        if self.0.changed().await.is_err() {
            // The bell is gone, so it never rings.
            std::future::pending::<()>().await;
        }
    }
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
        let aftermath = TaskTracker::new();
        let inner = Inner {
            catalog,
            locations,
            config,
            site,
            vault,
            peers,
            holder,
            bells,
            metrics: ReplicationMetrics::default(),
            aftermath,
            heard: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This site.
    pub(crate) fn here(&self) -> &SiteId {
        &self.inner.site
    }
}

impl Replication {
    /// What the room counts.
    pub fn metrics(&self) -> &ReplicationMetrics {
        &self.inner.metrics
    }
}

impl Inner {
    /// Another site sent orders.
    pub(crate) fn hear(&self, site: &SiteId) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(site.clone(), Instant::now());
        self.bells.heard.ring();
    }

    /// Whether a site sent orders a moment ago.
    pub(crate) fn was_heard(&self, site: &SiteId) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(site).is_some_and(|at| at.elapsed() < HEARD_LATELY)
    }

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
