//! SQL for the table `replication_runs`.

use haulier_base::{Error, Result, Timestamp};
use haulier_catalog::{Row, Sql, Tx, args};
use serde_json::Value;

use super::{signed, unsigned, word};
use crate::model::{BucketName, ClientId};
use crate::run::{Asked, Counts, Run, RunId, RunState};

/// One run.
pub(crate) async fn find(tx: &mut Tx, id: &RunId) -> Result<Option<Run>> {
    const FIND: Sql = Sql::both("SELECT * FROM replication_runs WHERE id = $1");
    tx.fetch_optional(FIND, args![id.as_str()]).await?.map(|row| run(&row)).transpose()
}

/// The same, held until the transaction ends.
pub(crate) async fn find_for_update(tx: &mut Tx, id: &RunId) -> Result<Option<Run>> {
    const FIND: Sql = Sql::each(
        "SELECT * FROM replication_runs WHERE id = $1",
        // SQLite has one writer and needs no row lock.
        "SELECT * FROM replication_runs WHERE id = $1 FOR UPDATE",
    );
    tx.fetch_optional(FIND, args![id.as_str()]).await?.map(|row| run(&row)).transpose()
}

/// Adds a run; false when there is one of that id.
pub(crate) async fn insert(tx: &mut Tx, run: &Run) -> Result<bool> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO replication_runs (id, kind, client, bucket, request, state, turn, point, checked, checked_db, \
         checked_driver, checked_remote, actions, started_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, 0, $9) ON CONFLICT (id) DO NOTHING",
    );
    let request = serde_json::to_value(&run.asked)
        .map_err(|error| Error::internal("a request could not be written as JSON").caused_by(error))?;
    let args = args![
        run.id.as_str(),
        run.kind.as_str(),
        run.client.as_str(),
        run.bucket.as_ref().map(BucketName::as_str),
        &request,
        run.state.as_str(),
        run.turn,
        &run.point,
        run.started_at
    ];
    Ok(tx.execute(INSERT, args).await? == 1)
}

/// Says how far a run is. The transaction fails with `Canceled` when it was paused, called off or resumed elsewhere.
pub(crate) async fn advance(tx: &mut Tx, run: &Run) -> Result<()> {
    const ADVANCE: Sql = Sql::both(
        "UPDATE replication_runs SET point = $3, checked = $4, checked_db = $5, checked_driver = $6, \
         checked_remote = $7, actions = $8, problem = $9, state = $10, stopped_at = $11 \
         WHERE id = $1 AND turn = $2 AND state = 'running'",
    );
    let counts = &run.counts;
    let args = args![
        run.id.as_str(),
        run.turn,
        &run.point,
        signed(counts.checked),
        signed(counts.checked_db),
        signed(counts.checked_driver),
        signed(counts.checked_remote),
        signed(counts.actions),
        run.problem.as_deref(),
        run.state.as_str(),
        run.stopped_at
    ];
    let stopped = Error::canceled(format!("the run {} was paused, called off or resumed elsewhere", run.id.as_str()));
    tx.expect_one_later(ADVANCE, args, stopped).await
}

/// Changes the state of a run that the transaction holds; whoever worked at it before is refused.
pub(crate) async fn turn(tx: &mut Tx, id: &RunId, state: RunState, stopped_at: Option<Timestamp>) -> Result<()> {
    const TURN: Sql =
        Sql::both("UPDATE replication_runs SET state = $2, turn = turn + 1, stopped_at = $3 WHERE id = $1");
    tx.execute_later(TURN, args![id.as_str(), state.as_str(), stopped_at]).await
}

/// Up to `limit` runs, the newest first; those before an id when one is given. Ids of this site sort by time.
pub(crate) async fn list(tx: &mut Tx, before: &str, limit: i64) -> Result<Vec<Run>> {
    const LIST: Sql = Sql::both("SELECT * FROM replication_runs WHERE $1 = '' OR id < $1 ORDER BY id DESC LIMIT $2");
    tx.fetch_all(LIST, args![before, limit]).await?.iter().map(run).collect()
}

/// Forgets one run that stopped before an instant, and up to `limit` rows of what it found; says whether there was
/// one, so that a caller goes on until there is none.
pub(crate) async fn forget(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<bool> {
    const OLDEST: Sql = Sql::both(
        "SELECT id FROM replication_runs WHERE stopped_at IS NOT NULL AND stopped_at < $1 ORDER BY stopped_at LIMIT 1",
    );
    const FINDINGS: Sql = Sql::both(
        "DELETE FROM replication_findings WHERE run = $1 AND name IN \
         (SELECT name FROM replication_findings WHERE run = $1 ORDER BY name LIMIT $2)",
    );
    const ACTIONS: Sql = Sql::both(
        "DELETE FROM replication_actions WHERE run = $1 AND (site, name) IN \
         (SELECT site, name FROM replication_actions WHERE run = $1 ORDER BY site, name LIMIT $2)",
    );
    const RUN: Sql = Sql::both("DELETE FROM replication_runs WHERE id = $1");
    let Some(row) = tx.fetch_optional(OLDEST, args![before]).await? else { return Ok(false) };
    let id = row.text("id")?;
    let mut left = 0;
    for sql in [FINDINGS, ACTIONS] {
        left += tx.execute(sql, args![&id, limit]).await?;
    }
    if left == 0 {
        tx.execute(RUN, args![&id]).await?;
    }
    Ok(true)
}

fn run(row: &Row) -> Result<Run> {
    let request: Value = row.json("request")?;
    let asked: Asked = serde_json::from_value(request)
        .map_err(|error| Error::corrupt("column \"request\" is no request of a run").caused_by(error))?;
    Ok(Run {
        id: RunId::stored(row.text("id")?),
        kind: word(row, "kind")?,
        client: ClientId::stored(row.text("client")?),
        bucket: row.text_or_null("bucket")?.map(BucketName::stored),
        asked,
        state: word(row, "state")?,
        turn: row.int("turn")?,
        point: row.json("point")?,
        counts: Counts {
            checked: unsigned(row, "checked")?,
            checked_db: unsigned(row, "checked_db")?,
            checked_driver: unsigned(row, "checked_driver")?,
            checked_remote: unsigned(row, "checked_remote")?,
            actions: unsigned(row, "actions")?,
        },
        problem: row.text_or_null("problem")?,
        started_at: row.time("started_at")?,
        stopped_at: row.time_or_null("stopped_at")?,
    })
}
