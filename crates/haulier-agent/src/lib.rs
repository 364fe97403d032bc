//! The client side of backup: an agent that carries out jobs, and the repositories that it writes.
//!
//! It speaks the public backup API and nothing else, as any other scheduler could. Knows no catalogue and no room.

pub mod repository;
