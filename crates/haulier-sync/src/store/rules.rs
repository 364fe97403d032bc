//! SQL for the one row of `sync_rules`. Knows no grammar: lists of rules are JSON documents here.

use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::{Sql, Tx, args};
use serde_json::Value;

/// The rules, each list as it was put.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RuleLists {
    /// As last put.
    pub(crate) stored: Value,
    /// In force (§3.4 3).
    pub(crate) applied: Value,
    /// As the configuration had them when it was last read.
    pub(crate) configured: Value,
    /// When the rules in force became so. Differs whenever they do.
    pub(crate) changed_at: Timestamp,
}

/// The rules; none before any were given.
pub(crate) async fn find(tx: &mut Tx) -> Result<Option<RuleLists>> {
    const FIND: Sql = Sql::both("SELECT * FROM sync_rules WHERE id = 1");
    let Some(row) = tx.fetch_optional(FIND, args![]).await? else { return Ok(None) };
    Ok(Some(RuleLists {
        stored: row.json("stored")?,
        applied: row.json("applied")?,
        configured: row.json("configured")?,
        changed_at: row.time("changed_at")?,
    }))
}

/// Holds the rules in force as they are until the transaction ends, so that each event is judged by one list (§3.4 4);
/// says since when they are.
pub(crate) async fn hold(tx: &mut Tx) -> Result<Option<Timestamp>> {
    const HOLD: Sql = Sql::each(
        "SELECT changed_at FROM sync_rules WHERE id = 1",
        "SELECT changed_at FROM sync_rules WHERE id = 1 FOR SHARE",
    );
    tx.fetch_optional(HOLD, args![]).await?.map(|row| row.time("changed_at")).transpose()
}

/// Writes all lists.
pub(crate) async fn put(tx: &mut Tx, lists: &RuleLists) -> Result<()> {
    const PUT: Sql = Sql::both(
        "INSERT INTO sync_rules (id, stored, applied, configured, changed_at) VALUES (1, $1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET stored = excluded.stored, applied = excluded.applied, \
         configured = excluded.configured, changed_at = excluded.changed_at",
    );
    let args = args![&lists.stored, &lists.applied, &lists.configured, lists.changed_at];
    tx.expect_one_later(PUT, args, Error::internal("the rules were not written")).await
}
