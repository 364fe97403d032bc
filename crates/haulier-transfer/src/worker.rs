//! One handler per kind of work. A run may be repeated after a crash at any point and ends the same.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use haulier_base::{Backoff, Error, ErrorKind, Result};
use haulier_catalog::{Tx, queue, queue::Settlement};
use haulier_mover::{
    ByteBudget, ByteRange, Checkpoint, Limits, Move, MoveOptions, MoveOutcome, Progress, ResumePoint, move_object,
};
use haulier_storage::Placement;
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde_json::Value;

use crate::api::CopyOptions;
use crate::events::{Happened, publish};
use crate::model::{Transfer, TransferError, TransferEvent, TransferId, TransferState, Waiting};
use crate::service::{Inner, Transfers, discard_leftovers, ends, place_of, step};
use crate::store;
use crate::tasks::{COPY, CopyTask, DISCARD, DiscardTask, HELD};

/// Five further attempts after the first, 0.5 s to 8 s apart (transfer contract §6.3).
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(8), attempts: 6 };
/// A host name that nobody knows is looked up twice (transfer contract §6.3).
const UNKNOWN_HOST_ATTEMPTS: i64 = 2;
/// The longest wait a server may ask for (transfer contract §6.3).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// So many new safe bytes make the failures before them forgotten (transfer contract §6.3).
const FORGIVING_BYTES: i64 = 1 << 20;

impl Transfers {
    /// The handlers of this room's tasks, for a runner.
    pub fn handlers(&self) -> Vec<Arc<dyn TaskHandler>> {
        let copy = |kind| Arc::new(Copy { kind, room: self.inner.clone() }) as Arc<dyn TaskHandler>;
        let mut handlers = vec![copy(COPY), Arc::new(Discard { room: self.inner.clone() }) as Arc<dyn TaskHandler>];
        if self.inner.config.autostart {
            handlers.push(copy(HELD));
        }
        handlers
    }
}

/// Makes one attempt to move the bytes of a transfer.
struct Copy {
    kind: &'static str,
    room: Arc<Inner>,
}

#[async_trait]
impl TaskHandler for Copy {
    fn kind(&self) -> &'static str {
        self.kind
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let id = transfer_id(payload)?;
        let Some(transfer) = self.take(ctx, &id).await? else { return Ok(()) };
        match self.attempt(ctx, &transfer).await {
            Ok(outcome) => self.complete(ctx, &id, outcome).await,
            Err(error) if error.kind() == ErrorKind::LostLease => Err(error),
            Err(error) => match ctx.stop_signal().reason() {
                // The record stays RUNNING: whoever claims the task next goes on from the checkpoint.
                Some(StopReason::Lost | StopReason::Shutdown) => Err(error),
                Some(StopReason::Asked) | None => self.fail(ctx, &transfer, error).await,
            },
        }
    }

    async fn give_up(&self, _ctx: &TaskContext, tx: &mut Tx, payload: Value, why: &Error) -> Result<()> {
        let id = transfer_id(payload)?;
        let Some(mut transfer) = store::find_for_update(tx, &id).await? else { return Ok(()) };
        end_in_error(tx, &mut transfer, why).await
    }
}

