//! The nouns of sync: entries, names, versions, copies and what was seen. Pure.
//!
//! Sections named are those of the sync contract.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use haulier_base::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest name of an entry, bytes.
const ENTRY_NAME_BYTES_MAX: usize = 128;
/// The longest name of a file, bytes; no storage that we speak takes more.
const FILE_NAME_BYTES_MAX: usize = 4096;
/// The namespace of the ids of files (§2).
const NAMESPACE: uuid::Uuid = uuid::uuid!("bcd336f2-d023-4856-bc92-e79dd24b64d7");
/// The folder in an entry's root that is ours and never synced.
pub(crate) const OWN_FOLDER: &str = ".haulier";

/// The name of an entry: 1 to 128 bytes, any letters, without `:`, `/` and control characters (§1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryName(String);

impl EntryName {
    /// # Errors
    /// `Invalid` when it is no name for an entry.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let fault = match name.as_str() {
            "" => "is empty",
            "." | ".." => "means a folder",
            long if long.len() > ENTRY_NAME_BYTES_MAX => "is longer than 128 bytes",
            text if text.contains([':', '/']) => "contains ':' or '/'",
            text if text.contains(char::is_control) => "contains a control character",
            _ => return Ok(Self(name)),
        };
        Err(Error::invalid(format!("the entry name {name:?} {fault}")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a file, from the root of its entries: parts with `/` between them, never normalised (§1.2, §2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// # Errors
    /// `Invalid` when no entry could hold it everywhere: an empty part, `.` or `..`, NUL, too long, or in a folder
    /// that is ours.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let fault = match name.as_str() {
            "" => "is empty",
            long if long.len() > FILE_NAME_BYTES_MAX => "is longer than 4096 bytes",
            text if text.contains('\0') => "contains NUL",
            text if text.split('/').any(|part| matches!(part, "" | "." | "..")) => "has a part that is empty, . or ..",
            text if text.split('/').next() == Some(OWN_FOLDER) => "lies in a folder of our own",
            _ => return Ok(Self(name)),
        };
        Err(Error::invalid(format!("the file name {name:?} {fault}")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its identity, the same at every entry.
    pub fn fid(&self) -> Fid {
        Fid(self.uuid().hyphenated().to_string())
    }

    /// The bytes of its identity, for those who keep many.
    pub(crate) fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::new_v5(&NAMESPACE, self.0.as_bytes())
    }

    /// Whether it is a temporary name, ours or upstream's, and so no file of anybody (§4.1).
    pub fn is_temporary(&self) -> bool {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        let ours = last.starts_with(".haulier-") && last.ends_with(".part");
        ours || (last.starts_with('.') && last.ends_with(".onitu-tmp"))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a name: a UUID, version 5 (§2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fid(String);

impl Fid {
    /// Takes a text as it is.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The identity of any text, be it the name of a file or not (§1).
    pub fn of_text(name: &str) -> Self {
        Self(uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes()).hyphenated().to_string())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a file's bytes, 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(String);

impl ContentHash {
    /// Takes a text as it is.
    pub fn from_hex(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a storage says about one version of bytes without reading them.
///
/// Equal stamps mean equal bytes. A different stamp may mean the same bytes with another time or mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Length in bytes.
    pub size_bytes: u64,
    /// What the storage calls this version.
    pub version: String,
}

/// What travels with the bytes where both storages can hold it (§4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// When the bytes were last changed.
    pub modified_at: Option<Timestamp>,
    /// Permission bits, `0o777` at most.
    pub mode: Option<u32>,
}

/// A file at an entry, as its storage tells without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which version it is.
    pub stamp: Stamp,
    /// Time and mode.
    pub attributes: Attributes,
}

/// What was seen of a name at an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is there.
    Present {
        /// As the storage tells.
        found: Found,
        /// The hash of exactly these bytes; none when they were not read.
        content: Option<ContentHash>,
        /// The type that their beginning tells, where the name tells none and somebody looked.
        kind: Option<String>,
    },
    /// It is not.
    Missing,
}

/// "At this entry, this name is there like this, or is missing."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The name.
    pub name: FileName,
    /// What was seen.
    pub seen: Seen,
    /// The stamp that the index had for this name at this entry before anybody looked; none when it had none there.
    /// If the index says something else by the time of judging, we wrote there meanwhile: what was seen is no longer
    /// so, and has to be looked at again.
    pub known: Option<Stamp>,
}

/// The current version of a name, or its tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// The name.
    pub name: FileName,
    /// Rises with every version. Begins with the time in microseconds, so that a name that was deleted and made again
    /// never repeats one.
    pub number: u64,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Time and mode.
    pub attributes: Attributes,
    /// None when the bytes were not read yet: then only a copy of the same `number` is known to be equal.
    pub content: Option<ContentHash>,
    /// The type that the bytes tell, such as `image/png`, where the name tells none.
    pub kind: Option<String>,
    /// What the versions before this one held.
    pub past: Past,
    /// The entry that the version came from.
    pub origin: EntryName,
    /// Whether this is a tombstone: entries still have to delete their copy.
    pub deleted: bool,
    /// When this became so.
    pub changed_at: Timestamp,
}

/// What the last versions of a file held: a copy of one of them that we wrote ourselves, and did not live to record, is
/// told from a change by it. Each with its number, oldest first: only what was on its way to an entry can be that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past(Vec<(u64, String)>);

impl Past {
    /// How many versions are remembered.
    const VERSIONS: usize = 16;
    /// How much of each hash: enough for the versions of one file.
    const DIGITS: usize = 16;

    /// Reads what [`Past::to_text`] wrote; leaves out what it did not.
    pub fn from_text(text: &str) -> Self {
        let version = |part: &str| {
            let (number, digits) = part.split_once(':')?;
            Some((number.parse().ok()?, digits.to_owned()))
        };
        Self(text.split_whitespace().filter_map(version).collect())
    }

    /// Numbers and the beginnings of the hashes, oldest first, with spaces between them.
    pub fn to_text(&self) -> String {
        let versions: Vec<_> = self.0.iter().map(|(number, digits)| format!("{number}:{digits}")).collect();
        versions.join(" ")
    }

    /// Remembers one more.
    pub fn push(&mut self, number: u64, content: &ContentHash) {
        let digits = Self::digits(content);
        self.0.retain(|(_, past)| past != digits);
        self.0.push((number, digits.to_owned()));
        let surplus = self.0.len().saturating_sub(Self::VERSIONS);
        self.0.drain(..surplus);
    }

    /// Whether a version after this one held this.
    pub fn holds_after(&self, number: u64, content: &ContentHash) -> bool {
        self.0.iter().any(|(past, digits)| *past > number && digits == Self::digits(content))
    }

    fn digits(content: &ContentHash) -> &str {
        content.as_str().get(..Self::DIGITS).unwrap_or(content.as_str())
    }
}

/// What is to be done at an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Get the current version's bytes.
    Fetch,
    /// Remove the copy.
    Delete,
    /// Take over time and mode.
    Touch,
}

impl Pending {
    /// The word used in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Delete => "delete",
            Self::Touch => "touch",
        }
    }
}

