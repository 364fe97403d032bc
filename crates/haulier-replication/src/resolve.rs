//! What becomes of a name when sites changed it without hearing of each other (contract §5.3, §5.4). Pure.
//!
//! All that is ever told of a name has a rank, ranks are ordered in one line, and the highest one stays: so every site
//! ends with the same, in whatever order and however often it is told.

use haulier_base::Timestamp;

use crate::content::Described;
use crate::model::{Object, SiteId, Status, next_event};

/// What is told of a name: a version, or that it was deleted. The members are compared in this order: the later one
/// wins, a deletion wins a tie, then the greater site, then the greater hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    at: Timestamp,
    buried: bool,
    origin: String,
    sha256: String,
}

impl Rank {
    /// A version's.
    pub(crate) fn version(created_at: Timestamp, origin: &SiteId, sha256: &str) -> Self {
        Self { at: created_at, buried: false, origin: origin.to_string(), sha256: sha256.to_owned() }
    }

    /// A deletion's.
    pub(crate) fn deletion(at: Timestamp) -> Self {
        Self { at, buried: true, origin: String::new(), sha256: String::new() }
    }

    /// What a record says of its name; nothing when it never held anything.
    pub(crate) fn of(record: &Object) -> Option<Self> {
        match record.status {
            Status::Ready => {
                Some(Self::version(record.created_at, &record.origin, record.sha256.as_deref().unwrap_or_default()))
            }
            status if status.is_buried() => Some(Self::deletion(record.event_at)),
            _ => record.buried_at.map(Self::deletion),
        }
    }
}

/// A version as a peer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) described: Described,
    pub(crate) origin: SiteId,
}

impl Version {
    pub(crate) fn rank(&self) -> Rank {
        Rank::version(self.described.created_at, &self.origin, &self.described.sha256)
    }

    /// Whether a record has these very bytes.
    fn has_bytes_of(&self, record: &Object) -> bool {
        record.sha256.as_deref() == Some(self.described.sha256.as_str())
            && record.size_bytes == self.described.size_bytes
    }
}

/// What a version of a peer's means for the record here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is the version that is here.
    Same,
    /// The record goes on to this version; its bytes are here already.
    Describe,
    /// The record goes on to this version, whose bytes have to be brought.
    Store,
    /// As `Store`; what is here lost against it and is kept aside.
    Replace,
    /// What is here came later, or wins.
    Loses,
    /// It was deleted later, or at the same time.
    Buried,
    /// Somebody is just storing something under the name; ask again.
    Busy,
}

/// Judges a version. `uploading` is whether the record's upload is really under way.
pub(crate) fn arrive(here: Option<&Object>, uploading: bool, version: &Version) -> Arrival {
    let Some(record) = here else { return Arrival::Store };
    if record.status == Status::Upload && uploading {
        return Arrival::Busy;
    }
    let Some(rank) = Rank::of(record) else { return Arrival::Store };
    match (version.rank().cmp(&rank), record.status) {
        (std::cmp::Ordering::Equal, _) => Arrival::Same,
        (std::cmp::Ordering::Less, Status::Ready) => Arrival::Loses,
        (std::cmp::Ordering::Less, _) => Arrival::Buried,
        (std::cmp::Ordering::Greater, Status::Ready) if version.has_bytes_of(record) => Arrival::Describe,
        (std::cmp::Ordering::Greater, Status::Ready) => Arrival::Replace,
        (std::cmp::Ordering::Greater, _) => Arrival::Store,
    }
}

/// What a deletion of a peer's means for the record here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burial {
    /// There is nothing; a tombstone is written, of this instant.
    Remember(Timestamp),
    /// What is there is deleted, as of this instant.
    Delete(Timestamp),
    /// It is deleted already; the tombstone is as of this instant from now on.
    Deepen(Timestamp),
    /// Nothing changes.
    Nothing,
    /// What is here came later.
    Loses,
    /// Somebody is just storing something under the name; ask again.
    Busy,
}

