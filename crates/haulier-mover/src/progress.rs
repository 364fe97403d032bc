//! What a running move has done so far, for whoever samples it.
//!
//! Tells nobody: readers look when they like.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const UNKNOWN: u64 = u64::MAX;

/// Counters of one move, shared by reference with its watchers.
#[derive(Debug)]
pub struct Progress {
    total: AtomicU64,
    written: AtomicU64,
    safe: AtomicU64,
}

/// One look at a `Progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressView {
    /// Length of the range, when it is known.
    pub total: Option<u64>,
    /// Bytes handed to the target in this attempt, whether or not they are safe yet.
    pub written: u64,
    /// Bytes from the start that no crash can take away.
    pub safe: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { total: AtomicU64::new(UNKNOWN), written: AtomicU64::new(0), safe: AtomicU64::new(0) }
    }
}

impl Progress {
    /// Nothing done, nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The present numbers.
    pub fn view(&self) -> ProgressView {
        let total = self.total.load(Relaxed);
        ProgressView {
            total: (total != UNKNOWN).then_some(total),
            written: self.written.load(Relaxed),
            safe: self.safe.load(Relaxed),
        }
    }

    pub(crate) fn begin(&self, total: Option<u64>, safe: u64) {
        self.total.store(total.unwrap_or(UNKNOWN), Relaxed);
        self.written.store(0, Relaxed);
        self.safe.store(safe, Relaxed);
    }

    pub(crate) fn add_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn set_safe(&self, safe: u64) {
        self.safe.store(safe, Relaxed);
    }
}

impl ProgressView {
    /// Bytes per second since an earlier look.
    pub fn rate_since(&self, earlier: &Self, elapsed: Duration) -> f64 {
        let moved = self.written.saturating_sub(earlier.written) as f64;
        if elapsed.is_zero() { 0.0 } else { moved / elapsed.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_looks() {
        let progress = Progress::new();
        progress.begin(None, 7);
        let first = progress.view();
        progress.add_written(300);
        assert_eq!(first, ProgressView { total: None, written: 0, safe: 7 });
        assert_eq!(progress.view().rate_since(&first, Duration::from_secs(2)), 150.0);
        assert_eq!(progress.view().rate_since(&first, Duration::ZERO), 0.0);
    }
}
