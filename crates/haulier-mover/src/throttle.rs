//! Byte budgets that many moves share, changeable while they move.
//!
//! Knows no storage: callers ask before they move bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// What may be saved up while nobody takes, as a span of the rate.
const BURST: Duration = Duration::from_millis(250);

/// A rate in bytes per second that all takers share, in the order in which they ask.
#[derive(Debug)]
pub struct ByteBudget {
    rate: watch::Sender<Option<u64>>,
    // A taker keeps the lock while it waits: the lock's queue is what makes the budget fair.
    purse: Mutex<Purse>,
}

#[derive(Debug)]
struct Purse {
    bytes: f64,
    filled_at: Instant,
}

impl ByteBudget {
    /// A budget with a rate; `None` is no limit, 0 lets nothing pass until the rate changes.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            rate: watch::Sender::new(bytes_per_second),
            purse: Mutex::new(Purse { bytes: 0.0, filled_at: Instant::now() }),
        }
    }

    /// Changes the rate; those who wait now wait by the new one.
    pub fn set_rate(&self, bytes_per_second: Option<u64>) {
        self.rate.send_replace(bytes_per_second);
    }

    /// The present rate.
    pub fn rate(&self) -> Option<u64> {
        *self.rate.borrow()
    }

    /// Waits until `bytes` may move. More than the burst may be taken at once; the next taker waits it off.
    pub async fn take(&self, bytes: u64) {
        if self.rate().is_none() {
            return;
        }
        let mut purse = self.purse.lock().await;
        let mut rate = self.rate.subscribe();
        loop {
            let Some(per_second) = *rate.borrow_and_update() else { return };
            let (per_second, now) = (per_second as f64, Instant::now());
            let burst = (per_second * BURST.as_secs_f64()).max(1.0);
            let earned = (now - purse.filled_at).as_secs_f64() * per_second;
            purse.bytes = (purse.bytes + earned).min(burst);
            purse.filled_at = now;
            let missing = (bytes as f64).min(burst) - purse.bytes;
            if missing <= 0.0 {
                purse.bytes -= bytes as f64;
                return;
            }
            // A rate of 0 never fills the purse; an hour later it is looked at again.
            let wait = Duration::try_from_secs_f64(missing / per_second).unwrap_or(Duration::from_secs(3600));
            tokio::select! {
                // The extra millisecond keeps a timer's rounding from leaving a crumb missing.
                () = tokio::time::sleep(wait + Duration::from_millis(1)) => {}
                changed = rate.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// The budgets one move is under.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Shared by all moves of this node.
    pub node: Arc<ByteBudget>,
    /// This move's own.
    pub own: Arc<ByteBudget>,
}

impl Limits {
    /// No limit at all.
    pub fn none() -> Self {
        Self { node: Arc::new(ByteBudget::new(None)), own: Arc::new(ByteBudget::new(None)) }
    }

    /// Waits until both budgets let `bytes` pass. The own one is asked first, so that a slow move
    /// never holds what others of the node could use.
    pub(crate) async fn take(&self, bytes: u64) {
        self.own.take(bytes).await;
        self.node.take(bytes).await;
    }

    /// The piece to move at once: `most`, or what keeps a limited move smooth.
    pub(crate) fn piece(&self, most: u64) -> u64 {
        let rate = [self.node.rate(), self.own.rate()].into_iter().flatten().min();
        rate.map_or(most, |rate| (rate / 8).clamp(16 << 10, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds_for(budget: &ByteBudget, times: u32, bytes: u64) -> f64 {
        let start = Instant::now();
        for _ in 0..times {
            budget.take(bytes).await;
        }
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_rate_with_small_and_with_huge_pieces() {
        let budget = ByteBudget::new(Some(1000));
        let small = seconds_for(&budget, 100, 100).await;
        assert!((9.5..=10.5).contains(&small), "{small}");
        let huge = seconds_for(&budget, 3, 5000).await;
        assert!((9.5..=15.5).contains(&huge), "{huge}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_saves_up_less_than_a_second() {
        let budget = ByteBudget::new(Some(1000));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let took = seconds_for(&budget, 50, 100).await;
        assert!(took > 4.0, "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_rate_reaches_those_who_wait() {
        let budget = ByteBudget::new(Some(0));
        let start = Instant::now();
        tokio::join!(budget.take(1000), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            budget.set_rate(None);
        });
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn takers_share_evenly() {
        let budget = ByteBudget::new(Some(1000));
        let taker = |bytes| {
            let budget = &budget;
            async move {
                let mut taken = 0u64;
                let end = Instant::now() + Duration::from_secs(20);
                while Instant::now() < end {
                    budget.take(bytes).await;
                    taken += bytes;
                }
                taken
            }
        };
        let (a, b, c) = tokio::join!(taker(100), taker(100), taker(100));
        assert!(a.abs_diff(b) <= 200 && b.abs_diff(c) <= 200, "{a} {b} {c}");
        assert!((19_000..=21_500).contains(&(a + b + c)), "{}", a + b + c);
    }
}
