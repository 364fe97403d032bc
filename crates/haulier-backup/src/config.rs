//! The `[backup]` section of the configuration.

use std::time::Duration;

use haulier_base::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The word for the time zone of the machine.
const LOCAL: &str = "local";
/// A year.
const MINUTES_MAX: u64 = 525_600;

/// Settings of the backup room; every one has a default.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// The time zone that dates and calendars of jobs are meant in when they do not say it, such as `Europe/Paris`;
    /// `local` is that of the machine. Only used to find jobs that are overdue: clients have time zones of their own.
    pub time_zone: String,
    /// After how many minutes a job that should have begun is called overdue, 1 to 525600. At least as long as clients
    /// take from one poll to the next.
    pub overdue_minutes: u64,
    /// After how many minutes without a poll a client is called silent, 1 to 525600.
    pub silent_minutes: u64,
    /// By how many percent a backup must be smaller than the one before it to be called shrunk, 1 to 99.
    pub shrunk_percent: u64,
    /// Whether tokens are handed out below `/v3` too, for clients that insist on an OpenStack identity service: the
    /// password is the token, with mode `static`.
    pub identity: bool,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            time_zone: LOCAL.to_owned(),
            overdue_minutes: 15,
            silent_minutes: 15,
            shrunk_percent: 50,
            identity: false,
        }
    }
}

impl BackupConfig {
    /// Every setting that is out of its range, as `key: what is wrong`.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.time_zone != LOCAL && TimeZone::get(&self.time_zone).is_err() {
            faults.push(format!("time_zone: \"{}\" is not a time zone such as Europe/Paris", self.time_zone));
        }
        for (key, minutes) in [("overdue_minutes", self.overdue_minutes), ("silent_minutes", self.silent_minutes)] {
            if !(1..=MINUTES_MAX).contains(&minutes) {
                faults.push(format!("{key}: {minutes} is not between 1 and {MINUTES_MAX}"));
            }
        }
        if !(1..=99).contains(&self.shrunk_percent) {
            faults.push(format!("shrunk_percent: {} is not between 1 and 99", self.shrunk_percent));
        }
        faults
    }

    pub(crate) fn zone(&self) -> TimeZone {
        match self.time_zone.as_str() {
            LOCAL => TimeZone::system(),
            name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
        }
    }

    /// Whoever should have begun before this is overdue.
    pub(crate) fn overdue_before(&self, now: Timestamp) -> Timestamp {
        now.minus(Duration::from_secs(self.overdue_minutes.saturating_mul(60)))
    }

    /// Whoever was not heard of since this is silent.
    pub(crate) fn silent_before(&self, now: Timestamp) -> Timestamp {
        now.minus(Duration::from_secs(self.silent_minutes.saturating_mul(60)))
    }

    /// What must be left of a backup's size, percent.
    pub(crate) fn kept_percent(&self) -> i64 {
        100 - i64::try_from(self.shrunk_percent).unwrap_or(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_ranges() {
        assert_eq!(BackupConfig::default().faults(), [""; 0]);
        let wrong = BackupConfig {
            time_zone: "Europe/Atlantis".to_owned(),
            overdue_minutes: 0,
            silent_minutes: MINUTES_MAX + 1,
            shrunk_percent: 100,
            identity: false,
        };
        let faults = wrong.faults();
        let keys: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(keys, ["time_zone", "overdue_minutes", "silent_minutes", "shrunk_percent"]);
    }
}
