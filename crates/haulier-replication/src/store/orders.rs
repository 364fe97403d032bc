//! SQL for the table `replication_orders`: orders from other sites, in the order of arrival.

use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, Value, args, placeholders};

use super::outbox::{columns, order};
use super::word;
use crate::model::{Action, BucketName, ObjectName, Order, OrderState, RecordId, SiteId};

/// Rows in one statement.
const ROWS_MAX: usize = 200;

/// An order as it was received, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) seq: i64,
    pub(crate) order: Order,
    pub(crate) state: OrderState,
    pub(crate) attempts: u32,
    /// How often the bytes that came were not those that were promised.
    pub(crate) mismatches: u32,
    pub(crate) retry_at: Option<Timestamp>,
    pub(crate) problem: Option<String>,
    /// The record id that its bytes lie under, if it brings any.
    pub(crate) record: RecordId,
    /// Where an unfinished copy goes on.
    pub(crate) resume: Option<serde_json::Value>,
    pub(crate) received_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
}

/// An order to be recorded; `QUEUED`, or ended from the start.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) order: Order,
    pub(crate) state: OrderState,
    pub(crate) problem: Option<String>,
}

impl Arrived {
    /// One that is to be applied.
    pub(crate) fn queued(order: Order) -> Self {
        Self { order, state: OrderState::Queued, problem: None }
    }
}

/// Records received orders, in order.
pub(crate) async fn receive(tx: &mut Tx, arrived: &[Arrived]) -> Result<()> {
    let now = tx.now();
    for rows in arrived.chunks(ROWS_MAX) {
        let (mut args, mut values) = (Vec::new(), Vec::new());
        for Arrived { order, state, problem } in rows {
            let first = args.len() + 1;
            args.extend(columns(order));
            let ended = (*state != OrderState::Queued).then_some(now);
            args.extend(args![state.as_str(), problem.as_deref(), RecordId::fresh().as_str(), now, ended]);
            values.push(format!("({}, 0, 0)", placeholders(first, args.len() + 1 - first)));
        }
        let text = format!(
            "INSERT INTO replication_orders (op_id, from_site, client, bucket, object, size_bytes, sha256, action, \
             event_at, state, problem, record_id, received_at, ended_at, attempts, mismatches) VALUES {}",
            values.join(", ")
        );
        tx.execute_later(Sql::owned(text), args).await?;
    }
    Ok(())
}

/// Whether an unfinished order asks for the same object, action and content.
pub(crate) async fn is_asked(tx: &mut Tx, order: &Order) -> Result<bool> {
    const ASKED: Sql = Sql::both(
        "SELECT seq FROM replication_orders WHERE bucket = $1 AND object = $2 AND action = $3 \
         AND (sha256 = $4 OR $4 = '') AND ended_at IS NULL LIMIT 1",
    );
    let object = order.object.as_ref().map_or("", |name| name.as_str());
    let hash = order.sha256.as_deref().unwrap_or_default();
    Ok(tx.fetch_optional(ASKED, args![order.bucket.as_str(), object, order.action.as_str(), hash]).await?.is_some())
}

/// Whether an order about the bucket itself is unfinished.
pub(crate) async fn is_bucket_asked(tx: &mut Tx, bucket: &BucketName) -> Result<bool> {
    const ASKED: Sql =
        Sql::both("SELECT seq FROM replication_orders WHERE bucket = $1 AND object = '' AND ended_at IS NULL LIMIT 1");
    Ok(tx.fetch_optional(ASKED, args![bucket.as_str()]).await?.is_some())
}

/// Whether an order about an object of the bucket that arrived before is unfinished.
pub(crate) async fn is_object_asked_before(tx: &mut Tx, bucket: &BucketName, seq: i64) -> Result<bool> {
    const ASKED: Sql = Sql::both(
        "SELECT seq FROM replication_orders WHERE bucket = $1 AND object > '' AND seq < $2 AND ended_at IS NULL LIMIT 1",
    );
    Ok(tx.fetch_optional(ASKED, args![bucket.as_str(), seq]).await?.is_some())
}

/// Up to `limit` unfinished orders that wait for nothing but their turn, in the order of arrival.
pub(crate) async fn ready(tx: &mut Tx, limit: usize) -> Result<Vec<Received>> {
    const READY: Sql =
        Sql::both("SELECT * FROM replication_orders WHERE ended_at IS NULL AND state <> 'WAIT' ORDER BY seq LIMIT $1");
    tx.fetch_all(READY, args![limit_of(limit)]).await?.iter().map(received).collect()
}

/// Up to `limit` orders whose wait is over.
pub(crate) async fn due(tx: &mut Tx, limit: usize) -> Result<Vec<Received>> {
    const DUE: Sql = Sql::both(
        "SELECT * FROM replication_orders WHERE state = 'WAIT' AND retry_at <= $1 ORDER BY retry_at LIMIT $2",
    );
    let now = tx.now();
    tx.fetch_all(DUE, args![now, limit_of(limit)]).await?.iter().map(received).collect()
}

/// When the next wait is over.
pub(crate) async fn next_due(tx: &mut Tx) -> Result<Option<Timestamp>> {
    const NEXT: Sql = Sql::both("SELECT MIN(retry_at) AS next_at FROM replication_orders WHERE state = 'WAIT'");
    tx.fetch_optional(NEXT, args![]).await?.map_or(Ok(None), |row| row.time_or_null("next_at"))
}

/// Puts what a dead process was at back into the line.
pub(crate) async fn requeue_running(tx: &mut Tx) -> Result<u64> {
    const REQUEUE: Sql = Sql::both("UPDATE replication_orders SET state = 'QUEUED' WHERE state = 'RUNNING'");
    tx.execute(REQUEUE, args![]).await
}

