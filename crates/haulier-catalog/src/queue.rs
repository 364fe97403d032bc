//! Work to do: enqueue, claim, fence, renew, settle, stop.
//!
//! A claimed task is leased: a token proves who holds it, a deadline says for how long, and an
//! epoch that rises with every claim fences off those who held it before. A finished task is
//! deleted; its room's row and the event are the history. Knows no kind of task.

mod claim;
mod task;

use std::collections::HashMap;

use haulier_base::{Error, Result, Timestamp, id};

use crate::args;
use crate::db::Tx;
use crate::sql::{Sql, Value, placeholders};

pub use claim::{Claim, claim};
pub use task::{Lease, NewTask, QueueCounts, Renewal, Settlement, Stopped, Task, TaskState};

/// Rows in one `INSERT`, and leases in one renewal.
const BATCH: usize = 200;

/// Adds a task; gives back its id. It is seen when the transaction commits.
pub async fn enqueue(tx: &mut Tx, task: NewTask) -> Result<String> {
    let mut ids = enqueue_all(tx, vec![task]).await?;
    ids.pop().ok_or_else(|| Error::internal("a task was not enqueued"))
}

/// Adds many tasks, in order; gives back their ids.
pub async fn enqueue_all(tx: &mut Tx, tasks: Vec<NewTask>) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(tasks.len());
    for batch in tasks.chunks(BATCH) {
        let mut args = Vec::with_capacity(batch.len() * 10);
        let mut rows = Vec::with_capacity(batch.len());
        for task in batch {
            let id = id::ordered_uuid();
            rows.push(format!("({}, 0, 'ready', 0, FALSE)", placeholders(args.len() + 1, 10)));
            let NewTask { kind, queue, owner, subject, payload, priority, run_at, max_attempts } = task;
            let now = tx.now();
            args.extend(args![&id, kind, queue, owner, subject, payload, *priority, *run_at, *max_attempts, now]);
            ids.push(id);
        }
        let text = format!(
            "INSERT INTO tasks (id, kind, queue, owner, subject, payload, priority, run_at, max_attempts, created_at,
                 attempt, state, epoch, stop_asked) VALUES {}",
            rows.join(", ")
        );
        tx.execute_later(Sql::owned(text), args).await?;
    }
    Ok(ids)
}

/// Makes sure that a lease is still held, and that nobody else can claim the task before this
/// transaction ends. `LostLease` comes with this, the next statement or the commit.
pub async fn fence(tx: &mut Tx, lease: &Lease) -> Result<()> {
    const FENCE: Sql = Sql::each(
        "SELECT seq FROM tasks WHERE id = $1 AND state = 'leased' AND lease_token = $2 AND epoch = $3
             AND lease_until > $4",
        "SELECT seq FROM tasks WHERE id = $1 AND state = 'leased' AND lease_token = $2 AND epoch = $3
             AND lease_until > $4 FOR UPDATE",
    );
    let now = tx.now();
    let args = args![&lease.task.id, &lease.token, lease.epoch, now];
    tx.expect_one_later(FENCE, args, lost(lease)).await
}

/// Begins the count of attempts again, because this one got somewhere: the limit is for work that gets nowhere.
///
/// # Errors
/// `LostLease` when the lease is no longer held; it may come with the next statement or the commit.
pub async fn forgive(tx: &mut Tx, lease: &Lease) -> Result<()> {
    const FORGIVE: Sql = Sql::both(
        "UPDATE tasks SET attempt = 1 WHERE id = $1 AND state = 'leased' AND lease_token = $2 AND epoch = $3",
    );
    let args = args![&lease.task.id, &lease.token, lease.epoch];
    tx.expect_one_later(FORGIVE, args, lost(lease)).await
}

fn lost(lease: &Lease) -> Error {
    Error::lost_lease("the task is no longer held by this worker").context("task", &lease.task.id)
}

/// Prolongs leases, given as task id and token; answers for each of them, in order.
///
/// A lease that has run out but was not claimed by anybody else is taken up again.
pub async fn renew(tx: &mut Tx, leases: &[(String, String)], until: Timestamp) -> Result<Vec<(String, Renewal)>> {
    let mut held = HashMap::with_capacity(leases.len());
    for batch in leases.chunks(BATCH) {
        let mut args = args![until];
        for (id, token) in batch {
            args.extend(args![id, token]);
        }
        let pairs: Vec<_> = (0..batch.len()).map(|n| format!("({})", placeholders(2 + 2 * n, 2))).collect();
        let text = format!(
            "UPDATE tasks SET lease_until = $1 WHERE state = 'leased' AND (id, lease_token) IN (VALUES {})
             RETURNING id, lease_token, stop_asked",
            pairs.join(", ")
        );
        for row in tx.fetch_all(Sql::owned(text), args).await? {
            held.insert((row.text("id")?, row.text("lease_token")?), row.flag("stop_asked")?);
        }
    }
    let answer = |lease: &(String, String)| match held.get(lease) {
        Some(&stop_asked) => Renewal::Held { stop_asked },
        None => Renewal::Lost,
    };
    Ok(leases.iter().map(|lease| (lease.0.clone(), answer(lease))).collect())
}

