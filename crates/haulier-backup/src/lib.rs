//! The backup room: clients, jobs, actions, sessions and backup records, as the Freezer v1 API has them.
//!
//! The server only keeps what is told and finds it again; who carries out jobs is a client of the API. Knows no other
//! room and no backup library.

mod api;
mod config;
mod health;
mod http;
mod job;
mod lateness;
mod merge;
mod metrics;
mod model;
mod rules;
mod search;
mod seen;
mod series;
mod service;
mod session;
mod store;

pub use config::BackupConfig;
pub use haulier_schedule::{Due, MISSED_MAX, Schedule};
pub use http::{below_v1, identity_router, openapi, own_openapi, own_router, router, versions_router};
pub use metrics::BackupMetrics;
pub use model::{Document, Kind};
pub use search::{Matcher, Query};
pub use service::{Backups, List};
