//! One file or folder per kind of place.

pub mod memory;
pub mod network;
