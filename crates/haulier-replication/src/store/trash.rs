//! SQL for the table `replication_trash`: record ids whose bytes are to be removed, decided with the change that made
//! them useless.

use haulier_base::Result;
use haulier_catalog::{Sql, Tx, args};

use crate::model::RecordId;

/// Gives the bytes of a record to the sweeper.
pub(crate) async fn add(tx: &mut Tx, id: &RecordId) -> Result<()> {
    const ADD: Sql = Sql::both("INSERT INTO replication_trash (id, since) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING");
    let now = tx.now();
    tx.execute_later(ADD, args![id.as_str(), now]).await
}

/// Up to `limit` ids, the oldest first.
pub(crate) async fn page(tx: &mut Tx, limit: i64) -> Result<Vec<RecordId>> {
    const PAGE: Sql = Sql::both("SELECT id FROM replication_trash ORDER BY since LIMIT $1");
    tx.fetch_all(PAGE, args![limit]).await?.iter().map(|row| Ok(RecordId::from_text(row.text("id")?))).collect()
}

/// Forgets an id whose bytes are gone.
pub(crate) async fn delete(tx: &mut Tx, id: &RecordId) -> Result<()> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_trash WHERE id = $1");
    tx.execute_later(DELETE, args![id.as_str()]).await
}

/// Puts an id behind the others, because its bytes cannot be removed now.
pub(crate) async fn postpone(tx: &mut Tx, id: &RecordId) -> Result<()> {
    const POSTPONE: Sql = Sql::both("UPDATE replication_trash SET since = $2 WHERE id = $1");
    let now = tx.now();
    tx.execute_later(POSTPONE, args![id.as_str(), now]).await
}
