//! When is a job due? From a `job_schedule` (backup contract §9.3) to instants. Pure: the present time is an argument.
//!
//! Dates without `Z` or offset, and the fields of a calendar, are meant in a time zone that the caller names.

mod fields;

use std::collections::BTreeSet;

use croner::Cron;
use haulier_base::{Error, Result, Timestamp};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Zoned, civil};
use serde_json::{Map, Value};

/// Missed runs are counted up to this many.
pub const MISSED_MAX: u32 = 1000;
/// How many dates of a calendar are looked at for one in the wanted weeks.
const DATES_MAX: usize = 100_000;
/// The pause between two runs of a job that runs continuously, microseconds.
const PAUSE_MICROS: i64 = 1_000_000;

/// When a job is to run.
#[derive(Clone, Debug)]
pub struct Schedule {
    plan: Plan,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Plan {
    /// No time is given: once, as soon as there is the job.
    AtOnce,
    Once(Timestamp),
    /// Again a second after each run.
    Continuous,
    /// At the start and every so many microseconds after it.
    Every(i64),
    /// At the dates that all fields of a calendar allow.
    Calendar {
        cron: Box<Cron>,
        weeks: Option<BTreeSet<u8>>,
        zone: TimeZone,
    },
}

/// What is due at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The latest due time that has come since the last run; none when there was none. However many were missed, the
    /// job runs once.
    pub at: Option<Timestamp>,
    /// How many due times before that were missed, up to [`MISSED_MAX`].
    pub missed: u32,
    /// The next one to come; none when there will be none, or when it depends on the end of the run that is due.
    pub next: Option<Timestamp>,
}

impl Schedule {
    /// Reads a schedule. A date goes before an interval, and an interval before the fields of a calendar.
    ///
    /// # Errors
    /// `Invalid`, with the name of the member that cannot be understood.
    pub fn read(schedule: &Map<String, Value>, zone: &TimeZone) -> Result<Self> {
        let text = |name: &str| schedule.get(name).and_then(Value::as_str);
        let date = |name: &str| text(name).map(|text| read_date(name, text, zone)).transpose();
        let (start, end) = (date("schedule_start_date")?, date("schedule_end_date")?);
        let plan = if let Some(at) = date("schedule_date")? {
            Plan::Once(at)
        } else if let Some(interval) = text("schedule_interval") {
            read_interval(interval)?
        } else if let Some(fields) = fields::read(schedule)? {
            Plan::Calendar { cron: Box::new(fields.cron), weeks: fields.weeks, zone: zone.clone() }
        } else {
            Plan::AtOnce
        };
        Ok(Self { plan, start, end })
    }

    /// Whether there is at most one run.
    pub fn is_one_shot(&self) -> bool {
        matches!(self.plan, Plan::AtOnce | Plan::Once(_))
    }

    /// The first due time after an instant, for a job that was created at `created`.
    pub fn next_after(&self, created: Timestamp, after: Timestamp) -> Option<Timestamp> {
        let anchor = self.start.unwrap_or(created);
        let later = |at: Timestamp| (at > after).then_some(at);
        let next = match &self.plan {
            Plan::AtOnce => later(anchor)?,
            // A date is a date: the bounds are those of what recurs.
            Plan::Once(at) => return later(*at),
            Plan::Continuous => later(anchor).unwrap_or_else(|| shifted(after, PAUSE_MICROS)),
            Plan::Every(step) => every(anchor, *step, after),
            Plan::Calendar { cron, weeks, zone } => {
                let from = self.start.map_or(after, |start| after.max(shifted(start, -1)));
                calendar(cron, weeks.as_ref(), zone, from, true)?
            }
        };
        self.end.is_none_or(|end| next <= end).then_some(next)
    }

    /// What is due at `now`, for a job that was created at `created` and began its last run at `last_run`.
    pub fn due(&self, created: Timestamp, last_run: Option<Timestamp>, now: Timestamp) -> Due {
        let from = last_run.unwrap_or_else(|| shifted(created, -1));
        // Dates that were past already when the job was made are due all the same; other times are not made up for.
        let from = match self.plan {
            Plan::Once(_) | Plan::AtOnce if last_run.is_none() => Timestamp::from_micros(i64::MIN),
            _ => from,
        };
        let next = self.next_after(created, now.max(from));
        let Some(first) = self.next_after(created, from).filter(|at| *at <= now) else {
            return Due { at: None, missed: 0, next };
        };
        let (at, missed) = match &self.plan {
            Plan::AtOnce | Plan::Once(_) => (first, 0),
            // The next run follows the end of this one.
            Plan::Continuous => return Due { at: Some(first), missed: 0, next: None },
            Plan::Every(_) | Plan::Calendar { .. } => self.latest(created, first, now),
        };
        Due { at: Some(at), missed, next }
    }

