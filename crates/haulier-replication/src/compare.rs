//! What a site says about a name, and what is to be done about what all sites say (contract §8 B and C). Pure.
//!
//! Knows no database, no network and no storage: it is given what is there.

use std::cmp::Reverse;

use haulier_base::{Error, Result, Timestamp};

use crate::model::{Action, SiteId, Status};
use crate::resolve::Rank;

/// What a site has under a name: the codes of §8 B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Code {
    /// A tombstone without bytes.
    Deleted = 1,
    /// A tombstone whose bytes are still there.
    Delete = 2,
    /// An object whose bytes are there.
    Ready = 10,
    /// Bytes whose record is not READY.
    Update = 11,
    /// A record whose bytes are missing or damaged.
    Upload = 20,
}

impl Code {
    /// Every code that a site may say.
    pub(crate) const ALL: [Self; 5] = [Self::Deleted, Self::Delete, Self::Ready, Self::Update, Self::Upload];

    /// The number of the wire and of the database.
    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    /// From the number.
    ///
    /// # Errors
    /// `Invalid` for one that no site says.
    pub(crate) fn from_number(number: i64) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|code| code.number() == number);
        found.ok_or_else(|| Error::invalid(format!("{number} is no status that a site may say of an object")))
    }

    fn is_buried(self) -> bool {
        matches!(self, Self::Deleted | Self::Delete)
    }

    fn is_had(self) -> bool {
        matches!(self, Self::Ready | Self::Update)
    }
}

/// What a site does by itself about a name, before it says what it has (§8 B).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fix {
    /// Nothing.
    Leave,
    /// The record is READY: see whether the bytes are those that it names.
    Verify,
    /// The bytes are there: make the record READY if they are those that it names.
    Refresh,
    /// The bytes are not there: take the record out of READY, so that they are brought again.
    Miss,
    /// Make it a tombstone whose bytes are gone or are about to be.
    Bury,
}

/// What a record and the presence of its bytes come to; nothing for a record that nobody knows (§8 B).
pub(crate) fn at_site(status: Status, bytes: bool) -> Option<(Code, Fix)> {
    use Status as S;
    Some(match (status, bytes) {
        (S::Unknown, _) => return None,
        (S::Ready, true) => (Code::Ready, Fix::Verify),
        (S::Upload | S::ErrUpl, true) => (Code::Update, Fix::Refresh),
        (S::Ready | S::Upload | S::ErrUpl, false) => (Code::Upload, Fix::Miss),
        (S::Deleted, false) => (Code::Deleted, Fix::Leave),
        (S::Deleting | S::ErrDel, false) => (Code::Deleted, Fix::Bury),
        (S::Deleting | S::Deleted | S::ErrDel, true) => (Code::Delete, Fix::Bury),
    })
}

/// What one site has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) site: SiteId,
    pub(crate) code: Code,
    /// When its record last changed there.
    pub(crate) event_at: Timestamp,
    /// When this version was created at its origin; every copy of it says the same. Of a tombstone, when it was
    /// deleted.
    pub(crate) created_at: Timestamp,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: Option<String>,
    pub(crate) origin: Option<SiteId>,
}

impl Entry {
    /// The instant that decides. A copy's record changes when it is copied, long after the object was made: going by
    /// that, an old object would win against a newer delete that it has not heard of.
    fn at(&self) -> Timestamp {
        if self.code.is_buried() { self.event_at } else { self.created_at }
    }
}

/// What a site needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Need {
    /// Not to have it.
    Delete,
    /// To get it.
    Upload,
    /// To look whether it is right, and to get it anew if it is not.
    Update,
    /// A person: nobody has the bytes.
    Error,
}

impl Need {
    /// The word of the wire and of the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Upload => "UPLOAD",
            Self::Update => "UPDATE",
            Self::Error => "ERROR",
        }
    }

    /// From the word.
    ///
    /// # Errors
    /// `Invalid` for another word.
    pub(crate) fn from_word(word: &str) -> Result<Self> {
        let all = [Self::Delete, Self::Upload, Self::Update, Self::Error];
        let found = all.into_iter().find(|need| need.as_str() == word);
        found.ok_or_else(|| Error::invalid(format!("{word:?} is nothing that a site can need")))
    }

    /// The order that sees to it (§8 D); none where no order can.
    pub(crate) fn order(self) -> Option<Action> {
        match self {
            Self::Delete => Some(Action::Delete),
            Self::Upload => Some(Action::Create),
            Self::Update => Some(Action::Update),
            Self::Error => None,
        }
    }
}

