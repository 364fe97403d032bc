//! Runs: begun when due, action after action, tried again, ended with a result.

use std::time::Duration;

use haulier_base::{Error, ErrorKind, Result, Timestamp, id};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Agent, Event, schedule, word};
use crate::action;
use crate::hand::Hand;
use crate::journal::{News, Run};
use crate::work::Done;

/// A run that was interrupted so often by the end of the agent is given up.
const INTERRUPTIONS_MAX: u32 = 5;
/// How long to wait before an action is tried again when nothing is said, seconds.
const PAUSE: u64 = 60;
/// How often a session may hold a run off before the run fails.
const HELD_OFF_MAX: u32 = 7;
/// How long to wait after a session held a run off; with all tries longer than a session usually does.
const HELD_OFF_WAIT: Duration = Duration::from_secs(10);

impl Agent {
    /// Goes on with the runs that the end of the agent interrupted.
    pub(super) async fn take_up(&mut self) -> Result<()> {
        let interrupted = self.jobs.iter_mut().filter_map(|(id, job)| {
            let run = job.state.run.as_mut()?;
            run.interruptions += 1;
            Some((id.clone(), run.interruptions > INTERRUPTIONS_MAX))
        });
        for (id, hopeless) in interrupted.collect::<Vec<_>>() {
            self.save(&id)?;
            if hopeless {
                tracing::error!(job = id, "the run was interrupted too often");
                self.end(&id, Some(false))?;
            } else {
                tracing::info!(job = id, "going on with an interrupted run");
                self.act(&id)?;
            }
        }
        Ok(())
    }

    /// Begins what is due, and says how long until something else will be.
    pub(super) async fn start_due(&mut self) -> Result<Duration> {
        let now = self.now();
        let (mut due, mut sleep) = (Vec::new(), Duration::MAX);
        for (id, job) in &self.jobs {
            if !job.state.armed || job.state.run.is_some() {
                continue;
            }
            let created = job.state.doc["job_schedule"]["time_created"].as_i64().unwrap_or(0);
            let last = job.state.last_run.map(Timestamp::from_micros);
            let found = match schedule(&job.state.doc, &self.zone) {
                Ok(schedule) => schedule.due(Timestamp::from_micros(created.saturating_mul(1_000_000)), last, now),
                Err(error) => {
                    tracing::warn!(job = id, "the schedule cannot be understood: {error}");
                    continue;
                }
            };
            match (found.at, job.not_before) {
                (Some(_), Some(wait)) if wait > Instant::now() => {
                    sleep = sleep.min(wait.saturating_duration_since(Instant::now()));
                }
                (Some(_), _) => due.push(id.clone()),
                (None, _) => sleep = sleep.min(found.next.map_or(Duration::MAX, |next| next.since(now))),
            }
        }
        for id in due {
            self.begin(&id).await?;
        }
        Ok(sleep)
    }

    async fn begin(&mut self, id: &str) -> Result<()> {
        let (seconds, now) = (self.seconds(), self.now());
        let session = match self.join_session(id).await? {
            Joined::Not => None,
            Joined::With(session) => Some(session),
            Joined::Later => return Ok(()),
            Joined::Refused => {
                let Some(job) = self.jobs.get_mut(id) else { return Ok(()) };
                job.state.run = Some(Run { id: id::random_uuid(), started: seconds, ..Run::default() });
                job.state.last_run = Some(now.as_micros());
                return self.end(id, Some(false));
            }
        };
        let Some(job) = self.jobs.get_mut(id) else { return Ok(()) };
        job.held_off = 0;
        job.not_before = None;
        job.state.last_run = Some(now.as_micros());
        let run = Run { id: id::random_uuid(), started: seconds, session: session.clone(), ..Run::default() };
        job.state.run = Some(run);
        let running = json!({"status": "running", "result": "", "time_started": seconds, "time_ended": -1});
        match session {
            Some((_, tag)) => self.note_patch(id, json!({"session_tag": tag, "job_schedule": running})),
            None => self.note(id, running),
        }
        self.save(id)?;
        tracing::info!(job = id, "the run begins");
        self.act(id)
    }

