//! The claim loop, the renewals, the runs and the drain.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all};
use haulier_base::{Error, Result, id};
use haulier_catalog::Catalog;
use haulier_catalog::queue::{self, Claim, Lease, Settlement, Task};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::handler::{Handlers, StopReason, TaskContext, TaskHandler};
use crate::leases::{HeldLeases, local_deadline};
use crate::metrics::WorkMetrics;
use crate::settle::{Verdict, judge};

/// Between two tries while the database is away.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);
/// How often to look for stop marks without being woken: a stop reaches its handler within a second.
const STOPS_EVERY: Duration = Duration::from_millis(500);
/// After a wake or the end of a task, so long is waited for more of them: a claim for many costs as much as
/// a claim for one, and everybody who writes waits for it.
const GATHER: Duration = Duration::from_millis(2);
/// However often the catalogue wakes, stop marks are looked for no more often than this.
const STOPS_PAUSE: Duration = Duration::from_millis(50);

/// How a runner works.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// How many tasks run at once.
    pub slots: usize,
    /// How long a claim lasts without renewal.
    pub lease: Duration,
    /// How often all leases are renewed; a third of `lease`, so that two may fail.
    pub renew_every: Duration,
    /// How often to look for work without being woken.
    pub poll_every: Duration,
    /// How long handlers may take to reach a safe point once told to stop.
    pub grace: Duration,
    /// The name of this process in lease rows.
    pub holder: String,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            slots: 16,
            lease: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            poll_every: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            holder: id::random_uuid(),
        }
    }
}

/// Claims tasks and runs their handlers.
#[derive(Debug)]
pub struct Runner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    catalog: Catalog,
    handlers: Handlers,
    config: RunnerConfig,
    metrics: WorkMetrics,
    leases: HeldLeases,
    /// Cancelled when the grace is over: handlers still running are dropped.
    grace_over: CancellationToken,
}

impl Runner {
    /// A runner that counts into metrics nobody reads.
    pub fn new(catalog: Catalog, handlers: Handlers, config: RunnerConfig) -> Self {
        Self::with_metrics(catalog, handlers, config, WorkMetrics::default())
    }

    /// A runner that counts into the given metrics.
    pub fn with_metrics(catalog: Catalog, handlers: Handlers, config: RunnerConfig, metrics: WorkMetrics) -> Self {
        let (leases, grace_over) = (HeldLeases::default(), CancellationToken::new());
        Self { shared: Arc::new(Shared { catalog, handlers, config, metrics, leases, grace_over }) }
    }

    /// Runs tasks until `stop`, then drains: claims nothing, tells the handlers, waits the grace,
    /// drops those still running and releases their leases.
    pub async fn run(self, stop: CancellationToken) {
        let shared = self.shared;
        let mut running = JoinSet::new();
        tokio::select! {
            () = shared.claim_until(&stop, &mut running) => {}
            () = shared.tend_for_ever() => {}
        }
        shared.leases.stop_all(StopReason::Shutdown);
        tokio::select! {
            () = shared.drain(&mut running) => {}
            () = shared.tend_for_ever() => {}
        }
    }

    /// Runs ready tasks until there is none, and says how many attempts that took. For tests.
    pub async fn run_until_idle(&self) -> Result<usize> {
        let mut attempts = 0;
        let dry = async {
            loop {
                let (leases, deadline) = self.shared.claim(self.shared.config.slots).await?;
                if leases.is_empty() {
                    return Ok(attempts);
                }
                attempts += leases.len();
                join_all(leases.into_iter().map(|lease| self.shared.execute(lease, deadline))).await;
            }
        };
        tokio::select! {
            done = dry => done,
            () = self.shared.tend_for_ever() => Err(Error::internal("nobody tends the leases")),
        }
    }
}

