//! SQL for the table `replication_outbox`: orders for other sites, in the order of the changes that caused them.

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, Value, args, placeholders};

use super::{signed, unsigned, word};
use crate::model::{BucketName, ClientId, ObjectName, Order, SiteId};

/// Rows in one statement.
const ROWS_MAX: usize = 500;

/// An order on its way to a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) seq: i64,
    pub(crate) site: SiteId,
    pub(crate) order: Order,
    pub(crate) created_at: Timestamp,
    /// When the site refused it for good, and why.
    pub(crate) dead_at: Option<Timestamp>,
    pub(crate) problem: Option<String>,
}

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

/// Up to `limit` orders for a site that it did not refuse, the first first.
pub(crate) async fn page(tx: &mut Tx, site: &SiteId, limit: i64) -> Result<Vec<Outgoing>> {
    const PAGE: Sql =
        Sql::both("SELECT * FROM replication_outbox WHERE site = $1 AND dead_at IS NULL ORDER BY seq LIMIT $2");
    tx.fetch_all(PAGE, args![site.as_str(), limit]).await?.iter().map(outgoing).collect()
}

/// Forgets orders that the site took.
pub(crate) async fn delivered(tx: &mut Tx, seqs: &[i64]) -> Result<()> {
    for some in seqs.chunks(ROWS_MAX) {
        let text = format!("DELETE FROM replication_outbox WHERE seq IN ({})", placeholders(1, some.len()));
        tx.execute_later(Sql::owned(text), some.iter().map(|seq| Value::from(*seq)).collect()).await?;
    }
    Ok(())
}

/// Puts an order aside that the site refused for good.
pub(crate) async fn bury(tx: &mut Tx, seq: i64, problem: &str) -> Result<()> {
    const BURY: Sql = Sql::both("UPDATE replication_outbox SET dead_at = $2, problem = $3 WHERE seq = $1");
    let now = tx.now();
    tx.execute_later(BURY, args![seq, now, problem]).await
}

/// Up to `limit` dead letters after one, of all sites.
pub(crate) async fn dead(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Outgoing>> {
    const DEAD: Sql =
        Sql::both("SELECT * FROM replication_outbox WHERE dead_at IS NOT NULL AND seq > $1 ORDER BY seq LIMIT $2");
    tx.fetch_all(DEAD, args![after, limit]).await?.iter().map(outgoing).collect()
}

/// Sends a dead letter again; false when there is none such.
pub(crate) async fn revive(tx: &mut Tx, seq: i64) -> Result<bool> {
    const REVIVE: Sql = Sql::both(
        "UPDATE replication_outbox SET dead_at = NULL, problem = NULL WHERE seq = $1 AND dead_at IS NOT NULL",
    );
    Ok(tx.execute(REVIVE, args![seq]).await? == 1)
}

/// Forgets a dead letter; false when there is none such.
pub(crate) async fn drop_dead(tx: &mut Tx, seq: i64) -> Result<bool> {
    const DROP: Sql = Sql::both("DELETE FROM replication_outbox WHERE seq = $1 AND dead_at IS NOT NULL");
    Ok(tx.execute(DROP, args![seq]).await? == 1)
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

/// The other way round.
pub(super) fn order(row: &Row) -> Result<Order> {
    let object = row.text("object")?;
    Ok(Order {
        op_id: row.text("op_id")?,
        from: row.text_or_null("from_site")?.map(SiteId::stored),
        client: ClientId::stored(row.text("client")?),
        bucket: BucketName::stored(row.text("bucket")?),
        object: (!object.is_empty()).then(|| ObjectName::stored(object)),
        size_bytes: unsigned(row, "size_bytes")?,
        sha256: row.text_or_null("sha256")?,
        action: word(row, "action")?,
        event_at: row.time_or_null("event_at")?,
    })
}

fn outgoing(row: &Row) -> Result<Outgoing> {
    Ok(Outgoing {
        seq: row.int("seq")?,
        site: SiteId::stored(row.text("site")?),
        order: order(row)?,
        created_at: row.time("created_at")?,
        dead_at: row.time_or_null("dead_at")?,
        problem: row.text_or_null("problem")?,
    })
}
