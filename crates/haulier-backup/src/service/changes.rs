//! What changes a document: replacing it, merging into it, events. Each raises its version by one.

use haulier_access::Caller;
use haulier_base::{Error, ErrorKind, Result};
use haulier_catalog::Tx;
use serde_json::Value;

use super::{Backups, own, store_actions};
use crate::job::{self, Event, Origin};
use crate::merge::merge;
use crate::model::{Document, Kind, Object};
use crate::{rules, session, store};

impl Backups {
    /// Puts a job, an action or a session under an identifier, over what was there; returns the version.
    ///
    /// # Errors
    /// `Invalid` when the identifier or the body is wrong; `Forbidden` when it is another owner's.
    pub async fn put(&self, caller: &Caller, kind: Kind, id: &str, body: Object) -> Result<i64> {
        if !kind.can_be_id(id) {
            return Err(Error::invalid(format!("{}: must be 1 to 255 letters, digits, _ and -", kind.id_member())));
        }
        match self.put_once(caller, kind, id, body.clone()).await {
            // Two clients who put the same new one at once on PostgreSQL: now it is there, and is replaced.
            Err(error) if error.kind() == ErrorKind::Conflict => self.put_once(caller, kind, id, body).await,
            done => done,
        }
    }

    async fn put_once(&self, caller: &Caller, kind: Kind, id: &str, mut body: Object) -> Result<i64> {
        let mut tx = self.catalog.begin("backup.put").await?;
        let old = store::find_for_update(&mut tx, kind, id, &caller.user).await?;
        if old.as_ref().is_some_and(|old| old.owner != caller.user) {
            return Err(Error::forbidden(format!("{} {id} belongs to another user", kind.as_str())));
        }
        let made = match kind {
            Kind::Job => {
                let before = old.as_ref().map(Document::object).transpose()?;
                let mut made = job::make(body, id, &caller.user, self.now_seconds(), Origin::Put(before.as_ref()))?;
                store_actions(&mut tx, caller, &mut made).await?;
                made
            }
            Kind::Session => session::replace(body, id, &caller.user)?,
            _ => {
                rules::check_action(&body)?;
                own(&mut body, kind, id, &caller.user);
                body
            }
        };
        let version = old.as_ref().map_or(1, |old| old.version + 1);
        let made = self.written(kind, id, &caller.user, version, &made.into())?;
        match old {
            Some(_) => store::update(&mut tx, &made).await?,
            None => store::insert(&mut tx, &made).await?,
        }
        tx.commit().await?;
        Ok(version)
    }

    /// Merges a body into a job, an action or a session (backup contract §9.5); returns the version.
    ///
    /// # Errors
    /// `Invalid` when the body is wrong; `NotFound` when the caller has no such document.
    pub async fn patch(&self, caller: &Caller, kind: Kind, id: &str, mut body: Object) -> Result<i64> {
        let mut tx = self.catalog.begin("backup.patch").await?;
        let old = own_for_update(&mut tx, caller, kind, id).await?;
        let mut object = old.object()?;
        match kind {
            Kind::Job => {
                job::patch(&mut object, body, &caller.user)?;
                store_actions(&mut tx, caller, &mut object).await?;
            }
            Kind::Session => session::patch(&mut object, body)?,
            _ => {
                rules::check_action(&body)?;
                [kind.id_member(), "user_id", "_version"].iter().for_each(|name| drop(body.remove(*name)));
                merge(&mut object, body);
            }
        }
        let version = self.change(&mut tx, &old, object).await?;
        tx.commit().await?;
        Ok(version)
    }

    /// Asks something of a job (backup contract §9.7); returns the word of the answer.
    ///
    /// # Errors
    /// `NotFound` when the caller has no such job.
    pub(crate) async fn event(&self, caller: &Caller, id: &str, event: Event) -> Result<String> {
        let mut tx = self.catalog.begin("backup.event").await?;
        let old = own_for_update(&mut tx, caller, Kind::Job, id).await?;
        let mut object = old.object()?;
        let changed = event.write(job::schedule_of(&mut object));
        if changed {
            self.change(&mut tx, &old, object).await?;
            tx.commit().await?;
        }
        Ok(event.result(changed))
    }

    /// Writes another content; returns the version.
    pub(super) async fn change(&self, tx: &mut Tx, old: &Document, object: Object) -> Result<i64> {
        let version = old.version + 1;
        let new = self.written(old.kind, &old.id, &old.owner, version, &Value::Object(object))?;
        store::update(tx, &new).await?;
        Ok(version)
    }
}

/// A document of the caller's, held until the transaction ends.
pub(super) async fn own_for_update(tx: &mut Tx, caller: &Caller, kind: Kind, id: &str) -> Result<Document> {
    if !kind.can_be_id(id) {
        return Err(kind.unknown(id));
    }
    let found = store::find_for_update(tx, kind, id, &caller.user).await?;
    found.filter(|document| document.owner == caller.user).ok_or_else(|| kind.unknown(id))
}
