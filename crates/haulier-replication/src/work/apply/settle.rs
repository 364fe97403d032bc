//! What an order changes in the records, in the transaction that ends it. Awaits neither storage nor network.

use std::collections::BTreeMap;
use std::time::Duration;

use haulier_base::{Backoff, Result, Timestamp};
use haulier_catalog::Tx;

use super::desk::{Ending, Request, Settled};
use crate::model::{
    Action, Bucket, BucketName, Object, ObjectName, OrderState, Rights, Status, next_event, whole_millis,
};
use crate::resolve::{Arrival, Burial, Version, arrive, bury};
use crate::service::Inner;
use crate::store::orders::{self, Received};
use crate::store::{buckets, kept, objects, ownerships, trash};

/// Between two tries of an order.
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(60), attempts: u32::MAX };
/// So often may bytes come that are not those that were promised (§5.3).
const MISMATCHES_MAX: u32 = 5;

/// One transaction of the desk.
pub(super) struct Settling<'a> {
    inner: &'a Inner,
    buckets: BTreeMap<BucketName, Option<Bucket>>,
    done: Vec<i64>,
    trashed: bool,
    /// What is logged once it is so.
    replaced: Vec<String>,
    /// How orders ended, to be counted.
    outcomes: Vec<&'static str>,
}

/// How an order ends.
enum Verdict {
    Done,
    End(OrderState, String),
    Wait { why: String, mismatch: bool },
    NeedsBytes,
}

fn ignored(why: impl Into<String>) -> Verdict {
    Verdict::End(OrderState::Ignored, why.into())
}

fn conflict(why: impl Into<String>) -> Verdict {
    Verdict::End(OrderState::Conflict, why.into())
}

fn wait(why: impl Into<String>) -> Verdict {
    Verdict::Wait { why: why.into(), mismatch: false }
}

