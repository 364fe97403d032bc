//! The nouns of the room and the only ways a transfer may change. Pure.

use std::fmt;
use std::str::FromStr;

use haulier_base::{Error, ErrorKind, Result, Timestamp, id};
use serde_json::Value;

id!(
    /// Names a transfer: a UUID, version 4, canonical (transfer contract §2.1).
    TransferId
);

impl TransferId {
    /// A fresh identifier.
    pub fn random() -> Self {
        Self::from_text(haulier_base::id::random_uuid())
    }

    /// Reads an identifier as a client gave it; anything but the canonical form names no transfer.
    pub fn parse(text: &str) -> Result<Self> {
        if haulier_base::id::is_canonical_uuid(text) { Ok(Self::from_text(text)) } else { Err(no_such_transfer(text)) }
    }
}

/// The one sentence for an identifier that names nothing, or nothing of the caller's.
pub(crate) fn no_such_transfer(id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    Error::not_found(format!("there is no transfer {shown}"))
}

/// The states of transfer contract §4. `STATE_DELETED` is never stored: a deleted transfer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferState {
    /// Accepted, waiting for a slot.
    New,
    /// An executor works on it, or it waits for its next attempt.
    Running,
    /// Asked to stop; the executor has not stopped yet.
    Canceling,
    /// Stopped on request.
    Canceled,
    /// Given up; the executor has not recorded the end yet.
    Erroring,
    /// Given up.
    Error,
    /// Every byte of the range is safe at the destination.
    Complete,
}

/// What can happen to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferEvent {
    /// An executor picks it up.
    Start,
    /// The executor's run ended with every byte safe.
    Finish,
    /// The executor stopped because it was asked to.
    Stop,
    /// The executor gives up.
    Fail,
    /// The end after giving up is recorded.
    Settle,
    /// A client asks to stop.
    Cancel,
    /// A client asks to try once more.
    Restart,
    /// A client asks to forget it.
    Delete,
}

impl TransferState {
    /// Every state, in the order a transfer meets them.
    pub const ALL: [Self; 7] =
        [Self::New, Self::Running, Self::Canceling, Self::Canceled, Self::Erroring, Self::Error, Self::Complete];

    /// The name on the wire and in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "STATE_NEW",
            Self::Running => "STATE_RUNNING",
            Self::Canceling => "STATE_CANCELING",
            Self::Canceled => "STATE_CANCELED",
            Self::Erroring => "STATE_ERRORING",
            Self::Error => "STATE_ERROR",
            Self::Complete => "STATE_COMPLETE",
        }
    }

    /// Whether nothing happens any more unless a client asks.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Error | Self::Complete)
    }

    /// The next state, or none when the transfer is gone afterwards; a conflict for anything that may not happen.
    pub fn on(self, event: TransferEvent) -> Result<Option<Self>> {
        use {TransferEvent as E, TransferState as S};
        match (self, event) {
            (S::New, E::Start) => Ok(Some(S::Running)),
            (S::Running, E::Finish) => Ok(Some(S::Complete)),
            // The last byte was already safe when the cancel arrived.
            (S::Canceling, E::Finish) => Ok(Some(S::Complete)),
            (S::Canceling, E::Stop | E::Fail) => Ok(Some(S::Canceled)),
            (S::Running, E::Fail) => Ok(Some(S::Erroring)),
            (S::Erroring, E::Settle) => Ok(Some(S::Error)),
            (S::New | S::Error, E::Cancel) => Ok(Some(S::Canceled)),
            (S::Running, E::Cancel) => Ok(Some(S::Canceling)),
            (S::Error, E::Restart) => Ok(Some(S::Running)),
            (S::New | S::Error | S::Complete | S::Canceled, E::Delete) => Ok(None),
            (state, event) => Err(Error::conflict(format!("a transfer in {state} cannot {event}"))),
        }
    }
}

impl fmt::Display for TransferState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TransferState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid(format!("\"{text}\" is not a state of a transfer")))
    }
}

impl TransferEvent {
    /// Every event.
    pub const ALL: [Self; 8] =
        [Self::Start, Self::Finish, Self::Stop, Self::Fail, Self::Settle, Self::Cancel, Self::Restart, Self::Delete];
}