impl Copy {
    /// Puts our name on the transfer; none when there is nothing left to do and the task is settled.
    async fn take(&self, ctx: &TaskContext, id: &TransferId) -> Result<Option<Transfer>> {
        let mut tx = ctx.begin("transfer.take").await?;
        let Some(mut transfer) = store::find_for_update(&mut tx, id).await? else {
            ctx.finish(tx, Settlement::Done).await?;
            return Ok(None);
        };
        match transfer.state {
            TransferState::New | TransferState::Running => {
                transfer.attempts += 1;
                transfer.executor = Some(ctx.holder().to_owned());
                transfer.waiting = None;
                if transfer.state == TransferState::New {
                    step(&mut tx, &mut transfer, TransferEvent::Start).await?;
                    publish(&mut tx, &transfer, Happened::Started).await?;
                } else {
                    transfer.updated_at = tx.now();
                    store::update(&mut tx, TransferState::Running, &transfer).await?;
                }
                tx.commit().await?;
                return Ok(Some(transfer));
            }
            // The executor before us died between the request and the end.
            TransferState::Canceling => {
                step(&mut tx, &mut transfer, TransferEvent::Stop).await?;
                publish(&mut tx, &transfer, Happened::Canceled).await?;
            }
            TransferState::Erroring => step(&mut tx, &mut transfer, TransferEvent::Settle).await?,
            TransferState::Canceled | TransferState::Error | TransferState::Complete => {}
        }
        ctx.finish(tx, Settlement::Done).await?;
        Ok(None)
    }

    async fn attempt(&self, ctx: &TaskContext, transfer: &Transfer) -> Result<MoveOutcome> {
        let request = &transfer.request;
        let (from, to) = ends(request);
        let place = place_of(transfer.id.as_str());
        let (source, target) = self.room.locations.open_copy(&transfer.owner, &place, from, to).await?;
        let options = CopyOptions::read(&request.destination_options)?;
        let config = &self.room.config;
        let start = u64::try_from(request.start_offset).unwrap_or(0);
        let mv = Move {
            source,
            target,
            // -1 is the sentinel for "to the end of the source".
            range: ByteRange { start, end: u64::try_from(request.end_offset).ok() },
            options: MoveOptions {
                label: transfer.id.to_string(),
                verify: options.verify,
                placement: if options.same_placement {
                    Placement::InPlace { offset: start }
                } else {
                    Placement::Replace
                },
                create_parents: options.create_parents,
                part_size: config.part_size_bytes,
                parts_in_flight: config.parts_in_flight,
                expected: options.checksum,
                ..MoveOptions::default()
            },
            resume: transfer.resume.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        };
        let limits = Limits {
            node: self.room.node_budget.clone(),
            own: Arc::new(ByteBudget::new(options.rate_bytes_per_second)),
        };
        let checkpoint = FencedCheckpoint { ctx, id: &transfer.id };
        if mv.resume.is_none() && transfer.progress > 0 {
            // A point that cannot be read, as after a step back to an older version of us.
            checkpoint.start_over().await?;
        }
        if mv.resume.is_none() && transfer.attempts > 1 {
            // An executor may have died before anybody heard of the token of what it made.
            mv.target.storage.discard(&mv.target.path, &mv.options.label, None).await?;
        }
        let stop = ctx.stop_signal();
        let stopped = async move {
            stop.stopped().await;
        };
        move_object(mv, &checkpoint, &Progress::default(), &limits, stopped).await
    }

    async fn complete(&self, ctx: &TaskContext, id: &TransferId, outcome: MoveOutcome) -> Result<()> {
        let mut tx = ctx.begin("transfer.complete").await?;
        let mut transfer = get(&mut tx, id).await?;
        transfer.progress = i64::try_from(outcome.bytes).unwrap_or(i64::MAX);
        transfer.checksum = outcome.checksum.map(|sum| sum.to_string());
        transfer.verified_by = Some(outcome.proof.to_string());
        transfer.resume = None;
        transfer.error = None;
        step(&mut tx, &mut transfer, TransferEvent::Finish).await?;
        publish(&mut tx, &transfer, Happened::Completed).await?;
        ctx.finish(tx, Settlement::Done).await
    }

