//! How long to wait before trying again: doubling, capped, with jitter that the caller supplies.

use std::time::Duration;

/// A doubling series of waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// No wait is longer than this, unless the other side asks for more.
    pub cap: Duration,
    /// How many attempts are made in all, 1 or more.
    pub attempts: u32,
}

impl Backoff {
    /// The wait after the `failed`-th attempt (1 is the first), or none when no attempt is left.
    ///
    /// `jitter` in 0.0..=1.0 shortens the wait by up to a quarter, so that many clients spread out.
    pub fn wait(&self, failed: u32, jitter: f64) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let doubled = self.first.saturating_mul(1u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX));
        Some(doubled.min(self.cap).mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_ends() {
        let backoff = Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(3), attempts: 5 };
        let waits: Vec<_> = (1..=5).map(|n| backoff.wait(n, 0.0).map(|w| w.as_millis())).collect();
        assert_eq!(waits, [Some(500), Some(1000), Some(2000), Some(3000), None]);
        assert_eq!(backoff.wait(1, 1.0), Some(Duration::from_millis(375)));
    }
}
