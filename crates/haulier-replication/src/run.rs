//! Runs: what was asked for, how far they are, and how they may change. Pure.

use haulier_base::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{BucketName, ClientId, Metadata, Object, SiteId, Status, words};

/// Longest id of a run, characters: one that another site made up is taken as it is.
const ID_MAX: usize = 64;
/// What the central site's own id of a run gets to be the id of the part of it at a site.
const LOCAL: &str = ".local";

words!(
    /// What a run does (§6.5).
    pub(crate) enum RunKind {
        /// Compares what sites have in a bucket, and orders what is missing.
        Central = "central",
        /// Compares what this site's records say with the bytes that are there.
        Local = "local",
        /// Removes what has expired.
        Purge = "purge",
        /// Adopts files that were put into the store.
        Import = "import",
        /// Pushes every object to one site.
        Sync = "sync",
    }
);

words!(
    /// Where a run stands.
    pub(crate) enum RunState {
        /// It goes on.
        Running = "running",
        /// It waits for somebody to resume it.
        Paused = "paused",
        /// It did what it was to do.
        Done = "done",
        /// It could not.
        Failed = "failed",
        /// Somebody called it off.
        Canceled = "canceled",
    }
);

impl RunState {
    /// Whether nothing more will come.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Canceled)
    }
}

/// The id of a run: its maker's own, or of the part of a central run at one site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId(String);

impl RunId {
    pub(crate) fn fresh() -> Self {
        Self(haulier_base::id::ordered_uuid())
    }

    /// An id that came from outside.
    ///
    /// # Errors
    /// `Invalid`, with the rule.
    pub(crate) fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let fits = (1..=ID_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return Ok(Self(text));
        }
        Err(Error::invalid(format!("the id of a run must be 1 to {ID_MAX} letters, digits, -, _ and .")))
    }

    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The part of this central run at one site.
    pub(crate) fn local(&self) -> Self {
        Self(format!("{}{LOCAL}", self.0))
    }

    /// The id that the central site gave.
    pub(crate) fn asked(&self) -> &str {
        self.0.strip_suffix(LOCAL).unwrap_or(&self.0)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which objects a run is about (§6.5). All bounds are inclusive; what is not set bounds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Scope {
    pub(crate) prefix: String,
    pub(crate) statuses: Vec<String>,
    pub(crate) created: (Option<Timestamp>, Option<Timestamp>),
    pub(crate) expires: (Option<Timestamp>, Option<Timestamp>),
    pub(crate) size_bytes: (Option<u64>, Option<u64>),
    pub(crate) metadata: Metadata,
}

impl Scope {
    /// Whether the run is about an object.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        let status = object.status;
        object.name.as_str().starts_with(&self.prefix)
            && (self.statuses.is_empty() || self.statuses.iter().any(|word| *word == status.as_str()))
            && within(Some(object.created_at), self.created)
            && within(object.expires_at, self.expires)
            && within(Some(object.size_bytes), self.size_bytes)
            && self.metadata.iter().all(|(key, value)| object.metadata.get(key) == Some(value))
    }

    /// Takes the states that are named.
    ///
    /// # Errors
    /// `Invalid` for a word that is none.
    pub(crate) fn check(&self) -> Result<()> {
        self.statuses.iter().try_for_each(|word| word.parse::<Status>().map(|_| ()))
    }
}

/// Whether a value lies between bounds; one that is not there lies in no bounds.
fn within<T: Ord>(value: Option<T>, bounds: (Option<T>, Option<T>)) -> bool {
    match bounds {
        (None, None) => true,
        (low, high) => {
            value.is_some_and(|value| low.is_none_or(|low| low <= value) && high.is_none_or(|high| value <= high))
        }
    }
}

