//! Objects coming in from clients: named first, stored and hashed, READY last (contract §6.1).
//!
//! A request that breaks off leaves nothing READY, and the name free.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use haulier_base::{Error, ErrorKind, Result, Timestamp};
use haulier_catalog::Tx;
use haulier_storage::ByteStream;
use tokio::time::sleep;

use super::Replication;
use super::buckets::absent;
use super::denial::{Denial, Verdict};
use crate::content::Stated;
use crate::model::{
    Action, BucketName, Change, ClientId, Metadata, Object, ObjectName, RecordId, Rights, Status, next_event,
};
use crate::store::uploads::{self, Upload};
use crate::store::{buckets, objects, outbox, ownerships, trash};
use crate::vault::Stored;

/// How long a process holds an upload without saying that it still does.
pub(crate) const HELD_FOR: Duration = Duration::from_secs(30);
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(8);

/// An object that a client wants to create.
#[derive(Clone, Debug)]
pub(crate) struct NewObject {
    pub(crate) client: ClientId,
    pub(crate) bucket: BucketName,
    pub(crate) name: ObjectName,
    pub(crate) stated: Stated,
    pub(crate) op_id: String,
}

impl Replication {
    /// Creates an object from a stream of its content, not compressed. It is durable, hashed and announced when this
    /// returns.
    ///
    /// # Errors
    /// `NotFound` without the bucket, `Forbidden` without the right WRITE, `Conflict` when there is one, occupied
    /// while another upload of the name goes on, `Invalid` when the content is not what was stated. None of them
    /// leaves anything READY.
    pub(crate) async fn create_object(&self, new: &NewObject, content: ByteStream) -> Verdict<Object> {
        let upload = self.begin_upload(new).await?;
        let mut pending = Pending { room: self.clone(), upload: upload.clone(), over: false };
        let outcome = match self.store(&upload, new, content).await {
            Ok(stored) => self.finish_upload(&upload, new, stored).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            self.abandon(&upload).await;
        }
        pending.over = true;
        Ok(outcome?)
    }

    /// Takes the name.
    async fn begin_upload(&self, new: &NewObject) -> Verdict<Upload> {
        let NewObject { client, bucket, name, stated, .. } = new;
        let mut tx = self.inner.catalog.begin("replication.begin_upload").await?;
        let held = buckets::find_for_share(&mut tx, bucket).await?;
        held.filter(|held| held.status == Status::Ready).ok_or_else(|| absent(bucket))?;
        let rights = ownerships::find(&mut tx, client, bucket).await?.unwrap_or(Rights::NONE);
        if !rights.include(Rights::WRITE) {
            return Err(Error::forbidden(format!("the client {client} may not write in the bucket {bucket}")).into());
        }
        let before = objects::find_for_update(&mut tx, bucket, name).await?;
        let status = before.as_ref().map_or(Status::Unknown, |before| before.status);
        if status == Status::Upload {
            return Err(Denial::occupied(format!("the object {name} is being uploaded already")));
        }
        let status = status.on(Change::Create).map_err(|_| {
            Error::conflict(format!("there is an object {name} in the bucket {bucket} ({status}); delete it first"))
        })?;
        let event_at = next_event(tx.now(), before.as_ref().map(|before| before.event_at));
        let object = Object {
            id: RecordId::fresh(),
            bucket: bucket.clone(),
            name: name.clone(),
            status,
            created_at: event_at,
            event_at,
            expires_at: stated.expires_at,
            size_bytes: 0,
            sha256: None,
            metadata: stated.metadata.clone(),
            origin: self.inner.site.clone(),
            buried_at: before.as_ref().and_then(|before| match before.status {
                Status::Deleted => Some(before.event_at),
                _ => before.buried_at,
            }),
        };
        match &before {
            Some(before) => objects::replace(&mut tx, (&before.id, before.status), &object).await?,
            None => objects::insert(&mut tx, &object).await?,
        }
        let upload = Upload { id: object.id, bucket: object.bucket, name: object.name };
        let until = tx.now().plus(HELD_FOR);
        uploads::insert(&mut tx, &upload, &self.inner.holder, until).await?;
        tx.commit().await?;
        Ok(upload)
    }

    /// Brings the content to the store, and compares it with what was stated.
    async fn store(&self, upload: &Upload, new: &NewObject, content: ByteStream) -> Result<Stored> {
        let limit = new.stated.size_bytes;
        let content = match limit {
            Some(limit) => at_most(content, limit),
            None => content,
        };
        let storing = self.inner.vault.put(&upload.id, content, None);
        tokio::pin!(storing);
        let stored = loop {
            tokio::select! {
                stored = &mut storing => break stored?,
                () = sleep(RENEW_EVERY) => self.renew(upload).await?,
            }
        };
        if let Some(size) = limit.filter(|size| *size != stored.size_bytes) {
            let real = stored.size_bytes;
            return Err(Error::invalid(format!("the content has {real} bytes, not the {size} that were announced")));
        }
        match &new.stated.sha256 {
            Some(hash) if *hash != stored.sha256 => {
                let real = &stored.sha256;
                Err(Error::invalid(format!("the content has the SHA-256 {real}, not the {hash} that was announced")))
            }
            _ => Ok(stored),
        }
    }

