//! SQL for the table `sync_entries`. Knows no driver: options are a sealed JSON document here.

use std::collections::BTreeSet;

use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, Value as Arg, args, placeholders};
use serde_json::Value;

use super::entry_name;
use crate::model::EntryName;

/// What the operator asked of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It takes part.
    Active,
    /// It is neither watched nor read nor written (§4.6).
    Stopped,
}

impl Wanted {
    /// The word used in the database and on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Stopped => "stopped",
        }
    }
}

/// A storage taking part in sync.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: EntryName,
    /// The order of the configuration.
    pub(crate) position: i64,
    pub(crate) driver: String,
    /// As configured, secrets sealed.
    pub(crate) options: Value,
    /// Whether the configuration file brought it.
    pub(crate) configured: bool,
    pub(crate) wanted: Wanted,
    /// When it was last started.
    pub(crate) started_at: Option<Timestamp>,
    /// Since when its changes are watched; none while starting and when stopped.
    pub(crate) attended_at: Option<Timestamp>,
    /// When the last whole scan ended.
    pub(crate) scanned_at: Option<Timestamp>,
    /// Written into the root.
    pub(crate) root_id: Option<String>,
    /// Deletions that wait for the operator's word.
    pub(crate) held: Option<Value>,
    /// What is wrong, for people.
    pub(crate) problem: Option<String>,
    pub(crate) problem_at: Option<Timestamp>,
    /// Whether a carrier's task exists.
    pub(crate) carrying: bool,
    pub(crate) created_at: Timestamp,
}

impl Entry {
    /// Whether work may be done here: it is wanted, and its own changes since it was started are known (§4.6 37).
    pub(crate) fn is_ready(&self) -> bool {
        let scanned = matches!((self.started_at, self.scanned_at), (Some(start), Some(scan)) if scan >= start);
        self.wanted == Wanted::Active && scanned
    }
}

/// Adds an entry.
///
/// # Errors
/// `Conflict` when there is one of that name.
pub(crate) async fn insert(tx: &mut Tx, entry: &Entry) -> Result<()> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO sync_entries (name, position, driver, options, configured, wanted, started_at, attended_at, \
         scanned_at, root_id, held, problem, problem_at, carrying, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    );
    let args = args![
        entry.name.as_str(),
        entry.position,
        &entry.driver,
        &entry.options,
        entry.configured,
        entry.wanted.as_str(),
        entry.started_at,
        entry.attended_at,
        entry.scanned_at,
        entry.root_id.clone(),
        entry.held.as_ref().map(Value::to_string),
        entry.problem.clone(),
        entry.problem_at,
        entry.carrying,
        entry.created_at
    ];
    tx.execute(INSERT, args).await.map(drop)
}

pub(crate) async fn find(tx: &mut Tx, name: &EntryName) -> Result<Option<Entry>> {
    const FIND: Sql = Sql::both("SELECT * FROM sync_entries WHERE name = $1");
    tx.fetch_optional(FIND, args![name.as_str()]).await?.map(|row| entry(&row)).transpose()
}

/// Finds an entry and, on PostgreSQL, holds its row until the transaction ends.
pub(crate) async fn find_for_update(tx: &mut Tx, name: &EntryName) -> Result<Option<Entry>> {
    const FIND: Sql = Sql::each(
        "SELECT * FROM sync_entries WHERE name = $1",
        // SQLite has one writer and needs no row lock.
        "SELECT * FROM sync_entries WHERE name = $1 FOR UPDATE",
    );
    tx.fetch_optional(FIND, args![name.as_str()]).await?.map(|row| entry(&row)).transpose()
}

/// All entries, in the order of the configuration.
pub(crate) async fn list(tx: &mut Tx) -> Result<Vec<Entry>> {
    const LIST: Sql = Sql::both("SELECT * FROM sync_entries ORDER BY position, name");
    tx.fetch_all(LIST, args![]).await?.iter().map(entry).collect()
}

/// The names of the entries that are wanted.
pub(crate) async fn active(tx: &mut Tx) -> Result<BTreeSet<EntryName>> {
    const ACTIVE: Sql = Sql::both("SELECT name FROM sync_entries WHERE wanted = 'active'");
    tx.fetch_all(ACTIVE, args![]).await?.iter().map(|row| entry_name(row, "name")).collect()
}

/// Forgets an entry. Its copies are another table's.
pub(crate) async fn delete(tx: &mut Tx, name: &EntryName) -> Result<()> {
    const DELETE: Sql = Sql::both("DELETE FROM sync_entries WHERE name = $1");
    tx.expect_one_later(DELETE, args![name.as_str()], vanished(name)).await
}

/// Writes what the configuration says of an entry.
pub(crate) async fn set_definition(
    tx: &mut Tx,
    name: &EntryName,
    position: i64,
    driver: &str,
    options: &Value,
    configured: bool,
) -> Result<()> {
    const SET: Sql =
        Sql::both("UPDATE sync_entries SET position = $2, driver = $3, options = $4, configured = $5 WHERE name = $1");
    let args = args![name.as_str(), position, driver, options, configured];
    tx.expect_one_later(SET, args, vanished(name)).await
}

