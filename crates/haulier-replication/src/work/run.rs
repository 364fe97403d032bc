//! `replication.run`: carries out one run in pieces, each of which is one transaction that says how far it got.
//!
//! A run may be cut off anywhere and goes on from its point; what each kind does is below.

mod central;
mod feed;
mod import;
mod local;
mod purge;
mod push;

pub(crate) use feed::answer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use haulier_base::{Error, ErrorKind, Result};
use haulier_catalog::Tx;
use haulier_catalog::queue::Settlement;
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::RecordId;
use crate::run::{Run, RunId, RunKind, RunState};
use crate::service::Inner;
use crate::service::upload::{HELD_FOR, RENEW_EVERY};
use crate::store::runs;
use crate::store::uploads::{self, Upload};
use crate::tasks::{RUN, RunTask};

/// How long ended runs and their listings are kept.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rows forgotten in one transaction.
const FORGET_LIMIT: i64 = 2000;

/// The handler.
pub(super) struct Runs {
    pub(super) room: Arc<Inner>,
}

/// A run under way, and the only way for it to write.
pub(super) struct Going<'a> {
    room: &'a Inner,
    ctx: &'a TaskContext,
    run: Run,
}

#[async_trait]
impl TaskHandler for Runs {
    fn kind(&self) -> &'static str {
        RUN
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        self.forget_old(ctx).await?;
        let Some(run) = self.take(ctx, payload).await? else { return Ok(()) };
        let mut going = Going { room: &self.room, ctx, run };
        let stop = ctx.stop_signal();
        let kind = going.run.kind;
        let work = async {
            match kind {
                RunKind::Central => central::run(&mut going).await,
                RunKind::Local => local::run(&mut going).await,
                RunKind::Purge => purge::run(&mut going).await,
                RunKind::Import => import::run(&mut going).await,
                RunKind::Sync => push::run(&mut going).await,
            }
        };
        // What is cut off here is done again from the point on.
        let done = tokio::select! {
            done = work => done,
            _ = stop.stopped() => Err(Error::canceled("the run is to stop")),
        };
        match done {
            Ok(note) => {
                going.run.problem = note;
                going.end(RunState::Done).await
            }
            Err(error) => going.stumble(error).await,
        }
    }

    async fn give_up(&self, _ctx: &TaskContext, tx: &mut Tx, payload: Value, why: &Error) -> Result<()> {
        let Ok(task) = serde_json::from_value::<RunTask>(payload) else { return Ok(()) };
        let Some(mut run) = runs::find_for_update(tx, &RunId::stored(task.run)).await? else { return Ok(()) };
        if run.state != RunState::Running || run.turn != task.turn {
            return Ok(());
        }
        (run.state, run.stopped_at, run.problem) = (RunState::Failed, Some(tx.now()), Some(why.to_string()));
        runs::advance(tx, &run).await
    }
}

impl Runs {
    /// The run; none when there is nothing to do and the task is settled.
    async fn take(&self, ctx: &TaskContext, payload: Value) -> Result<Option<Run>> {
        let task: RunTask = serde_json::from_value(payload)
            .map_err(|error| Error::corrupt("the payload of a run cannot be read").caused_by(error))?;
        let mut tx = ctx.begin("replication.run.take").await?;
        let run = runs::find(&mut tx, &RunId::stored(task.run)).await?;
        if let Some(run) = run.filter(|run| run.state == RunState::Running && run.turn == task.turn) {
            return Ok(Some(run));
        }
        ctx.finish(tx, Settlement::Done).await.map(|()| None)
    }

    async fn forget_old(&self, ctx: &TaskContext) -> Result<()> {
        let before = ctx.clock().now().minus(KEPT_FOR);
        loop {
            let mut tx = ctx.begin("replication.run.forget").await?;
            let more = runs::forget(&mut tx, before, FORGET_LIMIT).await?;
            tx.commit().await?;
            if !more {
                return Ok(());
            }
        }
    }
}

