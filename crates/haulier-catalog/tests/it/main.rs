//! The catalogue's promises, on both databases.

mod events;
mod queue;
mod schema;
mod transactions;
