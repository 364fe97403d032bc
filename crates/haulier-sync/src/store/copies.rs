//! SQL for the table `sync_copies`: what each entry has, and what is pending there.

use std::collections::BTreeMap;

use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, Value as Arg, args, placeholders};

use super::files::{Change, record};
use super::{BATCH, content, entry_name, found, signed, unsigned};
use crate::model::{Copy, CopyState, EntryName, Fid, FileName, FileState, Pending};

/// What the index says of one name at one entry.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) fid: Fid,
    pub(crate) name: FileName,
    pub(crate) copy: Copy,
}

/// One thing to be done at an entry.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) fid: Fid,
    /// All that is known about the file: what is wanted, what is there, and who can give it.
    pub(crate) state: FileState,
    /// Where an unfinished fetch goes on.
    pub(crate) resume: Option<String>,
    /// How often it failed since it was last given anew.
    pub(crate) failures: u32,
}

/// What is to be done at an entry, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: i64,
    /// Bytes to be fetched.
    pub(crate) bytes: i64,
}

/// Adds to each file what the entries have of it.
pub(super) async fn fill(tx: &mut Tx, states: &mut BTreeMap<Fid, FileState>) -> Result<()> {
    let fids: Vec<_> = states.keys().cloned().collect();
    for batch in fids.chunks(BATCH) {
        let text = format!("SELECT * FROM sync_copies WHERE fid IN ({})", placeholders(1, batch.len()));
        let args = batch.iter().map(|fid| Arg::from(fid.as_str())).collect();
        for row in tx.fetch_all(Sql::owned(text), args).await? {
            let fid = Fid::from_text(row.text("fid")?);
            if let Some(state) = states.get_mut(&fid) {
                state.copies.insert(entry_name(&row, "entry")?, copy(&row)?);
            }
        }
    }
    Ok(())
}

/// Writes the copies that changed, and those whose work is another now.
pub(super) async fn save(tx: &mut Tx, changes: &[Change]) -> Result<()> {
    let (mut written, mut gone) = (Vec::new(), Vec::new());
    for Change { fid, before, after } in changes {
        let number = |state: &FileState| state.record.as_ref().map(|record| record.number);
        let renewed = number(before) != number(after);
        for (entry, copy) in &after.copies {
            if before.copies.get(entry) != Some(copy) || (renewed && copy.pending.is_some()) {
                written.push((entry, fid, copy));
            }
        }
        gone.extend(before.copies.keys().filter(|entry| !after.copies.contains_key(entry)).map(|entry| (entry, fid)));
    }
    for batch in written.chunks(BATCH) {
        upsert(tx, batch).await?;
    }
    for (entry, fid) in gone {
        const DELETE: Sql = Sql::both("DELETE FROM sync_copies WHERE entry = $1 AND fid = $2");
        tx.execute_later(DELETE, args![entry.as_str(), fid.as_str()]).await?;
    }
    Ok(())
}

async fn upsert(tx: &mut Tx, copies: &[(&EntryName, &Fid, &Copy)]) -> Result<()> {
    let mut args = Vec::with_capacity(copies.len() * 12);
    let mut rows = Vec::with_capacity(copies.len());
    for (entry, fid, copy) in copies {
        rows.push(format!("({}, 0)", placeholders(args.len() + 1, 12)));
        let found = copy.state.as_ref().map(|state| &state.found);
        let attributes = found.map(|found| found.attributes).unwrap_or_default();
        args.extend(args![
            entry.as_str(),
            fid.as_str(),
            copy.owner,
            copy.state.is_some(),
            signed(copy.number),
            found.map_or(0, |found| signed(found.stamp.size_bytes)),
            attributes.modified_at,
            attributes.mode.map(i64::from),
            found.map(|found| found.stamp.version.as_str()),
            copy.state.as_ref().and_then(|state| state.content.as_ref()).map(|hash| hash.as_str()),
            copy.pending.map(Pending::as_str),
            copy.aside.as_ref().map(|name| name.as_str())
        ]);
    }
    // Where an unfinished fetch goes on stays: whoever goes on looks whether the version is still the same.
    let text = format!(
        "INSERT INTO sync_copies (entry, fid, owner, present, number, size_bytes, modified_at, mode, stamp, content, \
             pending, aside, failures) VALUES {} \
         ON CONFLICT (entry, fid) DO UPDATE SET owner = excluded.owner, present = excluded.present, \
             number = excluded.number, size_bytes = excluded.size_bytes, modified_at = excluded.modified_at, \
             mode = excluded.mode, stamp = excluded.stamp, content = excluded.content, pending = excluded.pending, \
             aside = excluded.aside, failures = 0, retry_at = NULL, problem = NULL, \
             resume = CASE WHEN excluded.pending = 'fetch' THEN sync_copies.resume ELSE NULL END",
        rows.join(", ")
    );
    tx.execute_later(Sql::owned(text), args).await
}

