//! Orders of other sites are taken in here (contract §4.1, §5.3), and what became of them is told.

use std::collections::BTreeSet;

use haulier_base::{Error, Result};
use haulier_catalog::Tx;

use super::Replication;
use crate::model::{Action, BucketName, Order, OrderState, SiteId, Status};
use crate::store::buckets;
use crate::store::orders::{self, Arrived};

impl Replication {
    /// Records orders; they are durable when this returns, and are applied afterwards.
    ///
    /// # Errors
    /// `Conflict` when none of them can ever be applied; then none is recorded.
    pub(crate) async fn receive_orders(&self, all: Vec<Order>) -> Result<()> {
        let inner = &self.inner;
        let sources: BTreeSet<SiteId> = all.iter().filter_map(|order| order.from.clone()).collect();
        let mut tx = inner.catalog.begin("replication.receive").await?;
        let mut arrived = Vec::with_capacity(all.len());
        // Buckets whose own orders are before these: what they will be then, nobody knows yet.
        let mut unsure = BTreeSet::new();
        for order in all {
            let refusal = match (&order.object, order.action) {
                (_, Action::Unknown) => None,
                (None, Action::Create) if !unsure.contains(&order.bucket) => refusal(&mut tx, &order).await?,
                _ => None,
            };
            if order.object.is_none() && refusal.is_none() {
                unsure.insert(order.bucket.clone());
            }
            arrived.push(match refusal {
                Some(why) => Arrived { order, state: OrderState::Conflict, problem: Some(why) },
                None => Arrived::queued(order),
            });
        }
        if let Some(why) = none_applies(&arrived) {
            return Err(Error::conflict(why));
        }
        arrived.retain(|arrived| arrived.order.action != Action::Unknown);
        if !arrived.is_empty() {
            orders::receive(&mut tx, &arrived).await?;
            tx.commit().await?;
        }
        inner.bells.orders.ring();
        for site in &sources {
            inner.hear(site);
        }
        Ok(())
    }

    /// Queues an order of this site's own to itself, unless the same is queued; says whether it was not.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn order_here(&self, order: Order) -> Result<bool> {
        let mut tx = self.inner.catalog.begin("replication.order").await?;
        if orders::is_asked(&mut tx, &order).await? {
            return Ok(false);
        }
        orders::receive(&mut tx, &[Arrived::queued(order)]).await?;
        tx.commit().await?;
        self.inner.bells.orders.ring();
        Ok(true)
    }
}

/// Why a bucket CREATE can never be applied (§4.1, 409): its bucket belongs to another client, and no order before it
/// changes that.
async fn refusal(tx: &mut Tx, order: &Order) -> Result<Option<String>> {
    let name: &BucketName = &order.bucket;
    let here = buckets::find(tx, name).await?;
    let taken = here.filter(|bucket| bucket.status == Status::Ready && bucket.client != order.client);
    let Some(bucket) = taken else { return Ok(None) };
    if orders::is_bucket_asked(tx, name).await? {
        return Ok(None);
    }
    Ok(Some(format!("the bucket {name} exists and belongs to {}", bucket.client)))
}

/// The reason, when every order is refused.
fn none_applies(arrived: &[Arrived]) -> Option<String> {
    let refused = |arrived: &Arrived| arrived.state == OrderState::Conflict;
    arrived.iter().all(refused).then(|| arrived.first()?.problem.clone())?
}
