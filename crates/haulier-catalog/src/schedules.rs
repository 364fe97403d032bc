//! What is due next. How a schedule recurs is its room's knowledge: it sets the next instant.

use haulier_base::{Result, Timestamp};

use crate::args;
use crate::db::Tx;
use crate::sql::{Row, Sql};

/// A task that recurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its identifier.
    pub id: String,
    /// What its tasks are about.
    pub subject: String,
    /// Whose tasks they are.
    pub owner: String,
    /// When it recurs, in the words of its room.
    pub expression: String,
    /// The time zone of the expression.
    pub time_zone: String,
    /// The kind of task to enqueue.
    pub kind: String,
    /// What the task is told.
    pub payload: serde_json::Value,
    /// Whether it rests.
    pub paused: bool,
    /// When it is due; none when it never recurs again.
    pub next_at: Option<Timestamp>,
}

impl Schedule {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.text("id")?,
            subject: row.text("subject")?,
            owner: row.text("owner")?,
            expression: row.text("expression")?,
            time_zone: row.text("time_zone")?,
            kind: row.text("kind")?,
            payload: row.json("payload")?,
            paused: row.flag("paused")?,
            next_at: row.time_or_null("next_at")?,
        })
    }
}

/// Adds a schedule, or changes the one with its id.
pub async fn put(tx: &mut Tx, schedule: &Schedule) -> Result<()> {
    const PUT: Sql = Sql::both(
        "INSERT INTO schedules
             (id, subject, owner, expression, time_zone, kind, payload, paused, next_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, owner = excluded.owner,
             expression = excluded.expression, time_zone = excluded.time_zone, kind = excluded.kind,
             payload = excluded.payload, paused = excluded.paused, next_at = excluded.next_at",
    );
    let Schedule { id, subject, owner, expression, time_zone, kind, payload, paused, next_at } = schedule;
    let now = tx.now();
    let args = args![id, subject, owner, expression, time_zone, kind, payload, *paused, *next_at, now];
    tx.execute(PUT, args).await.map(|_| ())
}

/// Removes a schedule; says whether there was one.
pub async fn remove(tx: &mut Tx, id: &str) -> Result<bool> {
    const REMOVE: Sql = Sql::both("DELETE FROM schedules WHERE id = $1");
    Ok(tx.execute(REMOVE, args![id]).await? == 1)
}

/// The schedules that are due, the longest overdue first.
pub async fn list_due(tx: &mut Tx, limit: u32) -> Result<Vec<Schedule>> {
    const DUE: Sql = Sql::both(
        "SELECT id, subject, owner, expression, time_zone, kind, payload, paused, next_at FROM schedules
         WHERE paused = FALSE AND next_at <= $1 ORDER BY next_at, id LIMIT $2",
    );
    let now = tx.now();
    tx.fetch_all(DUE, args![now, limit]).await?.iter().map(Schedule::from_row).collect()
}
