//! Buckets, objects, sites, rights and orders, and the ways in which they may change. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use haulier_base::{Error, Result, Timestamp, id};

pub use crate::names::{BucketName, ClientId, ObjectName, SiteId};

id!(
    /// The record of one version of an object at this site; its bytes lie under this id.
    RecordId
);

impl RecordId {
    /// A new one, which sorts by creation.
    pub(crate) fn fresh() -> Self {
        Self::from_text(id::ordered_uuid())
    }
}

/// Texts that a client gives along with an object (§2.4).
pub type Metadata = BTreeMap<String, String>;

macro_rules! words {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value.
            $vis const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word used in the database and on the wire.
            $vis fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = haulier_base::Error;

            fn from_str(text: &str) -> haulier_base::Result<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    haulier_base::Error::invalid(format!("{text:?} is none of {}", [$($word),*].join(", ")))
                })
            }
        }
    };
}

pub(crate) use words;

words!(
    /// The state of a bucket or an object (§3).
    pub enum Status {
        /// Never stored; a value of the wire.
        Unknown = "UNKNOWN",
        /// Bytes are coming.
        Upload = "UPLOAD",
        /// Durable, and verified by this site.
        Ready = "READY",
        /// The bytes did not come.
        ErrUpl = "ERR_UPL",
        /// Being deleted.
        Deleting = "DELETING",
        /// A tombstone.
        Deleted = "DELETED",
        /// It could not be deleted.
        ErrDel = "ERR_DEL",
    }
);

/// What happens to a bucket or an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is to be (re-)created.
    Create,
    /// Its bytes are durable and verified.
    Store,
    /// They are not.
    Fail,
    /// It is to be deleted.
    Delete,
    /// Its bytes are out of reach for ever.
    Remove,
    /// Its bytes are missing or damaged, and are to be brought again.
    Repair,
}

impl Status {
    /// The state after a change (§3).
    ///
    /// # Errors
    /// `Conflict` when there is no such way.
    pub fn on(self, change: Change) -> Result<Self> {
        use {Change as C, Status as S};
        match (self, change) {
            (S::Deleted | S::ErrUpl | S::Unknown, C::Create) | (S::Ready | S::ErrUpl, C::Repair) => Ok(S::Upload),
            (S::Upload, C::Store) => Ok(S::Ready),
            (S::Upload, C::Fail) => Ok(S::ErrUpl),
            (S::Ready | S::ErrUpl | S::ErrDel, C::Delete) => Ok(S::Deleting),
            (S::Deleting, C::Remove) => Ok(S::Deleted),
            (S::Deleting, C::Fail) => Ok(S::ErrDel),
            (state, change) => Err(Error::conflict(format!("what is {state} takes no {change:?}"))),
        }
    }

    /// Whether it is a tombstone, or about to be one.
    pub fn is_buried(self) -> bool {
        matches!(self, Self::Deleting | Self::Deleted | Self::ErrDel)
    }
}

words!(
    /// Whether a site takes part (§1.4).
    pub enum SiteStatus {
        /// It takes part.
        Up = "UP",
        /// It is away; its orders wait.
        Down = "DOWN",
        /// It left.
        Deleted = "DELETED",
        /// Nobody said.
        Unknown = "UNKNOWN",
    }
);

impl SiteStatus {
    /// Whether orders are made for it (§5.1).
    pub fn is_member(self) -> bool {
        matches!(self, Self::Up | Self::Down)
    }
}

words!(
    /// What an order asks for (§1.4).
    pub enum Action {
        /// Have it.
        Create = "CREATE",
        /// Look whether what you have is right, and get it anew if it is not.
        Update = "UPDATE",
        /// Do not have it.
        Delete = "DELETE",
        /// Nothing.
        Unknown = "UNKNOWN",
    }
);

words!(
    /// Where a received order stands (§5.3). One that is done is forgotten.
    pub enum OrderState {
        /// It waits for its turn.
        Queued = "QUEUED",
        /// It is being applied.
        Running = "RUNNING",
        /// It is tried again later, for a reason.
        Wait = "WAIT",
        /// It was obsolete.
        Ignored = "IGNORED",
        /// It contradicts what is here.
        Conflict = "CONFLICT",
        /// It was given up.
        Failed = "FAILED",
    }
);

