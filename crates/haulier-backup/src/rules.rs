//! What documents must look like (backup contract §6, §7, §9.1, §9.3, §10, §11). Pure: every refusal is one sentence.

use haulier_base::{Error, Result};
use serde_json::Value;

use crate::model::{Object, is_client_id, is_id, is_word_byte};

/// The members that a job may have, once its defaults are in its actions.
const JOB_MEMBERS: [&str; 12] = [
    "client_id",
    "job_actions",
    "job_action",
    "job_schedule",
    "description",
    "session_name",
    "session_id",
    "session_tag",
    "job_id",
    "user_id",
    "project_id",
    "_version",
];
/// Texts of a schedule that are passed on as they are.
const SCHEDULE_TEXTS: [&str; 7] = [
    "schedule_month",
    "schedule_day",
    "schedule_week",
    "schedule_day_of_week",
    "schedule_hour",
    "schedule_minute",
    "schedule_second",
];
const EVENTS: [&str; 5] = ["", "stop", "start", "abort", "remove"];
const STATUSES: [&str; 7] = ["", "completed", "stop", "scheduled", "running", "aborting", "removed"];
const RESULTS: [&str; 4] = ["", "success", "fail", "aborted"];
const UNITS: [&str; 5] = ["weeks", "days", "hours", "minutes", "seconds"];

/// A refusal of a value, told in the words of JSON schemas.
fn wrong(name: &str, value: &Value, wanted: &str) -> Error {
    let text = value.to_string();
    let shown: String = text.chars().take(80).collect();
    Error::invalid(format!("{name}: {shown} is not {wanted}"))
}

fn unexpected(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::invalid(format!("Additional properties are not allowed ('{shown}' was unexpected)"))
}

fn required(name: &str) -> Error {
    Error::invalid(format!("'{name}' is a required property"))
}