impl Going<'_> {
    /// Where the run goes on; the beginning when it has not got anywhere.
    fn point<T: DeserializeOwned + Default>(&self) -> Result<T> {
        match &self.run.point {
            Value::Null => Ok(T::default()),
            point => serde_json::from_value(point.clone())
                .map_err(|error| Error::corrupt("the point of a run cannot be read").caused_by(error)),
        }
    }

    /// Says where the run goes on; true with [`Going::save`].
    fn set_point<T: Serialize>(&mut self, point: &T) -> Result<()> {
        self.run.point = serde_json::to_value(point)
            .map_err(|error| Error::internal("the point of a run could not be written").caused_by(error))?;
        Ok(())
    }

    /// Fails when the run is to come to an end.
    fn check(&self) -> Result<()> {
        match self.ctx.stop_signal().reason() {
            None => Ok(()),
            Some(_) => Err(Error::canceled("the run is to stop")),
        }
    }

    /// Waits, or fails when the run is to come to an end.
    async fn pause(&self, span: Duration) -> Result<()> {
        tokio::time::sleep(span).await;
        self.check()
    }

    /// Says in a transaction that this process writes bytes under record ids that have no record yet.
    async fn hold(&self, tx: &mut Tx, all: &[Upload]) -> Result<()> {
        let until = tx.now().plus(HELD_FOR);
        for upload in all {
            uploads::insert(tx, upload, &self.room.holder, until).await?;
        }
        Ok(())
    }

    /// Does work while what was held stays held: else the sweeper takes the bytes for those of a dead process.
    async fn holding<T>(&self, all: &[Upload], work: impl Future<Output = Result<T>>) -> Result<T> {
        let renew = async {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                if let Err(error) = self.renew(all).await {
                    return error;
                }
            }
        };
        tokio::select! {
            done = work => done,
            error = renew => Err(error),
        }
    }

    async fn renew(&self, all: &[Upload]) -> Result<()> {
        let mut tx = self.begin().await?;
        let until = tx.now().plus(HELD_FOR);
        for upload in all {
            uploads::renew(&mut tx, &upload.id, until).await?;
        }
        tx.commit().await
    }

    /// Lets go of an id whose record is about to be there; fails when its bytes were given up for dead.
    async fn let_go(&self, tx: &mut Tx, id: &RecordId) -> Result<()> {
        let now = tx.now();
        if !uploads::renew(tx, id, now).await? {
            return Err(Error::unavailable(
                "the bytes of a copy were given up, because nothing was heard of it for long",
            ));
        }
        uploads::delete(tx, id).await
    }

    async fn begin(&self) -> Result<Tx> {
        self.check()?;
        self.ctx.begin("replication.run").await
    }

    /// Says in a transaction how far the run is, and commits it.
    async fn save(&mut self, mut tx: Tx) -> Result<()> {
        runs::advance(&mut tx, &self.run).await?;
        tx.commit().await
    }

    async fn end(&mut self, state: RunState) -> Result<()> {
        let mut tx = self.begin().await?;
        (self.run.state, self.run.stopped_at) = (state, Some(tx.now()));
        runs::advance(&mut tx, &self.run).await?;
        self.ctx.finish(tx, Settlement::Done).await
    }

    /// What becomes of a run that came upon an error.
    async fn stumble(&mut self, error: Error) -> Result<()> {
        match (error.kind(), self.ctx.stop_signal().reason()) {
            (ErrorKind::LostLease, _) | (_, Some(StopReason::Lost)) => Err(error),
            // Whoever claims the task next goes on from the point.
            (_, Some(StopReason::Shutdown)) => Err(Error::canceled("the run goes on later").caused_by(error)),
            // Somebody paused it or called it off, and its record says so.
            (ErrorKind::Canceled, _) | (_, Some(StopReason::Asked)) => {
                let tx = self.ctx.begin("replication.run.leave").await?;
                self.ctx.finish(tx, Settlement::Done).await
            }
            (ErrorKind::Unavailable | ErrorKind::Internal, None) => {
                tracing::warn!(run = self.run.id.as_str(), error = ?error, "a run stumbled and is tried again");
                self.run.problem = Some(error.to_string());
                let tx = self.begin().await?;
                self.save(tx).await?;
                Err(error)
            }
            _ => {
                tracing::warn!(run = self.run.id.as_str(), error = ?error, "a run failed");
                self.run.problem = Some(error.to_string());
                self.end(RunState::Failed).await
            }
        }
    }
}