/// Judges a deletion; one without an instant happened now.
pub(crate) fn bury(here: Option<&Object>, uploading: bool, at: Option<Timestamp>, now: Timestamp) -> Burial {
    let Some(record) = here else { return Burial::Remember(at.unwrap_or_else(|| next_event(now, None))) };
    let at = at.unwrap_or_else(|| next_event(now, Some(record.event_at)));
    match record.status {
        Status::Upload if uploading => Burial::Busy,
        Status::Ready if Rank::deletion(at) < Rank::of(record).unwrap_or_else(|| Rank::deletion(at)) => Burial::Loses,
        Status::Ready => Burial::Delete(at),
        Status::Upload | Status::ErrUpl | Status::Unknown => {
            Burial::Delete(record.buried_at.map_or(at, |before| before.max(at)))
        }
        Status::Deleting | Status::Deleted | Status::ErrDel if at > record.event_at => Burial::Deepen(at),
        Status::Deleting | Status::Deleted | Status::ErrDel => Burial::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{BucketName, ObjectName, RecordId};

    /// What a site may be told of a name.
    #[derive(Clone, Debug)]
    enum Told {
        Version(Version),
        Deletion(Timestamp),
    }

    fn told() -> impl Strategy<Value = Told> {
        // Few values, so that ties are common.
        let at = (0i64..6).prop_map(|millis| Timestamp::from_micros(millis * 1000));
        let version = (at.clone(), "[abc]", "[xyz]", 0u8..3).prop_map(|(created_at, site, hash, mark)| {
            let described = Described {
                site: None,
                origin: None,
                created_at,
                size_bytes: 1,
                sha256: hash,
                metadata: [("mark".to_owned(), mark.to_string())].into(),
                expires_at: None,
            };
            Told::Version(Version { described, origin: SiteId::new(site).unwrap() })
        });
        prop_oneof![3 => version, 2 => at.prop_map(Told::Deletion)]
    }

    fn record(status: Status, at: Timestamp, version: Option<&Version>) -> Object {
        Object {
            id: RecordId::from_text("id"),
            bucket: BucketName::new("bucket").unwrap(),
            name: ObjectName::new("name").unwrap(),
            status,
            created_at: at,
            event_at: at,
            expires_at: None,
            size_bytes: version.map_or(0, |version| version.described.size_bytes),
            sha256: version.map(|version| version.described.sha256.clone()),
            metadata: Default::default(),
            origin: version.map_or(SiteId::new("o").unwrap(), |version| version.origin.clone()),
            buried_at: None,
        }
    }

    fn apply(here: Option<Object>, told: &Told) -> Option<Object> {
        match told {
            Told::Version(version) => match arrive(here.as_ref(), false, version) {
                Arrival::Describe | Arrival::Store | Arrival::Replace => {
                    Some(record(Status::Ready, version.described.created_at, Some(version)))
                }
                Arrival::Same | Arrival::Loses | Arrival::Buried => here,
                Arrival::Busy => panic!("nobody uploads"),
            },
            Told::Deletion(at) => match bury(here.as_ref(), false, Some(*at), Timestamp::from_micros(0)) {
                Burial::Remember(at) | Burial::Delete(at) | Burial::Deepen(at) => {
                    Some(record(Status::Deleted, at, None))
                }
                Burial::Nothing | Burial::Loses => here,
                Burial::Busy => panic!("nobody uploads"),
            },
        }
    }

    proptest! {
        #[test]
        fn every_order_and_every_repetition_ends_alike(
            (all, shuffled) in prop::collection::vec(told(), 1..8)
                .prop_flat_map(|all| (Just(all.clone()), Just([all.clone(), all].concat()).prop_shuffle())),
        ) {
            let straight = all.iter().fold(None, apply);
            let otherwise = shuffled.iter().fold(None, apply);
            prop_assert_eq!(straight, otherwise);
        }

        #[test]
        fn what_two_sites_were_told_can_be_told_on(
            one in prop::collection::vec(told(), 1..5),
            other in prop::collection::vec(told(), 1..5),
        ) {
            // A site that hears only how another ended knows as much as if it had heard everything.
            let there = other.iter().fold(None, apply).unwrap();
            let summary = match there.status {
                Status::Ready => Told::Version(Version {
                    described: Described {
                        site: None,
                        origin: None,
                        created_at: there.created_at,
                        size_bytes: there.size_bytes,
                        sha256: there.sha256.clone().unwrap(),
                        metadata: Default::default(),
                        expires_at: None,
                    },
                    origin: there.origin.clone(),
                }),
                _ => Told::Deletion(there.event_at),
            };
            let here = one.iter().fold(None, apply);
            let by_summary = apply(here.clone(), &summary).unwrap();
            let in_full = other.iter().fold(here, apply).unwrap();
            prop_assert_eq!(Rank::of(&by_summary), Rank::of(&in_full));
        }
    }

    #[test]
    fn an_upload_under_way_is_waited_for_and_a_dead_one_is_not() {
        let uploading = record(Status::Upload, Timestamp::from_micros(9_000), None);
        let version = Version {
            described: Described {
                site: None,
                origin: None,
                created_at: Timestamp::from_micros(1_000),
                size_bytes: 1,
                sha256: "x".into(),
                metadata: Default::default(),
                expires_at: None,
            },
            origin: SiteId::new("a").unwrap(),
        };
        assert_eq!(arrive(Some(&uploading), true, &version), Arrival::Busy);
        assert_eq!(arrive(Some(&uploading), false, &version), Arrival::Store);
        assert_eq!(bury(Some(&uploading), true, None, Timestamp::from_micros(0)), Burial::Busy);
        let buried = Object { buried_at: Some(Timestamp::from_micros(2_000)), ..uploading };
        assert_eq!(arrive(Some(&buried), false, &version), Arrival::Buried);
    }

    #[test]
    fn a_deletion_without_an_instant_happens_after_what_is_here() {
        let future = record(Status::Ready, Timestamp::from_micros(50_000), None);
        assert_eq!(
            bury(Some(&future), false, None, Timestamp::from_micros(10_000)),
            Burial::Delete(Timestamp::from_micros(51_000))
        );
    }
}
