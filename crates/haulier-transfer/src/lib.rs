//! The transfer room: one requested copy of one object, from a posted URL pair to a finished, verified file.
//!
//! Speaks the Staccato v1 API (transfer contract). Knows no other room.

mod api;
mod config;
mod events;
mod http;
mod model;
mod service;
mod store;
mod tasks;
mod worker;

pub use config::TransferConfig;
pub use events::event_kinds;
pub use http::{openapi, router, versions_router};
pub use model::{NewTransfer, Transfer, TransferError, TransferEvent, TransferId, TransferState};
pub use service::{Action, Filter, ListTransfers, Outcome, Transfers};
