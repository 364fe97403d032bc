//! The repository against the program that wrote the format: each reads what the other wrote.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod bench;
mod locks;
mod trees;