/// The bytes that an entry has under a name, as last seen or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyState {
    /// As the storage told.
    pub found: Found,
    /// Their hash, if they were read.
    pub content: Option<ContentHash>,
}

/// What one entry has under a name, and what is to be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Whether the entry should hold the file.
    pub owner: bool,
    /// What is there; none when nothing is.
    pub state: Option<CopyState>,
    /// The version that this entry last agreed with: those on their way here are later ones. A change made here on top
    /// of any other than the current one is a conflict. 0 with something there: these bytes are nobody else's and no
    /// version of the file, so they are set aside before they are replaced.
    pub number: u64,
    /// What is to be done.
    pub pending: Option<Pending>,
    /// The name that what is there is given before it is replaced, because it lost a conflict.
    pub aside: Option<FileName>,
}

impl Copy {
    /// Whether these bytes are that version.
    pub fn holds(&self, record: &FileRecord) -> bool {
        self.state.is_some() && self.number == record.number
    }

    /// What the storage calls what is there.
    pub fn stamp(&self) -> Option<&Stamp> {
        self.state.as_ref().map(|state| &state.found.stamp)
    }
}

/// All that is known about one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// The current version; none when the name is not known.
    pub record: Option<FileRecord>,
    /// What each entry has. Entries that never had to do with the name are absent.
    pub copies: BTreeMap<EntryName, Copy>,
}

impl FileState {
    /// Whether an entry holds the current version and should.
    pub fn is_up_to_date(&self, entry: &EntryName) -> bool {
        let Some(record) = self.record.as_ref().filter(|record| !record.deleted) else { return false };
        self.copies.get(entry).is_some_and(|copy| copy.owner && copy.holds(record))
    }

    /// The entries that hold the current version, whether they should or not: a fetch may read from any of them.
    pub fn holders(&self) -> impl Iterator<Item = &EntryName> {
        let record = self.record.as_ref().filter(|record| !record.deleted);
        let holds = move |copy: &Copy| record.is_some_and(|record| copy.holds(record));
        self.copies.iter().filter(move |(_, copy)| holds(copy)).map(|(entry, _)| entry)
    }
}

/// What rules are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The name.
    pub name: &'a FileName,
    /// Length in bytes.
    pub size_bytes: u64,
    /// When the bytes were last changed.
    pub modified_at: Option<Timestamp>,
    /// The type that the bytes tell, where the name tells none.
    pub kind: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// A version of a file.
    pub fn of(record: &'a FileRecord) -> Self {
        let FileRecord { name, size_bytes, attributes, kind, .. } = record;
        Self { name, size_bytes: *size_bytes, modified_at: attributes.modified_at, kind: kind.as_deref() }
    }
}

/// Says which entries should own a file that changed at one of them (§3.2).
pub trait Owners {
    /// The owners after a change from that entry.
    fn owners(&self, from: &EntryName, file: Subject<'_>) -> BTreeSet<EntryName>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_contract() {
        let fid = |name| FileName::new(name).unwrap().fid().to_string();
        assert_eq!(fid("toto"), "91473751-8e49-5240-b03c-96547fcd86dc");
        assert_eq!(fid("photos/foo.jpg"), "0fe87082-01a2-5468-83f6-6171eb061fe4");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0b", ".haulier/kept/a"] {
            FileName::new(name).unwrap_err();
        }
        for name in ["a\nb", ".hidden", "a/.haulier/b", "\u{1F600}:", "e\u{301}"] {
            FileName::new(name).unwrap();
        }
        for (name, temporary) in
            [("a/.b.onitu-tmp", true), (".haulier-x-b.part", true), ("b.part", false), (".b", false)]
        {
            assert_eq!(FileName::new(name).unwrap().is_temporary(), temporary, "{name}");
        }
        for name in ["", "a:b", "a/b", "..", "a\nb"] {
            EntryName::new(name).unwrap_err();
        }
        EntryName::new("\u{e9}t\u{e9} 1").unwrap();
    }
}
