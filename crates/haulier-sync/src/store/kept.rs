//! SQL for the table `sync_kept`: old versions that can be had back for a while.

use std::collections::BTreeSet;

use haulier_base::{Error, Page, Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, Value as Arg, args, placeholders};

use super::{content, entry_name, signed, unsigned};
use crate::model::{ContentHash, EntryName, Fid, FileName};

/// Why a version is no longer in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptReason {
    /// Another version took its place.
    Replaced,
    /// The file was deleted.
    Deleted,
}

impl KeptReason {
    /// The word used in the database and on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
        }
    }
}

/// An old version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptRow {
    /// Sorts by creation.
    pub(crate) id: String,
    pub(crate) entry: EntryName,
    pub(crate) name: FileName,
    /// Where it is, from the root of the entry.
    pub(crate) place: String,
    pub(crate) size_bytes: u64,
    pub(crate) content: Option<ContentHash>,
    pub(crate) reason: KeptReason,
    pub(crate) kept_at: Timestamp,
}

pub(crate) async fn insert(tx: &mut Tx, row: &KeptRow) -> Result<()> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO sync_kept (id, entry, fid, name, place, size_bytes, content, reason, kept_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
    );
    let args = args![
        &row.id,
        row.entry.as_str(),
        row.name.fid().as_str(),
        row.name.as_str(),
        &row.place,
        signed(row.size_bytes),
        row.content.as_ref().map(|hash| hash.as_str()),
        row.reason.as_str(),
        row.kept_at
    ];
    tx.execute_later(INSERT, args).await
}

pub(crate) async fn find(tx: &mut Tx, id: &str) -> Result<Option<KeptRow>> {
    const FIND: Sql = Sql::both("SELECT * FROM sync_kept WHERE id = $1");
    tx.fetch_optional(FIND, args![id]).await?.map(|row| kept(&row)).transpose()
}

/// Old versions, of one file or of all, in the order in which they were kept, after one of them.
pub(crate) async fn list(tx: &mut Tx, fid: Option<&Fid>, after: &str, limit: usize) -> Result<Page<KeptRow>> {
    const OF_FILE: Sql = Sql::both("SELECT * FROM sync_kept WHERE fid = $1 AND id > $2 ORDER BY id LIMIT $3");
    const ALL: Sql = Sql::both("SELECT * FROM sync_kept WHERE id > $1 ORDER BY id LIMIT $2");
    let surplus = i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1);
    let rows = match fid {
        Some(fid) => tx.fetch_all(OF_FILE, args![fid.as_str(), after, surplus]).await?,
        None => tx.fetch_all(ALL, args![after, surplus]).await?,
    };
    Ok(Page::from_surplus(rows.iter().map(kept).collect::<Result<_>>()?, limit))
}

/// Up to `limit` old versions kept before an instant, the oldest first, but none of these entries.
pub(crate) async fn page_before(
    tx: &mut Tx,
    before: Timestamp,
    except: &BTreeSet<EntryName>,
    limit: i64,
) -> Result<Vec<KeptRow>> {
    let mut args = args![before, limit];
    args.extend(except.iter().map(|entry| Arg::from(entry.as_str())));
    let others = match except.len() {
        0 => String::new(),
        count => format!("AND entry NOT IN ({}) ", placeholders(3, count)),
    };
    let text = format!("SELECT * FROM sync_kept WHERE kept_at < $1 {others}ORDER BY kept_at LIMIT $2");
    tx.fetch_all(Sql::owned(text), args).await?.iter().map(kept).collect()
}

/// Forgets an old version whose bytes are gone, or had back.
pub(crate) async fn delete(tx: &mut Tx, id: &str) -> Result<()> {
    const DELETE: Sql = Sql::both("DELETE FROM sync_kept WHERE id = $1");
    tx.execute_later(DELETE, args![id]).await
}

fn kept(row: &Row) -> Result<KeptRow> {
    Ok(KeptRow {
        id: row.text("id")?,
        entry: entry_name(row, "entry")?,
        name: FileName::new(row.text("name")?).map_err(|error| Error::corrupt(error.message().to_owned()))?,
        place: row.text("place")?,
        size_bytes: unsigned(row, "size_bytes")?,
        content: content(row)?,
        reason: match row.text("reason")?.as_str() {
            "deleted" => KeptReason::Deleted,
            _ => KeptReason::Replaced,
        },
        kept_at: row.time("kept_at")?,
    })
}
