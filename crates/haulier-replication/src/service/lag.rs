//! How far behind the sites are, as far as each of them has confirmed; and the orders and losers behind it.

use std::collections::BTreeMap;

use haulier_base::{Error, Result, Timestamp};

use super::Replication;
use crate::api::Instant;
use crate::api::lag::{
    Amount, BucketLag, Incoming, KeptPage, OrderPage, OrderView, ReceivedReport, ReplicationStatus, SiteLag, Unapplied,
    UnappliedInBucket,
};
use crate::model::{BucketName, OrderState, RecordId, SiteId, SiteStatus};
use crate::store::deliveries::{self, Delivery, Pending};
use crate::store::kept::Kept;
use crate::store::sites::{self, SiteRow};
use crate::store::{kept, orders, outbox, trash};

/// Buckets in one report.
const BUCKETS_MAX: usize = 1000;
/// The state word of dead letters.
pub(crate) const DEAD: &str = "DEAD";

/// Names an order for a person: a received one, or one that another site refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderId {
    Received(i64),
    Dead(i64),
}

impl OrderId {
    /// Reads what [`OrderView`] prints.
    ///
    /// # Errors
    /// `NotFound` when it can name none.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let seq = |digits: &str| digits.parse().ok().filter(|seq| *seq > 0);
        let read = match text.split_at_checked(1) {
            Some(("r", digits)) => seq(digits).map(Self::Received),
            Some(("d", digits)) => seq(digits).map(Self::Dead),
            _ => None,
        };
        read.ok_or_else(|| no_order(text))
    }
}

fn no_order(id: &str) -> Error {
    let shown: String = id.chars().take(32).collect();
    Error::not_found(format!("there is no order {shown} that waits or has ended"))
}