impl Shared {
    async fn claim_until(self: &Arc<Self>, stop: &CancellationToken, running: &mut JoinSet<()>) {
        while !stop.is_cancelled() {
            // Registered before looking: work that arrives while we look still wakes us.
            let woken = self.catalog.woken();
            while running.try_join_next().is_some() {}
            let free = self.config.slots.saturating_sub(running.len());
            let pause = match self.fill(free, running).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(error.chain = ?error, "cannot claim tasks: {error}");
                    TROUBLE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken, if free > 0 => self.gather(running).await,
                Some(_) = running.join_next() => self.gather(running).await,
                () = sleep(pause) => {}
            }
        }
    }

    /// Waits a moment for a quarter of the slots to be free.
    async fn gather(&self, running: &mut JoinSet<()>) {
        let busy = self.config.slots - self.config.slots / 4;
        let quarter = async { while running.len() > busy && running.join_next().await.is_some() {} };
        // A quiet runner claims at once; what it misses wakes it again.
        let _over = timeout(GATHER, quarter).await;
    }

    /// Claims for the free slots; says how long to wait before looking again.
    async fn fill(self: &Arc<Self>, free: usize, running: &mut JoinSet<()>) -> Result<Duration> {
        if free == 0 {
            return Ok(self.config.poll_every);
        }
        let (leases, deadline) = self.claim(free).await?;
        let filled = leases.len() == free;
        for lease in leases {
            let shared = self.clone();
            running.spawn(async move { shared.execute(lease, deadline).await });
        }
        if filled {
            return Ok(self.config.poll_every);
        }
        let mut tx = self.catalog.read().await?;
        let next = queue::next_run_at(&mut tx, &self.handlers.kinds()).await?;
        let now = self.catalog.now();
        // What is due already was left to others, or to the next poll.
        let due = next.filter(|at| *at > now).map(|at| at.since(now));
        Ok(due.unwrap_or(self.config.poll_every).min(self.config.poll_every))
    }

    async fn claim(&self, slots: usize) -> Result<(Vec<Lease>, Instant)> {
        let sent = Instant::now();
        let Shared { config, catalog, handlers, .. } = self;
        let claim = Claim { kinds: handlers.kinds(), holder: config.holder.clone(), slots, lease: config.lease };
        let mut tx = catalog.begin("work.claim").await?;
        let leases = queue::claim(&mut tx, &claim).await?;
        tx.commit().await?;
        self.metrics.claimed(sent.elapsed());
        Ok((leases, local_deadline(sent, config.lease)))
    }

    async fn tend_for_ever(&self) {
        join(self.renew_for_ever(), self.watch_stops_for_ever()).await;
    }

    /// Finds the stop marks of the running tasks long before the next renewal would.
    async fn watch_stops_for_ever(&self) {
        loop {
            // Registered before looking, so that a mark set while we look or pause is not missed.
            let woken = self.catalog.woken();
            match timeout(self.config.renew_every, self.find_stops()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error.chain = ?error, "cannot look for stop marks: {error}"),
                Err(_) => tracing::warn!("looking for stop marks took too long"),
            }
            sleep(STOPS_PAUSE).await;
            tokio::select! {
                () = woken => {}
                () = sleep(STOPS_EVERY) => {}
            }
        }
    }

    async fn find_stops(&self) -> Result<()> {
        let running = self.leases.unstopped();
        if running.is_empty() {
            return Ok(());
        }
        let mut tx = self.catalog.read().await?;
        let asked = queue::stops_asked(&mut tx, &running).await?;
        drop(tx);
        self.leases.stop(&asked, StopReason::Asked);
        Ok(())
    }

    async fn renew_for_ever(&self) {
        loop {
            sleep(self.config.renew_every).await;
            // A renewal that outlasts the period is dropped; the deadlines of the leases stand.
            match timeout(self.config.renew_every, self.renew()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error.chain = ?error, "cannot renew leases: {error}"),
                Err(_) => tracing::warn!("renewing leases took longer than the renewal period"),
            }
        }
    }

    async fn renew(&self) -> Result<()> {
        let asked = self.leases.renewable();
        if asked.is_empty() {
            return Ok(());
        }
        // Both clocks are read before anything is sent.
        let (sent, until) = (Instant::now(), self.catalog.now().plus(self.config.lease));
        let mut tx = self.catalog.begin("work.renew").await?;
        let answers = queue::renew(&mut tx, &asked, until).await?;
        tx.commit().await?;
        self.leases.renewed(&asked, &answers, local_deadline(sent, self.config.lease));
        Ok(())
    }

    async fn drain(&self, running: &mut JoinSet<()>) {
        let ended = timeout(self.config.grace, async { while running.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!(tasks = running.len(), "handlers still running after the grace period are dropped");
            self.grace_over.cancel();
            while running.join_next().await.is_some() {}
        }
    }

    /// Runs one attempt and settles it.
    async fn execute(&self, lease: Lease, deadline: Instant) {
        let task = lease.task.clone();
        let Some(handler) = self.handlers.of(&task.kind) else { return };
        self.metrics.running.inc();
        let held = self.leases.hold(&lease, deadline);
        if task.stop_asked {
            held.stop.raise(StopReason::Asked);
        }
        let ctx = TaskContext::new(self.catalog.clone(), lease, held.stop.clone());
        let work = async {
            let poisoned = task.attempt > task.max_attempts;
            let result = match poisoned {
                true => Err(poison(&task)),
                false => self.attempt(handler.as_ref(), &ctx).await,
            };
            if let Err(why) = result {
                self.conclude(handler.as_ref(), &ctx, poisoned, why).await;
            }
        };
        let lost = async {
            held.lost().await;
            sleep(self.config.grace).await;
        };
        tokio::select! {
            // The clock first: what a frozen process had begun must not go on when it thaws.
            biased;
            () = lost => tracing::warn!(task.id = task.id, "a handler did not stop after its lease was lost; dropped"),
            () = held.permit().carry(work) => {}
        }
        self.metrics.settled(&task.kind, ctx.outcome().unwrap_or("lost"));
        self.metrics.running.dec();
    }

    /// One run of the handler: panics are errors, and the end of the grace cuts it off.
    async fn attempt(&self, handler: &dyn TaskHandler, ctx: &TaskContext) -> Result<()> {
        let run = AssertUnwindSafe(handler.run(ctx, ctx.task().payload.clone())).catch_unwind();
        let outcome = tokio::select! {
            outcome = run => outcome,
            () = self.grace_over.cancelled() => return Err(Error::canceled("cut off at shutdown")),
        };
        outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))?;
        match ctx.outcome() {
            Some(_) => Ok(()),
            None => Err(Error::internal("the handler ended without settling its task")),
        }
    }

    /// Settles an attempt that failed.
    async fn conclude(&self, handler: &dyn TaskHandler, ctx: &TaskContext, poisoned: bool, why: Error) {
        let task = ctx.task();
        if ctx.outcome().is_some() {
            tracing::warn!(task.id = task.id, error.chain = ?why, "a handler failed after settling its task: {why}");
            return;
        }
        let verdict = match poisoned {
            true => Verdict::GiveUp,
            false => judge(&why, task, ctx.stop_signal().reason(), self.catalog.now()),
        };
        tracing::info!(
            task.id = task.id, task.kind = task.kind, task.attempt, ?verdict, error.chain = ?why,
            "attempt {} of {} failed: {why}", task.attempt, task.max_attempts
        );
        while let Err(error) = settle(handler, ctx, &verdict, &why).await {
            tracing::warn!(task.id = task.id, error.chain = ?error, "cannot settle a task: {error}");
            // Only passing trouble is worth a second try; else the lease runs out and the task comes again.
            if !error.is_temporary() || ctx.stop_signal().reason() == Some(StopReason::Lost) {
                return;
            }
            sleep(TROUBLE_PAUSE).await;
        }
    }
}

/// Attempts that were claimed and never ended: each may have taken its process with it.
fn poison(task: &Task) -> Error {
    let last = task.last_error.as_deref().unwrap_or("none of them came to an end");
    Error::internal(format!("given up after {} attempts: {last}", task.max_attempts))
}

async fn settle(handler: &dyn TaskHandler, ctx: &TaskContext, verdict: &Verdict, why: &Error) -> Result<()> {
    let settlement = match verdict {
        Verdict::Leave => return Ok(()),
        Verdict::Retry(at) => Settlement::RetryAt(*at, why.message().to_owned()),
        Verdict::Release => Settlement::Released,
        Verdict::GiveUp => Settlement::Dead(why.message().to_owned()),
    };
    let mut tx = ctx.begin("work.settle").await?;
    if *verdict == Verdict::GiveUp {
        let give_up = handler.give_up(ctx, &mut tx, ctx.task().payload.clone(), why);
        AssertUnwindSafe(give_up).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))?;
    }
    ctx.finish(tx, settlement).await
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Error::internal("the handler panicked").context("panic", text)
}
