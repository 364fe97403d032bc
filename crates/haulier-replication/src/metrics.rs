//! What the room counts, for `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::api::lag::SiteLag;
use crate::model::SiteId;

type OfSite = [(&'static str, String); 1];

/// The room's metrics; clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct ReplicationMetrics {
    pending_orders: Family<OfSite, Gauge>,
    pending_bytes: Family<OfSite, Gauge>,
    oldest_seconds: Family<OfSite, Gauge>,
    in_sync: Family<OfSite, Gauge>,
    delivered: Family<OfSite, Counter>,
    failures: Family<OfSite, Counter>,
    applied: Family<OfSite, Counter>,
    replaced: Counter,
}

impl ReplicationMetrics {
    /// Puts the metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let orders = "Orders that a site was not given, or has not carried out as it last said";
        registry.register("haulier_replication_pending_orders", orders, self.pending_orders.clone());
        let bytes = "Bytes of the contents that those orders are about";
        registry.register("haulier_replication_pending_bytes", bytes, self.pending_bytes.clone());
        let oldest = "Age of the oldest of those orders";
        registry.register("haulier_replication_oldest_seconds", oldest, self.oldest_seconds.clone());
        let in_sync = "1 when a site has confirmed everything, else 0";
        registry.register("haulier_replication_in_sync", in_sync, self.in_sync.clone());
        registry.register("haulier_replication_delivered", "Orders that a site took", self.delivered.clone());
        let failures = "Deliveries that a site did not take";
        registry.register("haulier_replication_delivery_failures", failures, self.failures.clone());
        registry.register("haulier_replication_applied", "Orders of other sites, by outcome", self.applied.clone());
        let replaced = "Contents that lost against another one of their name, and were kept";
        registry.register("haulier_replication_replaced", replaced, self.replaced.clone());
    }

    pub(crate) fn lag(&self, site: &SiteId, lag: &SiteLag) {
        let mut pending = lag.outgoing;
        if let Some(unapplied) = &lag.unapplied {
            pending.add(&unapplied.open);
        }
        let set = |family: &Family<OfSite, Gauge>, value: u64| {
            family.get_or_create(&of(site)).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.pending_orders, pending.orders);
        set(&self.pending_bytes, pending.bytes);
        set(&self.oldest_seconds, pending.oldest_seconds.unwrap_or_default() as u64);
        set(&self.in_sync, u64::from(lag.in_sync));
    }

    pub(crate) fn gone(&self, site: &SiteId) {
        for family in [&self.pending_orders, &self.pending_bytes, &self.oldest_seconds, &self.in_sync] {
            family.remove(&of(site));
        }
    }

    pub(crate) fn delivered(&self, site: &SiteId, orders: usize) {
        self.delivered.get_or_create(&of(site)).inc_by(orders as u64);
    }

    pub(crate) fn failed(&self, site: &SiteId) {
        self.failures.get_or_create(&of(site)).inc();
    }

    pub(crate) fn applied(&self, outcome: &str) {
        self.applied.get_or_create(&[("outcome", outcome.to_ascii_lowercase())]).inc();
    }

    pub(crate) fn replaced(&self) {
        self.replaced.inc();
    }
}

fn of(site: &SiteId) -> OfSite {
    [("site", site.to_string())]
}
