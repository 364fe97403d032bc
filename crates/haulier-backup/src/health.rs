//! What is wrong, as people and their monitoring read it: silence is an alarm. Pure.

use haulier_base::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::BackupConfig;
use crate::store::watch::Found;

/// Something that somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Alarm {
    /// A job should have begun and did not.
    Overdue,
    /// A job is said to be running, by a client that is not heard of any more.
    Stalled,
    /// The last run of a job failed.
    Failed,
    /// The schedule of a job cannot be understood or has no time that ever comes, so that it may never run.
    Unclear,
    /// A client does not poll.
    Silent,
    /// A backup is much smaller than the one before it.
    Shrunk,
    /// A backup lacks files that could not be read.
    Unreadable,
}

impl Alarm {
    pub(crate) const ALL: [Self; 7] =
        [Self::Overdue, Self::Stalled, Self::Failed, Self::Unclear, Self::Silent, Self::Shrunk, Self::Unreadable];

    /// Its name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Stalled => "stalled",
            Self::Failed => "failed",
            Self::Unclear => "unclear",
            Self::Silent => "silent",
            Self::Shrunk => "shrunk",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Beyond what something is wrong, at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    now: Timestamp,
    overdue_before: Timestamp,
    silent_before: Timestamp,
    kept_percent: i64,
}

impl Limits {
    pub(crate) fn new(config: &BackupConfig, now: Timestamp) -> Self {
        Self {
            now,
            overdue_before: config.overdue_before(now),
            silent_before: config.silent_before(now),
            kept_percent: config.kept_percent(),
        }
    }

    /// The one that an alarm is about: an instant in microseconds, or a number.
    pub(crate) fn of(&self, alarm: Alarm) -> i64 {
        match alarm {
            Alarm::Overdue => self.overdue_before.as_micros(),
            Alarm::Stalled | Alarm::Silent => self.silent_before.as_micros(),
            Alarm::Failed | Alarm::Unclear => self.now.as_micros(),
            Alarm::Shrunk => self.kept_percent,
            Alarm::Unreadable => 0,
        }
    }
}

/// What is wrong with the caller's backups.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BackupHealth {
    /// `ok`, or `alarm` when anything is wrong.
    #[schema(example = "ok")]
    status: &'static str,
    /// When it was looked.
    #[schema(example = "2026-11-21T12:00:00.000000Z")]
    checked_at: String,
    /// How much is wrong, whether it is shown below or not.
    counts: AlarmCounts,
    /// What is wrong, the oldest of each sort first.
    alarms: Vec<BackupAlarm>,
    /// The settings that decide, of the section `[backup]`.
    limits: AlarmLimits,
}

/// How many jobs, clients and backups there is an alarm about.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
struct AlarmCounts {
    overdue: i64,
    stalled: i64,
    failed: i64,
    unclear: i64,
    silent: i64,
    shrunk: i64,
    unreadable: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct AlarmLimits {
    overdue_minutes: u64,
    silent_minutes: u64,
    shrunk_percent: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct BackupAlarm {
    alarm: Alarm,
    /// The job it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    /// The backup it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_id: Option<String>,
    /// The client, or the host of the backup.
    client_id: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// One sentence.
    why: String,
}

/// Puts together what was counted and found.
pub(crate) fn report(
    config: &BackupConfig,
    now: Timestamp,
    counted: &[(Alarm, i64)],
    found: Vec<(Alarm, Found)>,
) -> BackupHealth {
    let count = |alarm: Alarm| counted.iter().find(|(known, _)| *known == alarm).map_or(0, |(_, count)| *count);
    let is_fine = counted.iter().all(|(_, count)| *count == 0);
    BackupHealth {
        status: if is_fine { "ok" } else { "alarm" },
        checked_at: now.to_string(),
        counts: AlarmCounts {
            overdue: count(Alarm::Overdue),
            stalled: count(Alarm::Stalled),
            failed: count(Alarm::Failed),
            unclear: count(Alarm::Unclear),
            silent: count(Alarm::Silent),
            shrunk: count(Alarm::Shrunk),
            unreadable: count(Alarm::Unreadable),
        },
        alarms: found.into_iter().map(|(alarm, found)| shown(alarm, found, now)).collect(),
        limits: AlarmLimits {
            overdue_minutes: config.overdue_minutes,
            silent_minutes: config.silent_minutes,
            shrunk_percent: config.shrunk_percent,
        },
    }
}

fn shown(alarm: Alarm, found: Found, now: Timestamp) -> BackupAlarm {
    let of_backup = matches!(alarm, Alarm::Shrunk | Alarm::Unreadable);
    let unit = if of_backup { 1_000_000 } else { 1 };
    let since = found.since.map(|since| Timestamp::from_micros(since.saturating_mul(unit)));
    let age = since.map_or_else(|| "ever".to_owned(), |since| span(now.since(since).as_secs()));
    let Found { id, client, name, size, size_before, unreadable, .. } = found;
    let why = match alarm {
        Alarm::Overdue => format!("should have begun {age} ago and did not; is an agent of {client} running?"),
        Alarm::Stalled => format!("is said to be running, but {client} was not heard of lately"),
        Alarm::Failed => format!("the last run failed, {age} ago; the log of the agent on {client} says why"),
        Alarm::Unclear => {
            "its schedule cannot be understood or never comes, so that it may never run; see job_schedule".to_owned()
        }
        Alarm::Silent => format!("has not asked for its jobs for {age}; is its agent running?"),
        Alarm::Shrunk => format!("{name} is {size} bytes, and was {size_before} bytes the time before"),
        Alarm::Unreadable => format!("{name} lacks {unreadable} files that could not be read"),
    };
    let (job_id, backup_id) = match alarm {
        Alarm::Silent => (None, None),
        _ if of_backup => (None, Some(id)),
        _ => (Some(id), None),
    };
    BackupAlarm { alarm, job_id, backup_id, client_id: client, since: since.map(|since| since.to_string()), why }
}

/// A span as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_one_unit() {
        let said: Vec<_> = [5, 119, 120, 7200, 172_800].map(span).into();
        assert_eq!(said, ["5 s", "119 s", "2 min", "2 h", "2 days"]);
    }
}
