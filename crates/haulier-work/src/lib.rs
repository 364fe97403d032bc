//! Claims, runs, renews, settles and drains leased tasks; gives events their place in the line.
//!
//! Knows no bytes, no HTTP and no room: a room hands in its [`TaskHandler`]s.

pub mod dispatcher;
pub mod handler;
pub mod metrics;
pub mod runner;
pub mod settle;

mod leases;

pub use dispatcher::Dispatcher;
pub use handler::{Handlers, StopReason, StopSignal, TaskContext, TaskHandler};
pub use metrics::WorkMetrics;
pub use runner::{Runner, RunnerConfig};
