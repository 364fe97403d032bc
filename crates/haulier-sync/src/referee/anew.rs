//! Judges every known file anew, after the rules or the entries changed (3.4.5, 3.4.6).

use async_trait::async_trait;
use haulier_base::{Error, ErrorKind, Result};
use haulier_catalog::Tx;
use haulier_catalog::queue::{self, Settlement};
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde_json::Value;

use super::write::Judged;
use super::{BATCH, Referee, TRIES_MAX};
use crate::model::Fid;
use crate::plan::{Verdict, judge_anew};
use crate::store::files::{self, Hold};
use crate::tasks::{JUDGE, JudgeTask};

/// After so many pages the place is saved, so that a crash does not begin from the start.
const PAGES_PER_TASK: u32 = 100;

/// The handler of [`JUDGE`]: page by page, in the order of fids, so that what changes meanwhile is judged by the new
/// rules either way.
#[derive(Clone, Debug)]
pub(crate) struct Judge(pub(crate) Referee);

#[async_trait]
impl TaskHandler for Judge {
    fn kind(&self) -> &'static str {
        JUDGE
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let task: JudgeTask = serde_json::from_value(payload)
            .map_err(|error| Error::internal("a task's payload cannot be read").caused_by(error))?;
        let mut after = task.after.map(Fid::from_text);
        let stop = ctx.stop_signal();
        for _ in 0..PAGES_PER_TASK {
            match stop.reason() {
                // Whoever asked has put another task in the place of this one.
                Some(StopReason::Asked) => return end(ctx, None).await,
                Some(StopReason::Lost) => return Err(Error::lost_lease("the work is somebody else's by now")),
                Some(StopReason::Shutdown) => break,
                None => {}
            }
            match self.page(ctx, after.as_ref()).await? {
                Some(last) => after = Some(last),
                None => return end(ctx, None).await,
            }
        }
        end(ctx, after).await
    }

    async fn give_up(&self, _: &TaskContext, _: &mut Tx, _: Value, why: &Error) -> Result<()> {
        tracing::error!(?why, "not every file was judged by the new rules: {why}");
        Ok(())
    }
}

impl Judge {
    /// Judges one page; gives back its last file, or none when there was no file left.
    async fn page(&self, ctx: &TaskContext, after: Option<&Fid>) -> Result<Option<Fid>> {
        for _ in 1..TRIES_MAX {
            match self.page_once(ctx, after).await {
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable) => {
                    tracing::debug!(?error, "judging a page again: {error}");
                }
                judged => return judged,
            }
        }
        self.page_once(ctx, after).await
    }

    async fn page_once(&self, ctx: &TaskContext, after: Option<&Fid>) -> Result<Option<Fid>> {
        let mut tx = ctx.begin("sync.judge_anew").await?;
        let in_force = self.0.in_force(&mut tx).await?;
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let page = files::page_after(&mut tx, after, limit, Hold::Yes).await?;
        let last = page.last().map(|(fid, _)| fid.clone());
        let mut judged = Judged::default();
        for (fid, before) in page {
            let Some(name) = before.record.as_ref().map(|record| record.name.clone()) else { continue };
            if let Verdict::Decided(decision) = judge_anew(&before, &in_force.law()) {
                judged.add(fid, &name, before, decision);
            }
        }
        judged.write_anew(&mut tx).await?;
        tx.commit().await?;
        self.0.0.catalog.wake_workers();
        Ok(last)
    }
}

/// Ends this task; another one goes on after a file, if there is one.
async fn end(ctx: &TaskContext, after: Option<Fid>) -> Result<()> {
    let mut tx = ctx.begin("sync.judged").await?;
    if let Some(after) = after {
        let task = JudgeTask { after: Some(after.to_string()) }.new_task(tx.now());
        queue::enqueue(&mut tx, task).await?;
    }
    ctx.finish(tx, Settlement::Done).await
}