/// What was asked for, but for the client and the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub(crate) scope: Scope,
    /// Central and local: the sites that are compared.
    pub(crate) sites: Vec<String>,
    /// Central: whether the caller named them, so that none may be left out.
    pub(crate) named: bool,
    /// Local: the site that asks.
    pub(crate) from: Option<String>,
    /// Central and local: changes nothing.
    pub(crate) dry_run: bool,
    /// Central and local: reads every byte.
    pub(crate) deep: bool,
    /// Local: when the central run began; what is newer is left alone.
    pub(crate) start: Option<Timestamp>,
    /// Purge: how long the tombstones are kept; import: after how long the objects expire.
    pub(crate) expired_seconds: Option<u64>,
    /// Purge: the bucket that expired objects are copied to.
    pub(crate) archive: Option<String>,
    /// Import: given to every object.
    pub(crate) metadata: Metadata,
    /// Sync: the site that gets everything.
    pub(crate) target: Option<String>,
}

/// What a run has seen and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Names.
    pub(crate) checked: u64,
    /// Records of this site.
    pub(crate) checked_db: u64,
    /// Looks at bytes in this site's store.
    pub(crate) checked_driver: u64,
    /// What other sites said of names.
    pub(crate) checked_remote: u64,
    /// What is to be done, or was.
    pub(crate) actions: u64,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) kind: RunKind,
    pub(crate) client: ClientId,
    pub(crate) bucket: Option<BucketName>,
    pub(crate) asked: Asked,
    pub(crate) state: RunState,
    /// Rises whenever it is resumed.
    pub(crate) turn: i64,
    /// Where it goes on; each kind has its own.
    pub(crate) point: Value,
    pub(crate) counts: Counts,
    /// What is wrong, for people.
    pub(crate) problem: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) stopped_at: Option<Timestamp>,
}

impl Run {
    /// One that is about to begin.
    pub(crate) fn new(id: RunId, kind: RunKind, client: ClientId, asked: Asked, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            client,
            bucket: None,
            asked,
            state: RunState::Running,
            turn: 0,
            point: Value::Null,
            counts: Counts::default(),
            problem: None,
            started_at: now,
            stopped_at: None,
        }
    }

    /// The bucket that it is about.
    ///
    /// # Errors
    /// `Internal` for a run about none.
    pub(crate) fn bucket(&self) -> Result<&BucketName> {
        self.bucket.as_ref().ok_or_else(|| Error::internal(format!("the run {} is about no bucket", self.id.as_str())))
    }

    /// The sites that are compared.
    pub(crate) fn sites(&self) -> Vec<SiteId> {
        self.asked.sites.iter().cloned().map(SiteId::stored).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ObjectName, RecordId};

    #[test]
    fn ids() {
        let id = RunId::new("0190-x").unwrap();
        assert_eq!((id.local().as_str(), id.local().asked()), ("0190-x.local", "0190-x"));
        for bad in ["", "a b", "a/b", &"a".repeat(65)] {
            assert!(RunId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let object = Object {
            id: RecordId::fresh(),
            bucket: BucketName::new("abc").unwrap(),
            name: ObjectName::new("a/b").unwrap(),
            status: Status::Ready,
            created_at: at(5),
            event_at: at(9),
            expires_at: None,
            size_bytes: 7,
            sha256: None,
            metadata: Metadata::from([("k".to_owned(), "v".to_owned())]),
            origin: SiteId::new("x").unwrap(),
            buried_at: None,
        };
        let all = Scope::default;
        let statuses = |word: &str| vec![word.to_owned()];
        for (scope, matches) in [
            (all(), true),
            (Scope { prefix: "a/".to_owned(), ..all() }, true),
            (Scope { prefix: "b".to_owned(), ..all() }, false),
            (Scope { statuses: statuses("READY"), ..all() }, true),
            (Scope { statuses: statuses("DELETED"), ..all() }, false),
            (Scope { created: (Some(at(5)), Some(at(5))), ..all() }, true),
            (Scope { created: (Some(at(6)), None), ..all() }, false),
            (Scope { expires: (None, Some(at(6))), ..all() }, false),
            (Scope { size_bytes: (Some(7), None), ..all() }, true),
            (Scope { size_bytes: (None, Some(6)), ..all() }, false),
            (Scope { metadata: object.metadata.clone(), ..all() }, true),
            (Scope { metadata: Metadata::from([("k".to_owned(), "w".to_owned())]), ..all() }, false),
        ] {
            assert_eq!(scope.matches(&object), matches, "{scope:?}");
        }
        assert!(Scope { statuses: statuses("ready"), ..all() }.check().is_err());
    }
}