/// Ends a lease. The task's room writes its own end in the same transaction. `LostLease` may come with the
/// next statement or the commit.
pub async fn settle(tx: &mut Tx, lease: &Lease, settlement: Settlement) -> Result<()> {
    const DONE: Sql = Sql::both(
        "DELETE FROM tasks WHERE id = $1 AND state = 'leased' AND lease_token = $2 AND epoch = $3
             AND lease_until > $4",
    );
    const RETRY: Sql = Sql::both(
        "UPDATE tasks SET state = 'ready', run_at = $5, last_error = $6,
             lease_token = NULL, lease_holder = NULL, lease_until = NULL
         WHERE id = $1 AND state = 'leased' AND lease_token = $2 AND epoch = $3 AND lease_until > $4",
    );
    const DEAD: Sql = Sql::both(
        "UPDATE tasks SET state = 'dead', finished_at = $4, last_error = $5,
             lease_token = NULL, lease_holder = NULL, lease_until = NULL
         WHERE id = $1 AND state = 'leased' AND lease_token = $2 AND epoch = $3 AND lease_until > $4",
    );
    // It keeps the `run_at` it had, and so its place in the line.
    const RELEASED: Sql = Sql::both(
        "UPDATE tasks SET state = 'ready', attempt = attempt - 1,
             lease_token = NULL, lease_holder = NULL, lease_until = NULL
         WHERE id = $1 AND state = 'leased' AND lease_token = $2 AND epoch = $3 AND lease_until > $4",
    );
    let now = tx.now();
    let mut args = args![&lease.task.id, &lease.token, lease.epoch, now];
    let sql = match settlement {
        Settlement::Done => DONE,
        Settlement::Released => RELEASED,
        Settlement::RetryAt(at, why) => {
            args.extend(args![at, why]);
            RETRY
        }
        Settlement::Dead(why) => {
            args.push(Value::from(why));
            DEAD
        }
    };
    tx.expect_one_later(sql, args, lost(lease)).await
}

/// Stops the tasks of a subject whose kind starts with `kind_prefix`: withdraws those that wait,
/// and marks the leased ones, whose holder hears of it with the next renewal.
///
/// A lease that has run out counts as leased: whoever claims the task next finds the mark.
pub async fn stop(tx: &mut Tx, kind_prefix: &str, subject: &str) -> Result<Stopped> {
    // Between the other two statements a task may come back from its holder: keep all of them still.
    const STILL: Sql = Sql::each(
        "SELECT id FROM tasks WHERE subject = $1 AND kind >= $2 AND kind < $3",
        "SELECT id FROM tasks WHERE subject = $1 AND kind >= $2 AND kind < $3 ORDER BY seq FOR UPDATE",
    );
    const WITHDRAW: Sql =
        Sql::both("DELETE FROM tasks WHERE subject = $1 AND kind >= $2 AND kind < $3 AND state = 'ready'");
    const ASK: Sql = Sql::both(
        "UPDATE tasks SET stop_asked = TRUE WHERE subject = $1 AND kind >= $2 AND kind < $3 AND state = 'leased'",
    );
    // No kind holds the last character of Unicode, so this is just after all that have the prefix.
    let end = format!("{kind_prefix}\u{10FFFF}");
    let args = args![subject, kind_prefix, end];
    tx.fetch_all(STILL, args.clone()).await?;
    let withdrawn = tx.execute(WITHDRAW, args.clone()).await?;
    let asked = tx.execute(ASK, args).await?;
    Ok(Stopped { withdrawn, asked })
}

