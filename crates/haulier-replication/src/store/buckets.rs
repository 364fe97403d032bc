//! SQL for the table `replication_buckets`.

use haulier_base::{Error, Result};
use haulier_catalog::{Row, Sql, Tx, args};

use super::word;
use crate::model::{Bucket, BucketName, ClientId, Status};

/// The bucket or its tombstone.
pub(crate) async fn find(tx: &mut Tx, name: &BucketName) -> Result<Option<Bucket>> {
    const FIND: Sql = Sql::both("SELECT * FROM replication_buckets WHERE name = $1");
    tx.fetch_optional(FIND, args![name.as_str()]).await?.map(|row| bucket(&row)).transpose()
}

/// The same, held until the transaction ends: whoever changes what is in a bucket, or whether it is there, holds it.
pub(crate) async fn find_for_update(tx: &mut Tx, name: &BucketName) -> Result<Option<Bucket>> {
    const FIND: Sql = Sql::each(
        "SELECT * FROM replication_buckets WHERE name = $1",
        // SQLite has one writer and needs no row lock.
        "SELECT * FROM replication_buckets WHERE name = $1 FOR UPDATE",
    );
    tx.fetch_optional(FIND, args![name.as_str()]).await?.map(|row| bucket(&row)).transpose()
}

/// The same, held against changes of the bucket itself, while others change objects in it.
pub(crate) async fn find_for_share(tx: &mut Tx, name: &BucketName) -> Result<Option<Bucket>> {
    const FIND: Sql = Sql::each(
        "SELECT * FROM replication_buckets WHERE name = $1",
        "SELECT * FROM replication_buckets WHERE name = $1 FOR SHARE",
    );
    tx.fetch_optional(FIND, args![name.as_str()]).await?.map(|row| bucket(&row)).transpose()
}

/// Adds a record, or puts it in the place of the one that the transaction holds.
///
/// # Errors
/// `Conflict` when another was added meanwhile.
pub(crate) async fn put(tx: &mut Tx, bucket: &Bucket, replaces: bool) -> Result<()> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO replication_buckets (name, client, status, created_at, event_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING",
    );
    const UPDATE: Sql = Sql::both(
        "UPDATE replication_buckets SET client = $2, status = $3, created_at = $4, event_at = $5, expires_at = $6 \
         WHERE name = $1",
    );
    let args = args![
        bucket.name.as_str(),
        bucket.client.as_str(),
        bucket.status.as_str(),
        bucket.created_at,
        bucket.event_at,
        bucket.expires_at
    ];
    match tx.execute(if replaces { UPDATE } else { INSERT }, args).await? {
        1 => Ok(()),
        _ => Err(Error::conflict(format!("the bucket {} changed meanwhile", bucket.name))),
    }
}

/// Up to `limit` READY buckets of an owner after a name, in the order of names.
pub(crate) async fn list_of(tx: &mut Tx, client: &ClientId, after: &str, limit: i64) -> Result<Vec<Bucket>> {
    const LIST: Sql = Sql::both(
        "SELECT * FROM replication_buckets WHERE client = $1 AND name > $2 AND status = $3 ORDER BY name LIMIT $4",
    );
    let args = args![client.as_str(), after, Status::Ready.as_str(), limit];
    tx.fetch_all(LIST, args).await?.iter().map(bucket).collect()
}

fn bucket(row: &Row) -> Result<Bucket> {
    Ok(Bucket {
        name: BucketName::stored(row.text("name")?),
        client: ClientId::stored(row.text("client")?),
        status: word(row, "status")?,
        created_at: row.time("created_at")?,
        event_at: row.time("event_at")?,
        expires_at: row.time_or_null("expires_at")?,
    })
}