    async fn join_session(&mut self, id: &str) -> Result<Joined> {
        let Some(job) = self.jobs.get_mut(id) else { return Ok(Joined::Later) };
        let Some(session) = job.state.doc["session_id"].as_str().filter(|id| !id.is_empty()) else {
            return Ok(Joined::Not);
        };
        let session = session.to_owned();
        let tag = job.state.doc["session_tag"].as_i64().unwrap_or(0);
        let start = json!({"start": {"job_id": id, "current_tag": tag}});
        let answer = self.api.session(&session, &start).await;
        let Some(job) = self.jobs.get_mut(id) else { return Ok(Joined::Later) };
        match answer {
            Ok((result, tag)) if result == "success" => return Ok(Joined::With((session, tag))),
            Ok((result, tag)) => {
                tracing::info!(job = id, session, result, "the session does not let the run begin yet");
                if result == "out-of-sync" {
                    job.state.doc["session_tag"] = Value::from(tag);
                }
            }
            Err(error) => {
                if self.gone_silent(&error) || error.kind() == ErrorKind::Internal {
                    if let Some(job) = self.jobs.get_mut(id) {
                        job.not_before = Some(Instant::now() + HELD_OFF_WAIT);
                    }
                    return Ok(Joined::Later);
                }
                tracing::warn!(job = id, session, "the session refuses the run: {error}");
                return Ok(Joined::Refused);
            }
        }
        job.held_off += 1;
        job.not_before = Some(Instant::now() + HELD_OFF_WAIT);
        if job.held_off > HELD_OFF_MAX {
            job.held_off = 0;
            return Ok(Joined::Refused);
        }
        Ok(Joined::Later)
    }

    /// Starts the present action of a run, or ends the run when there is none left.
    fn act(&mut self, id: &str) -> Result<()> {
        let Some(job) = self.jobs.get(id) else { return Ok(()) };
        let Some(run) = job.state.run.clone() else { return Ok(()) };
        let action = job.state.doc["job_actions"].get(run.action).map(|action| action["freezer_action"].clone());
        let Some(action) = action.filter(|_| !run.aborted) else { return self.end(id, None) };
        let mark = format!("{}-{}", run.id, run.action);
        let started = action::order(&self.config, &action, &mark, self.now())
            .and_then(|order| Hand::start(&self.child.program, &self.child.arguments, &order));
        let (abort, aborted) = watch::channel(false);
        let events = self.events.0.clone();
        let (job_id, run_id) = (id.to_owned(), run.id);
        let pid = started.as_ref().ok().and_then(Hand::pid);
        self.tasks.spawn(async move {
            let result = match started {
                Ok(hand) => hand.finish(aborted).await,
                Err(error) => Err(error),
            };
            report(&events, Event::Ended { job: job_id, run: run_id, result }).await;
        });
        if let Some(job) = self.jobs.get_mut(id) {
            job.abort = Some(abort);
        }
        if let Some(pid) = pid {
            self.note(id, json!({"current_pid": pid}));
        }
        Ok(())
    }

    pub(super) async fn heard(&mut self, event: Event) -> Result<()> {
        let (Event::Ended { job: id, run, .. } | Event::Rested { job: id, run }) = &event;
        let (id, run) = (id.clone(), run.clone());
        let is_current = |present: &Run| present.id == run;
        if !self.jobs.get(&id).and_then(|job| job.state.run.as_ref()).is_some_and(is_current) {
            return Ok(());
        }
        match event {
            Event::Rested { .. } => self.act(&id),
            Event::Ended { result, .. } => self.action_ended(&id, result),
        }
    }