/// Those of the given leases, by task id and token, whose task was asked to stop. Cheap: only reads.
pub async fn stops_asked(tx: &mut Tx, leases: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let mut asked = Vec::new();
    for batch in leases.chunks(BATCH) {
        let text = format!(
            "SELECT id, lease_token FROM tasks WHERE id IN ({}) AND state = 'leased' AND stop_asked",
            placeholders(1, batch.len())
        );
        let ids = batch.iter().map(|(id, _)| Value::from(id)).collect();
        for row in tx.fetch_all(Sql::owned(text), ids).await? {
            asked.push((row.text("id")?, row.text("lease_token")?));
        }
    }
    asked.retain(|lease| leases.contains(lease));
    Ok(asked)
}

/// Ends every lease at once, whoever holds it; says how many. Only for when no holder can be alive.
///
/// The tasks can be claimed from now on. They keep the attempts they used, since one of them may have
/// brought its process down, and their stop marks, which the next holder finds.
pub async fn release_all(tx: &mut Tx) -> Result<u64> {
    // They stay leased, though long run out: a task that was under way is never withdrawn by `stop`.
    const RELEASE: Sql = Sql::both("UPDATE tasks SET lease_until = 0 WHERE state = 'leased'");
    tx.execute(RELEASE, args![]).await
}

/// The tasks of a subject that are not finished, and those that were given up, in order of creation.
pub async fn find_by_subject(tx: &mut Tx, subject: &str) -> Result<Vec<Task>> {
    const FIND: Sql = Sql::both("SELECT * FROM tasks WHERE subject = $1 ORDER BY seq");
    tx.fetch_all(FIND, args![subject]).await?.iter().map(Task::from_row).collect()
}

/// The ids of a subject's tasks, of kinds that start with `kind_prefix`, that somebody holds right now.
pub async fn held(tx: &mut Tx, kind_prefix: &str, subject: &str) -> Result<Vec<String>> {
    const HELD: Sql = Sql::both(
        "SELECT id FROM tasks WHERE subject = $1 AND kind >= $2 AND kind < $3 AND state = 'leased'
             AND lease_until > $4 ORDER BY seq",
    );
    // No kind holds the last character of Unicode, so this is just after all that have the prefix.
    let (end, now) = (format!("{kind_prefix}\u{10FFFF}"), tx.now());
    tx.fetch_all(HELD, args![subject, kind_prefix, end, now]).await?.iter().map(|row| row.text("id")).collect()
}

/// How many tasks there are in each state.
pub async fn counts(tx: &mut Tx) -> Result<QueueCounts> {
    const COUNTS: Sql = Sql::both(
        "SELECT (SELECT COUNT(*) FROM tasks WHERE state = 'ready') AS ready,
                (SELECT COUNT(*) FROM tasks WHERE state = 'leased') AS leased,
                (SELECT COUNT(*) FROM tasks WHERE state = 'dead') AS dead,
                (SELECT MIN(run_at) FROM tasks WHERE state = 'ready') AS oldest_ready_at",
    );
    let row = tx.fetch_optional(COUNTS, args![]).await?;
    let row = row.ok_or_else(|| Error::internal("the queue was not counted"))?;
    let count = |column| row.int(column).map(|count| u64::try_from(count).unwrap_or_default());
    Ok(QueueCounts {
        ready: count("ready")?,
        leased: count("leased")?,
        dead: count("dead")?,
        oldest_ready_at: row.time_or_null("oldest_ready_at")?,
    })
}

/// When the next task of these kinds becomes claimable: it is due, or its lease runs out.
pub async fn next_run_at(tx: &mut Tx, kinds: &[String]) -> Result<Option<Timestamp>> {
    if kinds.is_empty() {
        return Ok(None);
    }
    let kinds_in = placeholders(1, kinds.len());
    let text = format!(
        "SELECT MIN(claimable_at) AS next_at FROM (
             SELECT MIN(run_at) AS claimable_at FROM tasks WHERE state = 'ready' AND kind IN ({kinds_in})
             UNION ALL
             SELECT MIN(lease_until) FROM tasks WHERE state = 'leased' AND kind IN ({kinds_in})) AS times"
    );
    let args = kinds.iter().map(Value::from).collect();
    tx.fetch_optional(Sql::owned(text), args).await?.map_or(Ok(None), |row| row.time_or_null("next_at"))
}

/// Deletes up to `limit` tasks that were given up before an instant; says how many.
pub async fn prune_finished(tx: &mut Tx, before: Timestamp, limit: u32) -> Result<u64> {
    const PRUNE: Sql = Sql::both(
        "DELETE FROM tasks WHERE seq IN (
             SELECT seq FROM tasks WHERE state = 'dead' AND finished_at < $1 ORDER BY finished_at LIMIT $2)",
    );
    tx.execute(PRUNE, args![before, limit]).await
}
