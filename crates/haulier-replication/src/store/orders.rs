//! SQL for the table `replication_orders`: orders from other sites, in the order of arrival.

use haulier_base::Result;
use haulier_catalog::{Sql, Tx, args};

use super::outbox::columns;
use crate::model::{Action, BucketName, ObjectName, Order, OrderState};

/// Records a received order.
pub(crate) async fn receive(tx: &mut Tx, order: &Order, state: OrderState, problem: Option<&str>) -> Result<()> {
    const RECEIVE: Sql = Sql::both(
        "INSERT INTO replication_orders (op_id, from_site, client, bucket, object, size_bytes, sha256, action, \
         event_at, state, attempts, mismatches, problem, received_at, ended_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, $12, $13)",
    );
    let now = tx.now();
    let ended = (state == OrderState::Conflict).then_some(now);
    let mut args = columns(order);
    args.extend(args![state.as_str(), problem, now, ended]);
    tx.execute_later(RECEIVE, args).await
}

/// Whether an order of that action about an object is not finished yet.
pub(crate) async fn any_open(tx: &mut Tx, bucket: &BucketName, object: &ObjectName, action: Action) -> Result<bool> {
    const ANY: Sql = Sql::both(
        "SELECT seq FROM replication_orders WHERE bucket = $1 AND object = $2 AND action = $3 AND ended_at IS NULL \
         LIMIT 1",
    );
    let args = args![bucket.as_str(), object.as_str(), action.as_str()];
    Ok(tx.fetch_optional(ANY, args).await?.is_some())
}
