//! Applies the orders of other sites (contract §5.3): loads them, lets each take its turn, and never lets one that has
//! to wait hold up another.
//!
//! What an order does is in `pull.rs` and `settle.rs`; whose turn it is, in `line.rs`.

mod desk;
mod line;
mod pull;
mod settle;
mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use haulier_base::{Error, Permit, Result};
use haulier_catalog::Tx;
use haulier_catalog::queue::Settlement;
use haulier_work::{StopReason, TaskContext, TaskHandler};
use serde_json::Value;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep};

use crate::model::{Action, OrderState, SiteId};
use crate::service::Replication;
use crate::store::orders;
use crate::tasks::APPLY;

use desk::{Desk, Ending};
use line::Line;
use sources::Sources;

/// So many orders are loaded at most.
const LOADED_MAX: usize = 4096;
/// Fewer than this, and more are loaded.
const LOADED_MIN: usize = 1024;
/// How often to look without being told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often what is behind is counted.
const OBSERVE_EVERY: Duration = Duration::from_secs(5);
/// After trouble with the catalogue.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// The handler of [`APPLY`].
pub(crate) struct Apply {
    pub(crate) room: Replication,
}

impl fmt::Debug for Apply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apply")
    }
}

#[async_trait]
impl TaskHandler for Apply {
    fn kind(&self) -> &'static str {
        APPLY
    }

    async fn run(&self, ctx: &TaskContext, _payload: Value) -> Result<()> {
        let mut tx = ctx.begin("replication.requeue").await?;
        orders::requeue_running(&mut tx).await?;
        tx.commit().await?;
        let (desk, asked) = Desk::open();
        let stop = ctx.stop_signal();
        let applying = async {
            tokio::select! {
                reason = stop.stopped() => Ok(reason),
                error = Applying::new(self.room.clone(), desk).attend() => Err(error),
            }
        };
        let reason = tokio::select! {
            error = desk::serve(&self.room, ctx, asked) => return Err(error),
            () = observe(&self.room) => return Err(Error::internal("nobody counts what is behind")),
            ended = applying => ended?,
        };
        if reason == StopReason::Asked {
            let tx = ctx.begin("replication.apply").await?;
            return ctx.finish(tx, Settlement::Done).await;
        }
        // What was under way is found again: a copy goes on, everything else is done again.
        Err(Error::canceled("stopped"))
    }

    async fn give_up(&self, _ctx: &TaskContext, _tx: &mut Tx, _payload: Value, _why: &Error) -> Result<()> {
        // Begun again with the next start of a node.
        Ok(())
    }
}

/// Keeps the metrics of the lag, which only one process of a cluster shows: the one that applies orders.
async fn observe(room: &Replication) {
    let mut shown = BTreeSet::new();
    loop {
        match room.status().await {
            Ok(status) => {
                let sites = status.sites.iter().filter_map(|lag| Some((SiteId::new(&lag.site).ok()?, lag)));
                let sites: BTreeMap<_, _> = sites.collect();
                sites.iter().for_each(|(site, lag)| room.inner.metrics.lag(site, lag));
                let now: BTreeSet<_> = sites.into_keys().collect();
                shown.difference(&now).for_each(|site| room.inner.metrics.gone(site));
                shown = now;
            }
            Err(error) => tracing::debug!(error.chain = ?error, "what is behind cannot be counted: {error}"),
        }
        sleep(OBSERVE_EVERY).await;
    }
}

/// What one run keeps in memory.
struct Applying {
    room: Replication,
    desk: Desk,
    sources: Arc<Sources>,
    line: Line,
    tasks: JoinSet<()>,
    /// Which order each task is at.
    at: HashMap<Id, i64>,
    /// Whether nothing was loaded yet.
    first: bool,
    /// Whether the last look found all there was.
    whole: bool,
}

impl Applying {
    fn new(room: Replication, desk: Desk) -> Self {
        Self {
            room,
            desk,
            sources: Arc::default(),
            line: Line::default(),
            tasks: JoinSet::new(),
            at: HashMap::new(),
            first: true,
            whole: false,
        }
    }

