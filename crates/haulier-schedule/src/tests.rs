//! Tables of schedules and their due times.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn shown(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros()).unwrap().to_string()
}

fn schedule(body: &Value, zone_name: &str) -> Schedule {
    Schedule::read(body.as_object().unwrap(), &zone(zone_name)).unwrap_or_else(|e| panic!("{body}: {e}"))
}

/// The next due times after 2026-11-21T12:00:00Z, a Saturday in week 47, of a job made at that time.
fn next(body: &Value, zone: &str, count: usize) -> Vec<String> {
    let (schedule, made) = (schedule(body, zone), at("2026-11-21T12:00:00Z"));
    let mut from = shifted(made, -1);
    let mut found = Vec::new();
    while found.len() < count {
        let Some(next) = schedule.next_after(made, from) else { break };
        found.push(shown(next));
        from = next;
    }
    found
}

#[test]
fn due_times_follow_from_the_members() {
    let cases: &[(Value, &str, &[&str])] = &[
        // Nothing is said: once, at once.
        (json!({}), "UTC", &["2026-11-21T12:00:00Z"]),
        (json!({"status": "stop"}), "UTC", &["2026-11-21T12:00:00Z"]),
        // A date, in the zone or with its own offset.
        (json!({"schedule_date": "2026-11-22T08:00:00"}), "UTC", &["2026-11-22T08:00:00Z"]),
        (json!({"schedule_date": "2026-11-22T08:00:00"}), "Europe/Paris", &["2026-11-22T07:00:00Z"]),
        (json!({"schedule_date": "2026-11-22T08:00:00+05:00"}), "Europe/Paris", &["2026-11-22T03:00:00Z"]),
        (json!({"schedule_date": "2026-11-22T08:00:00.5Z"}), "Europe/Paris", &["2026-11-22T08:00:00.5Z"]),
        // Intervals, from the start date or the making of the job.
        (json!({"schedule_interval": "5 minutes"}), "UTC", &["2026-11-21T12:00:00Z", "2026-11-21T12:05:00Z"]),
        (
            json!({"schedule_interval": "1 days", "schedule_start_date": "2026-11-22T03:00:00"}),
            "UTC",
            &["2026-11-22T03:00:00Z", "2026-11-23T03:00:00Z"],
        ),
        (
            json!({"schedule_interval": "2 weeks", "schedule_start_date": "2026-11-01T03:00:00"}),
            "UTC",
            &["2026-11-29T03:00:00Z", "2026-12-13T03:00:00Z"],
        ),
        (
            json!({"schedule_interval": "12 hours", "schedule_end_date": "2026-11-22T00:00:00"}),
            "UTC",
            &["2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"],
        ),
        (json!({"schedule_interval": "1 hours", "schedule_end_date": "2026-11-21T11:00:00"}), "UTC", &[]),
        (json!({"schedule_interval": "continuous"}), "UTC", &["2026-11-21T12:00:00Z", "2026-11-21T12:00:01Z"]),
        // Fields: those left out before the last given one are "every", those after it the smallest.
        (json!({"schedule_hour": "3"}), "UTC", &["2026-11-22T03:00:00Z", "2026-11-23T03:00:00Z"]),
        (json!({"schedule_minute": "*/20"}), "UTC", &["2026-11-21T12:00:00Z", "2026-11-21T12:20:00Z"]),
        (json!({"schedule_second": "30"}), "UTC", &["2026-11-21T12:00:30Z", "2026-11-21T12:01:30Z"]),
        (json!({"schedule_month": "feb"}), "UTC", &["2027-02-01T00:00:00Z", "2028-02-01T00:00:00Z"]),
        (json!({"schedule_year": "2027"}), "UTC", &["2027-01-01T00:00:00Z"]),
        (
            json!({"schedule_hour": "22/1"}),
            "UTC",
            &["2026-11-21T22:00:00Z", "2026-11-21T23:00:00Z", "2026-11-22T22:00:00Z"],
        ),
        (
            json!({"schedule_hour": "8-10/2, 20"}),
            "UTC",
            &["2026-11-21T20:00:00Z", "2026-11-22T08:00:00Z", "2026-11-22T10:00:00Z"],
        ),
        // Monday is 0.
        (json!({"schedule_day_of_week": "0"}), "UTC", &["2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"]),
        (
            json!({"schedule_day_of_week": "sat-sun", "schedule_hour": "1"}),
            "UTC",
            &["2026-11-22T01:00:00Z", "2026-11-28T01:00:00Z"],
        ),
        (
            json!({"schedule_day_of_week": "*/3"}),
            "UTC",
            &["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-26T00:00:00Z"],
        ),
        (json!({"schedule_day_of_week": "MON,Wed"}), "UTC", &["2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z"]),
        // Every field must allow a date: a Friday the 13th.
        (json!({"schedule_day": "13", "schedule_day_of_week": "fri"}), "UTC", &["2027-08-13T00:00:00Z"]),
        (
            json!({"schedule_day": "last"}),
            "UTC",
            &["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"],
        ),
        (json!({"schedule_day": "2nd fri"}), "UTC", &["2026-12-11T00:00:00Z", "2027-01-08T00:00:00Z"]),
        (
            json!({"schedule_day": "1st mon, last sun"}),
            "UTC",
            &["2026-11-29T00:00:00Z", "2026-12-07T00:00:00Z", "2026-12-27T00:00:00Z"],
        ),
        (
            json!({"schedule_day": "31"}),
            "UTC",
            &["2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"],
        ),
        (
            json!({"schedule_month": "2", "schedule_day": "29"}),
            "UTC",
            &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
        ),
        // Weeks of the year.
        (
            json!({"schedule_week": "1", "schedule_day_of_week": "mon"}),
            "UTC",
            &["2027-01-04T00:00:00Z", "2028-01-03T00:00:00Z"],
        ),
        (json!({"schedule_week": "53"}), "UTC", &["2026-12-28T00:00:00Z", "2026-12-29T00:00:00Z"]),
        // Bounds hold for calendars too, and the start itself is a date.
        (
            json!({"schedule_hour": "3", "schedule_start_date": "2026-11-24T03:00:00", "schedule_end_date": "2026-11-25T02:00:00"}),
            "UTC",
            &["2026-11-24T03:00:00Z"],
        ),
        // A date goes before an interval, and an interval before fields.
        (
            json!({"schedule_date": "2026-11-22T08:00:00", "schedule_interval": "1 days"}),
            "UTC",
            &["2026-11-22T08:00:00Z"],
        ),
        (json!({"schedule_interval": "1 days", "schedule_hour": "3"}), "UTC", &["2026-11-21T12:00:00Z"]),
        (json!({"schedule_month": "2", "schedule_day": "30"}), "UTC", &[]),
    ];
    for (body, zone, wanted) in cases {
        let count = if wanted.is_empty() { 1 } else { wanted.len() };
        assert_eq!(next(body, zone, count), *wanted, "{body} in {zone}");
    }
}