    /// Records a failed attempt: the end, or when the next one is due.
    async fn fail(&self, ctx: &TaskContext, taken: &Transfer, error: Error) -> Result<()> {
        let mut tx = ctx.begin("transfer.fail").await?;
        let mut transfer = get(&mut tx, &taken.id).await?;
        if transfer.state == TransferState::Canceling {
            step(&mut tx, &mut transfer, TransferEvent::Stop).await?;
            publish(&mut tx, &transfer, Happened::Canceled).await?;
            return ctx.finish(tx, Settlement::Done).await;
        }
        let moved_on = transfer.progress - taken.progress >= FORGIVING_BYTES;
        if moved_on {
            transfer.failures = 0;
        }
        transfer.failures += 1;
        let Some(wait) = next_wait(&transfer, &error) else {
            tracing::warn!(transfer.id = %transfer.id, ?error, "transfer {} failed: {error}", transfer.id);
            end_in_error(&mut tx, &mut transfer, &error).await?;
            return ctx.finish(tx, Settlement::Done).await;
        };
        tracing::info!(transfer.id = %transfer.id, ?error, "transfer {} tries again in {wait:?}: {error}", transfer.id);
        let due = tx.now().plus(wait);
        transfer.waiting = Some(Waiting { reason: error.message().to_owned(), until: Some(due) });
        transfer.updated_at = tx.now();
        store::update(&mut tx, TransferState::Running, &transfer).await?;
        let settlement = if moved_on {
            // A fresh task, because the queue's own count of attempts is for work that gets nowhere.
            queue::enqueue(&mut tx, CopyTask::new_task(COPY, &transfer.id, &transfer.owner, due)).await?;
            Settlement::Done
        } else {
            Settlement::RetryAt(due, error.message().to_owned())
        };
        ctx.finish(tx, settlement).await
    }
}

/// How long to wait before the next attempt; none when there is none.
fn next_wait(transfer: &Transfer, error: &Error) -> Option<Duration> {
    if !error.is_temporary() {
        return None;
    }
    if error.detail("unknown_host").is_some() && transfer.failures >= UNKNOWN_HOST_ATTEMPTS {
        return None;
    }
    let wait = RETRY.wait(u32::try_from(transfer.failures).ok()?, spread(transfer))?;
    Some(error.wait_asked().unwrap_or_default().min(RETRY_AFTER_MAX).max(wait))
}

/// A fraction that differs between transfers and attempts, so that many that failed at once come back spread out.
fn spread(transfer: &Transfer) -> f64 {
    let sum = transfer
        .id
        .as_str()
        .bytes()
        .fold(transfer.failures.unsigned_abs(), |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    f64::from(u32::try_from(sum % 1000).unwrap_or(0)) / 1000.0
}

/// Moves a transfer to its failed end, whatever state it is in.
async fn end_in_error(tx: &mut Tx, transfer: &mut Transfer, why: &Error) -> Result<()> {
    match transfer.state {
        TransferState::New => step(tx, transfer, TransferEvent::Start).await?,
        TransferState::Canceling => {
            step(tx, transfer, TransferEvent::Fail).await?;
            return publish(tx, transfer, Happened::Canceled).await;
        }
        TransferState::Running | TransferState::Erroring => {}
        TransferState::Canceled | TransferState::Error | TransferState::Complete => return Ok(()),
    }
    transfer.error = Some(TransferError::from(why));
    if transfer.state == TransferState::Running {
        step(tx, transfer, TransferEvent::Fail).await?;
    }
    step(tx, transfer, TransferEvent::Settle).await?;
    publish(tx, transfer, Happened::Failed).await
}

/// Saves what is safe, in transactions that fail when the lease is lost.
struct FencedCheckpoint<'a> {
    ctx: &'a TaskContext,
    id: &'a TransferId,
}

