//! SQL for the table `replication_outbox`: orders for other sites, in the order of the changes that caused them.

use haulier_base::Result;
use haulier_catalog::{Sql, Tx, args};

use super::signed;
use crate::model::{Order, SiteId};

/// Queues a copy of an order for every member site but this one (§5.1). Belongs into the transaction of the change.
pub(crate) async fn announce(tx: &mut Tx, own: &SiteId, order: &Order) -> Result<()> {
    const ANNOUNCE: Sql = Sql::both(
        "INSERT INTO replication_outbox (site, op_id, from_site, client, bucket, object, size_bytes, sha256, action, \
         event_at, created_at) SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM replication_sites \
         WHERE status IN ('UP', 'DOWN') AND id <> $1 ORDER BY id",
    );
    let now = tx.now();
    let mut args = args![own.as_str()];
    args.extend(columns(order));
    args.extend(args![now]);
    tx.execute_later(ANNOUNCE, args).await
}

/// Queues an order for one site.
pub(crate) async fn send(tx: &mut Tx, to: &SiteId, order: &Order) -> Result<()> {
    const SEND: Sql = Sql::both(
        "INSERT INTO replication_outbox (site, op_id, from_site, client, bucket, object, size_bytes, sha256, action, \
         event_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    );
    let now = tx.now();
    let mut args = args![to.as_str()];
    args.extend(columns(order));
    args.extend(args![now]);
    tx.execute_later(SEND, args).await
}

/// Forgets all orders for a site, dead letters included.
pub(crate) async fn delete_all(tx: &mut Tx, site: &SiteId) -> Result<u64> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_outbox WHERE site = $1");
    tx.execute(DELETE, args![site.as_str()]).await
}

/// What both tables of orders have in common.
pub(super) fn columns(order: &Order) -> Vec<haulier_catalog::Value> {
    args![
        &order.op_id,
        order.from.as_ref().map(SiteId::as_str),
        order.client.as_str(),
        order.bucket.as_str(),
        order.object.as_ref().map_or("", |name| name.as_str()),
        signed(order.size_bytes),
        order.sha256.as_deref(),
        order.action.as_str(),
        order.event_at
    ]
}
