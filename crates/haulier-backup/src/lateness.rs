//! From when on does silence about a job mean that something is wrong? Pure: the answer is kept beside the job, so that
//! nobody has to read all jobs to find the late ones.

use haulier_base::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::model::Object;
use haulier_schedule::Schedule;

const MICROS: i64 = 1_000_000;
/// Statuses and events of a job that is not to begin by itself.
const AT_REST: [&str; 4] = ["stop", "abort", "remove", "removed"];

/// What is watched of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// The instant by which it should have begun; none when nothing is expected of it.
    pub(crate) due_at: Option<Timestamp>,
    /// How it is doing.
    pub(crate) state: Option<State>,
}

/// How a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is being carried out, as its client last said.
    Running,
    /// Its last run failed.
    Failed,
    /// Its schedule cannot be understood, so that nobody knows when it is late, or has no time that ever comes.
    Unclear,
}

impl State {
    /// The word in the catalogue.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Unclear => "unclear",
        }
    }
}

/// Looks at a job that is written at `now`; dates without an offset are meant in `zone`.
pub(crate) fn watched(job: &Object, now: Timestamp, zone: &TimeZone) -> Watched {
    let nothing = Map::new();
    let schedule = job.get("job_schedule").and_then(Value::as_object).unwrap_or(&nothing);
    let word = |name: &str| schedule.get(name).and_then(Value::as_str).unwrap_or_default();
    let (status, event) = (word("status"), word("event"));
    if status == "running" || status == "aborting" {
        return Watched { due_at: None, state: Some(State::Running) };
    }
    let failed = (word("result") == "fail").then_some(State::Failed);
    if event == "start" {
        return Watched { due_at: Some(now), state: failed };
    }
    if AT_REST.contains(&status) || AT_REST.contains(&event) || status == "completed" {
        return Watched { due_at: None, state: failed };
    }
    let Ok(read) = Schedule::read(schedule, zone) else {
        return Watched { due_at: None, state: Some(State::Unclear) };
    };
    let due_at = first_missed(schedule, &read, now);
    let never_comes = due_at.is_none() && seconds(schedule, "time_started").is_none();
    Watched { due_at, state: if never_comes { Some(State::Unclear) } else { failed } }
}

/// The first time after the last run at which the job was or is to begin.
fn first_missed(members: &Object, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let at = |name: &str| seconds(members, name).map(|at| Timestamp::from_micros(at.saturating_mul(MICROS)));
    let created = at("time_created").unwrap_or(now);
    let begun = at("time_started");
    let after = |instant: Timestamp| schedule.next_after(created, instant);
    let text = |name: &str| members.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if schedule.is_one_shot() {
        return begun.map_or_else(|| after(Timestamp::from_micros(i64::MIN)).map(|at| at.max(created)), |_| None);
    }
    if members.get("schedule_interval").and_then(Value::as_str) == Some("continuous") {
        return after(begun.max(at("time_ended")).unwrap_or(earlier(created, 1)));
    }
    if !text("schedule_interval") {
        return after(begun.unwrap_or(earlier(created, 1)));
    }
    // Schedulers count an interval from their own start or from the last run, not all from the making of the job: late
    // is who was silent for longer than one.
    let first = after(Timestamp::from_micros(i64::MIN))?;
    let Some(step) = after(first).map(|second| second.as_micros().saturating_sub(first.as_micros())) else {
        return begun.map_or(Some(first.max(created)), |_| None);
    };
    let due = match begun {
        Some(begun) => later(begun, step).max(first),
        None if text("schedule_start_date") => first.max(created),
        None => later(created, step),
    };
    // Unless the schedule ends before.
    after(earlier(due, step)).map(|_| due)
}

/// A time of the schedule; clients write -1 for none.
fn seconds(members: &Object, name: &str) -> Option<i64> {
    members.get(name).and_then(Value::as_i64).filter(|seconds| *seconds > 0)
}

fn later(at: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(micros))
}

