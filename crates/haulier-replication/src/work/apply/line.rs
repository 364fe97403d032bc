//! Which order is next: those of one name one at a time and in the order of arrival, a bucket's own in their place
//! among those of its objects (contract §5.3). Pure; knows the orders that are loaded, and no other.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::{Action, BucketName, ObjectName};
use crate::store::orders::Received;

/// An object above this many bytes is a large one.
const LARGE_BYTES: u64 = 8 << 20;
/// So many large ones are brought at once.
const LARGE_MAX: usize = 4;

/// The orders that are loaded, waiting for their turn or being carried out.
#[derive(Debug, Default)]
pub(super) struct Line {
    orders: HashMap<i64, Received>,
    buckets: HashMap<BucketName, InBucket>,
    /// Those that may go, as far as is known; looked at again when their turn comes.
    ready: BTreeSet<i64>,
    running: HashSet<i64>,
    large: usize,
}

#[derive(Debug, Default)]
struct InBucket {
    /// Orders about the bucket itself.
    own: BTreeSet<i64>,
    objects: BTreeSet<i64>,
    by_name: HashMap<ObjectName, BTreeSet<i64>>,
}

impl InBucket {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.objects.is_empty()
    }
}

fn is_large(received: &Received) -> bool {
    received.order.object.is_some()
        && received.order.action != Action::Delete
        && received.order.size_bytes > LARGE_BYTES
}

impl Line {
    /// How many are loaded.
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    /// How many are being carried out.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// An order that is loaded.
    pub(super) fn get(&self, seq: i64) -> Option<&Received> {
        self.orders.get(&seq)
    }

    /// Takes an order in; false when it is there already.
    pub(super) fn push(&mut self, received: Received) -> bool {
        let seq = received.seq;
        if self.orders.contains_key(&seq) {
            return false;
        }
        let bucket = self.buckets.entry(received.order.bucket.clone()).or_default();
        match &received.order.object {
            None => drop(bucket.own.insert(seq)),
            Some(name) => {
                bucket.objects.insert(seq);
                bucket.by_name.entry(name.clone()).or_default().insert(seq);
            }
        }
        self.orders.insert(seq, received);
        self.ready.insert(seq);
        true
    }

    /// The next order that may be carried out; it counts as running from now on.
    pub(super) fn next(&mut self) -> Option<Received> {
        let (mut blocked, mut found) = (Vec::new(), None);
        for seq in &self.ready {
            let Some(received) = self.orders.get(seq) else {
                blocked.push(*seq);
                continue;
            };
            if !self.may_go(received) {
                // Whoever stands in its way brings it back.
                blocked.push(*seq);
                continue;
            }
            if is_large(received) && self.large >= LARGE_MAX {
                continue;
            }
            found = Some(received.clone());
            break;
        }
        for seq in blocked {
            self.ready.remove(&seq);
        }
        let received = found?;
        self.ready.remove(&received.seq);
        self.running.insert(received.seq);
        self.large += usize::from(is_large(&received));
        Some(received)
    }

    /// Lets go of an order that was carried out, or waits for something else than its turn.
    pub(super) fn end(&mut self, seq: i64) {
        let Some(received) = self.orders.remove(&seq) else { return };
        if self.running.remove(&seq) {
            self.large -= usize::from(is_large(&received));
        }
        let Some(bucket) = self.buckets.get_mut(&received.order.bucket) else { return };
        match &received.order.object {
            None => {
                bucket.own.remove(&seq);
                // Everything behind it, up to the next of its kind, may go.
                let end = bucket.own.first().copied().unwrap_or(i64::MAX);
                let behind = bucket.objects.range(..end).filter(|seq| !self.running.contains(seq));
                self.ready.extend(behind);
            }
            Some(name) => {
                bucket.objects.remove(&seq);
                if let Some(same) = bucket.by_name.get_mut(name) {
                    same.remove(&seq);
                    self.ready.extend(same.first().filter(|seq| !self.running.contains(seq)));
                    if same.is_empty() {
                        bucket.by_name.remove(name);
                    }
                }
            }
        }
        self.ready.extend(bucket.own.first().filter(|seq| !self.running.contains(seq)));
        if bucket.is_empty() {
            self.buckets.remove(&received.order.bucket);
        }
    }

