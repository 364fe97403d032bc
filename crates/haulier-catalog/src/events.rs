//! What became true, and in which order readers see it.
//!
//! An event is written in the transaction that made it true. Transactions commit in another order
//! than they begin, so the position is given afterwards, to committed events only: whoever follows
//! positions misses nothing.

use haulier_base::{Result, Timestamp, id};

use crate::args;
use crate::db::Tx;
use crate::sql::{Row, Sql};

/// Something that became true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Such as `transfer.submitted`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Who may see it.
    pub owner: String,
    /// The details.
    pub body: serde_json::Value,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its identifier.
    pub id: String,
    /// Its place in the line, once it has one. Counts from 1, without gaps.
    pub position: Option<i64>,
    /// Such as `transfer.submitted`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Who may see it.
    pub owner: String,
    /// The details.
    pub body: serde_json::Value,
    /// When it became true.
    pub at: Timestamp,
}

impl Event {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.text("id")?,
            position: row.int_or_null("position")?,
            kind: row.text("kind")?,
            subject: row.text("subject")?,
            owner: row.text("owner")?,
            body: row.json("body")?,
            at: row.time("at")?,
        })
    }
}

/// Writes an event; gives back its id.
pub async fn publish(tx: &mut Tx, event: NewEvent) -> Result<String> {
    const PUBLISH: Sql =
        Sql::both("INSERT INTO events (id, kind, subject, owner, body, at) VALUES ($1, $2, $3, $4, $5, $6)");
    let (id, now) = (id::ordered_uuid(), tx.now());
    let NewEvent { kind, subject, owner, body } = event;
    tx.execute_later(PUBLISH, args![&id, kind, subject, owner, &body, now]).await?;
    Ok(id)
}

/// Gives up to `limit` committed events their place in the line; says how many it placed.
pub async fn position_pending(tx: &mut Tx, limit: u32) -> Result<u64> {
    // The row of the last position is also the lock that keeps two dispatchers apart.
    const LAST: Sql = Sql::each(
        "SELECT last FROM event_positions WHERE id = 1",
        "SELECT last FROM event_positions WHERE id = 1 FOR UPDATE",
    );
    const PLACE: Sql = Sql::both(
        "UPDATE events SET position = placed.position
         FROM (SELECT seq, $1 + ROW_NUMBER() OVER (ORDER BY seq) AS position
               FROM events WHERE position IS NULL ORDER BY seq LIMIT $2) AS placed
         WHERE events.seq = placed.seq",
    );
    const KEEP: Sql = Sql::both("UPDATE event_positions SET last = $1 WHERE id = 1");
    let last = match tx.fetch_optional(LAST, args![]).await? {
        Some(row) => row.int("last")?,
        None => return Err(haulier_base::Error::corrupt("the row of the last event position is missing")),
    };
    let placed = tx.execute(PLACE, args![last, limit]).await?;
    if placed > 0 {
        tx.execute_later(KEEP, args![last + placed as i64]).await?;
    }
    Ok(placed)
}

/// The events after a position, in order.
pub async fn read_after(tx: &mut Tx, position: i64, limit: u32) -> Result<Vec<Event>> {
    const READ: Sql = Sql::both(
        "SELECT id, position, kind, subject, owner, body, at FROM events
         WHERE position > $1 ORDER BY position LIMIT $2",
    );
    tx.fetch_all(READ, args![position, limit]).await?.iter().map(Event::from_row).collect()
}

/// The position of the newest event in the line; 0 when there was none yet.
pub async fn last_position(tx: &mut Tx) -> Result<i64> {
    const LAST: Sql = Sql::both("SELECT last FROM event_positions WHERE id = 1");
    tx.fetch_optional(LAST, args![]).await?.map_or(Ok(0), |row| row.int("last"))
}

/// Deletes up to `limit` placed events from before an instant; says how many.
pub async fn prune(tx: &mut Tx, before: Timestamp, limit: u32) -> Result<u64> {
    // Walks in order of position and stops at the first young one, so it needs no index on time.
    const PRUNE: Sql = Sql::both(
        "DELETE FROM events WHERE seq IN (
             SELECT seq FROM (SELECT seq, at FROM events WHERE position IS NOT NULL ORDER BY position LIMIT $2) AS oldest
             WHERE at < $1)",
    );
    tx.execute(PRUNE, args![before, limit]).await
}