impl Replication {
    /// How far behind everything is.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn status(&self) -> Result<ReplicationStatus> {
        let inner = &self.inner;
        let mut tx = inner.catalog.read().await?;
        let now = tx.now();
        let rows = sites::list(&mut tx, None).await?;
        let (outgoing, incoming) = (deliveries::outbox(&mut tx).await?, deliveries::inbox(&mut tx, None).await?);
        let kept = kept::count(&mut tx).await?;
        let mut sites = Vec::new();
        for row in rows.iter().filter(|row| row.site.id != inner.site && row.site.status != SiteStatus::Deleted) {
            let Some(delivery) = deliveries::find(&mut tx, &row.site.id).await? else { continue };
            let own: Vec<_> = outgoing.iter().filter(|pending| pending.site.as_ref() == Some(&row.site.id)).collect();
            sites.push(site_lag(row, delivery, &own, now));
        }
        drop(tx);
        let incoming = incoming_by_source(&incoming, now);
        let settled = incoming.iter().all(|incoming| incoming.unapplied.is_clear());
        let in_sync = settled && sites.iter().all(|site| site.in_sync || site.status == SiteStatus::Unknown.as_str());
        Ok(ReplicationStatus { site: inner.site.to_string(), in_sync, sites, incoming, kept })
    }

    /// What is not carried out of what a site sent.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn report_to(&self, source: &SiteId) -> Result<ReceivedReport> {
        let mut tx = self.inner.catalog.read().await?;
        let now = tx.now();
        let pending = deliveries::inbox(&mut tx, Some(source)).await?;
        let (total, mut buckets) = by_bucket(pending.iter(), now);
        buckets.truncate(BUCKETS_MAX);
        Ok(ReceivedReport { total, buckets })
    }

    /// A page of received orders, or of dead letters.
    ///
    /// # Errors
    /// `Invalid` for a state that there is not, or a marker that is none.
    pub(crate) async fn orders(&self, state: Option<&str>, after: Option<&str>, limit: usize) -> Result<OrderPage> {
        let after = after.map(OrderId::read).transpose().map_err(|_| Error::invalid("after: names no order"))?;
        let after = after.map_or(0, |(OrderId::Received(seq) | OrderId::Dead(seq))| seq);
        let mut tx = self.inner.catalog.read().await?;
        let mut orders: Vec<_> = match state {
            Some(DEAD) => {
                let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
                outbox::dead(&mut tx, after, wanted).await?.into_iter().map(OrderView::dead).collect()
            }
            state => {
                let state: Option<OrderState> = state.map(str::parse).transpose().map_err(|error: Error| {
                    Error::invalid(format!("state: {error}, or DEAD for what other sites refused"))
                })?;
                let page = orders::list(&mut tx, state, after, limit + 1).await?;
                page.into_iter().map(OrderView::received).collect()
            }
        };
        let more = orders.len() > limit;
        orders.truncate(limit);
        let next = orders.last().filter(|_| more).map(|last| last.id.clone());
        Ok(OrderPage { orders, next })
    }

    /// Tries an order again that waits, failed, or was refused.
    ///
    /// # Errors
    /// `NotFound` when there is none such.
    pub(crate) async fn retry_order(&self, id: &str) -> Result<()> {
        let mut tx = self.inner.catalog.begin("replication.retry").await?;
        let found = match OrderId::read(id)? {
            OrderId::Received(seq) => orders::retry(&mut tx, seq).await?,
            OrderId::Dead(seq) => outbox::revive(&mut tx, seq).await?,
        };
        if !found {
            return Err(no_order(id));
        }
        tx.commit().await?;
        self.inner.bells.orders.ring();
        self.inner.bells.outbox.ring();
        Ok(())
    }

    /// Forgets an order that waits, failed, or was refused.
    ///
    /// # Errors
    /// `NotFound` when there is none such.
    pub(crate) async fn drop_order(&self, id: &str) -> Result<()> {
        let mut tx = self.inner.catalog.begin("replication.drop").await?;
        let found = match OrderId::read(id)? {
            OrderId::Received(seq) => match orders::drop_one(&mut tx, seq).await? {
                Some(record) => {
                    trash::add(&mut tx, &record).await?;
                    true
                }
                None => false,
            },
            OrderId::Dead(seq) => outbox::drop_dead(&mut tx, seq).await?,
        };
        if !found {
            return Err(no_order(id));
        }
        tracing::warn!(order = id, "an order was dropped by hand");
        tx.commit().await
    }

    /// A page of versions that lost.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn conflicts(&self, bucket: Option<&BucketName>, after: &str, limit: usize) -> Result<KeptPage> {
        let mut tx = self.inner.catalog.read().await?;
        let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut page = kept::list(&mut tx, bucket, after, wanted).await?;
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(KeptPage { conflicts: page.into_iter().map(Into::into).collect(), next })
    }

    /// A version that lost.
    ///
    /// # Errors
    /// `NotFound` when there is none of that id.
    pub(crate) async fn conflict(&self, id: &RecordId) -> Result<Kept> {
        let found = kept::find(&mut self.inner.catalog.read().await?, id).await?;
        found.ok_or_else(|| Error::not_found("no version of that id is kept; its time may be over"))
    }
}

fn site_lag(row: &SiteRow, delivery: Delivery, pending: &[&Pending], now: Timestamp) -> SiteLag {
    let report = delivery.report.clone().and_then(|report| serde_json::from_value::<ReceivedReport>(report).ok());
    let report = report.map(|report| grown(report, delivery.reported_at, now));
    let mut buckets = BTreeMap::<String, BucketLag>::new();
    let (mut outgoing, mut dead_letters) = (Amount::default(), 0);
    for pending in pending {
        let name = pending.bucket.to_string();
        let bucket = buckets.entry(name.clone()).or_insert_with(|| BucketLag { bucket: name, ..BucketLag::default() });
        if pending.state == DEAD {
            bucket.dead_letters += pending.orders;
            dead_letters += pending.orders;
        } else {
            bucket.outgoing.add(&amount(pending, now));
            outgoing.add(&amount(pending, now));
        }
    }
    for told in report.iter().flat_map(|report| &report.buckets) {
        let name = told.bucket.clone();
        let bucket = buckets.entry(name.clone()).or_insert_with(|| BucketLag { bucket: name, ..BucketLag::default() });
        bucket.unapplied = told.unapplied.clone();
    }
    let reason = reason(row.site.status, &delivery, &outgoing, dead_letters, report.as_ref());
    SiteLag {
        site: row.site.id.to_string(),
        status: row.site.status.to_string(),
        in_sync: reason.is_none(),
        reason,
        outgoing,
        dead_letters,
        unapplied: report.map(|report| report.total),
        reported_at: delivery.reported_at.map(Instant),
        last_success_at: delivery.delivered_at.map(Instant),
        last_error: delivery.problem,
        last_error_at: delivery.problem_at.map(Instant),
        failures: delivery.failures,
        retry_at: delivery.retry_at.map(Instant),
        buckets: buckets.into_values().collect(),
    }
}

