//! SQL for the table `replication_ownerships`: what clients may do with the objects of buckets.

use haulier_base::Result;
use haulier_catalog::{Row, Sql, Tx, args};

use crate::model::{BucketName, ClientId, Rights};

/// The rights of a client; none when nothing was ever granted.
pub(crate) async fn find(tx: &mut Tx, client: &ClientId, bucket: &BucketName) -> Result<Option<Rights>> {
    const FIND: Sql = Sql::both("SELECT rights FROM replication_ownerships WHERE client = $1 AND bucket = $2");
    let row = tx.fetch_optional(FIND, args![client.as_str(), bucket.as_str()]).await?;
    row.map(|row| Ok(Rights::from_bits(row.int("rights")?))).transpose()
}

/// Sets the rights of a client.
pub(crate) async fn set(tx: &mut Tx, client: &ClientId, bucket: &BucketName, rights: Rights) -> Result<()> {
    const SET: Sql = Sql::both(
        "INSERT INTO replication_ownerships (client, bucket, rights) VALUES ($1, $2, $3) \
         ON CONFLICT (client, bucket) DO UPDATE SET rights = excluded.rights",
    );
    tx.execute(SET, args![client.as_str(), bucket.as_str(), rights.bits()]).await.map(|_| ())
}

/// Gives a client its first rights; false when it has some already.
pub(crate) async fn insert(tx: &mut Tx, client: &ClientId, bucket: &BucketName, rights: Rights) -> Result<bool> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO replication_ownerships (client, bucket, rights) VALUES ($1, $2, $3) \
         ON CONFLICT (client, bucket) DO NOTHING",
    );
    Ok(tx.execute(INSERT, args![client.as_str(), bucket.as_str(), rights.bits()]).await? == 1)
}

/// Adds to the rights of a client; gives all it has then, or none when it had none.
pub(crate) async fn unite(
    tx: &mut Tx,
    client: &ClientId,
    bucket: &BucketName,
    rights: Rights,
) -> Result<Option<Rights>> {
    const UNITE: Sql = Sql::both(
        "UPDATE replication_ownerships SET rights = rights | $3 WHERE client = $1 AND bucket = $2 RETURNING rights",
    );
    let row = tx.fetch_optional(UNITE, args![client.as_str(), bucket.as_str(), rights.bits()]).await?;
    row.map(|row| Ok(Rights::from_bits(row.int("rights")?))).transpose()
}

/// Takes the rights of a client; false when it had none.
pub(crate) async fn delete(tx: &mut Tx, client: &ClientId, bucket: &BucketName) -> Result<bool> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_ownerships WHERE client = $1 AND bucket = $2");
    Ok(tx.execute(DELETE, args![client.as_str(), bucket.as_str()]).await? == 1)
}

/// Up to `limit` buckets after a name in which a client has all of some rights, in the order of names.
pub(crate) async fn page_of(
    tx: &mut Tx,
    client: &ClientId,
    asked: Rights,
    after: &str,
    limit: i64,
) -> Result<Vec<(BucketName, Rights)>> {
    const PAGE: Sql = Sql::both(
        "SELECT bucket, rights FROM replication_ownerships WHERE client = $1 AND bucket > $2 AND (rights & $3) = $3 \
         ORDER BY bucket LIMIT $4",
    );
    let rows = tx.fetch_all(PAGE, args![client.as_str(), after, asked.bits(), limit]).await?;
    let access = |row: &Row| Ok((BucketName::stored(row.text("bucket")?), Rights::from_bits(row.int("rights")?)));
    rows.iter().map(access).collect()
}

/// Takes the rights of everybody, and says of how many.
pub(crate) async fn delete_all(tx: &mut Tx, bucket: &BucketName) -> Result<u64> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_ownerships WHERE bucket = $1");
    tx.execute(DELETE, args![bucket.as_str()]).await
}
