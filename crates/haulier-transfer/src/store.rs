//! SQL for the tables `transfers` and `transfer_markers`. Every function takes a `Tx`.

use std::time::Duration;

use haulier_base::{Error, Page, Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, Value as Arg, args};
use serde_json::Value;

use crate::model::{NewTransfer, Transfer, TransferError, TransferId, TransferState, Waiting};

/// How long a deleted transfer still works as a page marker (transfer contract §2.3: at least one hour).
const MARKER_LIFE: Duration = Duration::from_secs(2 * 3600);

/// Which transfers of one owner a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Only these states; empty means all.
    pub(crate) states: Vec<TransferState>,
    /// Only those created after this place in the order of creation.
    pub(crate) after: Option<i64>,
}

/// A transfer with its place in the order of creation.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) seq: i64,
    pub(crate) transfer: Transfer,
}

pub(crate) async fn insert(tx: &mut Tx, transfer: &Transfer) -> Result<()> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO transfers (id, owner, state, source_url, destination_url, source_options, destination_options, \
         start_offset, end_offset, progress, attempts, failures, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    );
    let request = &transfer.request;
    tx.expect_one_later(
        INSERT,
        args![
            transfer.id.as_str(),
            &transfer.owner,
            transfer.state.as_str(),
            &request.source_url,
            &request.destination_url,
            request.source_options.to_string(),
            request.destination_options.to_string(),
            request.start_offset,
            request.end_offset,
            transfer.progress,
            transfer.attempts,
            transfer.failures,
            transfer.created_at,
            transfer.updated_at
        ],
        changed(&transfer.id),
    )
    .await
}

pub(crate) async fn find(tx: &mut Tx, id: &TransferId) -> Result<Option<Placed>> {
    const FIND: Sql = Sql::both("SELECT * FROM transfers WHERE id = $1");
    tx.fetch_optional(FIND, args![id.as_str()]).await?.map(|row| placed(&row)).transpose()
}

/// Finds a transfer and, on PostgreSQL, holds its row until the transaction ends.
pub(crate) async fn find_for_update(tx: &mut Tx, id: &TransferId) -> Result<Option<Transfer>> {
    const FIND: Sql = Sql::each(
        "SELECT * FROM transfers WHERE id = $1",
        // SQLite has one writer and needs no row lock.
        "SELECT * FROM transfers WHERE id = $1 FOR UPDATE",
    );
    tx.fetch_optional(FIND, args![id.as_str()]).await?.map(|row| Ok(placed(&row)?.transfer)).transpose()
}

/// Writes everything about a transfer that can change, if it is still in the state it was read in.
pub(crate) async fn update(tx: &mut Tx, from: TransferState, transfer: &Transfer) -> Result<()> {
    const UPDATE: Sql = Sql::both(
        "UPDATE transfers SET state = $3, progress = $4, attempts = $5, failures = $6, executor = $7, resume = $8, \
         checksum = $9, error_code = $10, error_message = $11, waiting_reason = $12, waiting_until = $13, \
         updated_at = $14, verified_by = $15 WHERE id = $1 AND state = $2",
    );
    let error = transfer.error.as_ref();
    let waiting = transfer.waiting.as_ref();
    tx.expect_one_later(
        UPDATE,
        args![
            transfer.id.as_str(),
            from.as_str(),
            transfer.state.as_str(),
            transfer.progress,
            transfer.attempts,
            transfer.failures,
            transfer.executor.clone(),
            transfer.resume.clone(),
            transfer.checksum.clone(),
            error.map(|e| e.code.clone()),
            error.map(|e| e.message.clone()),
            waiting.map(|w| w.reason.clone()),
            waiting.and_then(|w| w.until),
            transfer.updated_at,
            transfer.verified_by.clone()
        ],
        changed(&transfer.id),
    )
    .await
}

/// Records what is safe at the destination, while the transfer is being worked on.
pub(crate) async fn set_checkpoint(
    tx: &mut Tx,
    id: &TransferId,
    progress: i64,
    resume: &str,
    now: Timestamp,
) -> Result<()> {
    const SET: Sql = Sql::both(
        "UPDATE transfers SET progress = $2, resume = $3, updated_at = $4 \
         WHERE id = $1 AND state IN ('STATE_RUNNING', 'STATE_CANCELING')",
    );
    tx.expect_one_later(SET, args![id.as_str(), progress, resume, now], changed(id)).await
}

