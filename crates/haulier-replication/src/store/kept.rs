//! SQL for the table `replication_kept`: bytes that lost against others of the same name, and can be had back.

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, args};

use super::{signed, unsigned};
use crate::model::{BucketName, Metadata, Object, ObjectName, RecordId, SiteId};

/// A version that lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its bytes lie under this id.
    pub(crate) id: RecordId,
    pub(crate) bucket: BucketName,
    pub(crate) name: ObjectName,
    pub(crate) created_at: Timestamp,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
    pub(crate) metadata: Metadata,
    pub(crate) origin: SiteId,
    /// What took its place.
    pub(crate) winner_sha256: String,
    pub(crate) kept_at: Timestamp,
    pub(crate) until: Timestamp,
}

/// Keeps a READY record's version, whose id the record gives up in the same transaction.
pub(crate) async fn keep(tx: &mut Tx, loser: &Object, winner_sha256: &str, until: Timestamp) -> Result<()> {
    const KEEP: Sql = Sql::both(
        "INSERT INTO replication_kept (id, bucket, name, created_at, size_bytes, sha256, metadata, origin, \
         winner_sha256, kept_at, until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    );
    let now = tx.now();
    let args = args![
        loser.id.as_str(),
        loser.bucket.as_str(),
        loser.name.as_str(),
        loser.created_at,
        signed(loser.size_bytes),
        loser.sha256.as_deref().unwrap_or_default(),
        &serde_json::json!(loser.metadata),
        loser.origin.as_str(),
        winner_sha256,
        now,
        until
    ];
    tx.execute_later(KEEP, args).await
}

/// One of them.
pub(crate) async fn find(tx: &mut Tx, id: &RecordId) -> Result<Option<Kept>> {
    const FIND: Sql = Sql::both("SELECT * FROM replication_kept WHERE id = $1");
    tx.fetch_optional(FIND, args![id.as_str()]).await?.map(|row| kept(&row)).transpose()
}

/// Up to `limit` of them after an id, of a bucket or of all.
pub(crate) async fn list(tx: &mut Tx, bucket: Option<&BucketName>, after: &str, limit: i64) -> Result<Vec<Kept>> {
    const LIST: Sql =
        Sql::both("SELECT * FROM replication_kept WHERE id > $1 AND ($2 = '' OR bucket = $2) ORDER BY id LIMIT $3");
    let bucket = bucket.map_or("", BucketName::as_str);
    tx.fetch_all(LIST, args![after, bucket, limit]).await?.iter().map(kept).collect()
}

/// How many there are.
pub(crate) async fn count(tx: &mut Tx) -> Result<u64> {
    const COUNT: Sql = Sql::both("SELECT COUNT(*) AS kept FROM replication_kept");
    tx.fetch_optional(COUNT, args![]).await?.map_or(Ok(0), |row| unsigned(&row, "kept"))
}

fn kept(row: &Row) -> Result<Kept> {
    let metadata = serde_json::from_value(row.json("metadata")?).map_err(|error| {
        haulier_base::Error::corrupt("column \"metadata\" is no JSON object of texts").caused_by(error)
    })?;
    Ok(Kept {
        id: RecordId::from_text(row.text("id")?),
        bucket: BucketName::stored(row.text("bucket")?),
        name: ObjectName::stored(row.text("name")?),
        created_at: row.time("created_at")?,
        size_bytes: unsigned(row, "size_bytes")?,
        sha256: row.text("sha256")?,
        metadata,
        origin: SiteId::stored(row.text("origin")?),
        winner_sha256: row.text("winner_sha256")?,
        kept_at: row.time("kept_at")?,
        until: row.time("until")?,
    })
}
