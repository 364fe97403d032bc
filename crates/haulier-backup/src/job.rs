//! What the server makes of a job that it is given: defaults, times, events, actions (backup contract §9). Pure.

use haulier_base::{Error, Result};
use serde_json::{Value, json};

use crate::merge::merge;
use crate::model::Object;
use crate::rules;

/// What clients send back and the server knows better.
const SERVERS_OWN: [&str; 4] = ["job_id", "user_id", "project_id", "_version"];

/// Where a job comes from, which decides about its times (§9.4).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// Created under an identifier of the server's.
    New,
    /// Put under an identifier of the client's, over an older one if there is one.
    Put(Option<&'a Object>),
}

/// Makes a whole job out of a request.
pub(crate) fn make(mut job: Object, id: &str, owner: &str, now_seconds: i64, origin: Origin<'_>) -> Result<Object> {
    apply_defaults(&mut job)?;
    rules::check_job(&job)?;
    rules::check_whole_job(&job)?;
    SERVERS_OWN.iter().for_each(|name| drop(job.remove(*name)));
    if !job.contains_key("job_actions") {
        let action = job.get("job_action").cloned().unwrap_or_default();
        job.insert("job_actions".to_owned(), json!([{ "freezer_action": action }]));
    }
    own_actions(&mut job, owner);
    let schedule = schedule_of(&mut job);
    fill_times(schedule, now_seconds, origin);
    schedule.entry("event").or_insert_with(|| "".into());
    spell_interval(schedule);
    job.insert("job_id".to_owned(), id.into());
    job.insert("user_id".to_owned(), owner.into());
    Ok(job)
}

/// Merges a request into a job (§9.5).
pub(crate) fn patch(job: &mut Object, mut patch: Object, owner: &str) -> Result<()> {
    apply_defaults(&mut patch)?;
    rules::check_job(&patch)?;
    SERVERS_OWN.iter().for_each(|name| drop(patch.remove(*name)));
    let seed_form = patch.contains_key("job_action") && !patch.contains_key("job_actions");
    if let Some(Value::Object(schedule)) = patch.get_mut("job_schedule") {
        spell_interval(schedule);
    }
    merge(job, patch);
    if seed_form {
        let action = job.get("job_action").cloned().unwrap_or_default();
        let same = matches!(job.get("job_actions").and_then(Value::as_array).map(Vec::as_slice),
            Some([only]) if only.get("freezer_action") == Some(&action));
        if !same {
            job.insert("job_actions".to_owned(), json!([{ "freezer_action": action }]));
        }
    }
    own_actions(job, owner);
    Ok(())
}

/// The schedule of a job, which every stored job has.
pub(crate) fn schedule_of(job: &mut Object) -> &mut Object {
    let schedule = job.entry("job_schedule").or_insert_with(|| json!({}));
    if !schedule.is_object() {
        *schedule = json!({});
    }
    schedule.as_object_mut().expect("made one in the line above")
}

/// Copies each default into every `freezer_action` that lacks it or has null there, then drops the defaults.
fn apply_defaults(job: &mut Object) -> Result<()> {
    let defaults = match job.remove("action_defaults") {
        None => return Ok(()),
        Some(Value::Object(defaults)) => defaults,
        Some(_) => return Err(Error::invalid("action_defaults: must be an object")),
    };
    let fill = |action: &mut Value| {
        let Value::Object(action) = action else { return };
        for (name, value) in &defaults {
            if action.get(name).is_none_or(Value::is_null) {
                action.insert(name.clone(), value.clone());
            }
        }
    };
    if let Some(action) = job.get_mut("job_action") {
        fill(action);
    }
    let actions = job.get_mut("job_actions").and_then(Value::as_array_mut);
    actions.into_iter().flatten().filter_map(|action| action.get_mut("freezer_action")).for_each(fill);
    Ok(())
}

/// Gives every action its owner (§9.1).
fn own_actions(job: &mut Object, owner: &str) {
    for action in actions_of(job) {
        action.insert("user_id".to_owned(), owner.into());
        action.remove("_version");
    }
}

/// The actions of a job, to be stored by themselves.
pub(crate) fn actions_of(job: &mut Object) -> impl Iterator<Item = &mut Object> {
    let actions = job.get_mut("job_actions").and_then(Value::as_array_mut);
    actions.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn fill_times(schedule: &mut Object, now_seconds: i64, origin: Origin<'_>) {
    let mut times = [("time_created", now_seconds), ("time_started", -1), ("time_ended", -1)];
    match origin {
        Origin::New => {
            for (name, seconds) in times {
                schedule.insert(name.to_owned(), seconds.into());
            }
        }
        Origin::Put(old) => {
            let created = old.and_then(|job| job.get("job_schedule")?.get("time_created")?.as_i64());
            times[0].1 = created.unwrap_or(now_seconds);
            for (name, seconds) in times {
                schedule.entry(name).or_insert_with(|| seconds.into());
            }
        }
    }
}

fn spell_interval(schedule: &mut Object) {
    if let Some(text) = schedule.get("schedule_interval").and_then(Value::as_str).and_then(rules::interval) {
        schedule.insert("schedule_interval".to_owned(), text.into());
    }
}

/// What a client asks of a job (§9.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start,
    Stop,
    Abort,
}

impl Event {
    /// Reads the body of an event, of which the first member counts.
    pub(crate) fn read(first: Option<&str>) -> Result<Self> {
        match first {
            None => Err(Error::invalid("Bad event request format")),
            Some("start") => Ok(Self::Start),
            Some("stop") => Ok(Self::Stop),
            Some("abort") => Ok(Self::Abort),
            Some(_) => Err(Error::invalid("Bad Action Method: the events are start, stop and abort")),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Abort => "abort",
        }
    }

    /// Writes the event into a schedule; false when it was there already.
    pub(crate) fn write(self, schedule: &mut Object) -> bool {
        if schedule.get("event").and_then(Value::as_str) == Some(self.as_str()) {
            return false;
        }
        schedule.insert("event".to_owned(), self.as_str().into());
        match self {
            // A completed job is no longer polled, so that it would never hear of its start.
            Self::Start => {
                schedule.insert("status".to_owned(), "".into());
                schedule.insert("result".to_owned(), "".into());
            }
            Self::Stop => {}
            // Pollers read it without a default.
            Self::Abort => drop(schedule.entry("current_pid").or_insert_with(|| (-1).into())),
        }
        true
    }

    /// The word of the answer.
    pub(crate) fn result(self, changed: bool) -> String {
        if changed { "success".to_owned() } else { format!("{} already requested", self.as_str()) }
    }
}
