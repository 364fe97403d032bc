//! SQL for names as a whole: the rows of `sync_files` with those of `sync_copies`.

use std::collections::{BTreeMap, BTreeSet};

use haulier_base::{Error, Result};
use haulier_catalog::{Row, Sql, Tx, Value as Arg, args, placeholders};

use super::{BATCH, attributes, content, copies, entry_name, signed, unsigned};
use crate::model::{Fid, FileName, FileRecord, FileState, Past};

/// Whether rows are held until the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Read only.
    No,
    /// Hold the rows until the transaction ends.
    Yes,
}

/// All that is known about these names, by fid. Unknown names are absent.
pub(crate) async fn load(tx: &mut Tx, names: &BTreeSet<FileName>, hold: Hold) -> Result<BTreeMap<Fid, FileState>> {
    let fids: BTreeSet<_> = names.iter().map(FileName::fid).collect();
    load_by_fid(tx, &fids, hold).await
}

/// As [`load`], by identity.
pub(crate) async fn load_by_fid(tx: &mut Tx, fids: &BTreeSet<Fid>, hold: Hold) -> Result<BTreeMap<Fid, FileState>> {
    let mut states = BTreeMap::new();
    let fids: Vec<_> = fids.iter().collect();
    for batch in fids.chunks(BATCH) {
        let args: Vec<_> = batch.iter().map(|fid| Arg::from(fid.as_str())).collect();
        // In one order everywhere, so that two that hold many do not wait for each other.
        let text = format!("SELECT * FROM sync_files WHERE fid IN ({}) ORDER BY fid", placeholders(1, batch.len()));
        let sql = match hold {
            Hold::No => Sql::owned(text),
            Hold::Yes => Sql::each_owned(text.clone(), format!("{text} FOR UPDATE")),
        };
        for row in tx.fetch_all(sql, args).await? {
            let (fid, record) = record(&row)?;
            states.insert(fid, FileState { record: Some(record), copies: BTreeMap::new() });
        }
    }
    copies::fill(tx, &mut states).await?;
    Ok(states)
}

/// All that is known about one file, deleted or not.
pub(crate) async fn find(tx: &mut Tx, fid: &Fid) -> Result<Option<FileState>> {
    Ok(load_by_fid(tx, &BTreeSet::from([fid.clone()]), Hold::No).await?.remove(fid))
}

/// A page of the files that exist, by fid (§1.2).
pub(crate) async fn list(tx: &mut Tx, offset: i64, limit: i64) -> Result<Vec<(Fid, FileState)>> {
    const LIST: Sql = Sql::both("SELECT * FROM sync_files WHERE deleted = FALSE ORDER BY fid LIMIT $1 OFFSET $2");
    gather(tx, LIST, args![limit, offset]).await
}

/// How many files exist.
pub(crate) async fn count(tx: &mut Tx) -> Result<i64> {
    const COUNT: Sql = Sql::both("SELECT COUNT(*) AS files FROM sync_files WHERE deleted = FALSE");
    tx.fetch_optional(COUNT, args![]).await?.map_or(Ok(0), |row| row.int("files"))
}

/// Up to `limit` files after one, by fid, deleted ones included, held until the transaction ends.
pub(crate) async fn page_after(
    tx: &mut Tx,
    after: Option<&Fid>,
    limit: i64,
    hold: Hold,
) -> Result<Vec<(Fid, FileState)>> {
    const PAGE: Sql = Sql::both("SELECT * FROM sync_files WHERE fid > $1 ORDER BY fid LIMIT $2");
    const HELD: Sql = Sql::each(
        "SELECT * FROM sync_files WHERE fid > $1 ORDER BY fid LIMIT $2",
        "SELECT * FROM sync_files WHERE fid > $1 ORDER BY fid LIMIT $2 FOR UPDATE",
    );
    let sql = match hold {
        Hold::No => PAGE,
        Hold::Yes => HELD,
    };
    gather(tx, sql, args![after.map_or("", Fid::as_str), limit]).await
}

