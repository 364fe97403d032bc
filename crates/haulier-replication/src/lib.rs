//! The replication room: write an object at any site, find it, proven by hash, at every site.
//!
//! Speaks the Clone Cloud Store API (replication contract). Knows no other room. How it works:
//! docs/decisions/0017-replication.md.

mod api;
mod compare;
mod config;
mod content;
mod filter;
mod header;
mod http;
mod metrics;
mod model;
mod names;
mod peer;
mod resolve;
mod run;
mod service;
mod store;
mod tasks;
mod vault;
mod work;

pub use config::{NewSite, ReplicationConfig};
pub use http::{openapi, router};
pub use metrics::ReplicationMetrics;
pub use model::{
    Action, Bucket, BucketName, Change, ClientId, Metadata, Object, ObjectName, Order, OrderState, RecordId, Rights,
    Site, SiteId, SiteStatus, Status,
};
pub use service::{Place, Replication};
