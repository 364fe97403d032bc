//! The repository against the program that wrote the format: each reads what the other wrote.

mod bench;
mod locks;
mod trees;
