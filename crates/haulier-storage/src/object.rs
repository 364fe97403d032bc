//! What an object is to this crate: a path, a version, some metadata and a stream of bytes.
//!
//! Knows no connector.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use haulier_base::{Error, Result, Timestamp};

use crate::{Attributes, Guard};

/// The key of an object inside one storage, kept exactly as it was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(String);

impl ObjectPath {
    /// Takes a key as it is.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path, one slash, and a further part. An empty path adds no slash.
    #[must_use]
    pub fn join(&self, part: &str) -> Self {
        match self.0.as_str() {
            "" => Self(part.to_owned()),
            key if key.ends_with('/') => Self(format!("{key}{part}")),
            key => Self(format!("{key}/{part}")),
        }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The opaque identity of one version of an object: equal texts mean equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// The text form, fit for storing.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Version {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of thing lies at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// Bytes that can be read again and replaced as a whole.
    #[default]
    Regular,
    /// Holds other objects.
    Directory,
    /// A device, FIFO or socket: written in order and in place, never renamed over, never removed.
    Special,
}

/// What is known about an object without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Length in bytes, when it is known.
    pub size: Option<u64>,
    /// Identity of the present version, when there is a trustworthy one.
    pub version: Option<Version>,
    /// When the bytes were last changed.
    pub modified: Option<Timestamp>,
    /// What kind of thing it is.
    pub kind: ObjectKind,
    /// Permission bits, `0o777` at most, where there are such.
    pub mode: Option<u32>,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The whole key, fit for `read`.
    pub path: ObjectPath,
    /// What is known about it.
    pub meta: ObjectMeta,
}

/// Bytes in order; ends after the first error.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// An open regular local file, for copies inside the kernel.
#[derive(Clone, Debug)]
pub struct FileHandle(Arc<File>);

impl FileHandle {
    /// Shares an open regular file.
    pub fn new(file: Arc<File>) -> Self {
        Self(file)
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// What to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// First byte wanted.
    pub start: u64,
    /// One past the last byte wanted; none reads to the end. Beyond the end is cut there.
    pub end: Option<u64>,
    /// When given, an object that is another version now fails with `Conflict`.
    pub version: Option<Version>,
}

impl ReadRequest {
    /// Refuses an object that is another version than the one asked for.
    pub(crate) fn check_version(&self, meta: &ObjectMeta) -> Result<()> {
        match &self.version {
            Some(wanted) if meta.version.as_ref() != Some(wanted) => {
                Err(Error::conflict("the source is not the same version any more"))
            }
            _ => Ok(()),
        }
    }

    /// The range inside an object of that size.
    pub(crate) fn range_of(&self, size: u64) -> Result<Range<u64>> {
        if self.start > size {
            return Err(Error::invalid(format!("the start {} is beyond the end of the source, {size}", self.start)));
        }
        Ok(self.start..self.end.unwrap_or(size).clamp(self.start, size))
    }
}

/// An object being read.
pub struct ObjectRead {
    /// What is known about the whole object.
    pub meta: ObjectMeta,
    /// Offset of the first byte of the stream; equals the requested start.
    pub start: u64,
    /// One past the last byte that the stream gives, when the length is known.
    pub end: Option<u64>,
    /// The bytes. A known end that is not reached is an error of the stream.
    pub stream: ByteStream,
    /// The open file, when the object is a regular local file.
    pub handle: Option<FileHandle>,
    /// The CRC-64/NVME of the whole object, where its store computed one and tells it along with the bytes.
    pub crc64: Option<u64>,
}

impl fmt::Debug for ObjectRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectRead")
            .field("meta", &self.meta)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// An object that its store can copy by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSource {
    /// What `Storage::store` names.
    pub store: String,
    /// Where the store finds it; only the store's own connector reads this.
    pub locator: String,
    /// Length in bytes.
    pub size: u64,
    /// The version that is copied, and no other.
    pub version: Version,
    /// The checksum of the whole object that the store computed, as `algorithm:value`.
    pub checksum: Option<String>,
}

/// How much of an unfinished object survives a crash of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Every byte whose put had completed.
    Everything,
    /// Only the first so many bytes, because the store takes whole parts, or keeps nothing before the end (0).
    First(u64),
}

/// A finished object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What is at the path now.
    pub meta: ObjectMeta,
    /// The kind of checksum that the store itself computed of what it holds and that was the right one,
    /// such as `crc64nvme`; none when it knows the length only.
    pub store_checksum: Option<&'static str>,
}

impl From<ObjectMeta> for Written {
    fn from(meta: ObjectMeta) -> Self {
        Self { meta, store_checksum: None }
    }
}

/// Where the bytes of a writer go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// A new object takes the place of whatever is there, at once, when the writer finishes.
    #[default]
    Replace,
    /// Bytes go into the existing object (made when missing), nothing is truncated.
    InPlace {
        /// Where byte 0 of the writer lies in the object.
        offset: u64,
    },
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteRequest {
    /// Goes into temporary names, such as the id of a transfer.
    pub label: String,
    /// The token of an earlier writer, to go on where it stopped. An unknown one starts afresh.
    pub resume: Option<String>,
    /// Replace, or write into what is there.
    pub placement: Placement,
    /// Whether missing parent folders are made.
    pub create_parents: bool,
    /// The final size, when it is known; a hint.
    pub size: Option<u64>,
    /// What must be at the path when the object is published (with `Placement::Replace`); else `finish` fails with
    /// an error that `Guard::is_refusal` recognizes, nothing is published, and what was written is removed.
    pub guard: Guard,
    /// Where the version that is replaced goes, with `Guard::Version`. Nothing may be there; its folders are made.
    ///
    /// It must be a name that nobody else takes: a crash may leave the new version there, or whatever came out of
    /// the path, but never loses either.
    pub keep_old: Option<ObjectPath>,
    /// Set before the bytes become visible (with `Placement::Replace`).
    pub attributes: Attributes,
}
