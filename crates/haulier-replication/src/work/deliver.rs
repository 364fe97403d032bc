//! Hands the orders of the outbox to one site, in order, for as long as it is in the topology (contract §5.2), and asks
//! it what became of them.
//!
//! A site that is away delays nobody else: each has an attendant of its own.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use haulier_base::{Backoff, Error, ErrorKind, Result};
use haulier_catalog::Tx;
use haulier_catalog::queue::Settlement;
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::model::{Order, SiteId, SiteStatus};
use crate::peer::{Peer, Taken};
use crate::service::Replication;
use crate::store::outbox::{self, Outgoing};
use crate::store::sites::{self, SiteRow};
use crate::store::{deliveries, orders};
use crate::tasks::{DELIVER, DeliverTask};

/// Orders in one request (§5.2).
const BATCH_MAX: i64 = 1000;
/// How often to look without being told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two tries (§5.2).
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(300), attempts: u32::MAX };
/// A site that still has something to do is asked this often how far it is.
const ASK_SOON: Duration = Duration::from_secs(1);
/// One that has nothing to do, as far as is known, this often.
const ASK_SELDOM: Duration = Duration::from_secs(30);

/// The handler of [`DELIVER`].
pub(crate) struct Deliver {
    pub(crate) room: Replication,
}

impl fmt::Debug for Deliver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deliver")
    }
}

#[async_trait]
impl TaskHandler for Deliver {
    fn kind(&self) -> &'static str {
        DELIVER
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let task: DeliverTask = serde_json::from_value(payload)
            .map_err(|error| Error::internal("the payload of a task cannot be read").caused_by(error))?;
        let mut delivering = Delivering::new(&self.room, ctx, SiteId::new(task.site)?);
        let stop = ctx.stop_signal();
        let reason = tokio::select! {
            reason = stop.stopped() => Some(reason),
            ended = delivering.attend() => ended.map(|()| None)?,
        };
        match reason {
            Some(StopReason::Asked) | None => {
                let tx = ctx.begin("replication.deliver").await?;
                ctx.finish(tx, Settlement::Done).await
            }
            // Orders that were sent and not crossed off are sent again, which does no harm.
            Some(_) => Err(Error::canceled("stopped")),
        }
    }

    async fn give_up(&self, _ctx: &TaskContext, _tx: &mut Tx, _payload: Value, _why: &Error) -> Result<()> {
        // Begun again with the next start of a node.
        Ok(())
    }
}

struct Delivering<'a> {
    room: &'a Replication,
    ctx: &'a TaskContext,
    site: SiteId,
    /// Failures since the last success, and when to try again.
    failures: u32,
    retry_at: Option<Instant>,
    /// The row of the site when that failed: another one is tried at once.
    failed_as: Option<SiteRow>,
    ask_at: Instant,
}

impl<'a> Delivering<'a> {
    fn new(room: &'a Replication, ctx: &'a TaskContext, site: SiteId) -> Self {
        Self { room, ctx, site, failures: 0, retry_at: None, failed_as: None, ask_at: Instant::now() }
    }

    /// Goes on until the site has left the topology.
    async fn attend(&mut self) -> Result<()> {
        let bells = &self.room.inner.bells;
        let (mut outbox, mut heard) = (bells.outbox.listen(), bells.heard.listen());
        loop {
            match self.step().await {
                Ok(Step::Gone) => return Ok(()),
                Ok(Step::More) => continue,
                Ok(Step::Idle) => {}
                Err(error) if error.kind() == ErrorKind::LostLease => return Err(error),
                Err(error) => {
                    tracing::warn!(site = %self.site, error.chain = ?error, "orders for {}: {error}", self.site);
                }
            }
            let wait = self.retry_at.map_or(LOOK_EVERY, |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                // New orders do not make an absent site answer.
                () = outbox.rung(), if self.retry_at.is_none() => {}
                // Somebody who sends us orders can be reached, as a rule.
                () = heard.rung(), if self.retry_at.is_some() => {
                    if self.room.inner.was_heard(&self.site) {
                        self.retry_at = None;
                    }
                }
                () = sleep(wait.min(LOOK_EVERY)) => {}
            }
        }
    }

    async fn step(&mut self) -> Result<Step> {
        let mut tx = self.room.inner.catalog.read().await?;
        let row = sites::find(&mut tx, &self.site).await?;
        let Some(row) = row.filter(|row| row.site.status.is_member()) else { return Ok(Step::Gone) };
        if self.failed_as.as_ref().is_some_and(|failed| failed.site != row.site || failed.token != row.token) {
            self.retry_at = None;
        }
        if row.site.status == SiteStatus::Down || self.retry_at.is_some_and(|at| at > Instant::now()) {
            return Ok(Step::Idle);
        }
        let batch = outbox::page(&mut tx, &self.site, BATCH_MAX).await?;
        drop(tx);
        let attempted = async {
            let peer = self.room.inner.peer(row.clone())?;
            if !batch.is_empty() {
                self.hand_over(&peer, &batch).await?;
            }
            if self.ask_at <= Instant::now() {
                self.ask(&peer).await?;
            }
            Ok::<_, Error>(if batch.is_empty() { Step::Idle } else { Step::More })
        };
        match attempted.await {
            Err(error) if error.kind() == ErrorKind::LostLease => Err(error),
            Err(error) => {
                self.failed(row, &error).await?;
                Ok(Step::Idle)
            }
            step => step,
        }
    }