/// Ends the waits for a site that can be reached again.
pub(crate) async fn hurry(tx: &mut Tx, site: &SiteId) -> Result<u64> {
    const HURRY: Sql = Sql::both(
        "UPDATE replication_orders SET retry_at = $2 WHERE from_site = $1 AND state = 'WAIT' AND ended_at IS NULL \
         AND retry_at > $2",
    );
    let now = tx.now();
    tx.execute(HURRY, args![site.as_str(), now]).await
}

/// Forgets orders that were carried out.
pub(crate) async fn done(tx: &mut Tx, seqs: &[i64]) -> Result<()> {
    for some in seqs.chunks(ROWS_MAX) {
        let text = format!("DELETE FROM replication_orders WHERE seq IN ({})", placeholders(1, some.len()));
        tx.execute_later(Sql::owned(text), some.iter().map(|seq| Value::from(*seq)).collect()).await?;
    }
    Ok(())
}

/// Keeps an order that came to another end, with the reason.
pub(crate) async fn end(tx: &mut Tx, seq: i64, state: OrderState, problem: &str) -> Result<()> {
    const END: Sql = Sql::both(
        "UPDATE replication_orders SET state = $2, problem = $3, ended_at = $4, retry_at = NULL, resume = NULL \
         WHERE seq = $1",
    );
    let now = tx.now();
    tx.execute_later(END, args![seq, state.as_str(), problem, now]).await
}

/// Lets an order wait, for a reason.
pub(crate) async fn wait(
    tx: &mut Tx,
    received: &Received,
    until: Timestamp,
    problem: &str,
    mismatch: bool,
) -> Result<()> {
    const WAIT: Sql = Sql::both(
        "UPDATE replication_orders SET state = 'WAIT', attempts = attempts + 1, mismatches = mismatches + $2, \
         retry_at = $3, problem = $4 WHERE seq = $1",
    );
    tx.execute_later(WAIT, args![received.seq, i64::from(mismatch), until, problem]).await
}

/// Says that an order is being carried out, and where its copy goes on after a crash.
pub(crate) async fn save_point(tx: &mut Tx, seq: i64, resume: Option<&serde_json::Value>) -> Result<()> {
    const SAVE: Sql = Sql::both("UPDATE replication_orders SET state = 'RUNNING', resume = $2 WHERE seq = $1");
    tx.execute_later(SAVE, args![seq, resume]).await
}

/// Up to `limit` orders after one, of a state or of any, in the order of arrival.
pub(crate) async fn list(tx: &mut Tx, state: Option<OrderState>, after: i64, limit: usize) -> Result<Vec<Received>> {
    const LIST: Sql =
        Sql::both("SELECT * FROM replication_orders WHERE seq > $1 AND ($2 = '' OR state = $2) ORDER BY seq LIMIT $3");
    let state = state.map_or("", OrderState::as_str);
    tx.fetch_all(LIST, args![after, state, limit_of(limit)]).await?.iter().map(received).collect()
}

/// Puts an order that waits or has ended back into the line; false when there is none such.
pub(crate) async fn retry(tx: &mut Tx, seq: i64) -> Result<bool> {
    const RETRY: Sql = Sql::both(
        "UPDATE replication_orders SET state = 'QUEUED', mismatches = 0, retry_at = NULL, ended_at = NULL, \
         problem = NULL, record_id = CASE WHEN ended_at IS NULL THEN record_id ELSE $2 END \
         WHERE seq = $1 AND (ended_at IS NOT NULL OR state = 'WAIT')",
    );
    // What an ended order had stored is trash already.
    Ok(tx.execute(RETRY, args![seq, RecordId::fresh().as_str()]).await? == 1)
}

/// Forgets an order that waits or has ended; gives back the id that its bytes lie under.
pub(crate) async fn drop_one(tx: &mut Tx, seq: i64) -> Result<Option<RecordId>> {
    const DROP: Sql = Sql::both(
        "DELETE FROM replication_orders WHERE seq = $1 AND (ended_at IS NOT NULL OR state = 'WAIT') RETURNING record_id",
    );
    let row = tx.fetch_optional(DROP, args![seq]).await?;
    row.map(|row| Ok(RecordId::from_text(row.text("record_id")?))).transpose()
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn received(row: &Row) -> Result<Received> {
    let small = |column: &str| -> Result<u32> {
        u32::try_from(row.int(column)?).map_err(|_| Error::corrupt(format!("column \"{column}\" is out of range")))
    };
    let resume = row.text_or_null("resume")?.map(|_| row.json("resume")).transpose()?;
    Ok(Received {
        seq: row.int("seq")?,
        order: order(row)?,
        state: word(row, "state")?,
        attempts: small("attempts")?,
        mismatches: small("mismatches")?,
        retry_at: row.time_or_null("retry_at")?,
        problem: row.text_or_null("problem")?,
        record: RecordId::from_text(row.text("record_id")?),
        resume,
        received_at: row.time("received_at")?,
        ended_at: row.time_or_null("ended_at")?,
    })
}

/// Whether an order of that action about an object is not finished yet.
pub(crate) async fn any_open(tx: &mut Tx, bucket: &BucketName, object: &ObjectName, action: Action) -> Result<bool> {
    const ANY: Sql = Sql::both(
        "SELECT seq FROM replication_orders WHERE bucket = $1 AND object = $2 AND action = $3 AND ended_at IS NULL \
         LIMIT 1",
    );
    let args = args![bucket.as_str(), object.as_str(), action.as_str()];
    Ok(tx.fetch_optional(ANY, args).await?.is_some())
}
