//! What the room counts, for `/metrics`.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::health::Alarm;

/// The room's metrics; clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct BackupMetrics {
    alarms: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl BackupMetrics {
    /// Puts the metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        // Known from the beginning, so that an alert on one that is missing never fires by mistake.
        Alarm::ALL.into_iter().for_each(|alarm| self.found(alarm, 0));
        let about =
            "Jobs, clients and backups that somebody should look at; all processes of a catalogue show the same";
        registry.register("haulier_backup_alarms", about, self.alarms.clone());
    }

    pub(crate) fn found(&self, alarm: Alarm, count: i64) {
        self.alarms.get_or_create(&[("alarm", alarm.as_str())]).set(count);
    }
}