#[test]
fn clock_changes_neither_lose_nor_double_a_day() {
    let days = |body: Value, from: &str, count: usize| {
        let schedule = schedule(&body, "Europe/Paris");
        let (mut from, mut found) = (at(from), Vec::new());
        for _ in 0..count {
            from = schedule.next_after(at("2026-01-01T00:00:00Z"), from).unwrap();
            found.push(shown(from));
        }
        found
    };
    // 2026-03-29: 02:00 to 03:00 does not exist. 2026-10-25: it comes twice.
    let half_past_two = json!({"schedule_hour": "2", "schedule_minute": "30"});
    let spring = days(half_past_two.clone(), "2026-03-27T12:00:00Z", 3);
    assert_eq!(spring[0], "2026-03-28T01:30:00Z");
    assert!(spring[1].starts_with("2026-03-29T01:"), "right after the gap: {}", spring[1]);
    assert_eq!(spring[2], "2026-03-30T00:30:00Z");
    let autumn = days(half_past_two, "2026-10-24T12:00:00Z", 2);
    assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    let noon = days(json!({"schedule_hour": "12"}), "2026-03-28T12:00:00Z", 2);
    assert_eq!(noon, ["2026-03-29T10:00:00Z", "2026-03-30T10:00:00Z"]);
    // A date in the gap is an hour later; one that comes twice is the first.
    assert_eq!(next(&json!({"schedule_date": "2027-03-28T02:30:00"}), "Europe/Paris", 1), ["2027-03-28T01:30:00Z"]);
    assert_eq!(next(&json!({"schedule_date": "2027-10-31T02:30:00"}), "Europe/Paris", 1), ["2027-10-31T00:30:00Z"]);
    // An interval counts hours and not days of a calendar.
    let daily = json!({"schedule_interval": "1 days", "schedule_start_date": "2026-03-28T12:00:00"});
    assert_eq!(days(daily, "2026-03-28T00:00:00Z", 2), ["2026-03-28T11:00:00Z", "2026-03-29T11:00:00Z"]);
}

