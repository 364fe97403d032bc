//! Sessions: jobs that start together, told apart by a tag that rises with each start (backup contract §10). Pure.

use haulier_base::{Error, Result};
use serde_json::{Value, json};

use crate::merge::merge;
use crate::model::Object;
use crate::{job, rules};

/// How long after a start others may join it, in seconds, unless the session says otherwise.
const HOLD_OFF_NEW: i64 = 30;
const HOLD_OFF_ABSENT: i64 = 60;

/// Makes a session out of a request.
pub(crate) fn make(mut session: Object, id: &str, owner: &str) -> Result<Object> {
    if session.is_empty() {
        return Err(Error::invalid("Missing request body"));
    }
    rules::check_session(&Object::from_iter(session.clone().into_iter().filter(|(name, _)| name != "jobs")))?;
    session.remove("_version");
    session.entry("session_tag").or_insert_with(|| 0.into());
    session.entry("hold_off").or_insert_with(|| HOLD_OFF_NEW.into());
    session.entry("schedule").or_insert_with(|| json!({}));
    for (name, value) in [("status", json!("active")), ("last_start", json!("")), ("jobs", json!([]))] {
        session.insert(name.to_owned(), value);
    }
    Ok(owned(session, id, owner))
}

/// Makes a session that takes the place of another one: nothing but its schedule is filled in.
pub(crate) fn replace(mut session: Object, id: &str, owner: &str) -> Result<Object> {
    rules::check_session(&session)?;
    if !session.contains_key("session_tag") {
        return Err(Error::invalid("'session_tag' is a required property"));
    }
    session.remove("_version");
    session.entry("schedule").or_insert_with(|| json!({}));
    Ok(owned(session, id, owner))
}

/// Merges a request into a session.
pub(crate) fn patch(session: &mut Object, mut patch: Object) -> Result<()> {
    rules::check_session(&patch)?;
    ["session_id", "user_id", "_version"].iter().for_each(|name| drop(patch.remove(*name)));
    merge(session, patch);
    Ok(())
}

fn owned(mut session: Object, id: &str, owner: &str) -> Object {
    session.insert("session_id".to_owned(), id.into());
    session.insert("user_id".to_owned(), owner.into());
    session
}

fn tag_of(session: &Object) -> i64 {
    session.get("session_tag").and_then(Value::as_i64).unwrap_or(0)
}

/// Takes a job into a session, and tells the job.
pub(crate) fn add_job(session: &mut Object, session_id: &str, job_id: &str, job: &mut Object) {
    let schedule = session.get("schedule").and_then(Value::as_object).cloned().unwrap_or_default();
    let client = job.get("client_id").cloned().unwrap_or_default();
    let own = job::schedule_of(job);
    let text = |name: &str| own.get(name).cloned().unwrap_or_else(|| "".into());
    let time = |name: &str| own.get(name).cloned().unwrap_or_else(|| (-1).into());
    let entry = json!({
        "client_id": client,
        "status": text("status"),
        "result": text("result"),
        "time_started": time("time_started"),
        "time_ended": time("time_ended"),
    });
    merge(own, schedule);
    job.insert("session_id".to_owned(), session_id.into());
    job.insert("session_tag".to_owned(), tag_of(session).into());
    let jobs = session.entry("jobs").or_insert_with(|| json!({}));
    if !jobs.is_object() {
        *jobs = json!({});
    }
    jobs.as_object_mut().expect("made one in the line above").insert(job_id.to_owned(), entry);
}

/// Takes a job out of a session, and tells the job; false when it was not in it.
pub(crate) fn remove_job(session: &mut Object, job_id: &str, job: &mut Object) -> bool {
    job.insert("session_id".to_owned(), "".into());
    job.insert("session_tag".to_owned(), 0.into());
    job::schedule_of(job).insert("event".to_owned(), "stop".into());
    let jobs = session.get_mut("jobs").and_then(Value::as_object_mut);
    jobs.is_some_and(|jobs| jobs.remove(job_id).is_some())
}

/// What a client tells of one job of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It would like to begin the run after `tag`.
    Start { job_id: String, tag: i64 },
    /// It ended.
    End { job_id: String, result: String },
}

