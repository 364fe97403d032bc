//! The claim: which tasks go next, and to whom.
//!
//! Fair shares: a task's rank is its place in its owner's line plus what the owner has leased
//! already, and the lowest ranks go first. Cost depends on the number of owners and slots, never
//! on how many tasks wait or have finished.

use std::time::Duration;

use haulier_base::{Result, id};

use super::task::{Lease, Task};
use crate::args;
use crate::db::Tx;
use crate::sql::{Sql, Value, placeholders};

/// Owners considered in the order of their names. The owners of the tasks that have waited longest
/// are considered besides, so that nobody starves when there are more.
const OWNERS: usize = 128;
const OLDEST: usize = 64;

/// What a runner asks for.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The kinds it can run.
    pub kinds: Vec<String>,
    /// Its name.
    pub holder: String,
    /// How many tasks it can take.
    pub slots: usize,
    /// For how long it holds them without renewal.
    pub lease: Duration,
}

/// Leases up to `slots` due tasks, and counts an attempt for each.
///
/// Tasks that have used up their attempts are returned too, with `attempt > max_attempts`, to be
/// given up without running.
pub async fn claim(tx: &mut Tx, claim: &Claim) -> Result<Vec<Lease>> {
    if claim.slots == 0 || claim.kinds.is_empty() {
        return Ok(Vec::new());
    }
    let (now, token) = (tx.now(), id::random_uuid());
    let deadline = now.plus(claim.lease);
    let mut args = args![now, claim.slots as i64, &token, &claim.holder, deadline];
    args.extend(claim.kinds.iter().map(Value::from));
    let rows = tx.fetch_all(statement(claim.kinds.len()), args).await?;
    let mut leases = Vec::with_capacity(rows.len());
    for row in rows {
        let lease = Lease {
            task: Task::from_row(&row)?,
            token: token.clone(),
            epoch: row.int("epoch")?,
            deadline,
            holder: claim.holder.clone(),
        };
        leases.push((row.int("seq")?, lease));
    }
    leases.sort_by_key(|(seq, lease)| (std::cmp::Reverse(lease.task.priority), lease.task.run_at, *seq));
    Ok(leases.into_iter().map(|(_, lease)| lease).collect())
}

/// `$1` now, `$2` slots, `$3` token, `$4` holder, `$5` deadline, `$6…` kinds.
fn statement(kinds: usize) -> Sql {
    let kinds = placeholders(6, kinds);
    let due = format!("state = 'ready' AND run_at <= $1 AND kind IN ({kinds})");
    let expired = format!("state = 'leased' AND lease_until <= $1 AND kind IN ({kinds})");
    let best = "ORDER BY priority DESC, run_at, seq LIMIT";
    // Hops from owner to owner along the index instead of reading every waiting task.
    let owners = |by_owner: &str, by_time: &str, leased: &str| {
        format!(
            "WITH RECURSIVE hops (owner) AS (
             SELECT * FROM (SELECT t.owner FROM tasks AS t {by_owner} WHERE t.state = 'ready'
                            ORDER BY t.owner LIMIT 1) AS first
             UNION ALL
             SELECT (SELECT t.owner FROM tasks AS t {by_owner} WHERE t.state = 'ready' AND t.owner > hops.owner
                     ORDER BY t.owner LIMIT 1)
             FROM hops WHERE hops.owner IS NOT NULL
         ),
         owners (owner) AS (
             SELECT * FROM (SELECT owner FROM hops WHERE owner IS NOT NULL LIMIT {OWNERS}) AS hopped
             UNION
             SELECT owner FROM (SELECT owner FROM tasks {by_time} WHERE {due} ORDER BY run_at, seq LIMIT {OLDEST})
                 AS oldest
         ),
         loads (owner, leased) AS (
             SELECT owner, COUNT(*) FROM tasks {leased} WHERE state = 'leased' AND lease_until > $1 GROUP BY owner
         )"
        )
    };
    let ranked = "ranked (seq, rank, priority, run_at) AS (
             SELECT c.seq, COALESCE(loads.leased, 0)
                        + ROW_NUMBER() OVER (PARTITION BY c.owner ORDER BY c.priority DESC, c.run_at, c.seq),
                    c.priority, c.run_at
             FROM candidates AS c LEFT JOIN loads ON loads.owner = c.owner
         )";
    let lease = "UPDATE tasks SET state = 'leased', attempt = attempt + 1, epoch = epoch + 1,
             lease_token = $3, lease_holder = $4, lease_until = $5";
    // Where nearly all tasks wait, the statistics make SQLite sort the whole table rather than trust an index
    // that seems to leave nothing out.
    let (by_owner, by_time, leased) =
        ("INDEXED BY tasks_ready", "INDEXED BY tasks_ready_by_time", "INDEXED BY tasks_leased");
    let sqlite = format!(
        "{owners},
         candidates AS (
             SELECT t.owner, t.seq, t.priority, t.run_at FROM owners CROSS JOIN tasks AS t
             WHERE t.seq IN (SELECT seq FROM tasks {by_owner} WHERE owner = owners.owner AND {due} {best} $2)
             UNION ALL
             SELECT * FROM (SELECT owner, seq, priority, run_at FROM tasks {leased} WHERE {expired} {best} $2)
                 AS expired
         ),
         {ranked}
         {lease}
         WHERE seq IN (SELECT seq FROM ranked ORDER BY rank, priority DESC, run_at, seq LIMIT $2)
         RETURNING *",
        owners = owners(by_owner, by_time, leased),
    );
    // Others may be claiming the same tasks just now: there are spare candidates, and locked ones are
    // skipped. The condition on the row is asked again once it is locked.
    let postgres = format!(
        "{owners},
         candidates AS (
             SELECT best.* FROM owners CROSS JOIN LATERAL
                 (SELECT owner, seq, priority, run_at FROM tasks WHERE owner = owners.owner AND {due} {best} $2 * 8)
                 AS best
             UNION ALL
             SELECT * FROM (SELECT owner, seq, priority, run_at FROM tasks WHERE {expired} {best} $2 * 8) AS expired
         ),
         {ranked},
         taken AS (
             SELECT t.seq FROM (SELECT * FROM ranked ORDER BY rank, priority DESC, run_at, seq LIMIT $2 * 8) AS r
             JOIN tasks AS t ON t.seq = r.seq
             WHERE t.{due_again} OR t.{expired_again}
             ORDER BY r.rank, r.priority DESC, r.run_at, r.seq
             LIMIT $2 FOR UPDATE OF t SKIP LOCKED
         )
         {lease}
         WHERE seq IN (SELECT seq FROM taken)
         RETURNING *",
        owners = owners("", "", ""),
        due_again = "state = 'ready' AND t.run_at <= $1",
        expired_again = "state = 'leased' AND t.lease_until <= $1",
    );
    Sql::each_owned(sqlite, postgres)
}