fn each_is(object: &Object, names: &[&str], wanted: &str, good: impl Fn(&Value) -> bool) -> Result<()> {
    for name in names {
        match object.get(*name) {
            Some(value) if !good(value) => return Err(wrong(name, value, wanted)),
            _ => {}
        }
    }
    Ok(())
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn one_of(words: &[&str]) -> impl Fn(&Value) -> bool {
    move |value| value.as_str().is_some_and(|text| words.contains(&text))
}

/// The metadata of a backup (§6).
pub(crate) fn check_backup(metadata: &Object) -> Result<()> {
    if metadata.is_empty() {
        return Err(Error::invalid("Missing request body"));
    }
    let has = |name: &str| metadata.get(name).is_some_and(|value| !value.is_null() && value != "");
    match has("container") && has("backup_name") && (has("hostname") || has("host_name")) {
        true => Ok(()),
        false => Err(Error::invalid("Bad Data Format")),
    }
}

/// A registration (§7).
pub(crate) fn check_client(client: &Object) -> Result<()> {
    if client.is_empty() {
        return Err(Error::invalid("Missing request body"));
    }
    let id = client.get("client_id").ok_or_else(|| required("client_id"))?;
    check_client_id(id)?;
    each_is(client, &["hostname", "description", "uuid"], "a string", Value::is_string)?;
    let lists = ["supported_actions", "supported_modes", "supported_storages", "supported_engines"];
    each_is(client, &lists, "an array of strings", |value| {
        value.as_array().is_some_and(|words| words.iter().all(Value::is_string))
    })
}

fn check_client_id(id: &Value) -> Result<()> {
    match id.as_str().is_some_and(is_client_id) {
        true => Ok(()),
        false => Err(wrong("client_id", id, "a host name after an optional prefix that ends with _")),
    }
}

/// A job or a part of one (§9.1), without what only a whole one must have.
pub(crate) fn check_job(job: &Object) -> Result<()> {
    if let Some(name) = job.keys().find(|name| !JOB_MEMBERS.contains(&name.as_str())) {
        return Err(unexpected(name));
    }
    if let Some(id) = job.get("client_id") {
        check_client_id(id)?;
    }
    each_is(job, &["job_action", "job_schedule"], "an object", Value::is_object)?;
    each_is(job, &["description", "session_name"], "a string", Value::is_string)?;
    each_is(job, &["job_id", "user_id", "project_id"], "a string", |value| value.is_string() || value.is_null())?;
    each_is(job, &["session_id"], "a string of letters, digits, _ and -", |value| {
        value.as_str().is_some_and(|text| text.is_empty() || is_id(text))
    })?;
    each_is(job, &["session_tag", "_version"], "an integer", is_integer)?;
    if let Some(Value::Object(schedule)) = job.get("job_schedule") {
        check_schedule(schedule)?;
    }
    if let Some(Value::Object(action)) = job.get("job_action") {
        check_freezer_action(action)?;
    }
    match job.get("job_actions") {
        None => Ok(()),
        Some(Value::Array(actions)) => actions.iter().try_for_each(check_job_action),
        Some(other) => Err(wrong("job_actions", other, "an array")),
    }
}

/// What only a whole job must have (§9.1).
pub(crate) fn check_whole_job(job: &Object) -> Result<()> {
    if !job.contains_key("client_id") {
        return Err(required("client_id"));
    }
    match job.contains_key("job_actions") || job.contains_key("job_action") {
        true => Ok(()),
        false => Err(required("job_actions")),
    }
}

fn check_job_action(action: &Value) -> Result<()> {
    let Value::Object(action) = action else {
        return Err(wrong("job_actions", action, "an object"));
    };
    if !action.contains_key("freezer_action") {
        return Err(required("freezer_action"));
    }
    check_action(action)
}

/// An action, of a job or by itself (§11).
pub(crate) fn check_action(action: &Object) -> Result<()> {
    each_is(action, &["action_id"], "a string of letters, digits, _ and -", |value| value.as_str().is_some_and(is_id))?;
    each_is(action, &["max_retries", "max_retries_interval", "_version"], "an integer", is_integer)?;
    each_is(action, &["mandatory"], "true or false", Value::is_boolean)?;
    check_freezer_action(action)?;
    match action.get("freezer_action") {
        None => Ok(()),
        Some(Value::Object(freezer_action)) => check_freezer_action(freezer_action),
        Some(other) => Err(wrong("freezer_action", other, "an object")),
    }
}

fn check_freezer_action(action: &Object) -> Result<()> {
    each_is(action, &["action", "mode"], "a string of letters, digits, _ and -", |value| {
        value.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(is_word_byte))
    })?;
    let texts = ["path_to_backup", "src_file", "backup_name", "container", "restore_abs_path"];
    each_is(action, &texts, "a string", Value::is_string)
}

/// A schedule or a part of one (§9.3).
pub(crate) fn check_schedule(schedule: &Object) -> Result<()> {
    for (name, value) in schedule {
        let (good, wanted): (bool, &str) = match name.as_str() {
            "time_created" | "time_started" | "time_ended" | "current_pid" => (is_integer(value), "an integer"),
            "event" => (one_of(&EVENTS)(value), "an event: stop, start, abort, remove or empty"),
            "status" => (one_of(&STATUSES)(value), "a status"),
            "result" => (one_of(&RESULTS)(value), "a result: success, fail, aborted or empty"),
            "schedule_date" | "schedule_start_date" | "schedule_end_date" => {
                (value.as_str().is_some_and(is_date), "a date such as 2026-11-21T20:00:00")
            }
            "schedule_interval" => {
                (value.as_str().is_some_and(|text| interval(text).is_some()), "\"continuous\" or such as \"5 minutes\"")
            }
            "schedule_year" => {
                let four = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
                (value.as_str().is_some_and(four), "a string of four digits")
            }
            other if SCHEDULE_TEXTS.contains(&other) => (value.is_string(), "a string"),
            other => return Err(unexpected(other)),
        };
        if !good {
            return Err(wrong(name, value, wanted));
        }
    }
    Ok(())
}