    fn may_go(&self, received: &Received) -> bool {
        let Some(bucket) = self.buckets.get(&received.order.bucket) else { return true };
        let seq = received.seq;
        let is_first_own = bucket.own.first().is_none_or(|first| *first >= seq);
        let own_runs = || bucket.own.iter().any(|own| self.running.contains(own));
        match &received.order.object {
            Some(name) => {
                let same = bucket.by_name.get(name);
                let alone = same.is_none_or(|same| {
                    same.first() == Some(&seq) && !same.iter().any(|other| self.running.contains(other))
                });
                alone && is_first_own && !own_runs()
            }
            None if own_runs() || !is_first_own => false,
            None if received.order.action == Action::Delete => {
                let earlier = bucket.objects.first().is_some_and(|first| *first < seq);
                !earlier && !bucket.objects.iter().any(|other| self.running.contains(other))
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use haulier_base::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ClientId, Order, OrderState, RecordId};

    fn order(seq: i64, bucket: &str, object: Option<&str>, action: Action, size_bytes: u64) -> Received {
        Received {
            seq,
            order: Order {
                op_id: String::new(),
                from: None,
                client: ClientId::new("client").unwrap(),
                bucket: BucketName::new(bucket).unwrap(),
                object: object.map(|name| ObjectName::new(name).unwrap()),
                size_bytes,
                sha256: None,
                action,
                event_at: None,
            },
            state: OrderState::Queued,
            attempts: 0,
            mismatches: 0,
            retry_at: None,
            problem: None,
            record: RecordId::from_text("r"),
            resume: None,
            received_at: Timestamp::from_micros(0),
            ended_at: None,
        }
    }

    fn all(line: &mut Line) -> Vec<i64> {
        std::iter::from_fn(|| line.next().map(|received| received.seq)).collect()
    }

    #[test]
    fn one_name_is_done_in_order_and_others_do_not_wait() {
        let mut line = Line::default();
        for (seq, name) in [(1, "x"), (2, "x"), (3, "y"), (4, "x")] {
            assert!(line.push(order(seq, "bbb", Some(name), Action::Create, 1)));
            assert!(!line.push(order(seq, "bbb", Some(name), Action::Create, 1)));
        }
        assert_eq!(all(&mut line), [1, 3]);
        line.end(1);
        assert_eq!(all(&mut line), [2]);
        line.end(3);
        assert!(all(&mut line).is_empty());
        line.end(2);
        assert_eq!(all(&mut line), [4]);
        line.end(4);
        assert_eq!((line.len(), line.running(), line.buckets.len()), (0, 0, 0));
    }

    #[test]
    fn a_bucket_is_made_before_and_deleted_after_its_objects() {
        let mut line = Line::default();
        line.push(order(1, "bbb", None, Action::Create, 0));
        line.push(order(2, "bbb", Some("x"), Action::Create, 1));
        line.push(order(3, "bbb", Some("x"), Action::Delete, 0));
        line.push(order(4, "bbb", Some("y"), Action::Create, 1));
        line.push(order(5, "bbb", None, Action::Delete, 0));
        line.push(order(6, "bbb", Some("z"), Action::Create, 1));
        line.push(order(7, "ccc", Some("x"), Action::Create, 1));
        assert_eq!(all(&mut line), [1, 7]);
        line.end(1);
        assert_eq!(all(&mut line), [2, 4]);
        line.end(2);
        assert_eq!(all(&mut line), [3]);
        line.end(4);
        assert!(all(&mut line).is_empty());
        line.end(3);
        assert_eq!(all(&mut line), [5]);
        line.end(5);
        assert_eq!(all(&mut line), [6]);
    }

    #[test]
    fn few_large_ones_at_once_and_small_ones_pass_them() {
        let mut line = Line::default();
        for seq in 1..=6 {
            line.push(order(seq, "bbb", Some(&format!("large{seq}")), Action::Create, LARGE_BYTES + 1));
        }
        line.push(order(7, "bbb", Some("small"), Action::Create, 1));
        assert_eq!(all(&mut line), [1, 2, 3, 4, 7]);
        line.end(2);
        assert_eq!(all(&mut line), [5]);
    }

    #[test]
    fn one_that_comes_back_late_keeps_its_place() {
        let mut line = Line::default();
        line.push(order(5, "bbb", Some("x"), Action::Create, 1));
        assert_eq!(all(&mut line), [5]);
        line.push(order(2, "bbb", Some("x"), Action::Create, 1));
        assert!(all(&mut line).is_empty());
        line.end(5);
        assert_eq!(all(&mut line), [2]);
    }

    proptest! {
        #[test]
        fn everything_gets_its_turn_and_names_never_overlap(
            kinds in prop::collection::vec((0usize..2, 0usize..4, any::<bool>()), 1..40),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let mut line = Line::default();
            let count = kinds.len();
            for (index, (bucket, object, delete)) in kinds.iter().enumerate() {
                let object = ["", "x", "y", "z"][*object];
                let action = if *delete { Action::Delete } else { Action::Create };
                let object = (!object.is_empty()).then_some(object);
                line.push(order(index as i64, ["bbb", "ccc"][*bucket], object, action, 1));
            }
            let (mut running, mut ended) = (Vec::<Received>::new(), Vec::new());
            let mut picks = picks.into_iter();
            loop {
                while let Some(next) = line.next() {
                    for other in &running {
                        let same = other.order.bucket == next.order.bucket && other.order.object == next.order.object;
                        prop_assert!(!same, "{} and {}", other.seq, next.seq);
                    }
                    running.push(next);
                }
                if running.is_empty() {
                    break;
                }
                let at = picks.next().map_or(0, |pick| pick.index(running.len()));
                let received = running.swap_remove(at);
                for earlier in ended.iter().chain(&running).filter(|other: &&Received| {
                    other.order.bucket == received.order.bucket && other.order.object == received.order.object
                }) {
                    prop_assert!(earlier.seq < received.seq || !ended.contains(earlier));
                }
                line.end(received.seq);
                ended.push(received);
            }
            prop_assert_eq!(ended.len(), count);
            prop_assert_eq!(line.len(), 0);
        }
    }
}