    /// Goes on until it is dropped, or the catalogue says that it must not.
    async fn attend(mut self) -> Error {
        let (permit, room) = (Permit::current(), self.room.clone());
        let (mut look, mut look_at) = (true, Instant::now());
        let mut bell = room.inner.bells.orders.listen();
        loop {
            let hungry = self.line.len() < LOADED_MIN && !self.whole;
            if look || hungry {
                match self.load().await {
                    Ok(wait) => look_at = Instant::now() + wait.min(LOOK_EVERY),
                    Err(error) => {
                        tracing::warn!(error.chain = ?error, "orders cannot be read: {error}");
                        look_at = Instant::now() + TROUBLE_PAUSE;
                        self.whole = true;
                    }
                }
            }
            self.start(&permit);
            look = tokio::select! {
                () = bell.rung() => true,
                Some(ended) = self.tasks.join_next_with_id() => {
                    let (id, panicked) = match ended {
                        Ok((id, ())) => (id, false),
                        Err(error) => (error.id(), true),
                    };
                    self.ended(id, panicked).await;
                    false
                }
                () = sleep(look_at.saturating_duration_since(Instant::now())) => true,
            };
        }
    }

    /// Loads what waits for its turn; says when to look again.
    async fn load(&mut self) -> Result<Duration> {
        let room = self.line.len();
        if room >= LOADED_MAX {
            self.whole = false;
            return Ok(LOOK_EVERY);
        }
        let catalog = &self.room.inner.catalog;
        let mut tx = catalog.read().await?;
        let ready = orders::ready(&mut tx, LOADED_MAX).await?;
        let due = orders::due(&mut tx, LOADED_MAX - room).await?;
        let next = orders::next_due(&mut tx).await?;
        drop(tx);
        self.whole = ready.len() < LOADED_MAX;
        for mut received in ready.into_iter().chain(due) {
            // A process that died may have begun with any of these.
            if self.first {
                received.state = OrderState::Running;
            }
            self.line.push(received);
        }
        self.first = false;
        let now = catalog.now();
        // What is due is in the line, or comes with the next look.
        let wait = next.filter(|at| *at > now).map_or(LOOK_EVERY, |at| at.since(now));
        Ok(wait.max(Duration::from_millis(10)))
    }

    /// Gives free places to the next orders.
    fn start(&mut self, permit: &Permit) {
        while self.line.running() < self.room.inner.config.slots {
            let Some(received) = self.line.next() else { return };
            let seq = received.seq;
            let (room, desk, sources) = (self.room.clone(), self.desk.clone(), self.sources.clone());
            let work = async move {
                let carried = match (&received.order.object, received.order.action) {
                    (Some(name), Action::Create | Action::Update) => {
                        let name = name.clone();
                        pull::Pull::new(&room, &desk, &sources, &received, name).carry_out().await
                    }
                    _ => desk.settle(&received, Ending::Judge).await.map(|_| ()),
                };
                if let Err(error) = carried {
                    // It stays in the catalogue as it was, and is loaded again.
                    tracing::warn!(order = received.seq, error.chain = ?error, "an order cannot be settled: {error}");
                    sleep(TROUBLE_PAUSE).await;
                }
            };
            let handle = self.tasks.spawn(permit.clone().carry(work));
            self.at.insert(handle.id(), seq);
        }
    }

    async fn ended(&mut self, id: Id, panicked: bool) {
        let Some(seq) = self.at.remove(&id) else { return };
        if panicked {
            let desk = self.desk.clone();
            tracing::error!(order = seq, "applying an order panicked");
            if let Some(received) = self.line.get(seq).cloned() {
                let why = "a fault of Haulier's own, which is in its log".to_owned();
                // The desk may be gone with us.
                let _ = desk.settle(&received, Ending::Wait { why, mismatch: false }).await;
            }
        }
        self.line.end(seq);
    }
}
