//! SQL for what scans ask: everything that the index says is at an entry, in as few bytes as possible.

use haulier_base::{Error, Result};
use haulier_catalog::{Row, Sql, Tx, Value as Arg, args, placeholders};

use super::{BATCH, content, unsigned};
use crate::model::{ContentHash, EntryName, FileName};

/// A file that the index says is at an entry.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    /// Its identity, as text.
    pub(crate) fid: String,
    pub(crate) size_bytes: u64,
    /// What the storage said about it.
    pub(crate) stamp: String,
}

/// A name that the index says is at an entry, and what its bytes are.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    pub(crate) name: FileName,
    pub(crate) size_bytes: u64,
    pub(crate) content: Option<ContentHash>,
}

/// Up to `limit` files at an entry after one of them, by identity.
pub(crate) async fn page(tx: &mut Tx, at: &EntryName, after: &str, limit: i64) -> Result<Vec<Indexed>> {
    const PAGE: Sql = Sql::both(
        "SELECT fid, size_bytes, stamp FROM sync_copies WHERE entry = $1 AND fid > $2 AND present = TRUE
         ORDER BY fid LIMIT $3",
    );
    let read = |row: &Row| {
        let stamp = row.text_or_null("stamp")?.unwrap_or_default();
        Ok(Indexed { fid: row.text("fid")?, size_bytes: unsigned(row, "size_bytes")?, stamp })
    };
    tx.fetch_all(PAGE, args![at.as_str(), after, limit]).await?.iter().map(read).collect()
}

/// The names behind identities, as far as they are at the entry still.
pub(crate) async fn present(tx: &mut Tx, at: &EntryName, fids: &[String]) -> Result<Vec<Present>> {
    let mut found = Vec::with_capacity(fids.len());
    for batch in fids.chunks(BATCH) {
        let text = format!(
            "SELECT f.name, c.size_bytes, c.content FROM sync_copies AS c JOIN sync_files AS f ON f.fid = c.fid
             WHERE c.entry = $1 AND c.present = TRUE AND c.fid IN ({})",
            placeholders(2, batch.len())
        );
        let mut args = args![at.as_str()];
        args.extend(batch.iter().map(Arg::from));
        for row in tx.fetch_all(Sql::owned(text), args).await? {
            found.push(row_of(&row)?);
        }
    }
    Ok(found)
}

/// Up to `limit` names at an entry that lie below a folder.
pub(crate) async fn below(tx: &mut Tx, at: &EntryName, folder: &FileName, limit: i64) -> Result<Vec<Present>> {
    const BELOW: Sql = Sql::both(
        "SELECT f.name, c.size_bytes, c.content FROM sync_files AS f JOIN sync_copies AS c ON c.fid = f.fid
         WHERE f.name > $2 AND f.name < $3 AND c.entry = $1 AND c.present = TRUE ORDER BY f.name LIMIT $4",
    );
    // The character after the slash ends what starts with it.
    let (first, end) = (format!("{folder}/"), format!("{folder}0"));
    tx.fetch_all(BELOW, args![at.as_str(), first, end, limit]).await?.iter().map(row_of).collect()
}

fn row_of(row: &Row) -> Result<Present> {
    let name = FileName::new(row.text("name")?).map_err(|error| Error::corrupt(error.message().to_owned()))?;
    Ok(Present { name, size_bytes: unsigned(row, "size_bytes")?, content: content(row)? })
}