/// An interval in its one spelling; none when it is not one.
pub(crate) fn interval(text: &str) -> Option<String> {
    if text == "continuous" {
        return Some(text.to_owned());
    }
    let (digits, unit) = text.split_once(' ')?;
    let unit = unit.trim_start_matches(' ');
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && UNITS.contains(&unit);
    good.then(|| format!("{digits} {unit}"))
}

/// `YYYY-MM-DDThh:mm:ss`, with an optional fraction and an optional `Z` or offset.
fn is_date(text: &str) -> bool {
    if text.len() < 19 || !text.is_ascii() {
        return false;
    }
    let (stem, rest) = text.split_at(19);
    let rest = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            if end == 0 {
                return false;
            }
            &fraction[end..]
        }
    };
    stem.parse::<jiff::civil::DateTime>().is_ok() && has_shape(stem, "dddd-dd-ddTdd:dd:dd") && is_offset(rest)
}

fn is_offset(text: &str) -> bool {
    let Some(offset) = text.strip_prefix(['+', '-']) else { return text.is_empty() || text == "Z" };
    let two = |part: &str, max: u8| part.parse().is_ok_and(|number: u8| number <= max);
    (has_shape(offset, "dd:dd") || has_shape(offset, "dddd"))
        && two(&offset[..2], 23)
        && two(&offset[offset.len() - 2..], 59)
}

/// Whether a text is like another one in which `d` stands for a digit.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(b, s)| if s == b'd' { b.is_ascii_digit() } else { b == s })
}

/// A session or a part of one (§10).
pub(crate) fn check_session(session: &Object) -> Result<()> {
    each_is(session, &["session_tag", "_version"], "an integer", is_integer)?;
    each_is(session, &["hold_off"], "an integer of at least 0", |value| value.is_u64())?;
    each_is(session, &["description", "status", "result"], "a string", Value::is_string)?;
    each_is(session, &["jobs"], "an object or an array", |value| value.is_object() || value.is_array())?;
    match session.get("schedule") {
        None => Ok(()),
        Some(Value::Object(schedule)) => check_schedule(schedule),
        Some(other) => Err(wrong("schedule", other, "an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn schedules_have_their_members_and_no_others() {
        for good in [
            json!({}),
            json!({"time_created": 1, "current_pid": -1, "event": "", "status": "stop", "result": "aborted"}),
            json!({"schedule_date": "2026-11-21T20:00:00"}),
            json!({"schedule_start_date": "2026-11-21T20:00:00.5Z", "schedule_end_date": "2026-11-21T20:00:00+01:00"}),
            json!({"schedule_interval": "continuous"}),
            json!({"schedule_interval": "10  days"}),
            json!({"schedule_year": "2026", "schedule_day": "mon, wed, fri", "schedule_hour": "03"}),
        ] {
            check_schedule(&object(good.clone())).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for bad in [
            json!({"time_created": null}),
            json!({"time_created": "1"}),
            json!({"event": "zap"}),
            json!({"status": "done"}),
            json!({"result": "ok"}),
            json!({"schedule_date": "2026-11-21"}),
            json!({"schedule_date": "2026-13-21T20:00:00"}),
            json!({"schedule_date": "2026-11-21T20:00:00."}),
            json!({"schedule_date": "2026-11-21T20:00:00+1"}),
            json!({"schedule_date": "20261-1-21T20:00:00"}),
            json!({"schedule_date": "\u{1F600}2026-11-21T20"}),
            json!({"schedule_interval": "1 day"}),
            json!({"schedule_interval": "days"}),
            json!({"schedule_interval": " 1 days"}),
            json!({"schedule_year": "26"}),
            json!({"schedule_year": 2026}),
            json!({"schedule_hour": 3}),
            json!({"schedule_day": null}),
            json!({"schedule_fortnight": "1"}),
        ] {
            assert!(check_schedule(&object(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_interval_has_one_spelling() {
        assert_eq!(interval("5   minutes").as_deref(), Some("5 minutes"));
        assert_eq!(interval("continuous").as_deref(), Some("continuous"));
        assert_eq!(interval("5minutes"), None);
    }
}
