//! The sync room: storages kept in step by rules (path, MIME type, size).
//!
//! Speaks the Onitu API 1.0 (sync contract). Knows no other room. How it works: docs/decisions/0014-sync.md.

mod attend;
mod carry;
mod driver;
mod hold;
mod inspect;
mod model;
mod plan;
mod progress;
mod referee;
mod scan;
mod store;
mod tasks;
mod watch;

pub use model::{
    Attributes, ContentHash, Copy, CopyState, EntryName, Fid, FileName, FileRecord, FileState, Found, Observation,
    Owners, Past, Pending, Seen, Stamp, Subject,
};
