//! The kinds of work of this room and their payloads. Pure.

use haulier_base::Timestamp;
use haulier_catalog::queue::NewTask;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::EntryName;

/// Watches, scans and polls one entry for as long as it is active. Does not end by itself.
pub(crate) const ATTEND: &str = "sync.attend";
/// Does what is pending at one entry, and ends when nothing is.
pub(crate) const CARRY: &str = "sync.carry";
/// Judges every known file anew, after the rules changed.
pub(crate) const JUDGE: &str = "sync.judge";
/// Removes old versions whose time is over.
pub(crate) const PRUNE: &str = "sync.prune";

/// Whose line the tasks of this room stand in.
pub(crate) const OWNER: &str = "sync";

/// An entry's tasks go on for as long as it exists: trouble is told by the entry, and never ends them.
const ATTEMPTS_MAX: u32 = u32::MAX >> 1;

/// Payload of [`ATTEND`] and [`CARRY`]; the entry's name is also the task's subject.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EntryTask {
    pub(crate) entry: String,
}

impl EntryTask {
    pub(crate) fn new_task(kind: &str, entry: &EntryName, run_at: Timestamp) -> NewTask {
        let payload = json!(EntryTask { entry: entry.to_string() });
        let mut task = NewTask::now(kind, OWNER, entry.as_str(), payload, run_at);
        task.max_attempts = ATTEMPTS_MAX;
        task
    }
}

/// Payload of [`JUDGE`]: the last file that was judged, to go on after a crash.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct JudgeTask {
    pub(crate) after: Option<String>,
}

impl JudgeTask {
    /// What a judgement of all files is about.
    pub(crate) const SUBJECT: &str = "rules";

    pub(crate) fn new_task(&self, run_at: Timestamp) -> NewTask {
        let mut task = NewTask::now(JUDGE, OWNER, Self::SUBJECT, json!(self), run_at);
        task.max_attempts = ATTEMPTS_MAX;
        task
    }
}

/// The one task that removes old versions, again and again.
pub(crate) fn prune_task(run_at: Timestamp) -> NewTask {
    let mut task = NewTask::now(PRUNE, OWNER, PRUNE, json!({}), run_at);
    task.max_attempts = ATTEMPTS_MAX;
    task
}
