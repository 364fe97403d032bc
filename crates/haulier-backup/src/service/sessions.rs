//! Sessions and their jobs: whoever changes both does it in one transaction, the session first.

use haulier_access::Caller;
use haulier_base::Result;

use super::Backups;
use super::changes::own_for_update;
use crate::model::Kind;
use crate::session::{self, Action, Outcome};

impl Backups {
    /// Takes a job into a session.
    ///
    /// # Errors
    /// `NotFound` when the caller lacks either.
    pub async fn add_job(&self, caller: &Caller, session_id: &str, job_id: &str) -> Result<()> {
        let mut tx = self.catalog.begin("backup.add_job").await?;
        let old_session = own_for_update(&mut tx, caller, Kind::Session, session_id).await?;
        let old_job = own_for_update(&mut tx, caller, Kind::Job, job_id).await?;
        let (mut session, mut job) = (old_session.object()?, old_job.object()?);
        session::add_job(&mut session, session_id, job_id, &mut job);
        self.change(&mut tx, &old_session, session).await?;
        self.change(&mut tx, &old_job, job).await?;
        tx.commit().await
    }

    /// Takes a job out of a session, and asks it to stop.
    ///
    /// # Errors
    /// `NotFound` when the caller lacks either.
    pub async fn remove_job(&self, caller: &Caller, session_id: &str, job_id: &str) -> Result<()> {
        let mut tx = self.catalog.begin("backup.remove_job").await?;
        let old_session = own_for_update(&mut tx, caller, Kind::Session, session_id).await?;
        let old_job = own_for_update(&mut tx, caller, Kind::Job, job_id).await?;
        let (mut session, mut job) = (old_session.object()?, old_job.object()?);
        if session::remove_job(&mut session, job_id, &mut job) {
            self.change(&mut tx, &old_session, session).await?;
        }
        self.change(&mut tx, &old_job, job).await?;
        tx.commit().await
    }

    /// Starts or ends one job's part of a session (backup contract §10).
    ///
    /// # Errors
    /// `NotFound` when the caller has no such session; `Invalid` when the job is not in it, or its tag is too high.
    pub(crate) async fn act(&self, caller: &Caller, session_id: &str, action: &Action) -> Result<Outcome> {
        let mut tx = self.catalog.begin("backup.session").await?;
        let old = own_for_update(&mut tx, caller, Kind::Session, session_id).await?;
        let mut session = old.object()?;
        let outcome = session::act(&mut session, action, self.now_seconds())?;
        if outcome.changed {
            self.change(&mut tx, &old, session).await?;
            tx.commit().await?;
        }
        Ok(outcome)
    }
}