fn earlier(at: Timestamp, micros: i64) -> Timestamp {
    later(at, -micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn second(text: &str) -> i64 {
        at(text).as_micros() / MICROS
    }

    const NOW: &str = "2026-11-21T12:00:00Z";

    /// Looks at a job that was made a day before `NOW`, and began last when `begun` says.
    fn look(schedule: Value, begun: Option<&str>) -> Watched {
        let mut schedule = schedule;
        schedule["time_created"] = second("2026-11-20T12:00:00Z").into();
        schedule["time_started"] = begun.map_or(-1, second).into();
        let job = json!({ "job_schedule": schedule });
        watched(job.as_object().unwrap(), at(NOW), &TimeZone::UTC)
    }

    fn due(schedule: Value, begun: Option<&str>) -> Option<String> {
        look(schedule, begun).due_at.map(|at| jiff::Timestamp::from_microsecond(at.as_micros()).unwrap().to_string())
    }

    #[test]
    fn a_job_is_late_from_the_first_time_it_missed() {
        let hour = || json!({ "schedule_interval": "1 hours", "status": "scheduled" });
        let cases = [
            // One that runs once: at once, at its date, and no more when it has begun.
            (json!({}), None, Some("2026-11-20T12:00:00Z")),
            (json!({}), Some("2026-11-20T12:01:00Z"), None),
            (json!({"schedule_date": "2026-11-22T08:00:00"}), None, Some("2026-11-22T08:00:00Z")),
            (json!({"schedule_date": "2025-01-01T08:00:00"}), None, Some("2026-11-20T12:00:00Z")),
            (json!({"schedule_date": "2026-11-22T08:00:00"}), Some("2026-11-22T08:00:01Z"), None),
            // Intervals: from the last run, else from the making.
            (hour(), None, Some("2026-11-20T13:00:00Z")),
            (hour(), Some("2026-11-21T10:30:00Z"), Some("2026-11-21T11:30:00Z")),
            (
                json!({"schedule_interval": "1 days", "schedule_start_date": "2026-11-25T03:00:00"}),
                None,
                Some("2026-11-25T03:00:00Z"),
            ),
            (
                json!({"schedule_interval": "1 days", "schedule_start_date": "2026-11-25T03:00:00"}),
                Some("2026-11-21T03:00:00Z"),
                Some("2026-11-25T03:00:00Z"),
            ),
            (
                json!({"schedule_interval": "1 days", "schedule_start_date": "2026-11-19T03:00:00",
                    "schedule_end_date": "2026-11-21T04:00:00"}),
                Some("2026-11-21T03:00:00Z"),
                None,
            ),
            (
                json!({"schedule_interval": "1 hours", "schedule_end_date": "2026-11-20T12:30:00"}),
                None,
                Some("2026-11-20T12:00:00Z"),
            ),
            // A second after each run.
            (json!({"schedule_interval": "continuous"}), Some("2026-11-21T10:00:00Z"), Some("2026-11-21T10:00:01Z")),
            // A calendar.
            (json!({"schedule_hour": "3"}), None, Some("2026-11-21T03:00:00Z")),
            (json!({"schedule_hour": "3"}), Some("2026-11-21T03:00:01Z"), Some("2026-11-22T03:00:00Z")),
        ];
        for (schedule, begun, wanted) in cases {
            assert_eq!(due(schedule.clone(), begun).as_deref(), wanted, "{schedule} {begun:?}");
        }
    }

    #[test]
    fn nothing_is_expected_of_a_job_that_rests() {
        for schedule in [
            json!({"status": "stop"}),
            json!({"status": "completed"}),
            json!({"status": "removed"}),
            json!({"status": "scheduled", "event": "stop"}),
            json!({"status": "scheduled", "event": "abort"}),
        ] {
            assert_eq!(look(schedule.clone(), None), Watched::default(), "{schedule}");
        }
        // Whoever is asked to start is expected to, whatever was before.
        let asked = look(json!({"status": "completed", "event": "start"}), Some("2026-11-21T10:00:00Z"));
        assert_eq!(asked, Watched { due_at: Some(at(NOW)), state: None });
    }

    #[test]
    fn the_state_says_how_it_is_doing() {
        let state = |schedule: Value| look(schedule, Some("2026-11-21T10:00:00Z")).state;
        assert_eq!(state(json!({"status": "running", "result": "fail"})), Some(State::Running));
        assert_eq!(state(json!({"status": "aborting"})), Some(State::Running));
        assert_eq!(state(json!({"status": "scheduled", "result": "fail"})), Some(State::Failed));
        assert_eq!(state(json!({"status": "completed", "result": "fail"})), Some(State::Failed));
        assert_eq!(state(json!({"status": "completed", "result": "aborted"})), None);
        assert_eq!(state(json!({"schedule_hour": "at noon"})), Some(State::Unclear));
        assert_eq!(state(json!({"schedule_hour": "at noon", "status": "stop"})), None);
        // The 31st of February, and a year that is over: fine when it was then that it ran.
        for never in [json!({"schedule_month": "2", "schedule_day": "31"}), json!({"schedule_year": "2025"})] {
            assert_eq!(look(never.clone(), None).state, Some(State::Unclear), "{never}");
            assert_eq!(look(never, Some("2026-11-21T10:00:00Z")), Watched::default());
        }
        assert_eq!(look(json!({"status": "running"}), None).due_at, None);
    }
}