/// Writes what the operator asked for. A started entry is not attended yet, and its problems are to be found anew.
pub(crate) async fn set_wanted(tx: &mut Tx, name: &EntryName, wanted: Wanted) -> Result<()> {
    const START: Sql = Sql::both(
        "UPDATE sync_entries SET wanted = 'active', started_at = $2, attended_at = NULL, problem = NULL, \
         problem_at = NULL WHERE name = $1",
    );
    const STOP: Sql = Sql::both("UPDATE sync_entries SET wanted = 'stopped', attended_at = NULL WHERE name = $1");
    let now = tx.now();
    match wanted {
        Wanted::Active => tx.expect_one_later(START, args![name.as_str(), now], vanished(name)).await,
        Wanted::Stopped => tx.expect_one_later(STOP, args![name.as_str()], vanished(name)).await,
    }
}

/// Since when changes are watched; none when they are not.
pub(crate) async fn set_attended(tx: &mut Tx, name: &EntryName, at: Option<Timestamp>) -> Result<()> {
    const SET: Sql = Sql::both("UPDATE sync_entries SET attended_at = $2 WHERE name = $1");
    tx.expect_one_later(SET, args![name.as_str(), at], vanished(name)).await
}

/// When the last whole scan ended.
pub(crate) async fn set_scanned(tx: &mut Tx, name: &EntryName, at: Timestamp) -> Result<()> {
    const SET: Sql = Sql::both("UPDATE sync_entries SET scanned_at = $2 WHERE name = $1");
    tx.expect_one_later(SET, args![name.as_str(), at], vanished(name)).await
}

/// What was written into the root.
pub(crate) async fn set_root_id(tx: &mut Tx, name: &EntryName, root_id: Option<&str>) -> Result<()> {
    const SET: Sql = Sql::both("UPDATE sync_entries SET root_id = $2 WHERE name = $1");
    tx.expect_one_later(SET, args![name.as_str(), root_id], vanished(name)).await
}

/// Holds deletions for the operator's word, or lets go.
pub(crate) async fn set_held(tx: &mut Tx, name: &EntryName, held: Option<&Value>) -> Result<()> {
    const SET: Sql = Sql::both("UPDATE sync_entries SET held = $2 WHERE name = $1");
    tx.expect_one_later(SET, args![name.as_str(), held.map(Value::to_string)], vanished(name)).await
}

/// Says what is wrong, or that nothing is.
pub(crate) async fn set_problem(tx: &mut Tx, name: &EntryName, problem: Option<&str>) -> Result<()> {
    const SET: Sql = Sql::both("UPDATE sync_entries SET problem = $2, problem_at = $3 WHERE name = $1");
    let at = problem.map(|_| tx.now());
    tx.expect_one_later(SET, args![name.as_str(), problem, at], vanished(name)).await
}

/// The entries of these names, their rows held until the transaction ends, in the order of their names.
///
/// Whoever gives an entry work holds its row from here to the commit, so that a carrier that is about to rest
/// either sees the work or is seen to be gone. Rows of files are held first: never the other way round.
pub(crate) async fn hold(tx: &mut Tx, names: &BTreeSet<EntryName>) -> Result<Vec<Entry>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!("SELECT * FROM sync_entries WHERE name IN ({}) ORDER BY name", placeholders(1, names.len()));
    let sql = Sql::each_owned(text.clone(), format!("{text} FOR UPDATE"));
    let args = names.iter().map(|name| Arg::from(name.as_str())).collect();
    tx.fetch_all(sql, args).await?.iter().map(entry).collect()
}

/// Records whether a carrier's task exists.
pub(crate) async fn set_carrying(tx: &mut Tx, name: &EntryName, carrying: bool) -> Result<()> {
    const SET: Sql = Sql::both("UPDATE sync_entries SET carrying = $2 WHERE name = $1");
    tx.expect_one_later(SET, args![name.as_str(), carrying], vanished(name)).await
}

fn vanished(name: &EntryName) -> Error {
    Error::not_found(format!("entry {name} not found"))
}

fn entry(row: &Row) -> Result<Entry> {
    Ok(Entry {
        name: entry_name(row, "name")?,
        position: row.int("position")?,
        driver: row.text("driver")?,
        options: row.json("options")?,
        configured: row.flag("configured")?,
        wanted: match row.text("wanted")?.as_str() {
            "active" => Wanted::Active,
            _ => Wanted::Stopped,
        },
        started_at: row.time_or_null("started_at")?,
        attended_at: row.time_or_null("attended_at")?,
        scanned_at: row.time_or_null("scanned_at")?,
        root_id: row.text_or_null("root_id")?,
        held: match row.text_or_null("held")? {
            Some(_) => Some(row.json("held")?),
            None => None,
        },
        problem: row.text_or_null("problem")?,
        problem_at: row.time_or_null("problem_at")?,
        carrying: row.flag("carrying")?,
        created_at: row.time("created_at")?,
    })
}