    /// Sends a batch; one that the site refuses is sent order by order, so that only the wrong ones stay.
    async fn hand_over(&mut self, peer: &Peer, batch: &[Outgoing]) -> Result<()> {
        let sent: Vec<Order> = batch.iter().map(|outgoing| outgoing.order.clone()).collect();
        match peer.post_orders(&sent).await? {
            Taken::Yes => self.delivered(batch).await,
            Taken::Refused(why) => match batch {
                [one] => self.refused(one, &why).await,
                // Halves, in order, until the wrong ones stand alone.
                _ => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    Box::pin(self.hand_over(peer, first)).await?;
                    Box::pin(self.hand_over(peer, second)).await
                }
            },
        }
    }

    async fn delivered(&mut self, batch: &[Outgoing]) -> Result<()> {
        let seqs: Vec<_> = batch.iter().map(|outgoing| outgoing.seq).collect();
        let mut tx = self.ctx.begin("replication.delivered").await?;
        outbox::delivered(&mut tx, &seqs).await?;
        deliveries::succeed(&mut tx, &self.site).await?;
        if self.failures > 0 {
            // It can be reached again, so its objects can be brought again.
            orders::hurry(&mut tx, &self.site).await?;
        }
        tx.commit().await?;
        if self.failures > 0 {
            tracing::info!(site = %self.site, "the site {} takes orders again", self.site);
            self.room.inner.bells.orders.ring();
        }
        self.room.inner.metrics.delivered(&self.site, batch.len());
        self.recovered();
        self.ask_at = self.ask_at.min(Instant::now() + ASK_SOON);
        Ok(())
    }

    async fn refused(&mut self, one: &Outgoing, why: &str) -> Result<()> {
        tracing::error!(site = %self.site, order = one.seq, "the site {} refuses an order for good: {why}", self.site);
        let mut tx = self.ctx.begin("replication.refused").await?;
        outbox::bury(&mut tx, one.seq, why).await?;
        tx.commit().await?;
        self.recovered();
        Ok(())
    }

    fn recovered(&mut self) {
        (self.failures, self.retry_at, self.failed_as) = (0, None, None);
    }

    /// Asks what became of the orders that the site took. That it does not say holds up no orders.
    async fn ask(&mut self, peer: &Peer) -> Result<()> {
        let inner = &self.room.inner;
        // What it says is at least as new as this.
        let asked_at = inner.catalog.now();
        let told = peer.received_from(&inner.site, &haulier_base::id::ordered_uuid()).await;
        let mut tx = self.ctx.begin("replication.report").await?;
        let report = match told {
            Ok(report) => report,
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let wait = RETRY.wait(self.failures.min(30), 0.0).unwrap_or(RETRY.cap).min(ASK_SELDOM);
                self.ask_at = Instant::now() + wait;
                let retry_at = tx.now().plus(wait);
                deliveries::fail(&mut tx, &self.site, error.message(), retry_at).await?;
                return tx.commit().await;
            }
        };
        let open = report.as_ref().and_then(|report| report["orders"].as_u64()).unwrap_or(0) > 0;
        deliveries::report(&mut tx, &self.site, asked_at, report.as_ref()).await?;
        // An earlier process may have failed, so this is said in any case.
        deliveries::recover(&mut tx, &self.site).await?;
        if self.failures > 0 {
            orders::hurry(&mut tx, &self.site).await?;
        }
        tx.commit().await?;
        if self.failures > 0 {
            inner.bells.orders.ring();
        }
        self.recovered();
        self.ask_at = Instant::now() + if open { ASK_SOON } else { ASK_SELDOM };
        Ok(())
    }

    async fn failed(&mut self, row: SiteRow, error: &Error) -> Result<()> {
        self.failures = self.failures.saturating_add(1);
        let wait = RETRY.wait(self.failures.min(30), 0.0).unwrap_or(RETRY.cap);
        if self.failures == 1 {
            tracing::warn!(site = %self.site, error.chain = ?error, "orders for {} wait: {error}", self.site);
        }
        self.retry_at = Some(Instant::now() + wait);
        self.failed_as = Some(row);
        self.room.inner.metrics.failed(&self.site);
        let mut tx = self.ctx.begin("replication.undelivered").await?;
        let retry_at = tx.now().plus(wait);
        deliveries::fail(&mut tx, &self.site, error.message(), retry_at).await?;
        tx.commit().await
    }
}

/// What one look led to.
enum Step {
    /// The site has left.
    Gone,
    /// There may be more to send.
    More,
    /// There is nothing to do now.
    Idle,
}
