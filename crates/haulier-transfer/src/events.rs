//! What the room tells the world when something became true of a transfer.
//!
//! Knows no reader: events are written in the transaction that made them true.

use haulier_base::Result;
use haulier_catalog::Tx;
use haulier_catalog::events::{self, NewEvent};
use serde_json::json;

use crate::model::Transfer;

/// What becomes true of a transfer and is told to the world as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// It was accepted.
    Submitted,
    /// An executor took it for the first time.
    Started,
    /// What it had copied was thrown away.
    StartedOver,
    /// A client asked it to stop, and its executor has not stopped yet.
    CancelAsked,
    /// It stopped on request.
    Canceled,
    /// Every byte is safe at the destination.
    Completed,
    /// It was given up.
    Failed,
    /// It left its failed end on request.
    Restarted,
    /// Its record is gone.
    Deleted,
}

impl Happened {
    /// Everything that can happen, in the order of a long life.
    pub(crate) const ALL: [Self; 9] = [
        Self::Submitted,
        Self::Started,
        Self::StartedOver,
        Self::CancelAsked,
        Self::Canceled,
        Self::Completed,
        Self::Failed,
        Self::Restarted,
        Self::Deleted,
    ];

    /// The event's kind.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Submitted => "transfer.submitted",
            Self::Started => "transfer.started",
            Self::StartedOver => "transfer.started_over",
            Self::CancelAsked => "transfer.cancel_asked",
            Self::Canceled => "transfer.canceled",
            Self::Completed => "transfer.completed",
            Self::Failed => "transfer.failed",
            Self::Restarted => "transfer.restarted",
            Self::Deleted => "transfer.deleted",
        }
    }

    /// What became true, for the reference.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Submitted => "The transfer was accepted and is on disk.",
            Self::Started => "An executor took it for the first time.",
            Self::StartedOver => "What it had copied was thrown away, so its progress is 0 again.",
            Self::CancelAsked => "A client asked it to stop, and its executor has not stopped yet.",
            Self::Canceled => "It stopped on request.",
            Self::Completed => "Every byte is safe at the destination.",
            Self::Failed => "It was given up; its `error` says why.",
            Self::Restarted => "It left `STATE_ERROR` on request and goes on.",
            Self::Deleted => "Its record is gone.",
        }
    }
}

/// Records that something became true of a transfer.
pub(crate) async fn publish(tx: &mut Tx, transfer: &Transfer, what: Happened) -> Result<()> {
    let event = NewEvent {
        kind: what.kind().to_owned(),
        subject: transfer.id.to_string(),
        owner: transfer.owner.clone(),
        body: json!({ "state": transfer.state.as_str(), "progress": transfer.progress }),
    };
    events::publish(tx, event).await.map(drop)
}

/// The kind and the meaning of every event of this room, for the reference.
pub fn event_kinds() -> Vec<(&'static str, &'static str)> {
    Happened::ALL.map(|what| (what.kind(), what.meaning())).to_vec()
}
