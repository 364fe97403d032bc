//! SQL that forgets what is no longer needed, some rows at a time, and tells which bytes still are.

use std::collections::HashSet;

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Sql, Tx, Value, args, placeholders};

use crate::model::{RecordId, Status};

/// Forgets up to `limit` tombstones of objects whose time is over; says how many.
pub(crate) async fn delete_object_tombstones(tx: &mut Tx, limit: i64) -> Result<u64> {
    const DELETE: Sql = Sql::both(
        "DELETE FROM replication_objects WHERE id IN (SELECT id FROM replication_objects \
         WHERE expires_at < $1 AND status = $2 ORDER BY expires_at LIMIT $3)",
    );
    let now = tx.now();
    tx.execute(DELETE, args![now, Status::Deleted.as_str(), limit]).await
}

/// Forgets up to `limit` tombstones of buckets whose time is over; says how many.
pub(crate) async fn delete_bucket_tombstones(tx: &mut Tx, limit: i64) -> Result<u64> {
    const DELETE: Sql = Sql::both(
        "DELETE FROM replication_buckets WHERE name IN (SELECT name FROM replication_buckets \
         WHERE expires_at < $1 AND status = $2 ORDER BY expires_at LIMIT $3)",
    );
    let now = tx.now();
    tx.execute(DELETE, args![now, Status::Deleted.as_str(), limit]).await
}

/// Forgets up to `limit` orders that were found obsolete before an instant; says how many. Those that failed or
/// contradict what is here stay until an operator decides: forgotten, this site would count as in sync.
pub(crate) async fn delete_ignored_orders(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    const DELETE: Sql = Sql::both(
        "DELETE FROM replication_orders WHERE seq IN (SELECT seq FROM replication_orders \
         WHERE ended_at < $1 AND state = 'IGNORED' ORDER BY ended_at LIMIT $2)",
    );
    tx.execute(DELETE, args![before, limit]).await
}

/// Gives the bytes of up to `limit` losers of conflicts whose time is over to the trash; says how many.
pub(crate) async fn discard_kept(tx: &mut Tx, limit: i64) -> Result<u64> {
    const DISCARD: Sql = Sql::both(
        "INSERT INTO replication_trash (id, since) SELECT id, $1 FROM replication_kept WHERE until < $1 \
         ORDER BY until LIMIT $2 ON CONFLICT (id) DO NOTHING",
    );
    const DELETE: Sql =
        Sql::both("DELETE FROM replication_kept WHERE until < $1 AND id IN (SELECT id FROM replication_trash)");
    let now = tx.now();
    tx.execute_later(DISCARD, args![now, limit]).await?;
    tx.execute(DELETE, args![now]).await
}

/// Those of some ids whose bytes are needed: by an object, an upload, an order under way, or as the loser of a conflict.
/// What a reconciliation found damaged, which is ERR_UPL with a hash, stays until it is brought again.
/// Those in the trash are counted among them, since they are seen to already.
pub(crate) async fn needed(tx: &mut Tx, ids: &[RecordId]) -> Result<HashSet<String>> {
    let list = placeholders(1, ids.len());
    let text = format!(
        "SELECT id FROM replication_objects WHERE id IN ({list}) AND status <> 'DELETED' \
         AND NOT (status = 'ERR_UPL' AND sha256 IS NULL) \
         UNION SELECT id FROM replication_uploads WHERE id IN ({list}) \
         UNION SELECT id FROM replication_kept WHERE id IN ({list}) \
         UNION SELECT id FROM replication_trash WHERE id IN ({list}) \
         UNION SELECT record_id AS id FROM replication_orders WHERE ended_at IS NULL AND record_id IN ({list})"
    );
    let args: Vec<Value> = ids.iter().map(|id| Value::from(id.as_str())).collect();
    tx.fetch_all(Sql::owned(text), args).await?.iter().map(|row| row.text("id")).collect()
}
