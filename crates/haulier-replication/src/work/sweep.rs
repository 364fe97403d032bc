//! Removes what is no longer needed, again and again: bytes in the trash, uploads of dead processes, memories whose
//! time is over, and bytes that no record knows.
//!
//! What is to be removed was decided elsewhere, in the transaction that made it useless. Trouble is logged and tried
//! again.

use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use haulier_base::{Error, ErrorKind, Result, Timestamp};
use haulier_catalog::Tx;
use haulier_catalog::queue::Settlement;
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::model::RecordId;
use crate::service::Replication;
use crate::store::{sweeping, trash, uploads};
use crate::tasks::SWEEP;

/// Other processes fill the trash without a bell.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often memories are looked through for those whose time is over.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often the whole store is compared with the records, and how old bytes must be: what is being written now has
/// its record soon.
const COMPARE_EVERY: Duration = Duration::from_secs(6 * 3600);
const LEFTOVER_AFTER: Duration = Duration::from_secs(3600);
/// How long it is told that an order was obsolete.
const ORDERS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rows of one transaction.
const BATCH: i64 = 250;
/// Removals at once.
const REMOVALS: usize = 16;

/// The handler of [`SWEEP`].
#[derive(Clone)]
pub(crate) struct Sweep {
    pub(crate) room: Replication,
}

#[async_trait]
impl TaskHandler for Sweep {
    fn kind(&self) -> &'static str {
        SWEEP
    }

    async fn run(&self, ctx: &TaskContext, _payload: Value) -> Result<()> {
        let stop = ctx.stop_signal();
        tokio::select! {
            lost = self.sweep(ctx) => return Err(lost),
            lost = self.compare(ctx) => return Err(lost),
            _ = stop.stopped() => {}
        }
        match stop.reason() {
            Some(StopReason::Asked) => ctx.finish(ctx.begin("replication.leave").await?, Settlement::Done).await,
            _ => Err(Error::canceled("stopped")),
        }
    }

    async fn give_up(&self, _ctx: &TaskContext, _tx: &mut Tx, _payload: Value, _why: &Error) -> Result<()> {
        Ok(())
    }
}

