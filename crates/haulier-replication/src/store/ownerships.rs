//! SQL for the table `replication_ownerships`: what clients may do with the objects of buckets.

use haulier_base::Result;
use haulier_catalog::{Sql, Tx, args};

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

/// Takes the rights of everybody, and says of how many.
pub(crate) async fn delete_all(tx: &mut Tx, bucket: &BucketName) -> Result<u64> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_ownerships WHERE bucket = $1");
    tx.execute(DELETE, args![bucket.as_str()]).await
}
