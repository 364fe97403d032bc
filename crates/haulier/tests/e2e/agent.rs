//! The agent as a process beside a server: jobs that are done, restored from, aborted and survived.

mod failures;
mod kills;
mod scene;
mod stories;
