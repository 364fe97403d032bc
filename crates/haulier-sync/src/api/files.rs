//! Wire types of files and of their old versions (§1.2), and conversion.

use serde::Serialize;
use utoipa::ToSchema;

use super::seconds;
use crate::service::{FileDocument, VersionDocument};

/// A file (§1.2).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileView {
    /// UUID, version 5, of the name.
    #[schema(format = Uuid)]
    fid: String,
    /// From the root of its entries, without a leading slash.
    #[schema(example = "photos/foo.jpg")]
    filename: String,
    /// Bytes of the current version.
    size: u64,
    /// Entries that should hold it.
    owners: Vec<String>,
    /// Those of them that hold the current version.
    uptodate: Vec<String>,
    /// By its name; `application/octet-stream` when unknown.
    mimetype: String,
    /// When the bytes were last changed, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<f64>,
    /// SHA-256 of the current version; absent until it was read for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// The entry that the current version came from.
    origin: String,
}

impl From<FileDocument> for FileView {
    fn from(file: FileDocument) -> Self {
        Self {
            fid: file.fid.to_string(),
            filename: file.filename,
            size: file.size_bytes,
            owners: file.owners,
            uptodate: file.uptodate,
            mimetype: file.mimetype,
            mtime: file.modified_at.map(seconds),
            hash: file.content,
            origin: file.origin,
        }
    }
}

/// A page of files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// In the order of their ids.
    files: Vec<FileView>,
}

/// An old version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionView {
    pub(crate) id: String,
    filename: String,
    /// The entry that has it.
    entry: String,
    /// Where it is, from the root of the entry.
    place: String,
    size_bytes: u64,
    /// SHA-256, if it was read.
    hash: Option<String>,
    /// `replaced` or `deleted`.
    reason: &'static str,
    /// RFC 3339.
    kept_at: String,
}

impl From<VersionDocument> for VersionView {
    fn from(version: VersionDocument) -> Self {
        Self {
            id: version.id,
            filename: version.filename,
            entry: version.entry,
            place: version.place,
            size_bytes: version.size_bytes,
            hash: version.content,
            reason: version.reason,
            kept_at: version.kept_at.to_string(),
        }
    }
}

/// A page of old versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionList {
    pub(crate) versions: Vec<VersionView>,
    /// What to give as `after` for the next page; null when this is the last.
    pub(crate) next: Option<String>,
}
