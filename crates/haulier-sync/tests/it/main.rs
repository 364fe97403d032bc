//! Stories of the sync room, told through its routes, on both databases.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod actions;
mod answers;
mod files;
mod room;
mod ruling;
