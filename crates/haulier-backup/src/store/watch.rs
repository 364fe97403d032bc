//! SQL for what is watched: which jobs are late, which clients are silent, which backups shrank.

use std::collections::HashMap;

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, args};

use crate::health::{Alarm, Limits};
use crate::model::{Document, Kind};
use crate::seen::Name;
use crate::series::Run;

/// A thing that is wrong, as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Of the job, the client or the backup.
    pub(crate) id: String,
    /// The client of the job, or the host of the backup.
    pub(crate) client: String,
    /// Since when, in microseconds; of a backup when it was taken, in seconds.
    pub(crate) since: Option<i64>,
    /// Of a backup: its name, its size and the one before in bytes, and how many files could not be read.
    pub(crate) name: String,
    pub(crate) size: i64,
    pub(crate) size_before: i64,
    pub(crate) unreadable: i64,
}

/// Notes what a backup is compared with, at the latest with the commit. One that is older than what is known says
/// nothing new.
pub(crate) async fn note_run(tx: &mut Tx, document: &Document, run: &Run, taken_at: Option<i64>) -> Result<()> {
    const NOTE: Sql = Sql::both(
        "INSERT INTO backup_series (owner, series, backup_id, host, name, taken_at, size, unreadable) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (owner, series) DO UPDATE SET \
         backup_id = excluded.backup_id, taken_at = excluded.taken_at, unreadable = excluded.unreadable, \
         size_before = CASE WHEN excluded.size IS NULL THEN backup_series.size_before ELSE backup_series.size END, \
         size = COALESCE(excluded.size, backup_series.size) \
         WHERE excluded.taken_at >= backup_series.taken_at",
    );
    let at = taken_at.unwrap_or_else(|| tx.now().as_micros().div_euclid(1_000_000));
    let arguments =
        args![&document.owner, &run.series, &document.id, &run.host, &run.name, at, run.size, run.unreadable];
    tx.execute_later(NOTE, arguments).await
}

/// Notes when clients were heard of; those that are not registered are not noted.
pub(crate) async fn note_seen(tx: &mut Tx, seen: &HashMap<Name, Timestamp>) -> Result<()> {
    const SEEN: Sql = Sql::both(
        "UPDATE backup_documents SET seen_at = $1 \
         WHERE id = $2 AND kind = $3 AND scope = $4 AND (seen_at IS NULL OR seen_at < $1)",
    );
    // In one order, so that two who write the same clients do not wait for each other.
    let mut names: Vec<_> = seen.iter().collect();
    names.sort();
    for ((owner, client), at) in names {
        let arguments = args![*at, client, Kind::Client.as_str(), Kind::Client.scope(owner)];
        tx.execute_later(SEEN, arguments).await?;
    }
    Ok(())
}

/// Where an alarm is found: tables and conditions, with one limit as `$1`; and what is shown of it.
fn parts(alarm: Alarm) -> (&'static str, &'static str) {
    const DUE: &str = "d.id AS id, d.client AS client, d.due_at AS since";
    const TOLD: &str = "d.id AS id, d.client AS client, d.updated_at AS since";
    const OF_CLIENT: &str = "d.id AS id, d.id AS client, d.seen_at AS since";
    const OF_BACKUP: &str = "s.backup_id AS id, s.host AS client, s.taken_at AS since, s.name AS name, \
                             s.size AS size, s.size_before AS size_before, s.unreadable AS unreadable";
    match alarm {
        Alarm::Overdue => (DUE, "backup_documents AS d WHERE d.due_at < $1"),
        Alarm::Stalled => (
            TOLD,
            "backup_documents AS d WHERE d.state = 'running' AND d.updated_at < $1 AND NOT EXISTS \
             (SELECT 1 FROM backup_documents AS c WHERE c.id = d.client AND c.kind = 'client' AND c.scope = d.owner \
             AND c.seen_at >= $1)",
        ),
        Alarm::Failed => (TOLD, "backup_documents AS d WHERE d.state = 'failed' AND d.updated_at <= $1"),
        Alarm::Unclear => (TOLD, "backup_documents AS d WHERE d.state = 'unclear' AND d.updated_at <= $1"),
        Alarm::Silent => (OF_CLIENT, "backup_documents AS d WHERE d.kind = 'client' AND d.seen_at < $1"),
        Alarm::Shrunk => (
            OF_BACKUP,
            "backup_series AS s WHERE s.size * 100 < s.size_before * $1 AND EXISTS \
             (SELECT 1 FROM backup_documents AS d WHERE d.id = s.backup_id AND d.kind = 'backup' AND d.scope = '')",
        ),
        Alarm::Unreadable => (
            OF_BACKUP,
            "backup_series AS s WHERE s.unreadable > $1 AND EXISTS \
             (SELECT 1 FROM backup_documents AS d WHERE d.id = s.backup_id AND d.kind = 'backup' AND d.scope = '')",
        ),
    }
}

/// How often an alarm is found, with one user or with all.
pub(crate) async fn count(tx: &mut Tx, alarm: Alarm, limits: &Limits, owner: Option<&str>) -> Result<i64> {
    let (_, from) = parts(alarm);
    let mut arguments = args![limits.of(alarm)];
    let mut text = format!("SELECT COUNT(*) AS n FROM {from}");
    if let Some(owner) = owner {
        text.push_str(" AND owner = $2");
        arguments.extend(args![owner]);
    }
    let row = tx.fetch_optional(Sql::owned(text), arguments).await?;
    row.map_or(Ok(0), |row| row.int("n"))
}

/// Where an alarm is found with one user, the oldest first.
pub(crate) async fn find(tx: &mut Tx, alarm: Alarm, limits: &Limits, owner: &str, most: i64) -> Result<Vec<Found>> {
    let (shown, from) = parts(alarm);
    let text = format!("SELECT {shown} FROM {from} AND owner = $2 ORDER BY since, id LIMIT $3");
    let rows = tx.fetch_all(Sql::owned(text), args![limits.of(alarm), owner, most]).await?;
    rows.iter().map(|row| found(alarm, row)).collect()
}

fn found(alarm: Alarm, row: &Row) -> Result<Found> {
    let of_backup = matches!(alarm, Alarm::Shrunk | Alarm::Unreadable);
    let number =
        |name: &str| -> Result<i64> { if of_backup { Ok(row.int_or_null(name)?.unwrap_or(0)) } else { Ok(0) } };
    Ok(Found {
        id: row.text("id")?,
        client: row.text_or_null("client")?.unwrap_or_default(),
        since: row.int_or_null("since")?,
        name: if of_backup { row.text("name")? } else { String::new() },
        size: number("size")?,
        size_before: number("size_before")?,
        unreadable: number("unreadable")?,
    })
}
