//! Stories of this crate on both databases.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod locations;