impl Sweep {
    /// Sweeps until the lease is lost, and says so.
    async fn sweep(&self, ctx: &TaskContext) -> Error {
        let (mut forget_at, mut bell) = (Instant::now(), self.room.inner.bells.trash.listen());
        loop {
            let forget = forget_at <= Instant::now();
            let more = match self.pass(ctx, forget).await {
                Ok(more) => more,
                Err(error) if error.kind() == ErrorKind::LostLease => return error,
                Err(error) => {
                    tracing::warn!(error.chain = ?error, "the sweeper tries again: {error}");
                    false
                }
            };
            if more {
                continue;
            }
            if forget {
                forget_at = Instant::now() + FORGET_EVERY;
            }
            tokio::select! {
                () = bell.rung() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// One look at everything; says whether there is more of it right now.
    async fn pass(&self, ctx: &TaskContext, forget: bool) -> Result<bool> {
        self.end_dead_uploads(ctx).await?;
        let mut more = self.empty_trash(ctx).await?;
        if forget {
            more |= self.forget(ctx).await?;
        }
        Ok(more)
    }

    /// Ends uploads whose processes are gone as those ended that failed (§3).
    async fn end_dead_uploads(&self, ctx: &TaskContext) -> Result<()> {
        let dead = uploads::dead(&mut self.room.inner.catalog.read().await?, BATCH).await?;
        for upload in dead {
            let mut tx = ctx.begin("replication.end_dead_upload").await?;
            // It may have been renewed since.
            if uploads::delete_dead(&mut tx, &upload.id).await? {
                self.room.end_upload(&mut tx, &upload).await?;
                tx.commit().await?;
                tracing::info!(bucket = %upload.bucket, record = %upload.id, "ended an upload whose process is gone");
            }
        }
        Ok(())
    }

    /// Removes the bytes of some of the trash; says whether there is more.
    async fn empty_trash(&self, ctx: &TaskContext) -> Result<bool> {
        let ids = trash::page(&mut self.room.inner.catalog.read().await?, BATCH).await?;
        if ids.is_empty() {
            return Ok(false);
        }
        let full = ids.len() as i64 == BATCH;
        let vault = &self.room.inner.vault;
        let remove = |id: RecordId| async move { (vault.remove(&id).await, id) };
        let removed: Vec<_> = stream::iter(ids).map(remove).buffer_unordered(REMOVALS).collect().await;
        let mut failed = None;
        let mut tx = ctx.begin("replication.empty_trash").await?;
        for (outcome, id) in removed {
            match outcome {
                Ok(()) => trash::delete(&mut tx, &id).await?,
                Err(error) => {
                    trash::postpone(&mut tx, &id).await?;
                    failed = Some(error);
                }
            }
        }
        tx.commit().await?;
        // Those that cannot be removed are behind the others now; no hurry with them.
        match failed {
            Some(error) => Err(error),
            None => Ok(full),
        }
    }

    /// Forgets memories whose time is over; says whether there are more of them.
    async fn forget(&self, ctx: &TaskContext) -> Result<bool> {
        let mut most = 0;
        let mut tx = ctx.begin("replication.forget").await?;
        most = most.max(sweeping::delete_object_tombstones(&mut tx, BATCH).await?);
        most = most.max(sweeping::delete_bucket_tombstones(&mut tx, BATCH).await?);
        let before = tx.now().minus(ORDERS_FOR);
        most = most.max(sweeping::delete_ignored_orders(&mut tx, before, BATCH).await?);
        most = most.max(sweeping::discard_kept(&mut tx, BATCH).await?);
        tx.commit().await?;
        Ok(most >= BATCH.unsigned_abs())
    }

    /// Compares the store with the records, again and again, until the lease is lost, and says so.
    async fn compare(&self, ctx: &TaskContext) -> Error {
        loop {
            match self.find_leftovers(ctx).await {
                Ok(0) => {}
                Ok(found) => tracing::warn!(found, "removing bytes that belong to no record"),
                Err(error) if error.kind() == ErrorKind::LostLease => return error,
                Err(error) => tracing::warn!(error.chain = ?error, "the store cannot be compared: {error}"),
            }
            sleep(COMPARE_EVERY).await;
        }
    }

    /// Gives bytes that no record knows to the trash; says of how many records they were.
    async fn find_leftovers(&self, ctx: &TaskContext) -> Result<u64> {
        let old = self.room.inner.catalog.now().minus(LEFTOVER_AFTER);
        let listed = self.room.inner.vault.list().await?;
        let old = listed.try_filter(move |(id, at)| {
            let at = at.unwrap_or_else(|| made_at(id));
            std::future::ready(at < old)
        });
        let mut batches = old.map_ok(|(id, _)| id).try_chunks(BATCH.unsigned_abs() as usize);
        let mut found = 0;
        while let Some(ids) = batches.try_next().await.map_err(|broken| broken.1)? {
            let needed = sweeping::needed(&mut self.room.inner.catalog.read().await?, &ids).await?;
            let leftovers: Vec<_> = ids.iter().filter(|id| !needed.contains(id.as_str())).collect();
            if leftovers.is_empty() {
                continue;
            }
            let mut tx = ctx.begin("replication.find_leftovers").await?;
            for id in &leftovers {
                trash::add(&mut tx, id).await?;
            }
            tx.commit().await?;
            found += leftovers.len() as u64;
            self.room.inner.bells.trash.ring();
        }
        Ok(found)
    }
}

/// When a record id was made, which its first 48 bits tell in milliseconds (RFC 9562, version 7).
fn made_at(id: &RecordId) -> Timestamp {
    let digits: String = id.as_str().chars().filter(char::is_ascii_hexdigit).take(12).collect();
    Timestamp::from_micros(i64::from_str_radix(&digits, 16).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use haulier_base::{Clock, SystemClock};

    use super::*;

    #[test]
    fn ids_tell_when_they_were_made() {
        let (before, id, after) = (SystemClock.now(), RecordId::fresh(), SystemClock.now());
        let (made, a_while) = (made_at(&id), Duration::from_secs(1));
        assert!(made >= before.minus(a_while) && made <= after.plus(a_while), "{made}");
    }
}