impl Action {
    /// Reads the body of a session's action, of which the first member counts.
    pub(crate) fn read(first: Option<(&str, &Value)>) -> Result<Self> {
        let Some((name, parameters)) = first else {
            return Err(Error::invalid("Bad action request format"));
        };
        if name != "start" && name != "end" {
            let shown: String = name.chars().take(80).collect();
            return Err(Error::invalid(format!("the method {shown} does not exist; there are start and end"))
                .context("title", "Bad Method"));
        }
        let missing = |what: &str| Error::invalid(format!("{name}: {what} is missing or of a wrong type"));
        let text =
            |what: &str| parameters.get(what).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| missing(what));
        let tag = parameters.get("current_tag").and_then(|tag| match tag {
            Value::String(digits) => digits.parse().ok(),
            other => other.as_i64(),
        });
        let (job_id, tag) = (text("job_id")?, tag.ok_or_else(|| missing("current_tag"))?);
        match name == "start" {
            true => Ok(Self::Start { job_id, tag }),
            false => Ok(Self::End { job_id, result: text("result")? }),
        }
    }

    fn job_id(&self) -> &str {
        match self {
            Self::Start { job_id, .. } | Self::End { job_id, .. } => job_id,
        }
    }
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) result: &'static str,
    pub(crate) tag: i64,
    pub(crate) changed: bool,
}

/// Carries an action out.
pub(crate) fn act(session: &mut Object, action: &Action, now_seconds: i64) -> Result<Outcome> {
    if session.get("jobs").and_then(|jobs| jobs.get(action.job_id())).is_none_or(|entry| !entry.is_object()) {
        return Err(Error::invalid("job_id not found in session"));
    }
    let (result, changed) = match action {
        Action::Start { job_id, tag } => start(session, job_id, *tag, now_seconds)?,
        Action::End { job_id, result } => {
            end(session, job_id, result, now_seconds);
            ("success", true)
        }
    };
    Ok(Outcome { result, tag: tag_of(session), changed })
}

fn start(session: &mut Object, job_id: &str, tag: i64, now: i64) -> Result<(&'static str, bool)> {
    let session_tag = tag_of(session);
    if tag > session_tag {
        return Err(Error::invalid(format!("requested tag value too high. Session Tag: {session_tag} Job Tag: {tag}")));
    }
    let seconds = |name: &str| session.get(name).and_then(Value::as_i64);
    let hold = seconds("hold_off").unwrap_or(HOLD_OFF_ABSENT);
    let held = now.saturating_sub(seconds("time_start").unwrap_or(0)) <= hold;
    match (held, tag == session_tag) {
        (true, true) => return Ok(("hold-off", false)),
        (false, false) => return Ok(("out-of-sync", false)),
        (true, false) => {}
        (false, true) => {
            let news = [
                ("session_tag", json!(session_tag + 1)),
                ("time_start", json!(now)),
                ("status", json!("running")),
                ("result", json!("")),
            ];
            session.extend(news.map(|(name, value)| (name.to_owned(), value)));
        }
    }
    tell(session, job_id, [("status", json!("running")), ("result", json!("")), ("time_started", json!(now))]);
    Ok(("success", true))
}

fn end(session: &mut Object, job_id: &str, result: &str, now: i64) {
    tell(session, job_id, [("status", json!("completed")), ("result", json!(result)), ("time_ended", json!(now))]);
    if session.get("status").and_then(Value::as_str) == Some("completed") {
        return;
    }
    let mut whole = Some("success");
    for entry in session.get("jobs").and_then(Value::as_object).into_iter().flat_map(Object::values) {
        if entry.get("status").and_then(Value::as_str) != Some("completed") {
            whole = None;
            break;
        }
        if entry.get("result").and_then(Value::as_str) != Some("success") {
            whole = Some("fail");
            break;
        }
    }
    if let Some(result) = whole {
        let news = [("result", json!(result)), ("time_end", json!(now)), ("status", json!("completed"))];
        session.extend(news.map(|(name, value)| (name.to_owned(), value)));
    }
}

