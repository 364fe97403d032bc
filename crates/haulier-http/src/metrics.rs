//! The registry of metrics that every floor registers with and `/metrics` prints.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use haulier_base::{Error, Result};
use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

/// A shared registry; cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// The media type of what [`Metrics::encode`] gives.
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Registers one metric. Counters get `_total` appended to their name when printed.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry().register(name, help, metric);
    }

    /// Lends the registry, for crates that do not know this one.
    pub fn with_registry(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry());
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> Result<String> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry())
            .map_err(|e| Error::internal("the metrics cannot be printed").caused_by(e))?;
        Ok(page)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // A panic while registering leaves a list that is still good to read.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
