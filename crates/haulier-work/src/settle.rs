//! The only place where an `ErrorKind` becomes retry, dead or released.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use haulier_base::{Backoff, Error, ErrorKind, Timestamp};
use haulier_catalog::queue::Task;

use crate::handler::StopReason;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What becomes of a task whose attempt ended in an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again then.
    Retry(Timestamp),
    /// No further attempt: the handler records the end and the task is dead.
    GiveUp,
    /// Ready at once, and the attempt does not count.
    Release,
    /// Not ours to settle any more.
    Leave,
}

/// Judges an error by its kind, the attempts made, and whether the handler had been told to stop.
pub fn judge(error: &Error, task: &Task, stop: Option<StopReason>, now: Timestamp) -> Verdict {
    match error.kind() {
        ErrorKind::LostLease => Verdict::Leave,
        _ if stop == Some(StopReason::Lost) => Verdict::Leave,
        ErrorKind::Canceled if stop == Some(StopReason::Shutdown) => Verdict::Release,
        ErrorKind::Unavailable | ErrorKind::Internal => {
            wait(error, task).map_or(Verdict::GiveUp, |wait| Verdict::Retry(now.plus(wait)))
        }
        ErrorKind::Invalid
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Unauthenticated
        | ErrorKind::Forbidden
        | ErrorKind::TooLarge
        | ErrorKind::Canceled
        | ErrorKind::Corrupt
        | ErrorKind::NoSpace => Verdict::GiveUp,
    }
}

fn wait(error: &Error, task: &Task) -> Option<Duration> {
    let backoff = Backoff { first: FIRST_WAIT, cap: LONGEST_WAIT, attempts: task.max_attempts };
    let wait = backoff.wait(task.attempt, jitter(task))?;
    Some(wait.max(error.wait_asked().unwrap_or_default().min(LONGEST_WAIT)))
}

/// Spreads tasks that failed together, the same way in every run of a test.
fn jitter(task: &Task) -> f64 {
    let mut hasher = DefaultHasher::new();
    (&task.id, task.attempt).hash(&mut hasher);
    (hasher.finish() % 1000) as f64 / 1000.0
}