    /// The last due time up to `now`, and how many there were before it from `first` on.
    fn latest(&self, created: Timestamp, first: Timestamp, now: Timestamp) -> (Timestamp, u32) {
        let now = self.end.map_or(now, |end| now.min(end));
        if let Plan::Every(step) = self.plan {
            let count = (now.as_micros() - first.as_micros()) / step;
            let missed = u32::try_from(count).unwrap_or(MISSED_MAX).min(MISSED_MAX);
            return (shifted(first, count * step), missed);
        }
        let (mut at, mut missed) = (first, 0);
        while let Some(next) = self.next_after(created, at).filter(|next| *next <= now) {
            at = next;
            missed += 1;
            if missed == MISSED_MAX {
                break;
            }
        }
        let newest = match &self.plan {
            Plan::Calendar { cron, weeks, zone } if missed == MISSED_MAX => {
                calendar(cron, weeks.as_ref(), zone, now, false)
            }
            _ => None,
        };
        (newest.unwrap_or(at), missed)
    }
}

fn shifted(at: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(micros))
}

fn every(anchor: Timestamp, step: i64, after: Timestamp) -> Timestamp {
    if anchor > after {
        return anchor;
    }
    let steps = after.as_micros().saturating_sub(anchor.as_micros()) / step + 1;
    shifted(anchor, steps.saturating_mul(step))
}

/// The nearest date of a calendar after an instant, or the last one up to it.
fn calendar(
    cron: &Cron,
    weeks: Option<&BTreeSet<u8>>,
    zone: &TimeZone,
    from: Timestamp,
    forward: bool,
) -> Option<Timestamp> {
    let mut at = zoned(from, zone)?;
    for look in 0..DATES_MAX {
        let found = match forward {
            true => cron.find_next_occurrence(&at, false),
            // Up to and with the instant itself; further looks start at the edge of a week that will not do.
            false => cron.find_previous_occurrence(&at, look == 0),
        };
        at = found.ok()?;
        if weeks.is_none_or(|weeks| weeks.contains(&week_of(&at))) {
            return Some(Timestamp::from_micros(at.timestamp().as_microsecond()));
        }
        // No other time of this week will do.
        let days = match forward {
            true => 7 - i64::from(at.weekday().to_monday_zero_offset()),
            false => -i64::from(at.weekday().to_monday_zero_offset()),
        };
        let edge = at.date().checked_add(SignedDuration::from_hours(24 * days)).ok()?;
        let edge = edge.to_zoned(zone.clone()).ok()?;
        // The edge itself may be a date.
        at = match forward {
            true => edge.checked_sub(SignedDuration::from_secs(1)).ok()?,
            false => edge,
        };
    }
    None
}

fn week_of(at: &Zoned) -> u8 {
    u8::try_from(at.date().iso_week_date().week()).unwrap_or(0)
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    Some(jiff::Timestamp::from_microsecond(at.as_micros()).ok()?.to_zoned(zone.clone()))
}

/// A date with `Z` or an offset is an instant; one without is one in the zone. A time that a clock change skips is as
/// much later as the clock was put on, and of one that comes twice the first is meant.
fn read_date(name: &str, text: &str, zone: &TimeZone) -> Result<Timestamp> {
    let wrong = || Error::invalid(format!("{name}: \"{text}\" is not a date such as 2026-11-21T20:00:00"));
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => instant,
        Err(_) => {
            let civil: civil::DateTime = text.parse().map_err(|_| wrong())?;
            civil.to_zoned(zone.clone()).map_err(|_| wrong())?.timestamp()
        }
    };
    Ok(Timestamp::from_micros(instant.as_microsecond()))
}

fn read_interval(text: &str) -> Result<Plan> {
    if text == "continuous" {
        return Ok(Plan::Continuous);
    }
    let wrong = || Error::invalid(format!("schedule_interval: \"{text}\" is not such as \"5 minutes\""));
    let (count, unit) = text.split_once(' ').ok_or_else(wrong)?;
    let seconds: i64 = match unit.trim_start() {
        "weeks" => 604_800,
        "days" => 86_400,
        "hours" => 3_600,
        "minutes" => 60,
        "seconds" => 1,
        _ => return Err(wrong()),
    };
    let count: i64 = count.parse().map_err(|_| wrong())?;
    match count.checked_mul(seconds * 1_000_000) {
        Some(micros) if micros > 0 => Ok(Plan::Every(micros)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