/// What is to be done at one site about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) site: SiteId,
    pub(crate) need: Need,
    /// Who has the bytes, never `site` itself.
    pub(crate) from: Vec<SiteId>,
    /// The instant of the order: of the delete, or of the version to have.
    pub(crate) event_at: Timestamp,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: Option<String>,
}

/// What is to be done about a name, given what every member that has heard of it says (§8 C).
///
/// Where the contract's table goes by the newest entry of all, this goes by the newest one that says something about
/// the object: a record without bytes neither outlives a delete nor undoes one.
pub(crate) fn judge(entries: &[Entry], members: &[SiteId]) -> Vec<Deed> {
    let mut ranked: Vec<&Entry> = entries.iter().collect();
    ranked.sort_by_key(|entry| (Reverse(entry.at()), entry.code));
    match ranked.iter().copied().find(|entry| entry.code != Code::Upload) {
        None => ranked.into_iter().map(lost).collect(),
        Some(primary) if primary.code.is_buried() => delete_all(primary, &ranked),
        Some(_) => spread(&ranked, members),
    }
}

/// Every listed site that is not DELETED is to be, unless what it has is newer than the delete.
fn delete_all(tombstone: &Entry, ranked: &[&Entry]) -> Vec<Deed> {
    let deed = |entry: &&Entry| match entry.code {
        Code::Deleted => None,
        _ if entry.at() > tombstone.at() => Some(lost(entry)),
        _ => Some(Deed {
            site: entry.site.clone(),
            need: Need::Delete,
            from: Vec::new(),
            event_at: tombstone.event_at,
            size_bytes: 0,
            sha256: None,
        }),
    };
    ranked.iter().filter_map(deed).collect()
}

/// Every member is to have the winner among those that have it.
fn spread(ranked: &[&Entry], members: &[SiteId]) -> Vec<Deed> {
    // What is older than a delete that one of them has heard of is not to come back.
    let buried = ranked.iter().find(|entry| entry.code.is_buried()).map(|entry| entry.at());
    let alive = || ranked.iter().copied().filter(|entry| entry.code.is_had() && Some(entry.at()) > buried);
    let source = alive().map(|entry| entry.code).min();
    let having = || alive().filter(|entry| Some(entry.code) == source);
    let Some(winner) = having().max_by_key(|entry| rank(entry)) else { return Vec::new() };
    let sources: Vec<&SiteId> = having().filter(|entry| same(entry, winner)).map(|entry| &entry.site).collect();
    let of = |site: &SiteId| ranked.iter().copied().find(|entry| entry.site == *site);
    let fine = |entry: &Entry| entry.code == Code::Ready && same(entry, winner);
    let whole = members.iter().all(|site| of(site).is_some_and(|entry| entry.code.is_had()));
    let need = |site: &SiteId| match of(site) {
        Some(entry) if fine(entry) => None,
        Some(entry) if entry.code == Code::Ready || whole => Some(Need::Update),
        _ => Some(Need::Upload),
    };
    let deed = |site: &SiteId| {
        let need = need(site)?;
        let from: Vec<_> = sources.iter().filter(|from| **from != site).map(|from| (*from).clone()).collect();
        // A site that alone has the bytes cannot get them from anybody.
        (!from.is_empty()).then(|| Deed {
            site: site.clone(),
            need,
            from,
            event_at: winner.created_at,
            size_bytes: winner.size_bytes,
            sha256: winner.sha256.clone(),
        })
    };
    members.iter().filter_map(deed).collect()
}

/// The greatest wins (§5.4).
fn rank(entry: &Entry) -> Rank {
    // A site that does not say where an object was first written is taken to be it.
    let origin = entry.origin.as_ref().unwrap_or(&entry.site);
    Rank::version(entry.created_at, origin, entry.sha256.as_deref().unwrap_or_default())
}

/// Whether two sites have the same version.
fn same(one: &Entry, other: &Entry) -> bool {
    let origin = match (&one.origin, &other.origin) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    origin && (one.created_at, &one.sha256, one.size_bytes) == (other.created_at, &other.sha256, other.size_bytes)
}

fn lost(entry: &Entry) -> Deed {
    Deed {
        site: entry.site.clone(),
        need: Need::Error,
        from: Vec::new(),
        event_at: entry.event_at,
        size_bytes: entry.size_bytes,
        sha256: entry.sha256.clone(),
    }
}

#[cfg(test)]
mod tests;
