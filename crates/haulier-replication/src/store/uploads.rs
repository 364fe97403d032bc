//! SQL for the table `replication_uploads`: record ids whose bytes are being written by requests.

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, args};

use crate::model::{BucketName, ObjectName, RecordId};

/// An upload under way, or what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) id: RecordId,
    pub(crate) bucket: BucketName,
    pub(crate) name: ObjectName,
}

/// Notes an upload that begins, held by a process until an instant.
pub(crate) async fn insert(tx: &mut Tx, upload: &Upload, holder: &str, until: Timestamp) -> Result<()> {
    const INSERT: Sql =
        Sql::both("INSERT INTO replication_uploads (id, bucket, name, holder, held_until) VALUES ($1, $2, $3, $4, $5)");
    let Upload { id, bucket, name } = upload;
    tx.execute_later(INSERT, args![id.as_str(), bucket.as_str(), name.as_str(), holder, until]).await
}

/// Holds an upload for longer; false when it was given up for dead.
pub(crate) async fn renew(tx: &mut Tx, id: &RecordId, until: Timestamp) -> Result<bool> {
    const RENEW: Sql = Sql::both("UPDATE replication_uploads SET held_until = $2 WHERE id = $1");
    Ok(tx.execute(RENEW, args![id.as_str(), until]).await? == 1)
}

/// Forgets an upload that has ended.
pub(crate) async fn delete(tx: &mut Tx, id: &RecordId) -> Result<()> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_uploads WHERE id = $1");
    tx.execute_later(DELETE, args![id.as_str()]).await
}

/// Up to `limit` uploads that nobody holds any more.
pub(crate) async fn dead(tx: &mut Tx, limit: i64) -> Result<Vec<Upload>> {
    const DEAD: Sql = Sql::both(
        "SELECT id, bucket, name FROM replication_uploads WHERE held_until < $1 ORDER BY held_until LIMIT $2",
    );
    let now = tx.now();
    let upload = |row: &Row| {
        Ok(Upload {
            id: RecordId::from_text(row.text("id")?),
            bucket: BucketName::stored(row.text("bucket")?),
            name: ObjectName::stored(row.text("name")?),
        })
    };
    tx.fetch_all(DEAD, args![now, limit]).await?.iter().map(upload).collect()
}

/// Forgets an upload if nobody holds it any more; says whether it was so.
pub(crate) async fn delete_dead(tx: &mut Tx, id: &RecordId) -> Result<bool> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_uploads WHERE id = $1 AND held_until < $2");
    let now = tx.now();
    Ok(tx.execute(DELETE, args![id.as_str(), now]).await? == 1)
}

/// Lets go of the uploads of processes that cannot be alive, which are all others on a database that takes one only.
pub(crate) async fn release_others(tx: &mut Tx, holder: &str) -> Result<()> {
    const RELEASE: Sql = Sql::each(
        "UPDATE replication_uploads SET held_until = 0 WHERE holder <> $1",
        // Others may be alive; their time runs out if they are not.
        "UPDATE replication_uploads SET held_until = 0 WHERE holder <> $1 AND FALSE",
    );
    tx.execute(RELEASE, args![holder]).await.map(|_| ())
}