impl fmt::Display for TransferEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Finish => "finish",
            Self::Stop => "stop",
            Self::Fail => "fail",
            Self::Settle => "be settled",
            Self::Cancel => "be canceled",
            Self::Restart => "be restarted",
            Self::Delete => "be deleted",
        })
    }
}

/// Why the last run failed, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferError {
    /// The error's kind, such as `not_found`.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
}

impl From<&Error> for TransferError {
    fn from(error: &Error) -> Self {
        // A fault of ours may name paths and internals that are not the client's to see.
        let message = match error.kind() {
            ErrorKind::Internal => {
                "the transfer failed on an internal fault; the server's log has the details".to_owned()
            }
            _ => error.message().to_owned(),
        };
        Self { code: error.kind().as_str().to_owned(), message }
    }
}

/// Why a transfer that is not done is not moving, and when it will try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// One sentence for a person.
    pub reason: String,
    /// When the next attempt is due.
    pub until: Option<Timestamp>,
}

/// A checked request for a transfer.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTransfer {
    /// Exactly as posted.
    pub source_url: String,
    /// Exactly as posted.
    pub destination_url: String,
    /// Any JSON value.
    pub source_options: Value,
    /// Any JSON value.
    pub destination_options: Value,
    /// First byte of the range, 0 or more.
    pub start_offset: i64,
    /// End of the range, exclusive; -1 means to the end of the source.
    pub end_offset: i64,
}

/// One requested copy of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// Its name.
    pub id: TransferId,
    /// The user it belongs to.
    pub owner: String,
    /// Where it stands.
    pub state: TransferState,
    /// What was asked for.
    pub request: NewTransfer,
    /// Contiguous bytes of the range that are safe at the destination.
    pub progress: i64,
    /// How many times an executor began or resumed it.
    pub attempts: i64,
    /// Attempts that failed in a row without at least 1 MiB of new safe bytes.
    pub failures: i64,
    /// Who works on it or did last: site, process, random part.
    pub executor: Option<String>,
    /// What a later attempt needs to go on, as JSON.
    pub resume: Option<String>,
    /// Digest of the bytes moved, known at COMPLETE.
    pub checksum: Option<String>,
    /// How those bytes were proven, known at COMPLETE.
    pub verified_by: Option<String>,
    /// Why the last run failed.
    pub error: Option<TransferError>,
    /// Why it is waiting.
    pub waiting: Option<Waiting>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its record last changed.
    pub updated_at: Timestamp,
}

impl Transfer {
    /// A transfer that has just been accepted.
    pub fn accepted(owner: &str, request: NewTransfer, now: Timestamp) -> Self {
        Self {
            id: TransferId::random(),
            owner: owner.to_owned(),
            state: TransferState::New,
            request,
            progress: 0,
            attempts: 0,
            failures: 0,
            executor: None,
            resume: None,
            checksum: None,
            verified_by: None,
            error: None,
            waiting: None,
            created_at: now,
            updated_at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of transfer contract §4.1, so that a change of the machine shows in review.
    #[test]
    fn the_state_table_is_the_published_one() {
        let mut table = String::from(
            "# States of a transfer\n\nPrinted by a test from `TransferState::on`; \"–\" cannot happen.\n\n| State |",
        );
        for event in TransferEvent::ALL {
            table.push_str(&format!(" {event:?} |"));
        }
        table.push_str(&format!("\n|---|{}\n", "---|".repeat(TransferEvent::ALL.len())));
        for state in TransferState::ALL {
            table.push_str(&format!("| {state} |"));
            for event in TransferEvent::ALL {
                let cell = match state.on(event) {
                    Ok(Some(next)) => next.to_string(),
                    Ok(None) => "gone".to_owned(),
                    Err(_) => "–".to_owned(),
                };
                table.push_str(&format!(" {cell} |"));
            }
            table.push('\n');
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/states/transfer.md");
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(published, table, "docs/reference/states/transfer.md is out of step; it should be:\n{table}");
    }

    #[test]
    fn states_read_as_they_print() {
        for state in TransferState::ALL {
            assert_eq!(state.as_str().parse::<TransferState>().unwrap(), state);
        }
        assert!("STATE_DELETED".parse::<TransferState>().is_err());
    }

    #[test]
    fn only_canonical_identifiers_name_a_transfer() {
        assert!(TransferId::parse(TransferId::random().as_str()).is_ok());
        assert_eq!(TransferId::parse("a/../b").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