#[async_trait]
impl Checkpoint for FencedCheckpoint<'_> {
    async fn save(&self, point: &ResumePoint) -> Result<()> {
        let resume = serde_json::to_string(point)
            .map_err(|e| Error::internal("a resume point could not be written as JSON").caused_by(e))?;
        let mut tx = self.ctx.begin("transfer.checkpoint").await?;
        let now = tx.now();
        store::set_checkpoint(&mut tx, self.id, i64::try_from(point.safe).unwrap_or(i64::MAX), &resume, now).await?;
        // A long copy may outlive any number of restarts, as long as each of them brings it forward.
        self.ctx.forgive(&mut tx).await?;
        tx.commit().await
    }

    async fn start_over(&self) -> Result<()> {
        let mut tx = self.ctx.begin("transfer.start_over").await?;
        let mut transfer = get(&mut tx, self.id).await?;
        tracing::warn!(
            transfer.id = %self.id, progress = transfer.progress,
            "transfer {} starts over: what it had copied is gone or of no use", self.id
        );
        transfer.progress = 0;
        transfer.resume = None;
        transfer.updated_at = tx.now();
        let state = transfer.state;
        store::update(&mut tx, state, &transfer).await?;
        publish(&mut tx, &transfer, Happened::StartedOver).await?;
        tx.commit().await
    }

    async fn publish(&self) -> Result<()> {
        // The lease's own deadline, kept by this process, says no before anybody else can say yes.
        match self.ctx.stop_signal().reason() {
            Some(StopReason::Lost) => Err(Error::lost_lease(format!("transfer {} is another executor's now", self.id))),
            _ => Ok(()),
        }
    }
}

impl Discard {
    /// Makes sure that nobody goes on with what is to be removed, and says whose it is; none when somebody does.
    async fn release(&self, ctx: &TaskContext, id: &TransferId) -> Result<Option<String>> {
        let mut tx = ctx.begin("transfer.release").await?;
        let Some(mut transfer) = store::find_for_update(&mut tx, id).await? else {
            return Ok(Some(ctx.task().owner.clone()));
        };
        match transfer.state {
            TransferState::Error if transfer.resume.is_some() => {
                // Progress counts bytes that are there, and these are about to go.
                (transfer.progress, transfer.resume) = (0, None);
                transfer.updated_at = tx.now();
                store::update(&mut tx, TransferState::Error, &transfer).await?;
                publish(&mut tx, &transfer, Happened::StartedOver).await?;
                tx.commit().await?;
            }
            TransferState::Error | TransferState::Canceled => {}
            _ => return Ok(None),
        }
        Ok(Some(transfer.owner))
    }
}

/// Removes what an unfinished copy left behind.
struct Discard {
    room: Arc<Inner>,
}

#[async_trait]
impl TaskHandler for Discard {
    fn kind(&self) -> &'static str {
        DISCARD
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let task: DiscardTask = read_payload(payload)?;
        // Copies are labelled with the id of their transfer, which is also the subject of all its tasks.
        let id = TransferId::from_text(&ctx.task().subject);
        if let Some(owner) = self.release(ctx, &id).await? {
            discard_leftovers(&self.room.locations, &owner, id.as_str(), &task).await?;
        }
        let tx = ctx.begin("transfer.discard").await?;
        ctx.finish(tx, Settlement::Done).await
    }

    async fn give_up(&self, ctx: &TaskContext, _tx: &mut Tx, payload: Value, why: &Error) -> Result<()> {
        let task: DiscardTask = read_payload(payload)?;
        let subject = &ctx.task().subject;
        tracing::warn!(transfer.id = %subject, token = task.token, ?why, "temporary data of transfer {subject} stays: {why}");
        Ok(())
    }
}

async fn get(tx: &mut Tx, id: &TransferId) -> Result<Transfer> {
    store::find_for_update(tx, id)
        .await?
        .ok_or_else(|| Error::internal(format!("transfer {id} vanished while it was worked on")))
}

fn transfer_id(payload: Value) -> Result<TransferId> {
    let task: CopyTask = read_payload(payload)?;
    Ok(TransferId::from_text(task.transfer_id))
}

fn read_payload<T: serde::de::DeserializeOwned>(payload: Value) -> Result<T> {
    serde_json::from_value(payload).map_err(|e| Error::internal("a task's payload cannot be read").caused_by(e))
}
