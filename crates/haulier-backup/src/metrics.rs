//! What the room counts, for `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use haulier_base::Timestamp;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::health::Alarm;

/// Nothing is counted again before: whoever asks for metrics has not said who he is.
const KEPT: Duration = Duration::from_secs(5);

/// The room's metrics; clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct BackupMetrics {
    alarms: Family<[(&'static str, &'static str); 1], Gauge>,
    counted_at: Arc<Mutex<Option<Timestamp>>>,
}

impl BackupMetrics {
    /// Puts the metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        // Known from the beginning, so that an alert on one that is missing never fires by mistake.
        for alarm in Alarm::ALL {
            drop(self.of(alarm));
        }
        let about =
            "Jobs, clients and backups that somebody should look at; all processes of a catalogue show the same";
        registry.register("haulier_backup_alarms", about, self.alarms.clone());
    }

    /// Whether it is time to count; whoever is told so counts.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let mut counted_at = self.counted_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = counted_at.is_none_or(|at| now.since(at) >= KEPT || at > now);
        if is_due {
            *counted_at = Some(now);
        }
        is_due
    }

    pub(crate) fn found(&self, alarm: Alarm, count: i64) {
        self.of(alarm).set(count);
    }

    fn of(&self, alarm: Alarm) -> Gauge {
        self.alarms.get_or_create(&[("alarm", alarm.as_str())]).clone()
    }
}