#[test]
fn missed_runs_are_one_run() {
    let made = at("2026-11-21T12:00:00Z");
    let due = |body: Value, last: Option<&str>, now: &str| {
        let due = schedule(&body, "UTC").due(made, last.map(at), at(now));
        (due.at.map(shown), due.missed, due.next.map(shown))
    };
    let text = |text: &str| Some(text.to_owned());
    let hourly = json!({"schedule_interval": "1 hours"});
    assert_eq!(
        due(hourly.clone(), None, "2026-11-21T12:00:00Z"),
        (text("2026-11-21T12:00:00Z"), 0, text("2026-11-21T13:00:00Z"))
    );
    assert_eq!(
        due(hourly.clone(), Some("2026-11-21T12:00:00Z"), "2026-11-21T12:59:00Z"),
        (None, 0, text("2026-11-21T13:00:00Z"))
    );
    assert_eq!(
        due(hourly.clone(), Some("2026-11-21T12:00:00Z"), "2026-11-21T17:30:00Z"),
        (text("2026-11-21T17:00:00Z"), 4, text("2026-11-21T18:00:00Z"))
    );
    assert_eq!(due(hourly, None, "2027-11-21T12:30:00Z").1, MISSED_MAX);
    let nightly = json!({"schedule_hour": "3"});
    assert_eq!(
        due(nightly, Some("2026-11-22T03:00:02Z"), "2026-11-25T08:00:00Z"),
        (text("2026-11-25T03:00:00Z"), 2, text("2026-11-26T03:00:00Z"))
    );
    let seconds = json!({"schedule_second": "*"});
    assert_eq!(
        due(seconds, None, "2026-11-23T12:00:00Z"),
        (text("2026-11-23T12:00:00Z"), MISSED_MAX, text("2026-11-23T12:00:01Z"))
    );
    // One-shot jobs: due until they ran, whenever that is, and never again.
    let once = json!({"schedule_date": "2026-11-20T03:00:00"});
    assert_eq!(due(once.clone(), None, "2026-11-21T12:00:00Z"), (text("2026-11-20T03:00:00Z"), 0, None));
    assert_eq!(due(once, Some("2026-11-21T12:00:00Z"), "2026-11-25T12:00:00Z"), (None, 0, None));
    assert_eq!(due(json!({}), None, "2026-11-21T15:00:00Z"), (text("2026-11-21T12:00:00Z"), 0, None));
    // A continuous one is due a second after its last run, and says nothing of the one after.
    let continuous = json!({"schedule_interval": "continuous"});
    assert_eq!(
        due(continuous, Some("2026-11-21T13:00:00Z"), "2026-11-21T15:00:00Z"),
        (text("2026-11-21T13:00:01Z"), 0, None)
    );
    // What the end date cut off was not missed.
    let ended = json!({"schedule_interval": "1 hours", "schedule_end_date": "2026-11-21T14:30:00"});
    assert_eq!(due(ended, None, "2026-11-22T12:00:00Z"), (text("2026-11-21T14:00:00Z"), 2, None));
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (body, member) in [
        (json!({"schedule_hour": "24"}), "schedule_hour"),
        (json!({"schedule_hour": "5-3"}), "schedule_hour"),
        (json!({"schedule_minute": "*/0"}), "schedule_minute"),
        (json!({"schedule_day_of_week": "7"}), "schedule_day_of_week"),
        (json!({"schedule_day_of_week": "freitag"}), "schedule_day_of_week"),
        (json!({"schedule_day": "mon, wed, fri"}), "schedule_day"),
        (json!({"schedule_day": "1, 2nd fri"}), "schedule_day"),
        (json!({"schedule_day": "2nd fri", "schedule_day_of_week": "mon"}), "schedule_day"),
        (json!({"schedule_week": "54"}), "schedule_week"),
        (json!({"schedule_date": "tomorrow"}), "schedule_date"),
        (json!({"schedule_interval": "0 days"}), "schedule_interval"),
        (json!({"schedule_interval": "99999999999999 weeks"}), "schedule_interval"),
    ] {
        let error = Schedule::read(body.as_object().unwrap(), &TimeZone::UTC).unwrap_err();
        assert!(error.message().starts_with(member), "{body}: {error}");
    }
    assert!(
        schedule(&json!({}), "UTC").is_one_shot() && !schedule(&json!({"schedule_hour": "1"}), "UTC").is_one_shot()
    );
}

#[test]
fn what_never_comes_is_found_out() {
    for body in [
        json!({"schedule_month": "6", "schedule_week": "1"}),
        json!({"schedule_month": "2", "schedule_day": "31"}),
        json!({"schedule_year": "1980", "schedule_month": "6"}),
        json!({"schedule_year": "4999", "schedule_month": "6", "schedule_week": "1", "schedule_second": "*"}),
        json!({"schedule_week": "53", "schedule_month": "6", "schedule_second": "*"}),
        json!({"schedule_week": "1", "schedule_month": "6", "schedule_day": "5th fri"}),
    ] {
        assert_eq!(next(&body, "Europe/Paris", 1), [""; 0], "{body}");
    }
}
