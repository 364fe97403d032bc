//! SQL for the table `sync_conflicts`: which version lost, and under which name it is kept.

use haulier_base::{Error, Page, Result, Timestamp, id};
use haulier_catalog::{Row, Sql, Tx, args};

use super::entry_name;
use crate::model::{EntryName, Fid, FileName};
use crate::plan::Conflict;

/// A conflict as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConflictRow {
    pub(crate) id: String,
    pub(crate) fid: Fid,
    pub(crate) name: FileName,
    pub(crate) loser: EntryName,
    /// Under which name the loser's version is kept; none when the policy dropped it.
    pub(crate) aside: Option<FileName>,
    pub(crate) winner: EntryName,
    pub(crate) happened_at: Timestamp,
    pub(crate) resolved_at: Option<Timestamp>,
    /// How a person decided.
    pub(crate) resolution: Option<String>,
}

/// Records a conflict; gives back its id. One that the policy decided is resolved at once.
pub(crate) async fn insert(tx: &mut Tx, name: &FileName, conflict: &Conflict) -> Result<String> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO sync_conflicts (id, fid, name, loser, aside, winner, happened_at, resolved_at, resolution) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    );
    let (id, now) = (id::ordered_uuid(), tx.now());
    let dropped = conflict.aside.is_none();
    let args = args![
        &id,
        name.fid().as_str(),
        name.as_str(),
        conflict.loser.as_str(),
        conflict.aside.as_ref().map(|name| name.as_str()),
        conflict.winner.as_str(),
        now,
        dropped.then_some(now),
        dropped.then_some("newest")
    ];
    tx.execute_later(INSERT, args).await?;
    Ok(id)
}

pub(crate) async fn find(tx: &mut Tx, id: &str) -> Result<Option<ConflictRow>> {
    const FIND: Sql = Sql::both("SELECT * FROM sync_conflicts WHERE id = $1");
    tx.fetch_optional(FIND, args![id]).await?.map(|row| conflict(&row)).transpose()
}

/// Conflicts in the order in which they happened, after one of them; only those nobody resolved unless `all`.
pub(crate) async fn list(tx: &mut Tx, all: bool, after: &str, limit: usize) -> Result<Page<ConflictRow>> {
    const ALL: Sql = Sql::both("SELECT * FROM sync_conflicts WHERE id > $1 ORDER BY id LIMIT $2");
    const OPEN: Sql =
        Sql::both("SELECT * FROM sync_conflicts WHERE id > $1 AND resolved_at IS NULL ORDER BY id LIMIT $2");
    let surplus = i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1);
    let rows = tx.fetch_all(if all { ALL } else { OPEN }, args![after, surplus]).await?;
    Ok(Page::from_surplus(rows.iter().map(conflict).collect::<Result<_>>()?, limit))
}

/// Records how a person decided.
///
/// # Errors
/// `Conflict` when it was resolved already; it may come with the commit.
pub(crate) async fn resolve(tx: &mut Tx, id: &str, resolution: &str) -> Result<()> {
    const RESOLVE: Sql =
        Sql::both("UPDATE sync_conflicts SET resolved_at = $2, resolution = $3 WHERE id = $1 AND resolved_at IS NULL");
    let now = tx.now();
    let resolved = Error::conflict(format!("conflict {id} is resolved already"));
    tx.expect_one_later(RESOLVE, args![id, now, resolution], resolved).await
}

fn conflict(row: &Row) -> Result<ConflictRow> {
    let name = |text| FileName::new(text).map_err(|error| Error::corrupt(error.message().to_owned()));
    Ok(ConflictRow {
        id: row.text("id")?,
        fid: Fid::from_text(row.text("fid")?),
        name: name(row.text("name")?)?,
        loser: entry_name(row, "loser")?,
        aside: row.text_or_null("aside")?.map(name).transpose()?,
        winner: entry_name(row, "winner")?,
        happened_at: row.time("happened_at")?,
        resolved_at: row.time_or_null("resolved_at")?,
        resolution: row.text_or_null("resolution")?,
    })
}