    fn action_ended(&mut self, id: &str, result: Result<Done>) -> Result<()> {
        let Some(job) = self.jobs.get_mut(id) else { return Ok(()) };
        let Some(run) = job.state.run.as_mut() else { return Ok(()) };
        let document = job.state.doc["job_actions"].get(run.action).cloned().unwrap_or_default();
        match result {
            Ok(done) => {
                tracing::info!(job = id, action = run.action, "the action succeeded");
                if let Done::Backup(summary) = &done {
                    let mark = format!("{}-{}", run.id, run.action);
                    let metadata = action::record(&self.config, &document["freezer_action"], id, &mark, summary);
                    job.state.news.push_back(News::Record { run: mark, metadata, tried: false });
                }
                run.action += 1;
                run.failed_tries = 0;
            }
            Err(error) if error.kind() == ErrorKind::Canceled || run.aborted => run.aborted = true,
            Err(error) => {
                tracing::error!(job = id, action = run.action, "the action failed: {error}");
                run.failed_tries += 1;
                if u64::from(run.failed_tries) <= document["max_retries"].as_u64().unwrap_or(0) && is_worth(&error) {
                    let pause = Duration::from_secs(document["max_retries_interval"].as_u64().unwrap_or(PAUSE));
                    self.save(id)?;
                    self.rest(id, pause);
                    return Ok(());
                }
                run.failed = true;
                run.failed_tries = 0;
                run.action = match document["mandatory"].as_bool() {
                    Some(true) => usize::MAX,
                    _ => run.action + 1,
                };
            }
        }
        self.save(id)?;
        self.act(id)
    }

    /// Waits before the action is tried again; an abort ends the wait.
    fn rest(&mut self, id: &str, pause: Duration) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(run) = &job.state.run else { return };
        let (abort, mut aborted) = watch::channel(false);
        let (events, job_id, run_id) = (self.events.0.clone(), id.to_owned(), run.id.clone());
        job.abort = Some(abort);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = aborted.wait_for(|abort| *abort) => {}
            }
            report(&events, Event::Rested { job: job_id, run: run_id }).await;
        });
    }

    /// Ends a run; `succeeded` goes before what the actions say.
    fn end(&mut self, id: &str, succeeded: Option<bool>) -> Result<()> {
        let seconds = self.seconds();
        let Some(job) = self.jobs.get_mut(id) else { return Ok(()) };
        job.abort = None;
        let Some(run) = job.state.run.take() else { return Ok(()) };
        let result = match (run.aborted, succeeded.unwrap_or(!run.failed)) {
            (true, _) => "aborted",
            (false, true) => "success",
            (false, false) => "fail",
        };
        let doc = &job.state.doc;
        if word(doc, "schedule_interval") == "continuous" {
            job.state.last_run = Some(self.clock.now().as_micros());
        }
        let one_shot = schedule(doc, &self.zone).map_or(true, |schedule| schedule.is_one_shot());
        let completed = one_shot || run.stop_after;
        job.state.armed = !completed;
        let status = if completed { "completed" } else { "scheduled" };
        if let Some((session, tag)) = run.session {
            // A session knows only two results.
            let outcome = if result == "success" { "success" } else { "fail" };
            let action = json!({"end": {"job_id": id, "current_tag": tag, "result": outcome}});
            job.state.news.push_back(News::SessionEnd { session, action });
        }
        let mut ended = json!({"time_ended": seconds, "result": result, "status": status});
        if run.aborted || run.stop_after {
            ended["event"] = Value::from("");
        }
        self.note(id, ended);
        tracing::info!(job = id, result, "the run ended");
        self.save(id)
    }
}

/// What became of a job's wish to start in its session.
enum Joined {
    Not,
    With((String, i64)),
    Later,
    Refused,
}

/// Whether another try could end otherwise.
fn is_worth(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Forbidden | ErrorKind::Unauthenticated)
}

async fn report(events: &tokio::sync::mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        tracing::debug!("the agent ended before a child did");
    }
}
