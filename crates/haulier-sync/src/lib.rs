//! The sync room: storages kept in step by rules (path, MIME type, size).
//!
//! Speaks the Onitu API 1.0 (sync contract). Knows no other room. How it works: docs/decisions/0014-sync.md.

mod api;
mod attend;
mod carry;
mod config;
mod driver;
mod events;
mod hold;
mod http;
mod inspect;
mod meter;
mod mime;
mod model;
mod options;
mod plan;
mod progress;
mod referee;
mod roots;
mod rules;
mod scan;
mod service;
mod setup;
mod store;
#[cfg(test)]
mod stories;
mod tasks;
mod watch;
mod worker;

pub use config::{ConflictChoice, SyncConfig};
pub use events::event_kinds;
pub use http::{openapi, own_openapi, own_router, router};
pub use model::{
    Attributes, ContentHash, Copy, CopyState, EntryName, Fid, FileName, FileRecord, FileState, Found, Observation,
    Owners, Past, Pending, Seen, Stamp, Subject,
};
pub use rules::{RuleSet, Step};
pub use service::{
    ConflictDocument, Effect, EntryDocument, Explanation, FileDocument, Keep, Listing, Phase, Progress, Stats, Status,
    Syncs, VersionDocument,
};
pub use setup::{NewEntry, Setup, beside};
