//! What a configuration says of replication becomes what is, at each start of a node.

use haulier_base::Result;
use haulier_catalog::{Tx, queue};

use super::{Replication, place_of};
use crate::config::NewSite;
use crate::store::sites::{self, SiteRow};
use crate::store::uploads;
use crate::tasks::{APPLY, DELIVER, DeliverTask, SWEEP, only_task};

impl Replication {
    /// Puts the configuration's sites into a topology that is empty, and makes sure of the tasks that do not end.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn begin(&self, configured: Vec<NewSite>) -> Result<()> {
        let inner = &self.inner;
        let mut rows = Vec::new();
        for new in configured {
            let place = place_of(&new.site.id);
            let token = match &new.token {
                None => None,
                Some(token) => {
                    let clear = serde_json::Value::String(token.reveal().clone());
                    Some(inner.locations.seal_by(&place, |seal| seal(&clear)).await?)
                }
            };
            rows.push(SiteRow { site: new.site, token });
        }
        let mut tx = inner.catalog.begin("replication.begin").await?;
        if sites::list(&mut tx, None).await?.is_empty() {
            for row in &rows {
                sites::insert(&mut tx, row).await?;
            }
        }
        for row in sites::list(&mut tx, None).await? {
            if row.site.id != inner.site && row.site.status.is_member() {
                ensure_delivery(&mut tx, &row.site.id).await?;
            }
        }
        uploads::release_others(&mut tx, &inner.holder).await?;
        for kind in [APPLY, SWEEP] {
            if queue::find_by_subject(&mut tx, kind).await?.is_empty() {
                let task = only_task(kind, tx.now());
                queue::enqueue(&mut tx, task).await?;
            }
        }
        tx.commit().await?;
        inner.catalog.wake_workers();
        Ok(())
    }
}

/// Makes sure that somebody sends the orders for a site.
pub(crate) async fn ensure_delivery(tx: &mut Tx, site: &crate::model::SiteId) -> Result<()> {
    let tasks = queue::find_by_subject(tx, site.as_str()).await?;
    if tasks.iter().any(|task| task.kind == DELIVER && !task.stop_asked) {
        return Ok(());
    }
    let task = DeliverTask::new_task(site, tx.now());
    queue::enqueue(tx, task).await.map(|_| ())
}
