//! Where orders that are being carried out have written down what became of them: many in one transaction.
//!
//! Only here does the applier write, in transactions that fail once it is no longer the applier.

use std::time::Duration;

use haulier_base::{Error, ErrorKind, Result};
use haulier_work::TaskContext;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::settle::Settling;
use crate::model::{Bucket, OrderState, SiteId};
use crate::resolve::Version;
use crate::service::Replication;
use crate::store::orders::Received;

/// Requests in one transaction.
const BATCH_MAX: usize = 200;
/// Requests that wait; more wait with their sender.
const WAITING_MAX: usize = 1024;
/// Tries of a single request that finds its record changed.
const TRIES: usize = 3;
/// Between two tries while the catalogue is away.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// How an order comes to an end, as far as whoever carried it out knows.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// The records alone decide: an order about a bucket, or a deletion.
    Judge,
    /// A peer has this version; whether its bytes are here now; whether they are to take the place of the same.
    Arrive { version: Box<Version>, stored: bool, repairs: bool },
    /// It was carried out, or had been.
    Done,
    /// It came to another end.
    End(OrderState, String),
    /// It is tried again later.
    Wait { why: String, mismatch: bool },
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It ended, or waits.
    Yes,
    /// The bytes have to be brought first: the record changed meanwhile.
    NeedsBytes,
}

/// Something to be written down.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Settle(Box<Received>, Ending),
    /// Where a copy goes on after a crash.
    Point(i64, Option<Value>),
    /// A bucket that the source of an order has.
    Bucket(Bucket),
    /// A site can be reached again: what waits for it need not wait any longer.
    Hurry(SiteId),
}

type Asked = (Request, oneshot::Sender<Result<Settled>>);

/// The way to the desk. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Desk(mpsc::Sender<Asked>);

impl Desk {
    pub(super) fn open() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Writes down what became of an order.
    ///
    /// # Errors
    /// As the catalogue says; then the order is as it was.
    pub(super) async fn settle(&self, received: &Received, ending: Ending) -> Result<Settled> {
        self.ask(Request::Settle(Box::new(received.clone()), ending)).await
    }

    /// Writes something down.
    ///
    /// # Errors
    /// As the catalogue says; `LostLease` when the applier is another process by now.
    pub(super) async fn ask(&self, request: Request) -> Result<Settled> {
        let closed = || Error::lost_lease("orders are no longer applied here");
        let (reply, answer) = oneshot::channel();
        self.0.send((request, reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// Serves the desk until the lease is lost.
pub(super) async fn serve(room: &Replication, ctx: &TaskContext, mut asked: mpsc::Receiver<Asked>) -> Error {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while asked.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (requests, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match write(room, ctx, &requests).await {
            Ok(all) => replies.into_iter().zip(all).for_each(|(reply, settled)| drop(reply.send(Ok(settled)))),
            Err(error) if error.kind() == ErrorKind::LostLease => return error,
            // One that cannot be written must not keep the others from it.
            Err(error) => {
                tracing::debug!(error.chain = ?error, "orders are settled one by one: {error}");
                for (request, reply) in requests.into_iter().zip(replies) {
                    let written = write_one(room, ctx, request).await;
                    if let Err(error) = &written
                        && error.kind() == ErrorKind::LostLease
                    {
                        return Error::lost_lease(error.message());
                    }
                    // Whoever asked may be gone.
                    drop(reply.send(written));
                }
            }
        }
    }
    Error::canceled("nobody applies orders any more")
}

async fn write_one(room: &Replication, ctx: &TaskContext, request: Request) -> Result<Settled> {
    let (requests, mut tries) = ([request], 0);
    loop {
        tries += 1;
        match write(room, ctx, &requests).await {
            Ok(settled) => return Ok(settled.first().copied().unwrap_or(Settled::Yes)),
            // Somebody else changed the record: what it means now is another question.
            Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES => {}
            Err(error) if error.is_temporary() && tries < TRIES => sleep(TROUBLE_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

async fn write(room: &Replication, ctx: &TaskContext, requests: &[Request]) -> Result<Vec<Settled>> {
    let mut tx = ctx.begin("replication.settle").await?;
    let mut settling = Settling::new(&room.inner);
    let mut settled = Vec::with_capacity(requests.len());
    settling.hold_buckets(&mut tx, requests).await?;
    for request in requests {
        settled.push(settling.write(&mut tx, request).await?);
    }
    settling.close(&mut tx).await?;
    tx.commit().await?;
    settling.tell();
    Ok(settled)
}
