//! The nouns of the queue.

use std::fmt;

use haulier_base::{Error, Result, Timestamp};

use crate::sql::Row;

/// A task to be enqueued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Which handler runs it, such as `transfer.copy`.
    pub kind: String,
    /// Which line it stands in; for people who look at the queue.
    pub queue: String,
    /// Whose it is: owners get fair shares.
    pub owner: String,
    /// What it is about, such as the transfer's id.
    pub subject: String,
    /// What its handler is told.
    pub payload: serde_json::Value,
    /// Higher goes first among the tasks of one owner; 0 is usual.
    pub priority: i64,
    /// It is not claimed before this.
    pub run_at: Timestamp,
    /// How often it is tried before it is given up.
    pub max_attempts: u32,
}

impl NewTask {
    /// How often a task is tried unless its room says otherwise.
    pub const MAX_ATTEMPTS: u32 = 5;

    /// A task that is ready at once. Its queue has the name of the kind's room.
    pub fn now(
        kind: impl Into<String>,
        owner: impl Into<String>,
        subject: impl Into<String>,
        payload: serde_json::Value,
        now: Timestamp,
    ) -> Self {
        let kind = kind.into();
        let queue = kind.split('.').next().unwrap_or_default().to_owned();
        Self {
            kind,
            queue,
            owner: owner.into(),
            subject: subject.into(),
            payload,
            priority: 0,
            run_at: now,
            max_attempts: Self::MAX_ATTEMPTS,
        }
    }
}

/// Where a task is in its life. A finished or withdrawn one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Waits to be claimed.
    Ready,
    /// Somebody holds it, or did until the deadline passed.
    Leased,
    /// Was given up, and is kept for people to see.
    Dead,
}

impl TaskState {
    /// The word used in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Dead => "dead",
        }
    }

    fn from_text(text: &str) -> Result<Self> {
        [Self::Ready, Self::Leased, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::corrupt(format!("a task is in the unknown state \"{text}\"")))
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A task as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its identifier.
    pub id: String,
    /// Which handler runs it.
    pub kind: String,
    /// Which line it stands in.
    pub queue: String,
    /// Whose it is.
    pub owner: String,
    /// What it is about.
    pub subject: String,
    /// What its handler is told.
    pub payload: serde_json::Value,
    /// Higher goes first.
    pub priority: i64,
    /// It is not claimed before this.
    pub run_at: Timestamp,
    /// How often it was claimed, this time included. More than `max_attempts`: give it up, do not run it.
    pub attempt: u32,
    /// How often it is tried.
    pub max_attempts: u32,
    /// Where it is in its life.
    pub state: TaskState,
    /// Whether somebody asked for it to stop.
    pub stop_asked: bool,
    /// Why it was last put back or given up.
    pub last_error: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
}

impl Task {
    pub(super) fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.text("id")?,
            kind: row.text("kind")?,
            queue: row.text("queue")?,
            owner: row.text("owner")?,
            subject: row.text("subject")?,
            payload: row.json("payload")?,
            priority: row.int("priority")?,
            run_at: row.time("run_at")?,
            attempt: attempts(row, "attempt")?,
            max_attempts: attempts(row, "max_attempts")?,
            state: TaskState::from_text(&row.text("state")?)?,
            stop_asked: row.flag("stop_asked")?,
            last_error: row.text_or_null("last_error")?,
            created_at: row.time("created_at")?,
        })
    }
}

fn attempts(row: &Row, column: &str) -> Result<u32> {
    u32::try_from(row.int(column)?).map_err(|_| Error::corrupt(format!("column \"{column}\" is out of range")))
}

/// One claimed task and the proof of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The task as it was claimed.
    pub task: Task,
    /// Proves the claim.
    pub token: String,
    /// Rises with every claim of the task.
    pub epoch: i64,
    /// Until when it is held, unless renewed.
    pub deadline: Timestamp,
    /// Who claimed it.
    pub holder: String,
}

/// What became of a lease that was to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Still ours.
    Held {
        /// Whether somebody asked for the task to stop.
        stop_asked: bool,
    },
    /// Somebody else has it, or it was settled: write nothing more.
    Lost,
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Finished; the task is gone.
    Done,
    /// To be tried again, not before an instant, and why.
    RetryAt(Timestamp, String),
    /// Given up, and why.
    Dead(String),
    /// Put back untried: it gets its attempt back and is ready now.
    Released,
}

/// What stopping a subject did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Tasks that waited and are gone.
    pub withdrawn: u64,
    /// Leased tasks whose holder was asked to stop.
    pub asked: u64,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Tasks that wait, due or not.
    pub ready: u64,
    /// Tasks that are held.
    pub leased: u64,
    /// Tasks that were given up.
    pub dead: u64,
    /// The earliest instant at which a waiting task was, or will be, due.
    pub oldest_ready_at: Option<Timestamp>,
}
