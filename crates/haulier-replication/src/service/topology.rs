//! The sites, as administration sets them, and what that means for deliveries (contract §6.3).

use haulier_base::{Error, Result, Secret};
use haulier_catalog::{Tx, queue};
use serde_json::Value;

use super::beginning::ensure_delivery;
use super::{Replication, place_of};
use crate::model::{Site, SiteId, SiteStatus};
use crate::store::outbox;
use crate::store::sites::{self, SiteRow};
use crate::tasks::DELIVER;

impl Replication {
    /// All sites, of one status or of any, in the order of their ids.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn sites(&self, status: Option<SiteStatus>) -> Result<Vec<SiteRow>> {
        sites::list(&mut self.inner.catalog.read().await?, status).await
    }

    /// One site.
    ///
    /// # Errors
    /// `NotFound` when it is not in the topology.
    pub(crate) async fn site(&self, id: &SiteId) -> Result<SiteRow> {
        sites::find(&mut self.inner.catalog.read().await?, id).await?.ok_or_else(|| no_site(id))
    }

    /// Adds a site, and the token that it takes from us.
    ///
    /// # Errors
    /// `Conflict` when there is one of that id.
    pub(crate) async fn add_site(&self, site: Site, token: Option<Secret<String>>) -> Result<()> {
        let row = self.row(site, token).await?;
        let mut tx = self.inner.catalog.begin("replication.add_site").await?;
        if !sites::insert(&mut tx, &row).await? {
            return Err(Error::conflict(format!(
                "the site {} is in the topology already; PUT changes it",
                row.site.id
            )));
        }
        self.settle_delivery(&mut tx, &row.site).await?;
        tx.commit().await?;
        self.heed_topology();
        Ok(())
    }

    /// Changes a site. A token that is not given stays.
    ///
    /// # Errors
    /// `NotFound` when it is not in the topology.
    pub(crate) async fn change_site(&self, site: Site, token: Option<Secret<String>>) -> Result<()> {
        let row = self.row(site, token).await?;
        let mut tx = self.inner.catalog.begin("replication.change_site").await?;
        if !sites::update(&mut tx, &row).await? {
            return Err(no_site(&row.site.id));
        }
        self.settle_delivery(&mut tx, &row.site).await?;
        tx.commit().await?;
        self.heed_topology();
        Ok(())
    }

    /// Forgets a site and the orders that wait for it.
    ///
    /// # Errors
    /// `NotFound` when it is not in the topology.
    pub(crate) async fn remove_site(&self, id: &SiteId) -> Result<()> {
        let mut tx = self.inner.catalog.begin("replication.remove_site").await?;
        if !sites::delete(&mut tx, id).await? {
            return Err(no_site(id));
        }
        outbox::delete_all(&mut tx, id).await?;
        queue::stop(&mut tx, DELIVER, id.as_str()).await?;
        tx.commit().await?;
        self.heed_topology();
        Ok(())
    }

    async fn row(&self, site: Site, token: Option<Secret<String>>) -> Result<SiteRow> {
        let token = match &token {
            None => None,
            Some(token) => {
                let clear = Value::String(token.reveal().clone());
                Some(self.inner.locations.seal_by(&place_of(&site.id), |seal| seal(&clear)).await?)
            }
        };
        Ok(SiteRow { site, token })
    }

    /// A member has somebody who delivers to it, and others have not; one that left gets none of what waits.
    async fn settle_delivery(&self, tx: &mut Tx, site: &Site) -> Result<()> {
        if site.id == self.inner.site {
            return Ok(());
        }
        if site.status.is_member() {
            return ensure_delivery(tx, &site.id).await;
        }
        if site.status == SiteStatus::Deleted {
            outbox::delete_all(tx, &site.id).await?;
        }
        queue::stop(tx, DELIVER, site.id.as_str()).await.map(|_| ())
    }

    fn heed_topology(&self) {
        self.inner.catalog.wake_workers();
        self.inner.bells.outbox.ring();
    }
}

fn no_site(id: &SiteId) -> Error {
    Error::not_found(format!("the site {id} is not in the topology"))
}
