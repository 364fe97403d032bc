//! Stories of the transfer room, told through its routes, on both databases.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod bytes;
mod crash;
mod ends;
mod list;
mod places;
mod progress;
mod requests;
mod room;
mod sources;