fn tell(session: &mut Object, job_id: &str, news: [(&str, Value); 3]) {
    let jobs = session.get_mut("jobs").and_then(Value::as_object_mut);
    if let Some(Value::Object(entry)) = jobs.and_then(|jobs| jobs.get_mut(job_id)) {
        entry.extend(news.map(|(name, value)| (name.to_owned(), value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn session(more: Value) -> Object {
        let mut session = json!({ "session_tag": 1, "hold_off": 30, "jobs": { "a": {}, "b": {} } });
        session.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        session.as_object().unwrap().clone()
    }

    fn start(tag: i64) -> Action {
        Action::Start { job_id: "a".into(), tag }
    }

    #[test]
    fn a_start_is_judged_by_its_tag_and_the_time_of_the_last_one() {
        let cases = [
            (NOW, 1, "hold-off", 1, false),
            (NOW - 30, 1, "hold-off", 1, false),
            (NOW, 0, "success", 1, true),
            (NOW - 31, 1, "success", 2, true),
            (NOW - 31, 0, "out-of-sync", 1, false),
        ];
        for (time_start, tag, result, after, changed) in cases {
            let mut session = session(json!({ "time_start": time_start, "status": "completed" }));
            let outcome = act(&mut session, &start(tag), NOW).unwrap();
            assert_eq!(outcome, Outcome { result, tag: after, changed }, "{time_start} {tag}");
            assert_eq!(session["jobs"]["a"].get("status").is_some(), changed);
        }
        let error = act(&mut session(json!({})), &start(2), NOW).unwrap_err();
        assert!(error.message().starts_with("requested tag value too high. "), "{error}");
        // Never started, and no hold-off of its own: 60 s.
        let mut fresh = session(json!({}));
        fresh.remove("hold_off");
        assert_eq!(act(&mut fresh, &start(1), 60).unwrap().result, "hold-off");
        assert_eq!(act(&mut fresh, &start(1), 61).unwrap().result, "success");
    }

    #[test]
    fn the_end_of_the_last_job_ends_the_session() {
        let end = |job: &str, result: &str| Action::End { job_id: job.into(), result: result.into() };
        for (first, second, wanted) in [("success", "success", "success"), ("success", "fail", "fail")] {
            let mut session = session(json!({ "status": "running" }));
            act(&mut session, &end("a", first), NOW).unwrap();
            assert_eq!(session["status"], "running");
            act(&mut session, &end("b", second), NOW).unwrap();
            assert_eq!((&session["status"], &session["result"]), (&json!("completed"), &json!(wanted)));
            assert_eq!(session["time_end"], NOW);
        }
        // Looked at in order: a failure before all others that still run decides at once.
        let mut early = session(json!({ "status": "running" }));
        act(&mut early, &end("a", "fail"), NOW).unwrap();
        assert_eq!((&early["status"], &early["result"]), (&json!("completed"), &json!("fail")));
        let mut late = session(json!({ "status": "running" }));
        act(&mut late, &end("b", "fail"), NOW).unwrap();
        assert_eq!(late["status"], "running");
    }

    #[test]
    fn actions_are_read() {
        let read = |value: Value| {
            let body = value.as_object().unwrap();
            Action::read(body.iter().next().map(|(name, value)| (name.as_str(), value)))
        };
        assert_eq!(read(json!({"start": {"job_id": "a", "current_tag": "4"}})).unwrap(), start(4));
        for bad in [
            json!({}),
            json!({"start": null}),
            json!({"start": {"job_id": "a"}}),
            json!({"end": {"job_id": "a", "current_tag": 1}}),
        ] {
            assert!(read(bad).unwrap_err().detail("title").is_none());
        }
        let error = read(json!({"zap": {}})).unwrap_err();
        assert!(error.message().contains("zap") && error.detail("title") == Some("Bad Method"), "{error}");
        let unknown = Action::End { job_id: "z".into(), result: "success".into() };
        assert_eq!(act(&mut session(json!({})), &unknown, 1).unwrap_err().message(), "job_id not found in session");
        assert!(act(&mut session(json!({"jobs": []})), &unknown, 1).is_err());
    }
}
