//! Facts, tasks, schedules and events, in SQLite or PostgreSQL.
//!
//! The only crate that names a database driver. Knows no storage, no HTTP and no room's table:
//! rooms write their own SQL as [`Sql`] and run it in a [`Tx`].

pub mod db;
pub mod events;
pub mod leases;
pub mod migrate;
pub mod queue;
pub mod schedules;
pub mod sql;

mod postgres;
mod sqlite;
mod url;

pub use db::{Catalog, CheckReport, Tx};
pub use sql::{Dialect, Null, Row, Sql, Value, placeholders};
pub use url::DatabaseUrl;
