//! Stories of the backup room, told through its routes, on both databases.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod actions;
mod backups;
mod clients;
mod health;
mod identity;
mod isolation;
mod jobs;
mod pages;
mod refusals;
mod room;
mod searching;
mod sessions;