/// Up to `limit` names that the index knows at an entry, after one of them, by fid.
#[cfg(test)]
pub(crate) async fn page_known(tx: &mut Tx, at: &EntryName, after: Option<&Fid>, limit: i64) -> Result<Vec<Known>> {
    const PAGE: Sql = Sql::both(
        "SELECT c.*, f.name FROM sync_copies AS c JOIN sync_files AS f ON f.fid = c.fid \
         WHERE c.entry = $1 AND c.fid > $2 AND c.present = TRUE ORDER BY c.fid LIMIT $3",
    );
    let rows = tx.fetch_all(PAGE, args![at.as_str(), after.map_or("", Fid::as_str), limit]).await?;
    let known = |row: &Row| {
        let name = FileName::new(row.text("name")?).map_err(|error| Error::corrupt(error.message().to_owned()))?;
        Ok(Known { fid: Fid::from_text(row.text("fid")?), name, copy: copy(row)? })
    };
    rows.iter().map(known).collect()
}

/// Up to `limit` things of one sort that are due at an entry, after one of them, by fid.
pub(crate) async fn page_pending(
    tx: &mut Tx,
    at: &EntryName,
    what: Pending,
    after: Option<&Fid>,
    limit: i64,
) -> Result<Vec<Work>> {
    const PAGE: Sql = Sql::both(
        "SELECT c.resume, c.failures, f.* FROM sync_copies AS c \
         JOIN sync_files AS f ON f.fid = c.fid \
         WHERE c.entry = $1 AND c.pending = $2 AND c.fid > $3 AND (c.retry_at IS NULL OR c.retry_at <= $4) \
         ORDER BY c.fid LIMIT $5",
    );
    let now = tx.now();
    let args = args![at.as_str(), what.as_str(), after.map_or("", Fid::as_str), now, limit];
    let mut states = BTreeMap::new();
    let mut works = Vec::new();
    for row in tx.fetch_all(PAGE, args).await? {
        let (fid, record) = record(&row)?;
        states.insert(fid.clone(), FileState { record: Some(record), copies: BTreeMap::new() });
        works.push(Work {
            fid,
            state: FileState::default(),
            resume: row.text_or_null("resume")?,
            failures: u32::try_from(row.int("failures")?).unwrap_or(u32::MAX),
        });
    }
    fill(tx, &mut states).await?;
    for work in &mut works {
        work.state = states.remove(&work.fid).unwrap_or_default();
    }
    Ok(works)
}

/// Up to `limit` files of which something of one sort is due at an entry.
pub(crate) async fn due(tx: &mut Tx, at: &EntryName, what: Pending, limit: usize) -> Result<Vec<Fid>> {
    const DUE: Sql = Sql::both(
        "SELECT fid FROM sync_copies WHERE entry = $1 AND pending = $2 AND (retry_at IS NULL OR retry_at <= $3) \
         ORDER BY fid LIMIT $4",
    );
    let args = args![at.as_str(), what.as_str(), tx.now(), i64::try_from(limit).unwrap_or(i64::MAX)];
    tx.fetch_all(DUE, args).await?.iter().map(|row| Ok(Fid::from_text(row.text("fid")?))).collect()
}

/// When the next thing that is to be done at an entry is due; none when nothing is to be done.
pub(crate) async fn next_due(tx: &mut Tx, at: &EntryName) -> Result<Option<Timestamp>> {
    const NEXT: Sql =
        Sql::both("SELECT MIN(COALESCE(retry_at, 0)) AS due FROM sync_copies WHERE entry = $1 AND pending IS NOT NULL");
    tx.fetch_optional(NEXT, args![at.as_str()]).await?.map_or(Ok(None), |row| row.time_or_null("due"))
}

/// What is to be done at an entry, in sum.
pub(crate) async fn totals(tx: &mut Tx, at: &EntryName) -> Result<Totals> {
    const TOTALS: Sql = Sql::both(
        "SELECT COUNT(*) AS files, \
         CAST(COALESCE(SUM(CASE WHEN c.pending = 'fetch' THEN f.size_bytes ELSE 0 END), 0) AS BIGINT) AS bytes \
         FROM sync_copies AS c JOIN sync_files AS f ON f.fid = c.fid \
         WHERE c.entry = $1 AND c.pending IS NOT NULL",
    );
    match tx.fetch_optional(TOTALS, args![at.as_str()]).await? {
        Some(row) => Ok(Totals { files: row.int("files")?, bytes: row.int("bytes")? }),
        None => Ok(Totals::default()),
    }
}

