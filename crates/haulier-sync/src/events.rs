//! What the room tells the world when something became true of an entry, a file or the rules.
//!
//! Knows no reader: events are written in the transaction that made them true.

use haulier_base::Result;
use haulier_catalog::Tx;
use haulier_catalog::events::{self, NewEvent};
use serde_json::Value;

use crate::tasks::OWNER;

/// What becomes true and is told to the world as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Of an entry: it was added.
    EntryAdded,
    /// Of an entry: it was started.
    EntryStarted,
    /// Of an entry: it was stopped.
    EntryStopped,
    /// Of an entry: it was removed.
    EntryRemoved,
    /// Of an entry: deletions wait for the operator's word.
    DeletionsHeld,
    /// Of the rules: a list was stored.
    RulesStored,
    /// Of the rules: a list is in force.
    RulesApplied,
    /// Of a file: it has a new version.
    FileChanged,
    /// Of a file: it was deleted.
    FileDeleted,
    /// Of a file: two entries had changed it.
    FileConflicted,
    /// Of a conflict: a person decided.
    ConflictResolved,
    /// Of a file: an old version was put back.
    VersionRestored,
}

impl Happened {
    /// Everything that can happen.
    pub(crate) const ALL: [Self; 12] = [
        Self::EntryAdded,
        Self::EntryStarted,
        Self::EntryStopped,
        Self::EntryRemoved,
        Self::DeletionsHeld,
        Self::RulesStored,
        Self::RulesApplied,
        Self::FileChanged,
        Self::FileDeleted,
        Self::FileConflicted,
        Self::ConflictResolved,
        Self::VersionRestored,
    ];

    /// The event's kind.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::EntryAdded => "sync.entry_added",
            Self::EntryStarted => "sync.entry_started",
            Self::EntryStopped => "sync.entry_stopped",
            Self::EntryRemoved => "sync.entry_removed",
            Self::DeletionsHeld => "sync.deletions_held",
            Self::RulesStored => "sync.rules_stored",
            Self::RulesApplied => "sync.rules_applied",
            Self::FileChanged => "sync.file_changed",
            Self::FileDeleted => "sync.file_deleted",
            Self::FileConflicted => "sync.file_conflicted",
            Self::ConflictResolved => "sync.conflict_resolved",
            Self::VersionRestored => "sync.version_restored",
        }
    }

    /// What became true, for the reference.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::EntryAdded => "An entry takes part from now on.",
            Self::EntryStarted => "An entry was started.",
            Self::EntryStopped => "An entry was stopped: it is neither watched nor read nor written.",
            Self::EntryRemoved => "An entry takes part no longer; its files stay.",
            Self::DeletionsHeld => "So much is missing from an entry that its deletions wait for a person's word.",
            Self::RulesStored => "A list of rules was stored; it is not in force yet.",
            Self::RulesApplied => "Another list of rules is in force.",
            Self::FileChanged => "A file has a new version; the body names the entry it came from.",
            Self::FileDeleted => "A file was deleted at an entry, and will be at those that follow it.",
            Self::FileConflicted => {
                "A file was changed at two entries; the body says who won and where the other version is."
            }
            Self::ConflictResolved => "A person decided a conflict.",
            Self::VersionRestored => "An old version of a file was put back in its place.",
        }
    }
}

/// Records that something became true of a subject: an entry's name, a file's id, or `rules`.
pub(crate) async fn publish(tx: &mut Tx, what: Happened, subject: &str, body: Value) -> Result<()> {
    let event = NewEvent { kind: what.kind().to_owned(), subject: subject.to_owned(), owner: OWNER.to_owned(), body };
    events::publish(tx, event).await.map(drop)
}

/// The kind and the meaning of every event of this room, for the reference.
pub fn event_kinds() -> Vec<(&'static str, &'static str)> {
    Happened::ALL.map(|what| (what.kind(), what.meaning())).to_vec()
}