/// What a client may do with the objects of a bucket: a set of READ 1, WRITE 2, DELETE 4 (§6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// None; the wire's `UNKNOWN`.
    pub const NONE: Self = Self(0);
    /// To read contents, metadata and listings.
    pub const READ: Self = Self(1);
    /// To create objects.
    pub const WRITE: Self = Self(2);
    /// To delete objects.
    pub const DELETE: Self = Self(4);
    /// All of them.
    pub const OWNER: Self = Self(7);
    const WORDS: [&str; 8] =
        ["UNKNOWN", "READ", "WRITE", "READ_WRITE", "DELETE", "DELETE_READ", "DELETE_WRITE", "OWNER"];

    /// The word of the wire.
    pub fn as_str(self) -> &'static str {
        Self::WORDS[usize::from(self.0 & 7)]
    }

    /// The bits, 0 to 7.
    pub fn bits(self) -> i64 {
        i64::from(self.0)
    }

    /// From bits; others than the lowest three are dropped.
    pub fn from_bits(bits: i64) -> Self {
        Self(u8::try_from(bits & 7).unwrap_or_default())
    }

    /// Whether all of `other` are among these.
    pub fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromStr for Rights {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bits = Self::WORDS.iter().position(|word| *word == text);
        let bits = bits.and_then(|bits| u8::try_from(bits).ok());
        bits.map(Self).ok_or_else(|| Error::invalid(format!("{text:?} is none of {}", Self::WORDS.join(", "))))
    }
}

/// A bucket, or its tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Unique in the deployment.
    pub name: BucketName,
    /// The owner.
    pub client: ClientId,
    /// Its state here.
    pub status: Status,
    /// When it was created at its origin; of a tombstone, when it was deleted.
    pub created_at: Timestamp,
    /// When it last changed; rises strictly.
    pub event_at: Timestamp,
    /// When its tombstone is forgotten.
    pub expires_at: Option<Timestamp>,
}

/// An object, or its tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// This site's own.
    pub id: RecordId,
    /// The bucket.
    pub bucket: BucketName,
    /// As the client gave it.
    pub name: ObjectName,
    /// Its state here.
    pub status: Status,
    /// When it was created at its origin; of a tombstone, when it was deleted.
    pub created_at: Timestamp,
    /// When it last changed; rises strictly.
    pub event_at: Timestamp,
    /// When it is purged.
    pub expires_at: Option<Timestamp>,
    /// Length of the content.
    pub size_bytes: u64,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits; none while nothing was stored.
    pub sha256: Option<String>,
    /// Given by the client.
    pub metadata: Metadata,
    /// The site it was first written at.
    pub origin: SiteId,
    /// The deletion that an upload under way or a failed one came after.
    pub buried_at: Option<Timestamp>,
}

/// A site of the topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What it calls itself.
    pub id: SiteId,
    /// For people.
    pub name: String,
    /// Absolute, without a path.
    pub uri: String,
    /// Whether it takes part.
    pub status: SiteStatus,
}

impl Site {
    /// Checks what an operator wrote (§6.3).
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn check(&self) -> Result<()> {
        if self.name.trim().is_empty() {
            return Err(Error::invalid(format!("the site {} has an empty name", self.id)));
        }
        let plain = |url: &url::Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && matches!(url.path(), "" | "/")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        match url::Url::parse(&self.uri) {
            Ok(url) if plain(&url) => Ok(()),
            _ => Err(Error::invalid(format!(
                "the uri of the site {} must be http or https, a host and perhaps a port, such as \
                 https://lyon.example:3862",
                self.id
            ))),
        }
    }
}

/// A replication order, as it is made, sent and received (§1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Traces what caused it.
    pub op_id: String,
    /// Who has the bytes; none means any peer.
    pub from: Option<SiteId>,
    /// The client that acted.
    pub client: ClientId,
    /// The bucket.
    pub bucket: BucketName,
    /// The object; none for an order about the bucket.
    pub object: Option<ObjectName>,
    /// Length of the content, a hint.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal, a hint.
    pub sha256: Option<String>,
    /// What is asked for.
    pub action: Action,
    /// When it became so at its origin.
    pub event_at: Option<Timestamp>,
}

/// An instant of this room: whole milliseconds, as the wire has them (§1.3).
pub(crate) fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().div_euclid(1000) * 1000)
}

/// The instant of a change: now, but later than the one before (§3).
pub(crate) fn next_event(now: Timestamp, before: Option<Timestamp>) -> Timestamp {
    let now = whole_millis(now);
    before.map_or(now, |before| now.max(whole_millis(before).plus(Duration::from_millis(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_sets() {
        assert_eq!("DELETE_READ".parse::<Rights>().unwrap(), Rights::DELETE.union(Rights::READ));
        assert!(Rights::OWNER.include(Rights::WRITE) && !Rights::WRITE.include(Rights::READ));
        assert!("owner".parse::<Rights>().is_err());
    }

    #[test]
    fn events_rise() {
        let now = Timestamp::from_micros(5_000_700);
        assert_eq!(next_event(now, None).as_micros(), 5_000_000);
        assert_eq!(next_event(now, Some(Timestamp::from_micros(9_000_000))).as_micros(), 9_001_000);
    }
}