/// Up to eight files that are about to be deleted at an entry and hold these bytes: one of them may be moved instead.
pub(crate) async fn leaving(tx: &mut Tx, at: &EntryName, hash: &crate::model::ContentHash) -> Result<Vec<Known>> {
    // Left to itself, SQLite goes through all that leaves, for each file that comes.
    const LEAVING: Sql = Sql::each(
        "SELECT c.*, f.name FROM sync_copies AS c INDEXED BY sync_copies_leaving JOIN sync_files AS f ON f.fid = c.fid \
         WHERE c.entry = $1 AND c.content = $2 AND c.pending = 'delete' AND c.present = TRUE ORDER BY c.fid LIMIT 8",
        "SELECT c.*, f.name FROM sync_copies AS c JOIN sync_files AS f ON f.fid = c.fid \
         WHERE c.entry = $1 AND c.content = $2 AND c.pending = 'delete' AND c.present = TRUE ORDER BY c.fid LIMIT 8",
    );
    let known = |row: &Row| {
        let name = FileName::new(row.text("name")?).map_err(|error| Error::corrupt(error.message().to_owned()))?;
        Ok(Known { fid: Fid::from_text(row.text("fid")?), name, copy: copy(row)? })
    };
    tx.fetch_all(LEAVING, args![at.as_str(), hash.as_str()]).await?.iter().map(known).collect()
}

/// Records where an unfinished fetch of a version goes on.
pub(crate) async fn set_resume(tx: &mut Tx, at: &EntryName, fid: &Fid, number: u64, resume: &str) -> Result<()> {
    const SET: Sql = Sql::both("UPDATE sync_copies SET resume = $3, resume_number = $4 WHERE entry = $1 AND fid = $2");
    tx.execute_later(SET, args![at.as_str(), fid.as_str(), resume, signed(number)]).await
}

/// Records that something could not be done, why, and when it is tried again.
pub(crate) async fn set_failed(
    tx: &mut Tx,
    at: &EntryName,
    fid: &Fid,
    problem: &str,
    retry_at: Timestamp,
) -> Result<()> {
    const SET: Sql = Sql::both(
        "UPDATE sync_copies SET failures = failures + 1, problem = $3, retry_at = $4 \
         WHERE entry = $1 AND fid = $2 AND pending IS NOT NULL",
    );
    tx.execute_later(SET, args![at.as_str(), fid.as_str(), problem, retry_at]).await
}

/// Up to `limit` names that could not be brought to their state at an entry, and why.
pub(crate) async fn problems(tx: &mut Tx, at: &EntryName, limit: i64) -> Result<Vec<(FileName, String)>> {
    const PROBLEMS: Sql = Sql::both(
        "SELECT f.name, c.problem FROM sync_copies AS c JOIN sync_files AS f ON f.fid = c.fid \
         WHERE c.entry = $1 AND c.pending IS NOT NULL AND c.problem IS NOT NULL ORDER BY c.fid LIMIT $2",
    );
    let read = |row: &Row| {
        let name = FileName::new(row.text("name")?).map_err(|error| Error::corrupt(error.message().to_owned()))?;
        Ok((name, row.text("problem")?))
    };
    tx.fetch_all(PROBLEMS, args![at.as_str(), limit]).await?.iter().map(read).collect()
}

/// Lets everything that waits for its next attempt at an entry be due now.
pub(crate) async fn retry_now(tx: &mut Tx, at: &EntryName) -> Result<()> {
    const RETRY: Sql =
        Sql::both("UPDATE sync_copies SET retry_at = NULL WHERE entry = $1 AND pending IS NOT NULL AND retry_at > 0");
    tx.execute_later(RETRY, args![at.as_str()]).await
}

fn copy(row: &Row) -> Result<Copy> {
    let state = match row.flag("present")? {
        true => Some(CopyState { found: found(row)?, content: content(row)? }),
        false => None,
    };
    let pending = match row.text_or_null("pending")?.as_deref() {
        Some("fetch") => Some(Pending::Fetch),
        Some("delete") => Some(Pending::Delete),
        Some("touch") => Some(Pending::Touch),
        _ => None,
    };
    let aside = row.text_or_null("aside")?.map(FileName::new).transpose();
    Ok(Copy {
        owner: row.flag("owner")?,
        state,
        number: unsigned(row, "number")?,
        pending,
        aside: aside.map_err(|error| Error::corrupt(error.message().to_owned()))?,
    })
}
