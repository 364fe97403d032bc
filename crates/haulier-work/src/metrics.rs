//! What the runner counts.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The runner's metrics; clones share their counts.
#[derive(Clone, Debug)]
pub struct WorkMetrics {
    pub(crate) running: Gauge,
    settled: Family<[(&'static str, String); 2], Counter>,
    claim_seconds: Histogram,
}

impl Default for WorkMetrics {
    fn default() -> Self {
        let claim_seconds = Histogram::new(exponential_buckets(0.0005, 2.5, 12));
        Self { running: Gauge::default(), settled: Family::default(), claim_seconds }
    }
}

impl WorkMetrics {
    /// Puts the metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("haulier_work_tasks_running", "Tasks being run by this process", self.running.clone());
        registry.register("haulier_work_tasks_settled", "Attempts ended, by outcome", self.settled.clone());
        registry.register("haulier_work_claim_seconds", "Time to claim a batch", self.claim_seconds.clone());
    }

    pub(crate) fn settled(&self, kind: &str, outcome: &str) {
        self.settled.get_or_create(&[("kind", kind.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn claimed(&self, took: Duration) {
        self.claim_seconds.observe(took.as_secs_f64());
    }
}