    /// Says that this process still works on an upload. A catalogue that is away says nothing against it.
    async fn renew(&self, upload: &Upload) -> Result<()> {
        let renewed = async {
            let mut tx = self.inner.catalog.begin("replication.renew_upload").await?;
            let until = tx.now().plus(HELD_FOR);
            let held = uploads::renew(&mut tx, &upload.id, until).await?;
            tx.commit().await.map(|()| held)
        };
        match renewed.await {
            Ok(false) => Err(Error::unavailable("the upload was given up, because nothing was heard of it for long")),
            Ok(true) => Ok(()),
            Err(error) => {
                tracing::warn!(error.chain = ?error, "an upload cannot be renewed: {error}");
                Ok(())
            }
        }
    }

    /// Makes it READY, and tells the other sites.
    async fn finish_upload(&self, upload: &Upload, new: &NewObject, stored: Stored) -> Result<Object> {
        let mut tx = self.inner.catalog.begin("replication.finish_upload").await?;
        let held = buckets::find_for_share(&mut tx, &upload.bucket).await?;
        held.filter(|held| held.status == Status::Ready).ok_or_else(|| absent(&upload.bucket))?;
        let before = objects::find_for_update(&mut tx, &upload.bucket, &upload.name).await?;
        let before = before.filter(|before| before.id == upload.id && before.status == Status::Upload);
        let before = before.ok_or_else(|| Error::conflict("the name was taken by another change meanwhile"))?;
        let event_at = next_event(tx.now(), Some(before.event_at));
        let object = Object {
            status: before.status.on(Change::Store)?,
            created_at: event_at,
            event_at,
            size_bytes: stored.size_bytes,
            sha256: Some(stored.sha256),
            buried_at: None,
            ..before
        };
        objects::replace(&mut tx, (&upload.id, Status::Upload), &object).await?;
        uploads::delete(&mut tx, &upload.id).await?;
        let order = self.about_object(&object, &new.client, Action::Create, &new.op_id);
        outbox::announce(&mut tx, &self.inner.site, &order).await?;
        tx.commit().await?;
        self.inner.bells.outbox.ring();
        Ok(object)
    }

    /// Ends an upload that failed. If even that fails, the sweeper does it once nobody holds it any more.
    async fn abandon(&self, upload: &Upload) {
        let ended = async {
            let mut tx = self.inner.catalog.begin("replication.abandon_upload").await?;
            self.end_upload(&mut tx, upload).await?;
            tx.commit().await
        };
        match ended.await {
            Ok(()) => self.inner.bells.trash.ring(),
            Err(error) => tracing::warn!(error.chain = ?error, "a failed upload is ended later: {error}"),
        }
    }

    /// Frees the name of an upload that will never be READY, and gives its bytes to the sweeper.
    pub(crate) async fn end_upload(&self, tx: &mut Tx, upload: &Upload) -> Result<()> {
        let object = objects::find_for_update(tx, &upload.bucket, &upload.name).await?;
        let object = object.filter(|object| object.id == upload.id);
        if let Some(object) = object.as_ref().filter(|object| object.status == Status::Upload) {
            let after = self.after_failure(object)?;
            objects::replace(tx, (&upload.id, Status::Upload), &after).await?;
        }
        // A commit that nobody heard of may have made it READY.
        if object.is_none_or(|object| object.status != Status::Ready) {
            trash::add(tx, &upload.id).await?;
        }
        uploads::delete(tx, &upload.id).await
    }

    /// A name whose upload failed: the tombstone that was there before, or a failed upload.
    fn after_failure(&self, object: &Object) -> Result<Object> {
        match object.buried_at {
            Some(buried_at) => Ok(self.tombstone(object, buried_at)),
            None => Ok(Object {
                status: object.status.on(Change::Fail)?,
                metadata: Metadata::new(),
                expires_at: None::<Timestamp>,
                ..object.clone()
            }),
        }
    }
}

/// An upload whose request may be dropped at any moment.
struct Pending {
    room: Replication,
    upload: Upload,
    over: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over {
            let (room, upload) = (self.room.clone(), self.upload.clone());
            self.room.inner.aftermath.spawn(async move { room.abandon(&upload).await });
        }
    }
}

/// Refuses a content as soon as it is longer than was announced.
fn at_most(content: ByteStream, limit: u64) -> ByteStream {
    let check = move |seen: &mut u64, piece: Result<bytes::Bytes>| {
        let checked = piece.and_then(|piece| {
            *seen += piece.len() as u64;
            match *seen <= limit {
                true => Ok(piece),
                false => {
                    Err(Error::invalid(format!("the content has more than the {limit} bytes that were announced")))
                }
            }
        });
        futures::future::ready(Some(checked))
    };
    content.scan(0, check).boxed()
}

/// What comes out of a decoder, as the content of a client: damage is the client's fault.
pub(crate) fn blamed_on_the_sender(content: ByteStream) -> ByteStream {
    let blame = |error: Error| match error.kind() {
        ErrorKind::Corrupt => Error::invalid(error.message().to_owned()).caused_by(error),
        _ => error,
    };
    content.map_err(blame).boxed()
}
