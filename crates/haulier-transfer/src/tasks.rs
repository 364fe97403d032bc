//! The kinds of work of this room and their payloads. Pure.

use haulier_base::Timestamp;
use haulier_catalog::queue::NewTask;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{Transfer, TransferId};

/// One attempt to move the bytes of a transfer.
pub(crate) const COPY: &str = "transfer.copy";
/// The same, for a node that does not start transfers by itself: only executors elsewhere claim it.
pub(crate) const HELD: &str = "transfer.held";
/// Removes what an unfinished copy left at its destination.
pub(crate) const DISCARD: &str = "transfer.discard";

/// A copy that is claimed more often than this without any progress ends in ERROR: it kills its executor.
const COPY_ATTEMPTS_MAX: u32 = 100;

/// Payload of [`COPY`] and [`HELD`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyTask {
    pub(crate) transfer_id: String,
}

impl CopyTask {
    pub(crate) fn new_task(kind: &str, id: &TransferId, owner: &str, run_at: Timestamp) -> NewTask {
        let payload = json!(CopyTask { transfer_id: id.to_string() });
        let mut task = NewTask::now(kind, owner, id.as_str(), payload, run_at);
        task.max_attempts = COPY_ATTEMPTS_MAX;
        task
    }
}

/// Payload of [`DISCARD`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiscardTask {
    pub(crate) destination_url: String,
    pub(crate) destination_options: Value,
    /// What the last checkpoint knew; the transfer's id finds the rest.
    pub(crate) token: Option<String>,
}

impl DiscardTask {
    pub(crate) fn for_transfer(transfer: &Transfer, token: Option<String>) -> Self {
        Self {
            destination_url: transfer.request.destination_url.clone(),
            destination_options: transfer.request.destination_options.clone(),
            token,
        }
    }

    pub(crate) fn new_task(&self, transfer: &Transfer, run_at: Timestamp) -> NewTask {
        NewTask::now(DISCARD, &transfer.owner, transfer.id.as_str(), json!(self), run_at)
    }
}
