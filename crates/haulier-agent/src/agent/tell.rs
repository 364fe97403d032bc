//! News for the server: told in order for each job, kept until they are taken, never told twice with effect.

use haulier_base::{ErrorKind, Result};
use serde_json::{Value, json};

use super::Agent;
use crate::journal::News;

impl Agent {
    /// Adds members of a job's schedule that changed to the news of the job.
    pub(super) fn note(&mut self, id: &str, schedule: Value) {
        self.note_patch(id, json!({"job_schedule": schedule}));
    }

    /// Adds members of a job to its news. One that follows another is told along with it.
    pub(super) fn note_patch(&mut self, id: &str, patch: Value) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        match job.state.news.back_mut() {
            Some(News::Patch { patch: earlier }) => merge(earlier, patch),
            _ => job.state.news.push_back(News::Patch { patch }),
        }
    }

    /// Tells what there is to tell, until the server cannot be reached.
    pub(super) async fn tell(&mut self) -> Result<()> {
        let waiting = self.jobs.iter().filter(|(_, job)| !job.state.news.is_empty());
        for id in waiting.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            while self.is_open() && self.tell_one(&id).await? {}
        }
        Ok(())
    }

    /// Tells the first news of a job; says whether there may be more.
    async fn tell_one(&mut self, id: &str) -> Result<bool> {
        let Some(news) = self.jobs.get(id).and_then(|job| job.state.news.front().cloned()) else { return Ok(false) };
        let told = match &news {
            News::Patch { patch } => self.api.patch_job(id, patch).await,
            News::SessionEnd { session, action } => self.api.session(session, action).await.map(|_| ()),
            News::Record { run, metadata, tried } => {
                // An answer that was lost is not a record that was.
                let there = if *tried { self.api.has_record(run).await } else { Ok(false) };
                match there {
                    Ok(true) => Ok(()),
                    Ok(false) => {
                        self.mark_tried(id)?;
                        self.api.post_backup(metadata).await
                    }
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = &told {
            if self.gone_silent(error) {
                return Ok(false);
            }
            // A fault of the server at this one thing must not keep the others waiting; it is told again later.
            if error.kind() == ErrorKind::Internal {
                tracing::warn!(job = id, "{error}");
                return Ok(false);
            }
            tracing::warn!(job = id, "the server does not take {news:?}: {error}");
        }
        if let Some(job) = self.jobs.get_mut(id) {
            job.state.news.pop_front();
        }
        self.save(id)?;
        Ok(true)
    }

    fn mark_tried(&mut self, id: &str) -> Result<()> {
        if let Some(News::Record { tried, .. }) = self.jobs.get_mut(id).and_then(|job| job.state.news.front_mut()) {
            *tried = true;
        }
        self.save(id)
    }
}

/// Puts the members of one object into another, at every depth.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
