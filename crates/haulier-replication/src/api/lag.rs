//! What `/haulier/v1/replication` says of orders: how far behind the sites are, and which orders and losers there are.

use haulier_base::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::instant::Instant;
use crate::model::Metadata;
use crate::store::kept::Kept;
use crate::store::orders::Received;
use crate::store::outbox::Outgoing;

/// Orders that are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Amount {
    /// How many.
    pub(crate) orders: u64,
    /// The contents that they are about, in bytes.
    pub(crate) bytes: u64,
    /// Age of the oldest; null when there is none.
    pub(crate) oldest_seconds: Option<f64>,
}

impl Amount {
    /// Adds another amount to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.orders += other.orders;
        self.bytes += other.bytes;
        let oldest = [self.oldest_seconds, other.oldest_seconds].into_iter().flatten();
        self.oldest_seconds = oldest.max_by(f64::total_cmp);
    }
}

/// Orders that a site received and has not carried out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Unapplied {
    /// Those that are to be carried out yet; the waiting ones are among them.
    #[serde(flatten)]
    pub(crate) open: Amount,
    /// Those of them that are tried again later.
    pub(crate) waiting: u64,
    /// Those that were given up.
    pub(crate) failed: u64,
    /// Those that contradict what the site has.
    pub(crate) conflicts: u64,
}

impl Unapplied {
    /// Whether there is nothing left to do and nothing went wrong.
    pub(crate) fn is_clear(&self) -> bool {
        self.open.orders == 0 && self.failed == 0 && self.conflicts == 0
    }

    /// Adds another to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.open.add(&other.open);
        self.waiting += other.waiting;
        self.failed += other.failed;
        self.conflicts += other.conflicts;
    }
}

/// The same of one bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct UnappliedInBucket {
    /// The bucket.
    pub(crate) bucket: String,
    #[serde(flatten)]
    pub(crate) unapplied: Unapplied,
}

/// What a site says of the orders that it took from another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReceivedReport {
    /// All of them.
    #[serde(flatten)]
    pub(crate) total: Unapplied,
    /// By bucket, up to 1000 of them.
    pub(crate) buckets: Vec<UnappliedInBucket>,
}

/// How far behind a bucket at a site is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct BucketLag {
    /// The bucket.
    pub(crate) bucket: String,
    /// What the site was not given yet.
    pub(crate) outgoing: Amount,
    /// What it refused for good.
    pub(crate) dead_letters: u64,
    /// What it took and has not carried out, when it last said.
    pub(crate) unapplied: Unapplied,
}

/// How far behind a site is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct SiteLag {
    /// The site.
    pub(crate) site: String,
    /// Its status in the topology.
    pub(crate) status: String,
    /// Whether it confirmed that it carried out everything.
    pub(crate) in_sync: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
    /// What it was not given yet.
    pub(crate) outgoing: Amount,
    /// What it refused for good.
    pub(crate) dead_letters: u64,
    /// What it took and has not carried out, when it last said; null when it never did.
    pub(crate) unapplied: Option<Unapplied>,
    /// When it last said so.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) reported_at: Option<Instant>,
    /// When it last took orders.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_success_at: Option<Instant>,
    /// The last failure, also when it is over.
    pub(crate) last_error: Option<String>,
    /// When that was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_error_at: Option<Instant>,
    /// Failures since the last success.
    pub(crate) failures: u32,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) retry_at: Option<Instant>,
    /// By bucket, where there is anything to say.
    pub(crate) buckets: Vec<BucketLag>,
}

/// Orders of one source that this site has not carried out.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Incoming {
    /// The site that sent them or has the bytes; null for orders that name none.
    pub(crate) site: Option<String>,
    #[serde(flatten)]
    pub(crate) unapplied: Unapplied,
    /// By bucket.
    pub(crate) buckets: Vec<UnappliedInBucket>,
}

/// How far behind everything is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct ReplicationStatus {
    /// This site.
    pub(crate) site: String,
    /// Whether every other site confirmed that it has everything of this one, and this one carried out everything that
    /// it received.
    pub(crate) in_sync: bool,
    /// The other sites.
    pub(crate) sites: Vec<SiteLag>,
    /// What this site received and has not carried out.
    pub(crate) incoming: Vec<Incoming>,
    /// Versions that lost a conflict and are kept at this site.
    pub(crate) kept: u64,
}

