//! The client side of backup: an agent that carries out jobs, and the repositories that it writes.
//!
//! It speaks the public backup API and nothing else, as any other scheduler could. Knows no catalogue and no room.

mod action;
mod agent;
mod api;
mod config;
mod hand;
mod journal;
pub mod repository;
mod work;

pub use action::instant;
pub use agent::{Agent, ChildCommand};
pub use config::{AgentConfig, RepositoryConfig, SecretFile, read_secret};
pub use work::{Place, serve as serve_child};