/// Forgets a transfer but keeps its place in the list for a while.
pub(crate) async fn delete(tx: &mut Tx, transfer: &Transfer, now: Timestamp) -> Result<()> {
    const MARK: Sql = Sql::both(
        "INSERT INTO transfer_markers (id, owner, seq, deleted_at) \
         SELECT id, owner, seq, $2 FROM transfers WHERE id = $1",
    );
    const DELETE: Sql = Sql::both("DELETE FROM transfers WHERE id = $1 AND state = $2");
    const PRUNE: Sql = Sql::both(
        "DELETE FROM transfer_markers WHERE id IN \
         (SELECT id FROM transfer_markers WHERE deleted_at < $1 ORDER BY deleted_at LIMIT 2)",
    );
    tx.execute_later(MARK, args![transfer.id.as_str(), now]).await?;
    let args = args![transfer.id.as_str(), transfer.state.as_str()];
    tx.expect_one_later(DELETE, args, changed(&transfer.id)).await?;
    // Each delete takes two old markers along, so the table never outgrows the deletes of its last hours.
    tx.execute_later(PRUNE, args![now.minus(MARKER_LIFE)]).await
}

/// Where a marker stands in the order of creation, if the owner has or recently had such a transfer.
pub(crate) async fn find_place(tx: &mut Tx, owner: &str, id: &TransferId) -> Result<Option<i64>> {
    const FIND: Sql = Sql::both(
        "SELECT seq FROM transfers WHERE id = $1 AND owner = $2 \
         UNION ALL SELECT seq FROM transfer_markers WHERE id = $1 AND owner = $2",
    );
    tx.fetch_optional(FIND, args![id.as_str(), owner]).await?.map(|row| row.int("seq")).transpose()
}

/// The transfers of an owner in the order of creation, at most `limit` of them.
pub(crate) async fn list(tx: &mut Tx, owner: &str, selection: &Selection, limit: usize) -> Result<Page<Placed>> {
    let (mut text, mut arguments) = selected("SELECT *", owner, selection);
    arguments.push(Arg::from(surplus(limit)));
    text.push_str(&format!(" ORDER BY seq LIMIT ${}", arguments.len()));
    let rows = tx.fetch_all(Sql::owned(text), arguments).await?;
    let items = rows.iter().map(placed).collect::<Result<Vec<_>>>()?;
    Ok(Page::from_surplus(items, limit))
}

/// The last transfer of the first `limit` ones, if there are more than that.
pub(crate) async fn find_page_end(
    tx: &mut Tx,
    owner: &str,
    selection: &Selection,
    limit: usize,
) -> Result<Option<TransferId>> {
    let (mut text, mut arguments) = selected("SELECT id", owner, selection);
    arguments.push(Arg::from(surplus(limit) - 2));
    text.push_str(&format!(" ORDER BY seq LIMIT 2 OFFSET ${}", arguments.len()));
    let rows = tx.fetch_all(Sql::owned(text), arguments).await?;
    match rows.as_slice() {
        [last, _next] => Ok(Some(TransferId::from_text(last.text("id")?))),
        _ => Ok(None),
    }
}

fn surplus(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1)
}

fn selected(what: &str, owner: &str, selection: &Selection) -> (String, Vec<Arg>) {
    let mut text = format!("{what} FROM transfers WHERE owner = $1 AND seq > $2");
    let mut arguments = args![owner, selection.after.unwrap_or(-1)];
    if !selection.states.is_empty() {
        let places: Vec<_> = selection
            .states
            .iter()
            .map(|state| {
                arguments.push(Arg::from(state.as_str()));
                format!("${}", arguments.len())
            })
            .collect();
        text.push_str(&format!(" AND state IN ({})", places.join(", ")));
    }
    (text, arguments)
}

fn placed(row: &Row) -> Result<Placed> {
    let json = |name: &str| -> Result<Value> {
        serde_json::from_str(&row.text(name)?)
            .map_err(|e| Error::internal(format!("transfers.{name} is not JSON")).caused_by(e))
    };
    let error = match (row.text_or_null("error_code")?, row.text_or_null("error_message")?) {
        (Some(code), Some(message)) => Some(TransferError { code, message }),
        _ => None,
    };
    let until = row.time_or_null("waiting_until")?;
    let transfer = Transfer {
        id: TransferId::from_text(row.text("id")?),
        owner: row.text("owner")?,
        state: row.text("state")?.parse()?,
        request: NewTransfer {
            source_url: row.text("source_url")?,
            destination_url: row.text("destination_url")?,
            source_options: json("source_options")?,
            destination_options: json("destination_options")?,
            start_offset: row.int("start_offset")?,
            end_offset: row.int("end_offset")?,
        },
        progress: row.int("progress")?,
        attempts: row.int("attempts")?,
        failures: row.int("failures")?,
        executor: row.text_or_null("executor")?,
        resume: row.text_or_null("resume")?,
        checksum: row.text_or_null("checksum")?,
        verified_by: row.text_or_null("verified_by")?,
        error,
        waiting: row.text_or_null("waiting_reason")?.map(|reason| Waiting { reason, until }),
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    };
    Ok(Placed { seq: row.int("seq")?, transfer })
}

fn changed(id: &TransferId) -> Error {
    Error::conflict(format!("transfer {id} changed meanwhile"))
}