async fn gather(tx: &mut Tx, sql: Sql, args: Vec<Arg>) -> Result<Vec<(Fid, FileState)>> {
    let mut states = BTreeMap::new();
    for row in tx.fetch_all(sql, args).await? {
        let (fid, record) = record(&row)?;
        states.insert(fid, FileState { record: Some(record), copies: BTreeMap::new() });
    }
    copies::fill(tx, &mut states).await?;
    Ok(states.into_iter().collect())
}

/// A file before and after it was judged.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) fid: Fid,
    pub(crate) before: FileState,
    pub(crate) after: FileState,
}

/// Writes what changed. Work that changed begins anew: its failures are forgotten.
///
/// # Errors
/// `Conflict` when a file that was not known has become known meanwhile: load and judge again.
pub(crate) async fn save(tx: &mut Tx, changes: &[Change]) -> Result<()> {
    let (mut new, mut gone) = (Vec::new(), Vec::new());
    for change in changes {
        match (&change.before.record, &change.after.record) {
            (None, Some(record)) => new.push((&change.fid, record)),
            (Some(_), None) => gone.push(&change.fid),
            (Some(before), Some(after)) if before != after => update(tx, &change.fid, before.number, after).await?,
            _ => {}
        }
    }
    insert(tx, &new).await?;
    delete(tx, &gone).await?;
    copies::save(tx, changes).await
}

const COLUMNS: &str =
    "fid, name, number, size_bytes, modified_at, mode, content, kind, past, origin, deleted, changed_at";

fn values(fid: &Fid, record: &FileRecord) -> Vec<Arg> {
    args![
        fid.as_str(),
        record.name.as_str(),
        signed(record.number),
        signed(record.size_bytes),
        record.attributes.modified_at,
        record.attributes.mode.map(i64::from),
        record.content.as_ref().map(|hash| hash.as_str()),
        record.kind.as_deref(),
        record.past.to_text(),
        record.origin.as_str(),
        record.deleted,
        record.changed_at
    ]
}

async fn insert(tx: &mut Tx, files: &[(&Fid, &FileRecord)]) -> Result<()> {
    for batch in files.chunks(BATCH) {
        let mut args = Vec::with_capacity(batch.len() * 12);
        let mut rows = Vec::with_capacity(batch.len());
        for (fid, record) in batch {
            rows.push(format!("({})", placeholders(args.len() + 1, 12)));
            args.extend(values(fid, record));
        }
        let text = format!("INSERT INTO sync_files ({COLUMNS}) VALUES {}", rows.join(", "));
        tx.execute_later(Sql::owned(text), args).await?;
    }
    Ok(())
}

async fn update(tx: &mut Tx, fid: &Fid, number: u64, record: &FileRecord) -> Result<()> {
    const UPDATE: Sql = Sql::both(
        "UPDATE sync_files SET name = $2, number = $3, size_bytes = $4, modified_at = $5, mode = $6, content = $7, \
         kind = $8, past = $9, origin = $10, deleted = $11, changed_at = $12 WHERE fid = $1 AND number = $13",
    );
    let mut args = values(fid, record);
    args.push(Arg::from(signed(number)));
    let changed = Error::conflict(format!("file {fid} changed meanwhile"));
    tx.expect_one_later(UPDATE, args, changed).await
}

async fn delete(tx: &mut Tx, fids: &[&Fid]) -> Result<()> {
    for batch in fids.chunks(BATCH) {
        let text = format!("DELETE FROM sync_files WHERE fid IN ({})", placeholders(1, batch.len()));
        let args = batch.iter().map(|fid| Arg::from(fid.as_str())).collect();
        tx.execute_later(Sql::owned(text), args).await?;
    }
    Ok(())
}

/// Reads a row of `sync_files`.
pub(super) fn record(row: &Row) -> Result<(Fid, FileRecord)> {
    let record = FileRecord {
        name: FileName::new(row.text("name")?).map_err(|error| Error::corrupt(error.message().to_owned()))?,
        number: unsigned(row, "number")?,
        size_bytes: unsigned(row, "size_bytes")?,
        attributes: attributes(row)?,
        content: content(row)?,
        kind: row.text_or_null("kind")?,
        past: Past::from_text(&row.text("past")?),
        origin: entry_name(row, "origin")?,
        deleted: row.flag("deleted")?,
        changed_at: row.time("changed_at")?,
    };
    Ok((Fid::from_text(row.text("fid")?), record))
}
