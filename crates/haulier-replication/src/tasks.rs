//! The kinds of work of this room and their payloads. Pure.

use haulier_base::Timestamp;
use haulier_catalog::queue::NewTask;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::SiteId;

/// Sends the orders for one site, for as long as it is in the topology. Does not end by itself.
pub(crate) const DELIVER: &str = "replication.deliver";
/// Applies the orders of other sites. Does not end by itself.
pub(crate) const APPLY: &str = "replication.apply";
/// Removes what is no longer needed, again and again. Does not end by itself.
pub(crate) const SWEEP: &str = "replication.sweep";
/// Carries out one run: a reconciliation, a purge, an import, a push to an empty site.
pub(crate) const RUN: &str = "replication.run";

/// Whose line the tasks of this room stand in.
pub(crate) const OWNER: &str = "replication";

/// Trouble is told by the room's own records, and never ends a task.
const ATTEMPTS_MAX: u32 = u32::MAX >> 1;

/// Payload of [`DELIVER`]; the site is also the task's subject.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeliverTask {
    pub(crate) site: String,
}

impl DeliverTask {
    pub(crate) fn new_task(site: &SiteId, run_at: Timestamp) -> NewTask {
        lasting(DELIVER, site.as_str(), json!(Self { site: site.to_string() }), run_at)
    }
}

/// Payload of [`RUN`]; the run is also the task's subject.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunTask {
    pub(crate) run: String,
    /// The run's turn that the task is for.
    pub(crate) turn: i64,
}

impl RunTask {
    pub(crate) fn new_task(run: &str, turn: i64, run_at: Timestamp) -> NewTask {
        lasting(RUN, run, json!(Self { run: run.to_owned(), turn }), run_at)
    }
}

/// The one task of its kind.
pub(crate) fn only_task(kind: &str, run_at: Timestamp) -> NewTask {
    lasting(kind, kind, json!({}), run_at)
}

fn lasting(kind: &str, subject: &str, payload: serde_json::Value, run_at: Timestamp) -> NewTask {
    let mut task = NewTask::now(kind, OWNER, subject, payload, run_at);
    task.max_attempts = ATTEMPTS_MAX;
    task
}
