//! The binary as its users meet it: a process, its exit codes, and HTTP.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a long test did is worth reading")]

mod agent;
mod backup;
mod cluster;
mod copies;
mod facts;
mod kill_loop;
mod node;
mod replication;
mod replication_kill;
mod storages;
mod story;
mod surface;
mod sync;
mod sync_kill;
mod trees;
mod web;
mod workers;
