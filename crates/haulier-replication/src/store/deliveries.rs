//! SQL for what the table `replication_sites` says of deliveries, and for what is on its way, counted.

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, args};
use serde_json::Value;

use super::unsigned;
use crate::model::{BucketName, SiteId};

/// How deliveries to a site go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Delivery {
    /// When it last took orders.
    pub(crate) delivered_at: Option<Timestamp>,
    /// When it last said what became of those it took, and what.
    pub(crate) reported_at: Option<Timestamp>,
    pub(crate) report: Option<Value>,
    /// Failures since the last success.
    pub(crate) failures: u32,
    pub(crate) retry_at: Option<Timestamp>,
    /// The last failure.
    pub(crate) problem: Option<String>,
    pub(crate) problem_at: Option<Timestamp>,
}

/// Orders of one bucket that are on their way somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The site that they are for, or from; none when the order names none.
    pub(crate) site: Option<SiteId>,
    pub(crate) bucket: BucketName,
    /// How they stand: `SENT` ones are open, a state of [`crate::model::OrderState`], or `DEAD`.
    pub(crate) state: String,
    pub(crate) orders: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest_at: Option<Timestamp>,
}

/// How deliveries to a site go; none when there is no such site.
pub(crate) async fn find(tx: &mut Tx, site: &SiteId) -> Result<Option<Delivery>> {
    const FIND: Sql = Sql::both("SELECT * FROM replication_sites WHERE id = $1");
    tx.fetch_optional(FIND, args![site.as_str()]).await?.map(|row| delivery(&row)).transpose()
}

/// The site took orders.
pub(crate) async fn succeed(tx: &mut Tx, site: &SiteId) -> Result<()> {
    const SUCCEED: Sql =
        Sql::both("UPDATE replication_sites SET delivered_at = $2, failures = 0, retry_at = NULL WHERE id = $1");
    let now = tx.now();
    tx.execute_later(SUCCEED, args![site.as_str(), now]).await
}

/// It can be reached again, and took nothing.
pub(crate) async fn recover(tx: &mut Tx, site: &SiteId) -> Result<()> {
    const RECOVER: Sql = Sql::both("UPDATE replication_sites SET failures = 0, retry_at = NULL WHERE id = $1");
    tx.execute_later(RECOVER, args![site.as_str()]).await
}

/// It did not.
pub(crate) async fn fail(tx: &mut Tx, site: &SiteId, problem: &str, retry_at: Timestamp) -> Result<()> {
    const FAIL: Sql = Sql::both(
        "UPDATE replication_sites SET failures = failures + 1, problem = $2, problem_at = $3, retry_at = $4 \
         WHERE id = $1",
    );
    let now = tx.now();
    tx.execute_later(FAIL, args![site.as_str(), problem, now, retry_at]).await
}

/// The site said what became of the orders that it took.
pub(crate) async fn report(tx: &mut Tx, site: &SiteId, at: Timestamp, report: Option<&Value>) -> Result<()> {
    const REPORT: Sql = Sql::both("UPDATE replication_sites SET reported_at = $2, report = $3 WHERE id = $1");
    tx.execute_later(REPORT, args![site.as_str(), at, report]).await
}

/// What is in the outbox, by site and bucket.
pub(crate) async fn outbox(tx: &mut Tx) -> Result<Vec<Pending>> {
    const OUTBOX: Sql = Sql::both(
        "SELECT site, bucket, CASE WHEN dead_at IS NULL THEN 'SENT' ELSE 'DEAD' END AS state, COUNT(*) AS orders, \
         CAST(SUM(CASE WHEN action = 'DELETE' THEN 0 ELSE size_bytes END) AS BIGINT) AS bytes, \
         MIN(created_at) AS oldest_at FROM replication_outbox \
         GROUP BY site, bucket, CASE WHEN dead_at IS NULL THEN 'SENT' ELSE 'DEAD' END ORDER BY site, bucket, state",
    );
    tx.fetch_all(OUTBOX, args![]).await?.iter().map(pending).collect()
}

/// What was received and is not carried out, by source, bucket and state; of one source or of all.
pub(crate) async fn inbox(tx: &mut Tx, source: Option<&SiteId>) -> Result<Vec<Pending>> {
    const INBOX: Sql = Sql::both(
        "SELECT from_site AS site, bucket, state, COUNT(*) AS orders, \
         CAST(SUM(CASE WHEN action = 'DELETE' THEN 0 ELSE size_bytes END) AS BIGINT) AS bytes, \
         MIN(received_at) AS oldest_at FROM replication_orders WHERE state <> 'IGNORED' \
         AND ($1 = '' OR from_site = $1) GROUP BY from_site, bucket, state ORDER BY from_site, bucket, state",
    );
    let source = source.map_or("", SiteId::as_str);
    tx.fetch_all(INBOX, args![source]).await?.iter().map(pending).collect()
}

fn pending(row: &Row) -> Result<Pending> {
    Ok(Pending {
        site: row.text_or_null("site")?.map(SiteId::stored),
        bucket: BucketName::stored(row.text("bucket")?),
        state: row.text("state")?,
        orders: unsigned(row, "orders")?,
        bytes: unsigned(row, "bytes")?,
        oldest_at: row.time_or_null("oldest_at")?,
    })
}

fn delivery(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        delivered_at: row.time_or_null("delivered_at")?,
        reported_at: row.time_or_null("reported_at")?,
        report: row.text_or_null("report")?.map(|_| row.json("report")).transpose()?,
        failures: u32::try_from(row.int("failures")?).unwrap_or(u32::MAX),
        retry_at: row.time_or_null("retry_at")?,
        problem: row.text_or_null("problem")?,
        problem_at: row.time_or_null("problem_at")?,
    })
}
