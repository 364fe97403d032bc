//! Gives committed events their place in the line, and wakes readers. One process at a time does it.

use std::time::Duration;

use haulier_base::{Result, id};
use haulier_catalog::{Catalog, events, leases};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const ROLE: &str = "dispatcher";
const HELD_FOR: Duration = Duration::from_secs(15);
const RENEW_AFTER: Duration = Duration::from_secs(5);
const POLL_EVERY: Duration = Duration::from_secs(1);
const BATCH: u32 = 500;
/// Between two batches: what commits meanwhile shares one, and one commit of ours.
const PAUSE: Duration = Duration::from_millis(5);

/// The loop that positions events.
#[derive(Debug)]
pub struct Dispatcher {
    catalog: Catalog,
    holder: String,
    /// When the role was last confirmed, if it is ours.
    confirmed: Option<Instant>,
}

impl Dispatcher {
    /// Runs until `stop`; errors are logged and tried again.
    pub async fn run(catalog: Catalog, stop: CancellationToken) {
        let mut dispatcher = Self { catalog, holder: id::random_uuid(), confirmed: None };
        loop {
            let woken = dispatcher.catalog.woken();
            if let Err(error) = dispatcher.step().await {
                tracing::warn!(error.chain = ?error, "events wait for their positions: {error}");
            }
            tokio::select! {
                () = woken => sleep(PAUSE).await,
                () = sleep(POLL_EVERY) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = dispatcher.leave().await {
            tracing::debug!("the dispatcher's role stays taken until it runs out: {error}");
        }
    }

    async fn step(&mut self) -> Result<()> {
        if !self.hold().await? {
            return Ok(());
        }
        let mut placed_any = false;
        loop {
            let mut tx = self.catalog.begin("work.position").await?;
            let placed = events::position_pending(&mut tx, BATCH).await?;
            tx.commit().await?;
            placed_any |= placed > 0;
            if placed < u64::from(BATCH) {
                break;
            }
        }
        if placed_any {
            self.catalog.wake_workers();
        }
        Ok(())
    }

    async fn hold(&mut self) -> Result<bool> {
        if self.confirmed.is_some_and(|at| at.elapsed() < RENEW_AFTER) {
            return Ok(true);
        }
        let sent = Instant::now();
        let mut tx = self.catalog.begin("work.dispatcher").await?;
        let ours = leases::hold(&mut tx, ROLE, &self.holder, HELD_FOR).await?;
        tx.commit().await?;
        self.confirmed = ours.then_some(sent);
        Ok(ours)
    }

    async fn leave(&self) -> Result<()> {
        if self.confirmed.is_none() {
            return Ok(());
        }
        let mut tx = self.catalog.begin("work.dispatcher").await?;
        leases::release(&mut tx, ROLE, &self.holder).await?;
        tx.commit().await
    }
}
