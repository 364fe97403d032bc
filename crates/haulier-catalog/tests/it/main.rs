//! The catalogue's promises, on both databases.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod dropped;
mod events;
mod group;
mod queue;
mod schema;
mod statements;
mod transactions;
