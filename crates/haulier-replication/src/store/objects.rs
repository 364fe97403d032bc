//! SQL for the table `replication_objects`.

use haulier_base::{Error, Result};
use haulier_catalog::{Row, Sql, Tx, args};

use super::{signed, unsigned, word};
use crate::model::{BucketName, Object, ObjectName, RecordId, SiteId, Status};

/// The object or its tombstone.
pub(crate) async fn find(tx: &mut Tx, bucket: &BucketName, name: &ObjectName) -> Result<Option<Object>> {
    const FIND: Sql = Sql::both("SELECT * FROM replication_objects WHERE bucket = $1 AND name = $2");
    tx.fetch_optional(FIND, args![bucket.as_str(), name.as_str()]).await?.map(|row| object(&row)).transpose()
}

/// The same, held until the transaction ends.
pub(crate) async fn find_for_update(tx: &mut Tx, bucket: &BucketName, name: &ObjectName) -> Result<Option<Object>> {
    const FIND: Sql = Sql::each(
        "SELECT * FROM replication_objects WHERE bucket = $1 AND name = $2",
        // SQLite has one writer and needs no row lock.
        "SELECT * FROM replication_objects WHERE bucket = $1 AND name = $2 FOR UPDATE",
    );
    tx.fetch_optional(FIND, args![bucket.as_str(), name.as_str()]).await?.map(|row| object(&row)).transpose()
}

/// Adds a record.
///
/// # Errors
/// `Conflict` when there is one of that name already.
pub(crate) async fn insert(tx: &mut Tx, object: &Object) -> Result<()> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO replication_objects (bucket, name, id, status, created_at, event_at, expires_at, size_bytes, \
         sha256, metadata, origin, buried_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (bucket, name) DO NOTHING",
    );
    match tx.execute(INSERT, columns(object)?).await? {
        1 => Ok(()),
        _ => Err(changed_meanwhile(object)),
    }
}

/// Puts a record in the place of the one of that name, if that is still the version and state it was read in.
///
/// # Errors
/// `Conflict` when it is not.
pub(crate) async fn replace(tx: &mut Tx, from: (&RecordId, Status), object: &Object) -> Result<()> {
    const UPDATE: Sql = Sql::both(
        "UPDATE replication_objects SET id = $3, status = $4, created_at = $5, event_at = $6, expires_at = $7, \
         size_bytes = $8, sha256 = $9, metadata = $10, origin = $11, buried_at = $12 \
         WHERE bucket = $1 AND name = $2 AND id = $13 AND status = $14",
    );
    let mut args = columns(object)?;
    args.extend(args![from.0.as_str(), from.1.as_str()]);
    match tx.execute(UPDATE, args).await? {
        1 => Ok(()),
        _ => Err(changed_meanwhile(object)),
    }
}

/// Whether somebody is really storing something under a record's id, and did not die over it.
pub(crate) async fn is_uploading(tx: &mut Tx, id: &RecordId) -> Result<bool> {
    const UPLOADING: Sql = Sql::both("SELECT id FROM replication_uploads WHERE id = $1");
    Ok(tx.fetch_optional(UPLOADING, args![id.as_str()]).await?.is_some())
}

/// Up to `limit` records of a bucket whose names are above `after` and start with `prefix`, in the order of names.
pub(crate) async fn page(
    tx: &mut Tx,
    bucket: &BucketName,
    prefix: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Object>> {
    // The end of the prefix is a bound of its own, so that the index is walked no further than needed.
    const PAGE: Sql = Sql::both(
        "SELECT * FROM replication_objects WHERE bucket = $1 AND name > $2 AND name >= $3 \
         AND ($4 = '' OR name < $4) ORDER BY name LIMIT $5",
    );
    let end = after_prefix(prefix);
    tx.fetch_all(PAGE, args![bucket.as_str(), after, prefix, end, limit]).await?.iter().map(object).collect()
}

/// Whether any READY object's name starts with a text (§2.3).
pub(crate) async fn any_with_prefix(tx: &mut Tx, bucket: &BucketName, prefix: &str) -> Result<bool> {
    const ANY: Sql = Sql::both(
        "SELECT name FROM replication_objects WHERE bucket = $1 AND name >= $2 AND ($3 = '' OR name < $3) \
         AND status = $4 LIMIT 1",
    );
    let args = args![bucket.as_str(), prefix, after_prefix(prefix), Status::Ready.as_str()];
    Ok(tx.fetch_optional(ANY, args).await?.is_some())
}

/// Whether a bucket holds READY objects, or with `uploads` any that are being uploaded.
pub(crate) async fn any_in(tx: &mut Tx, bucket: &BucketName, uploads: bool) -> Result<bool> {
    const ANY: Sql = Sql::both("SELECT name FROM replication_objects WHERE bucket = $1 AND status IN ($2, $3) LIMIT 1");
    let second = if uploads { Status::Upload } else { Status::Ready };
    let args = args![bucket.as_str(), Status::Ready.as_str(), second.as_str()];
    Ok(tx.fetch_optional(ANY, args).await?.is_some())
}

/// Forgets a record.
pub(crate) async fn delete(tx: &mut Tx, id: &RecordId) -> Result<()> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_objects WHERE id = $1");
    tx.execute(DELETE, args![id.as_str()]).await.map(|_| ())
}

/// The smallest text that is above every text with that prefix, in the order of UTF-8 bytes; empty for none.
fn after_prefix(prefix: &str) -> String {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            chars.push(next);
            return chars.into_iter().collect();
        }
    }
    String::new()
}

fn columns(object: &Object) -> Result<Vec<haulier_catalog::Value>> {
    let metadata = serde_json::to_string(&object.metadata)
        .map_err(|error| Error::internal("metadata could not be written as JSON").caused_by(error))?;
    Ok(args![
        object.bucket.as_str(),
        object.name.as_str(),
        object.id.as_str(),
        object.status.as_str(),
        object.created_at,
        object.event_at,
        object.expires_at,
        signed(object.size_bytes),
        object.sha256.as_deref(),
        metadata,
        object.origin.as_str(),
        object.buried_at
    ])
}

fn changed_meanwhile(object: &Object) -> Error {
    Error::conflict(format!("the object {} of the bucket {} changed meanwhile", object.name, object.bucket))
}

pub(super) fn object(row: &Row) -> Result<Object> {
    let metadata = serde_json::from_str(&row.text("metadata")?)
        .map_err(|error| Error::corrupt("column \"metadata\" is no JSON object of texts").caused_by(error))?;
    Ok(Object {
        id: RecordId::from_text(row.text("id")?),
        bucket: BucketName::stored(row.text("bucket")?),
        name: ObjectName::stored(row.text("name")?),
        status: word(row, "status")?,
        created_at: row.time("created_at")?,
        event_at: row.time("event_at")?,
        expires_at: row.time_or_null("expires_at")?,
        size_bytes: unsigned(row, "size_bytes")?,
        sha256: row.text_or_null("sha256")?,
        metadata,
        origin: SiteId::stored(row.text("origin")?),
        buried_at: row.time_or_null("buried_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix("ab"), "ac");
        assert_eq!(after_prefix("a\u{10ffff}"), "b");
        assert_eq!(after_prefix("a\u{d7ff}"), "a\u{e000}");
        assert_eq!(after_prefix(""), "");
    }
}