/// Why a site is not known to be in sync; none only when it has confirmed everything since it last took something.
fn reason(
    status: SiteStatus,
    delivery: &Delivery,
    outgoing: &Amount,
    dead_letters: u64,
    report: Option<&ReceivedReport>,
) -> Option<String> {
    let confirmed = match (delivery.reported_at, delivery.delivered_at) {
        (Some(reported), Some(delivered)) => reported >= delivered,
        (reported, _) => reported.is_some(),
    };
    let failing = || delivery.problem.clone().unwrap_or_else(|| "it cannot be reached".to_owned());
    let unapplied = report.map(|report| &report.total);
    match () {
        () if status == SiteStatus::Unknown => Some("its status is UNKNOWN, so it gets no orders".to_owned()),
        () if outgoing.orders > 0 && delivery.failures > 0 => {
            Some(format!("{} orders are not delivered: {}", outgoing.orders, failing()))
        }
        () if outgoing.orders > 0 => Some(format!("{} orders are not delivered", outgoing.orders)),
        () if dead_letters > 0 => Some(format!("it refused {dead_letters} orders for good")),
        () if status == SiteStatus::Down => Some("it is DOWN".to_owned()),
        () if delivery.failures > 0 => Some(failing()),
        () if !confirmed => Some("it has not said yet what became of the orders it took".to_owned()),
        () => match unapplied {
            None => Some("it does not say what becomes of the orders it takes".to_owned()),
            Some(unapplied) if unapplied.open.orders > 0 => Some(format!(
                "it has not carried out {} orders, {} of which wait",
                unapplied.open.orders, unapplied.waiting
            )),
            Some(unapplied) if unapplied.failed > 0 => Some(format!("it gave up {} orders", unapplied.failed)),
            Some(unapplied) if unapplied.conflicts > 0 => {
                Some(format!("{} orders contradict what it has", unapplied.conflicts))
            }
            Some(_) => None,
        },
    }
}

/// A report's ages as of now.
fn grown(mut report: ReceivedReport, reported_at: Option<Timestamp>, now: Timestamp) -> ReceivedReport {
    let since = reported_at.map_or(0.0, |at| now.since(at).as_secs_f64());
    let grow = |unapplied: &mut Unapplied| {
        if let Some(age) = &mut unapplied.open.oldest_seconds {
            *age += since;
        }
    };
    grow(&mut report.total);
    report.buckets.iter_mut().for_each(|bucket| grow(&mut bucket.unapplied));
    report
}

fn incoming_by_source(all: &[Pending], now: Timestamp) -> Vec<Incoming> {
    let mut sources = BTreeMap::<Option<&SiteId>, Vec<&Pending>>::new();
    for pending in all {
        sources.entry(pending.site.as_ref()).or_default().push(pending);
    }
    let incoming = |(site, pending): (Option<&SiteId>, Vec<&Pending>)| {
        let (unapplied, buckets) = by_bucket(pending.into_iter(), now);
        Incoming { site: site.map(ToString::to_string), unapplied, buckets }
    };
    sources.into_iter().map(incoming).collect()
}