impl<'a> Settling<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        Self {
            inner,
            buckets: BTreeMap::new(),
            done: Vec::new(),
            trashed: false,
            replaced: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    /// Holds all buckets that objects go into, in one order and before any object, so that nobody waits in a circle.
    pub(super) async fn hold_buckets(&mut self, tx: &mut Tx, requests: &[Request]) -> Result<()> {
        for request in requests {
            if let Request::Settle(received, Ending::Arrive { .. }) = request {
                self.buckets.insert(received.order.bucket.clone(), None);
            }
        }
        for (name, bucket) in &mut self.buckets {
            *bucket = buckets::find_for_share(tx, name).await?;
        }
        Ok(())
    }

    pub(super) async fn write(&mut self, tx: &mut Tx, request: &Request) -> Result<Settled> {
        match request {
            Request::Point(seq, point) => orders::save_point(tx, *seq, point.as_ref()).await?,
            Request::Hurry(site) => drop(orders::hurry(tx, site).await?),
            Request::Bucket(bucket) => self.adopt(tx, bucket).await?,
            Request::Settle(received, ending) => return self.settle(tx, received, ending).await,
        }
        Ok(Settled::Yes)
    }

    /// The last statements.
    pub(super) async fn close(&mut self, tx: &mut Tx) -> Result<()> {
        orders::done(tx, &self.done).await
    }

    /// Says what became so.
    pub(super) fn tell(&self) {
        if self.trashed {
            self.inner.bells.trash.ring();
        }
        for replaced in &self.replaced {
            tracing::warn!("{replaced}");
            self.inner.metrics.replaced();
        }
        for outcome in &self.outcomes {
            self.inner.metrics.applied(outcome);
        }
    }

    async fn settle(&mut self, tx: &mut Tx, received: &Received, ending: &Ending) -> Result<Settled> {
        let mut used = false;
        let verdict = match ending {
            Ending::Done => Verdict::Done,
            Ending::End(state, why) => Verdict::End(*state, why.clone()),
            Ending::Wait { why, mismatch } => Verdict::Wait { why: why.clone(), mismatch: *mismatch },
            Ending::Arrive { version, stored, repairs } => {
                self.store(tx, received, version, (*stored, *repairs), &mut used).await?
            }
            Ending::Judge => match (&received.order.object, received.order.action) {
                (None, Action::Create) => self.create_bucket(tx, received).await?,
                (None, Action::Delete) => self.delete_bucket(tx, received).await?,
                (Some(name), Action::Delete) => self.bury(tx, received, name, &mut used).await?,
                (None, Action::Update) => Verdict::Done,
                (_, action) => ignored(format!("{action} asks for nothing")),
            },
        };
        let over = match verdict {
            Verdict::NeedsBytes => return Ok(Settled::NeedsBytes),
            Verdict::Done => {
                self.done.push(received.seq);
                self.outcomes.push("done");
                true
            }
            Verdict::End(state, why) => {
                tracing::info!(order = received.seq, %state, "an order from {} ends: {why}", from(received));
                orders::end(tx, received.seq, state, &why).await?;
                self.outcomes.push(state.as_str());
                true
            }
            Verdict::Wait { mismatch: true, why } if received.mismatches + 1 >= MISMATCHES_MAX => {
                self.fail_upload(tx, received).await?;
                let why = format!("given up after {MISMATCHES_MAX} contents that were not the one promised: {why}");
                tracing::warn!(order = received.seq, "an order from {} failed: {why}", from(received));
                orders::end(tx, received.seq, OrderState::Failed, &why).await?;
                self.outcomes.push(OrderState::Failed.as_str());
                true
            }
            Verdict::Wait { mismatch, why } => {
                let jitter = (received.seq % 16) as f64 / 16.0;
                let after = RETRY.wait(received.attempts.saturating_add(1).min(30), jitter).unwrap_or(RETRY.cap);
                let until = tx.now().plus(after);
                orders::wait(tx, received, until, &why, mismatch).await?;
                self.outcomes.push(OrderState::Wait.as_str());
                false
            }
        };
        let touched = received.attempts > 0 || received.resume.is_some() || received.state == OrderState::Running;
        let stored = matches!(ending, Ending::Arrive { stored: true, .. });
        if over && !used && (touched || stored) {
            trash::add(tx, &received.record).await?;
            self.trashed = true;
        }
        Ok(Settled::Yes)
    }

    /// A version of an object arrived (§5.3 object CREATE 2 and 5, UPDATE, §5.4).
    async fn store(
        &mut self,
        tx: &mut Tx,
        received: &Received,
        version: &Version,
        (stored, repairs): (bool, bool),
        used: &mut bool,
    ) -> Result<Verdict> {
        let bucket = self.buckets.get(&received.order.bucket).and_then(Option::as_ref);
        if bucket.is_none_or(|bucket| bucket.status != Status::Ready) {
            return Ok(wait("its bucket was deleted meanwhile"));
        }
        let Some(name) = &received.order.object else { return Ok(ignored("it names no object")) };
        let here = objects::find_for_update(tx, &received.order.bucket, name).await?;
        let uploading = is_uploading(tx, here.as_ref()).await?;
        let arrival = arrive(here.as_ref(), uploading, version);
        match arrival {
            Arrival::Busy => return Ok(wait("an upload of that name is under way")),
            Arrival::Loses => return Ok(ignored("what is here is newer")),
            Arrival::Buried => return Ok(ignored("it was deleted since")),
            Arrival::Same if !repairs => return Ok(Verdict::Done),
            Arrival::Store | Arrival::Replace if !stored => return Ok(Verdict::NeedsBytes),
            _ => {}
        }
        let Some(before) = here else {
            *used = true;
            objects::insert(tx, &self.ready(received, name, version)).await?;
            return Ok(Verdict::Done);
        };
        let bytes_stay = !stored || arrival == Arrival::Describe && !repairs;
        let mut after = self.ready(received, name, version);
        if bytes_stay {
            after.id = before.id.clone();
        } else {
            *used = true;
        }
        objects::replace(tx, (&before.id, before.status), &after).await?;
        if arrival == Arrival::Replace {
            let until = tx.now().plus(self.inner.config.tombstones_for());
            kept::keep(tx, &before, &version.described.sha256, until).await?;
            self.replaced.push(format!(
                "{}/{name}: the content {} of {} lost against {} of {}, and is kept",
                before.bucket,
                before.sha256.as_deref().unwrap_or_default(),
                before.origin,
                version.described.sha256,
                version.origin
            ));
        } else if !bytes_stay {
            trash::add(tx, &before.id).await?;
            self.trashed = true;
        }
        Ok(Verdict::Done)
    }

    fn ready(&self, received: &Received, name: &ObjectName, version: &Version) -> Object {
        let described = &version.described;
        Object {
            id: received.record.clone(),
            bucket: received.order.bucket.clone(),
            name: name.clone(),
            status: Status::Ready,
            created_at: described.created_at,
            event_at: described.created_at,
            expires_at: described.expires_at,
            size_bytes: described.size_bytes,
            sha256: Some(described.sha256.clone()),
            metadata: described.metadata.clone(),
            origin: version.origin.clone(),
            buried_at: None,
        }
    }

    /// Object DELETE (§5.3).
    async fn bury(&mut self, tx: &mut Tx, received: &Received, name: &ObjectName, used: &mut bool) -> Result<Verdict> {
        let order = &received.order;
        let here = objects::find_for_update(tx, &order.bucket, name).await?;
        let uploading = is_uploading(tx, here.as_ref()).await?;
        let burial = bury(here.as_ref(), uploading, order.event_at.map(whole_millis), tx.now());
        let at = match burial {
            Burial::Busy => return Ok(wait("an upload of that name is under way")),
            Burial::Loses => return Ok(ignored("what is here was created after that deletion")),
            Burial::Nothing => return Ok(Verdict::Done),
            Burial::Remember(at) | Burial::Delete(at) | Burial::Deepen(at) => at,
        };
        let tombstone = Object {
            id: here.as_ref().map_or_else(|| received.record.clone(), |before| before.id.clone()),
            bucket: order.bucket.clone(),
            name: name.clone(),
            status: Status::Deleted,
            created_at: at,
            event_at: at,
            expires_at: Some(self.forget_at(tx)),
            size_bytes: 0,
            sha256: None,
            metadata: Default::default(),
            origin: order.from.clone().unwrap_or_else(|| self.inner.site.clone()),
            buried_at: None,
        };
        let Some(before) = here else {
            *used = true;
            objects::insert(tx, &tombstone).await?;
            return Ok(Verdict::Done);
        };
        objects::replace(tx, (&before.id, before.status), &tombstone).await?;
        if matches!(burial, Burial::Delete(_)) {
            trash::add(tx, &before.id).await?;
            self.trashed = true;
        }
        Ok(Verdict::Done)
    }

    /// Bucket CREATE (§5.3).
    async fn create_bucket(&mut self, tx: &mut Tx, received: &Received) -> Result<Verdict> {
        let order = &received.order;
        let here = buckets::find_for_update(tx, &order.bucket).await?;
        let event = order.event_at.map(whole_millis);
        let before = here.as_ref().map(|bucket| bucket.event_at);
        match &here {
            Some(bucket) if bucket.status == Status::Ready && bucket.client == order.client => {
                return Ok(Verdict::Done);
            }
            Some(bucket) if bucket.status == Status::Ready => {
                return Ok(conflict(format!("the bucket belongs to {} here", bucket.client)));
            }
            Some(bucket) if bucket.status.is_buried() && event.is_some_and(|event| event <= bucket.event_at) => {
                return Ok(ignored("the bucket was deleted since"));
            }
            _ => {}
        }
        let at = event.unwrap_or_else(|| next_event(tx.now(), before));
        let bucket = Bucket {
            name: order.bucket.clone(),
            client: order.client.clone(),
            status: Status::Ready,
            created_at: at,
            event_at: at,
            expires_at: None,
        };
        self.put_bucket(tx, bucket, here.is_some()).await?;
        Ok(Verdict::Done)
    }

    /// Bucket DELETE (§5.3).
    async fn delete_bucket(&mut self, tx: &mut Tx, received: &Received) -> Result<Verdict> {
        let order = &received.order;
        let here = buckets::find_for_update(tx, &order.bucket).await?;
        let before = here.as_ref().map(|bucket| bucket.event_at);
        let at = order.event_at.map_or_else(|| next_event(tx.now(), before), whole_millis);
        if let Some(bucket) = &here {
            if bucket.status.is_buried() && at <= bucket.event_at {
                return Ok(Verdict::Done);
            }
            if bucket.status == Status::Ready {
                if bucket.client != order.client {
                    return Ok(conflict(format!("the bucket belongs to {} here", bucket.client)));
                }
                if at < bucket.created_at {
                    return Ok(ignored("the bucket was created after that deletion"));
                }
                if objects::any_in(tx, &order.bucket, false).await? {
                    return Ok(match orders::is_object_asked_before(tx, &order.bucket, received.seq).await? {
                        true => wait("the bucket holds objects, and orders about them are not finished"),
                        false => conflict("the bucket holds objects"),
                    });
                }
                if objects::any_in(tx, &order.bucket, true).await? {
                    return Ok(wait("something is just being uploaded into the bucket"));
                }
            }
        }
        let tombstone = Bucket {
            name: order.bucket.clone(),
            client: order.client.clone(),
            status: Status::Deleted,
            created_at: at,
            event_at: at,
            expires_at: Some(self.forget_at(tx)),
        };
        ownerships::delete_all(tx, &order.bucket).await?;
        buckets::put(tx, &tombstone, here.is_some()).await?;
        self.note(tombstone);
        Ok(Verdict::Done)
    }

    /// The source of an order has the bucket, so it is wanted here as well (§5.3 object CREATE 1).
    async fn adopt(&mut self, tx: &mut Tx, theirs: &Bucket) -> Result<()> {
        let here = buckets::find_for_update(tx, &theirs.name).await?;
        if here.as_ref().is_some_and(|bucket| bucket.status == Status::Ready) {
            return Ok(());
        }
        let event_at = match &here {
            Some(before) if before.event_at >= theirs.created_at => {
                next_event(theirs.created_at, Some(before.event_at))
            }
            _ => theirs.created_at,
        };
        let bucket = Bucket { status: Status::Ready, event_at, expires_at: None, ..theirs.clone() };
        self.put_bucket(tx, bucket, here.is_some()).await
    }

    async fn put_bucket(&mut self, tx: &mut Tx, bucket: Bucket, replaces: bool) -> Result<()> {
        buckets::put(tx, &bucket, replaces).await?;
        ownerships::set(tx, &bucket.client, &bucket.name, Rights::OWNER).await?;
        self.note(bucket);
        Ok(())
    }

    /// What this very transaction makes of a bucket counts for what comes behind.
    fn note(&mut self, bucket: Bucket) {
        if let Some(held) = self.buckets.get_mut(&bucket.name) {
            *held = Some(bucket);
        }
    }

    /// The bytes never come right: the name says so (§5.3 object CREATE 4).
    async fn fail_upload(&mut self, tx: &mut Tx, received: &Received) -> Result<()> {
        let order = &received.order;
        let Some(name) = &order.object else { return Ok(()) };
        let here = objects::find_for_update(tx, &order.bucket, name).await?;
        let at = next_event(tx.now(), here.as_ref().map(|before| before.event_at));
        let failed = |buried_at: Option<Timestamp>| Object {
            id: received.record.clone(),
            bucket: order.bucket.clone(),
            name: name.clone(),
            status: Status::ErrUpl,
            created_at: at,
            event_at: at,
            expires_at: None,
            size_bytes: 0,
            sha256: None,
            metadata: Default::default(),
            origin: order.from.clone().unwrap_or_else(|| self.inner.site.clone()),
            buried_at,
        };
        match here {
            None => objects::insert(tx, &failed(None)).await,
            Some(before) if before.status == Status::Deleted => {
                objects::replace(tx, (&before.id, before.status), &failed(Some(before.event_at))).await
            }
            Some(_) => Ok(()),
        }
    }

    fn forget_at(&self, tx: &Tx) -> Timestamp {
        tx.now().plus(self.inner.config.tombstones_for())
    }
}

async fn is_uploading(tx: &mut Tx, here: Option<&Object>) -> Result<bool> {
    match here {
        Some(record) if record.status == Status::Upload => objects::is_uploading(tx, &record.id).await,
        _ => Ok(false),
    }
}

fn from(received: &Received) -> &str {
    received.order.from.as_ref().map_or("any site", |site| site.as_str())
}