/// An order, received or refused by another site.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct OrderView {
    /// Names it here; a received one begins with `r`, a dead letter with `d`.
    pub(crate) id: String,
    /// `QUEUED`, `RUNNING`, `WAIT`, `IGNORED`, `CONFLICT`, `FAILED`, or `DEAD` for one that another site refused.
    pub(crate) state: String,
    /// The site that it was for; null for a received one.
    pub(crate) to_site: Option<String>,
    /// The site that has the bytes.
    pub(crate) from_site: Option<String>,
    /// Traces what caused it.
    pub(crate) op_id: String,
    /// The client that acted.
    pub(crate) client: String,
    /// The bucket.
    pub(crate) bucket: String,
    /// The object; null for an order about the bucket.
    pub(crate) object: Option<String>,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub(crate) action: String,
    /// Length of the content, a hint.
    pub(crate) size_bytes: u64,
    /// When it became so at its origin.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) event_at: Option<Instant>,
    /// When it was recorded here.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Instant,
    /// How often it was tried in vain.
    pub(crate) attempts: u32,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) retry_at: Option<Instant>,
    /// When it came to its end.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended_at: Option<Instant>,
    /// What is wrong, or why it ended so.
    pub(crate) problem: Option<String>,
}

impl OrderView {
    pub(crate) fn received(received: Received) -> Self {
        let mut view = Self::of(&received.order, format!("r{}", received.seq), received.received_at);
        view.state = received.state.to_string();
        view.attempts = received.attempts;
        view.retry_at = received.retry_at.map(Instant);
        view.ended_at = received.ended_at.map(Instant);
        view.problem = received.problem;
        view
    }

    pub(crate) fn dead(outgoing: Outgoing) -> Self {
        let mut view = Self::of(&outgoing.order, format!("d{}", outgoing.seq), outgoing.created_at);
        view.state = "DEAD".to_owned();
        view.to_site = Some(outgoing.site.to_string());
        view.ended_at = outgoing.dead_at.map(Instant);
        view.problem = outgoing.problem;
        view
    }

    fn of(order: &crate::model::Order, id: String, since: Timestamp) -> Self {
        Self {
            id,
            state: String::new(),
            to_site: None,
            from_site: order.from.as_ref().map(ToString::to_string),
            op_id: order.op_id.clone(),
            client: order.client.to_string(),
            bucket: order.bucket.to_string(),
            object: order.object.as_ref().map(ToString::to_string),
            action: order.action.to_string(),
            size_bytes: order.size_bytes,
            event_at: order.event_at.map(Instant),
            since: Instant(since),
            attempts: 0,
            retry_at: None,
            ended_at: None,
            problem: None,
        }
    }
}

/// A page of orders.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct OrderPage {
    /// The orders, those that came first first.
    pub(crate) orders: Vec<OrderView>,
    /// Where the next page begins; null on the last one.
    pub(crate) next: Option<String>,
}

/// A version that lost against another one of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct KeptView {
    /// Names it here.
    pub(crate) id: String,
    /// The bucket.
    pub(crate) bucket: String,
    /// The object.
    pub(crate) name: String,
    /// When it was created at its origin.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Instant,
    /// Length of the content.
    pub(crate) size_bytes: u64,
    /// SHA-256 of the content in hexadecimal.
    pub(crate) sha256: String,
    /// Given by the client.
    pub(crate) metadata: Metadata,
    /// The site it was first written at.
    pub(crate) origin: String,
    /// SHA-256 of what took its place.
    pub(crate) winner_sha256: String,
    /// Since when it is kept.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) kept_at: Instant,
    /// How long it is kept.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) until: Instant,
}

impl From<Kept> for KeptView {
    fn from(kept: Kept) -> Self {
        Self {
            id: kept.id.to_string(),
            bucket: kept.bucket.to_string(),
            name: kept.name.to_string(),
            created_at: Instant(kept.created_at),
            size_bytes: kept.size_bytes,
            sha256: kept.sha256,
            metadata: kept.metadata,
            origin: kept.origin.to_string(),
            winner_sha256: kept.winner_sha256,
            kept_at: Instant(kept.kept_at),
            until: Instant(kept.until),
        }
    }
}

/// A page of versions that lost.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct KeptPage {
    /// The versions, by id.
    pub(crate) conflicts: Vec<KeptView>,
    /// Where the next page begins; null on the last one.
    pub(crate) next: Option<String>,
}
