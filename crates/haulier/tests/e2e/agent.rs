//! The agent as a process beside a server: jobs that are done, restored from, aborted and survived.

mod databases;
mod failures;
mod kills;
mod places;
mod scene;
mod stories;