fn by_bucket<'a>(all: impl Iterator<Item = &'a Pending>, now: Timestamp) -> (Unapplied, Vec<UnappliedInBucket>) {
    let (mut total, mut buckets) = (Unapplied::default(), BTreeMap::<String, Unapplied>::new());
    for pending in all {
        let unapplied = unapplied(pending, now);
        total.add(&unapplied);
        buckets.entry(pending.bucket.to_string()).or_default().add(&unapplied);
    }
    let named = |(bucket, unapplied)| UnappliedInBucket { bucket, unapplied };
    (total, buckets.into_iter().map(named).collect())
}

fn unapplied(pending: &Pending, now: Timestamp) -> Unapplied {
    let is = |state: OrderState| pending.state == state.as_str();
    let mut unapplied = Unapplied::default();
    if is(OrderState::Failed) {
        unapplied.failed = pending.orders;
    } else if is(OrderState::Conflict) {
        unapplied.conflicts = pending.orders;
    } else {
        unapplied.open = amount(pending, now);
        unapplied.waiting = if is(OrderState::Wait) { pending.orders } else { 0 };
    }
    unapplied
}

fn amount(pending: &Pending, now: Timestamp) -> Amount {
    let oldest_seconds = pending.oldest_at.map(|at| now.since(at).as_secs_f64());
    Amount { orders: pending.orders, bytes: pending.bytes, oldest_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            delivered_at: Some(Timestamp::from_micros(5)),
            reported_at: Some(Timestamp::from_micros(6)),
            report: None,
            failures: 0,
            retry_at: None,
            problem: None,
            problem_at: None,
        }
    }

    fn why(
        status: SiteStatus,
        delivery: &Delivery,
        outgoing: u64,
        dead: u64,
        report: Option<Unapplied>,
    ) -> Option<String> {
        let outgoing = Amount { orders: outgoing, ..Amount::default() };
        let report = report.map(|total| ReceivedReport { total, buckets: Vec::new() });
        reason(status, delivery, &outgoing, dead, report.as_ref())
    }

    #[test]
    fn in_sync_is_said_when_everything_was_confirmed_and_never_else() {
        let clear = || Some(Unapplied::default());
        assert_eq!(why(SiteStatus::Up, &delivery(), 0, 0, clear()), None);
        let open = Amount { orders: 1, ..Amount::default() };
        let early = Delivery { reported_at: Some(Timestamp::from_micros(4)), ..delivery() };
        let never = Delivery { reported_at: None, ..delivery() };
        let failing = Delivery { failures: 1, ..delivery() };
        for (status, delivery, outgoing, dead, report) in [
            (SiteStatus::Up, &delivery(), 1, 0, clear()),
            (SiteStatus::Up, &delivery(), 0, 1, clear()),
            (SiteStatus::Down, &delivery(), 0, 0, clear()),
            (SiteStatus::Unknown, &delivery(), 0, 0, clear()),
            (SiteStatus::Up, &early, 0, 0, clear()),
            (SiteStatus::Up, &never, 0, 0, clear()),
            (SiteStatus::Up, &failing, 0, 0, clear()),
            (SiteStatus::Up, &delivery(), 0, 0, None),
            (SiteStatus::Up, &delivery(), 0, 0, Some(Unapplied { open, ..Unapplied::default() })),
            (SiteStatus::Up, &delivery(), 0, 0, Some(Unapplied { failed: 1, ..Unapplied::default() })),
            (SiteStatus::Up, &delivery(), 0, 0, Some(Unapplied { conflicts: 1, ..Unapplied::default() })),
        ] {
            assert!(
                why(status, delivery, outgoing, dead, report.clone()).is_some(),
                "{status} {delivery:?} {report:?}"
            );
        }
    }

    #[test]
    fn ids_of_orders() {
        assert_eq!(OrderId::read("r12").unwrap(), OrderId::Received(12));
        assert_eq!(OrderId::read("d1").unwrap(), OrderId::Dead(1));
        for bad in ["", "r", "12", "r-1", "x1", "é1", "r0"] {
            assert!(OrderId::read(bad).is_err(), "{bad}");
        }
    }
}
