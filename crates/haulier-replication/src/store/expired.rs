//! SQL over buckets and objects that purges alone ask.

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Sql, Tx, args};

use super::{buckets, objects};
use crate::model::{Bucket, BucketName, ClientId, Object, Status};

/// The next bucket of an owner after a name, deleted or not.
pub(crate) async fn bucket_after(tx: &mut Tx, client: &ClientId, after: &str) -> Result<Option<Bucket>> {
    const NEXT: Sql =
        Sql::both("SELECT name FROM replication_buckets WHERE client = $1 AND name > $2 ORDER BY name LIMIT 1");
    let Some(row) = tx.fetch_optional(NEXT, args![client.as_str(), after]).await? else { return Ok(None) };
    buckets::find(tx, &BucketName::stored(row.text("name")?)).await
}

/// Up to `limit` records of a bucket after a name that expired by an instant, in the order of names. Walks the names
/// of the bucket: a purge looks at each bucket once.
pub(crate) async fn page(
    tx: &mut Tx,
    bucket: &BucketName,
    until: Timestamp,
    after: &str,
    limit: i64,
) -> Result<Vec<Object>> {
    const PAGE: Sql = Sql::both(
        "SELECT * FROM replication_objects WHERE bucket = $1 AND name > $2 AND expires_at <= $3 \
         AND status IN ('READY', 'DELETED') ORDER BY name LIMIT $4",
    );
    tx.fetch_all(PAGE, args![bucket.as_str(), after, until, limit]).await?.iter().map(objects::object).collect()
}

/// Forgets the tombstone of a bucket that expired by an instant, once nothing is known of what was in it.
pub(crate) async fn forget_bucket(tx: &mut Tx, bucket: &BucketName, until: Timestamp) -> Result<bool> {
    const FORGET: Sql = Sql::both(
        "DELETE FROM replication_buckets WHERE name = $1 AND status = $2 AND expires_at <= $3 \
         AND NOT EXISTS (SELECT 1 FROM replication_objects WHERE bucket = $1)",
    );
    Ok(tx.execute(FORGET, args![bucket.as_str(), Status::Deleted.as_str(), until]).await? == 1)
}
