//! What the server says about jobs, and what follows from it: scheduled, stopped, to be aborted, gone.

use haulier_base::{ErrorKind, Result};
use serde_json::{Value, json};

use super::{Agent, schedule, word};
use crate::journal::is_job_id;

impl Agent {
    /// Asks for all jobs.
    pub(super) async fn poll(&mut self) -> Result<()> {
        // What the server says is old as long as it has not heard our news.
        self.tell().await?;
        if !self.is_open() {
            return Ok(());
        }
        let jobs = match self.register().await {
            Ok(()) => self.api.jobs(&self.config.client()).await,
            Err(error) => Err(error),
        };
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(error) => {
                if !self.gone_silent(&error) {
                    tracing::error!("the server does not give its jobs: {error}");
                }
                return Ok(());
            }
        };
        let mut seen = Vec::new();
        for doc in jobs {
            let Some(id) = doc["job_id"].as_str().filter(|id| is_job_id(id)).map(str::to_owned) else {
                tracing::warn!("a job without a usable job_id is left out");
                continue;
            };
            self.learn(&id, doc)?;
            seen.push(id);
        }
        self.forget_gone(&seen)
    }

    /// Looks at the jobs that run, for somebody may want one to end.
    pub(super) async fn watch(&mut self) -> Result<()> {
        let running = self.jobs.iter().filter(|(_, job)| job.state.run.is_some());
        for id in running.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if !self.is_open() {
                return Ok(());
            }
            match self.api.job(&id).await {
                Ok(doc) => self.learn(&id, doc)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    self.gone_silent(&error);
                }
            }
        }
        Ok(())
    }

    /// Jobs that are no longer there, or completed, are dropped; one that runs first ends.
    fn forget_gone(&mut self, seen: &[String]) -> Result<()> {
        let gone = self
            .jobs
            .iter()
            .filter(|(id, job)| !seen.contains(id) && job.state.run.is_none() && job.state.news.is_empty());
        for id in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.jobs.remove(&id);
            self.journal.forget(&id)?;
        }
        Ok(())
    }

    fn learn(&mut self, id: &str, doc: Value) -> Result<()> {
        let is_new = !self.jobs.contains_key(id);
        let job = self.jobs.entry(id.to_owned()).or_default();
        if !job.state.news.is_empty() {
            return Ok(());
        }
        let before = job.state.clone();
        job.state.doc = doc.clone();
        let one_shot = schedule(&doc, &self.zone).is_ok_and(|schedule| schedule.is_one_shot());
        if is_new && !one_shot {
            // Another agent, or this one before it lost its journal.
            let started = doc["job_schedule"]["time_started"].as_i64().filter(|at| *at > 0);
            job.state.last_run = started.map(|at| at * 1_000_000);
        }
        match (word(&doc, "event"), job.state.run.as_mut()) {
            ("start", None) => {
                job.state.armed = true;
                if one_shot {
                    job.state.last_run = None;
                }
                self.note(id, json!({"event": "", "status": "scheduled"}));
            }
            ("start", Some(_)) => self.note(id, json!({"event": ""})),
            ("stop" | "remove", Some(run)) => run.stop_after = true,
            ("stop" | "remove", None) => {
                job.state.armed = false;
                self.note(id, json!({"event": "", "status": "stop"}));
            }
            ("abort", Some(run)) => {
                run.aborted = true;
                if let Some(abort) = &job.abort {
                    abort.send_replace(true);
                }
            }
            ("abort", None) => self.note(id, json!({"event": ""})),
            (_, Some(_)) => {}
            (_, None) => self.follow_status(id, &doc),
        }
        if self.jobs.get(id).is_some_and(|job| job.state != before) {
            self.save(id)?;
        }
        Ok(())
    }

    /// A job without an event and without a run.
    fn follow_status(&mut self, id: &str, doc: &Value) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        match word(doc, "status") {
            "scheduled" => job.state.armed = true,
            "" => {
                job.state.armed = true;
                self.note(id, json!({"event": "", "status": "scheduled"}));
            }
            // It does not run here, and nowhere else under this name.
            "running" | "aborting" => {
                tracing::warn!(job = id, "a run was lost; the job is scheduled again");
                job.state.armed = true;
                self.note(id, json!({"event": "", "status": "scheduled"}));
            }
            _ => job.state.armed = false,
        }
    }
}
