//! This site's own copies: who may see them, whether they are there, their bytes, and their end (contract §4.1, §6.1).

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, stream};
use haulier_base::{Error, ErrorKind, Result};
use haulier_catalog::Tx;
use haulier_storage::ByteStream;

use super::Replication;
use super::buckets::absent;
use super::denial::Verdict;
use crate::model::{Action, BucketName, ClientId, Metadata, Object, ObjectName, Order, Rights, Status, next_event};
use crate::store::{buckets, objects, outbox, ownerships, trash};

/// What this site has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// A READY object.
    Object(Box<Object>),
    /// No object of that name, but READY ones whose names start with it.
    Directory,
    /// Nothing; a peer may have it.
    Absent,
    /// It was deleted here, or its bucket was.
    Buried,
}

/// What a client may do in a bucket, as far as the bucket is here.
enum Entrance {
    Open(Option<Rights>),
    Absent,
    Buried,
}

impl Replication {
    /// This site's own READY object, for a client that may read it. Looks at no bytes.
    ///
    /// # Errors
    /// `NotFound` for a stranger to the bucket, `Forbidden` for a client that has rights but may not read (§4.1).
    pub(crate) async fn own_object(&self, client: &ClientId, bucket: &BucketName, name: &ObjectName) -> Result<Own> {
        let mut tx = self.inner.catalog.read().await?;
        if let Some(own) = not_open(&mut tx, client, bucket).await? {
            return Ok(own);
        }
        Ok(owned(objects::find(&mut tx, bucket, name).await?))
    }

    /// What this site itself has under a name or a beginning of names (§2.3); with `full_check` only if the bytes are
    /// there as well.
    ///
    /// # Errors
    /// As [`Self::own_object`]; `Invalid` when it can be the beginning of no name.
    pub(crate) async fn own_path(
        &self,
        client: &ClientId,
        bucket: &BucketName,
        path: &str,
        full_check: bool,
    ) -> Result<Own> {
        let mut tx = self.inner.catalog.read().await?;
        if let Some(own) = not_open(&mut tx, client, bucket).await? {
            return Ok(own);
        }
        let found = match ObjectName::new(path) {
            Ok(name) => owned(objects::find(&mut tx, bucket, &name).await?),
            Err(_) => Own::Absent,
        };
        match found {
            Own::Object(object) if full_check => {
                drop(tx);
                Ok(if self.has_bytes(&object).await? { Own::Object(object) } else { Own::Absent })
            }
            Own::Object(object) => Ok(Own::Object(object)),
            _ if objects::any_with_prefix(&mut tx, bucket, path).await? => Ok(Own::Directory),
            found => Ok(found),
        }
    }

    /// The record of a name in whatever state, tombstones included.
    ///
    /// # Errors
    /// `NotFound` when there is none, or none that the client may read.
    pub(crate) async fn own_record(&self, client: &ClientId, bucket: &BucketName, name: &ObjectName) -> Result<Object> {
        let mut tx = self.inner.catalog.read().await?;
        match entrance(&mut tx, client, bucket).await? {
            Entrance::Open(Some(rights)) if rights.include(Rights::READ) => {}
            Entrance::Open(_) => return Err(no_object(bucket, name)),
            Entrance::Absent | Entrance::Buried => return Err(absent(bucket)),
        }
        objects::find(&mut tx, bucket, name).await?.ok_or_else(|| no_object(bucket, name))
    }

    /// Whether the bytes of a READY object are there; if they are not, a peer is asked for them.
    async fn has_bytes(&self, object: &Object) -> Result<bool> {
        let there = self.inner.vault.size(&object.id).await? == Some(object.size_bytes);
        if !there {
            self.ask_for_repair(object).await;
        }
        Ok(there)
    }

    /// Starts reading the bytes of a READY object. None when they are missing or not as long as they should be: then
    /// a peer is asked for them. A stream that ends too early ends with an error.
    ///
    /// # Errors
    /// As the storage says.
    pub(crate) async fn open_object(&self, object: &Object, range: Range<u64>) -> Result<Option<ByteStream>> {
        let wanted = range.end.saturating_sub(range.start);
        let missing = |error: &Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid);
        let read = match self.inner.vault.read(&object.id, range.start, Some(range.end)).await {
            Err(error) if missing(&error) => None,
            read => Some(read?).filter(|read| read.meta.size.is_none_or(|size| size == object.size_bytes)),
        };
        let Some(read) = read else {
            self.ask_for_repair(object).await;
            return Ok(None);
        };
        let mut rest = read.stream;
        let first = match rest.next().await {
            Some(Err(error)) if missing(&error) => None,
            Some(first) => Some(first?),
            None => Some(Bytes::new()).filter(|_| wanted == 0),
        };
        let Some(first) = first else {
            self.ask_for_repair(object).await;
            return Ok(None);
        };
        let stream = stream::iter([Ok(first)]).chain(rest).boxed();
        Ok(Some(whole(self.clone(), object.clone(), stream, wanted)))
    }

    /// Deletes an object; one that is deleted already stays so.
    ///
    /// # Errors
    /// `NotFound` when there never was one, `Forbidden` without the right DELETE, `Conflict` while it is uploaded.
    pub(crate) async fn delete_object(
        &self,
        client: &ClientId,
        bucket: &BucketName,
        name: &ObjectName,
        op_id: &str,
    ) -> Verdict<()> {
        let mut tx = self.inner.catalog.begin("replication.delete_object").await?;
        let held = buckets::find_for_share(&mut tx, bucket).await?;
        held.filter(|bucket| bucket.status == Status::Ready).ok_or_else(|| absent(bucket))?;
        let rights = ownerships::find(&mut tx, client, bucket).await?.unwrap_or(Rights::NONE);
        if !rights.include(Rights::DELETE) {
            return Err(Error::forbidden(format!("the client {client} may not delete in the bucket {bucket}")).into());
        }
        let before = objects::find_for_update(&mut tx, bucket, name).await?;
        let before = before.ok_or_else(|| no_object(bucket, name))?;
        match before.status {
            Status::Deleted | Status::Deleting => return Ok(()),
            Status::Upload => {
                return Err(
                    Error::conflict(format!("the object {name} is being uploaded; delete it afterwards")).into()
                );
            }
            _ => {}
        }
        let event_at = next_event(tx.now(), Some(before.event_at));
        let tombstone = self.tombstone(&before, event_at);
        objects::replace(&mut tx, (&before.id, before.status), &tombstone).await?;
        trash::add(&mut tx, &before.id).await?;
        let order = self.about_object(&tombstone, client, Action::Delete, op_id);
        outbox::announce(&mut tx, &self.inner.site, &order).await?;
        tx.commit().await?;
        self.inner.bells.outbox.ring();
        self.inner.bells.trash.ring();
        Ok(())
    }

    /// What remains of an object that was deleted at an instant (§3).
    pub(crate) fn tombstone(&self, object: &Object, event_at: haulier_base::Timestamp) -> Object {
        Object {
            status: Status::Deleted,
            created_at: event_at,
            event_at,
            expires_at: Some(event_at.plus(self.inner.config.tombstones_for())),
            size_bytes: 0,
            sha256: None,
            metadata: Metadata::new(),
            buried_at: None,
            ..object.clone()
        }
    }

    /// The order that tells the other sites of a change of an object by a client.
    pub(crate) fn about_object(&self, object: &Object, client: &ClientId, action: Action, op_id: &str) -> Order {
        Order {
            op_id: op_id.to_owned(),
            from: Some(self.inner.site.clone()),
            client: client.clone(),
            bucket: object.bucket.clone(),
            object: Some(object.name.clone()),
            size_bytes: object.size_bytes,
            sha256: object.sha256.clone(),
            action,
            event_at: Some(object.event_at),
        }
    }
}

async fn entrance(tx: &mut Tx, client: &ClientId, bucket: &BucketName) -> Result<Entrance> {
    match buckets::find(tx, bucket).await? {
        Some(found) if found.status == Status::Ready => Ok(Entrance::Open(ownerships::find(tx, client, bucket).await?)),
        Some(found) if found.status.is_buried() => Ok(Entrance::Buried),
        _ => Ok(Entrance::Absent),
    }
}

/// What is to be said of everything in a bucket that a client cannot look into; none when it can.
async fn not_open(tx: &mut Tx, client: &ClientId, bucket: &BucketName) -> Result<Option<Own>> {
    match entrance(tx, client, bucket).await? {
        Entrance::Open(Some(rights)) if rights.include(Rights::READ) => Ok(None),
        Entrance::Open(Some(rights)) if rights != Rights::NONE => {
            Err(Error::forbidden(format!("the client {client} may not read in the bucket {bucket}")))
        }
        // A stranger learns nothing, not even that there is something.
        Entrance::Open(_) => Err(Error::not_found(format!("there is nothing in the bucket {bucket} for {client}"))),
        Entrance::Absent => Ok(Some(Own::Absent)),
        Entrance::Buried => Ok(Some(Own::Buried)),
    }
}

fn owned(object: Option<Object>) -> Own {
    match object {
        Some(object) if object.status == Status::Ready => Own::Object(Box::new(object)),
        Some(object) if object.status.is_buried() => Own::Buried,
        _ => Own::Absent,
    }
}

pub(crate) fn no_object(bucket: &BucketName, name: &ObjectName) -> Error {
    Error::not_found(format!("there is no object {name} in the bucket {bucket}"))
}

/// Counts bytes, so that a body is cut off rather than ended when some are missing.
fn whole(room: Replication, object: Object, stream: ByteStream, wanted: u64) -> ByteStream {
    let state = Some((room, object, stream, wanted));
    stream::unfold(state, |state| async move {
        let (room, object, mut stream, left) = state?;
        let short = match stream.next().await {
            Some(Ok(piece)) if piece.len() as u64 <= left => {
                let left = left - piece.len() as u64;
                return Some((Ok(piece), Some((room, object, stream, left))));
            }
            None if left == 0 => return None,
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Some((Err(error), None)),
            _ => Error::corrupt("the stored bytes are not as many as were stored").context("record", &object.id),
        };
        room.ask_for_repair(&object).await;
        tracing::error!(error.chain = ?short, "cut off the body of an object: {short}");
        Some((Err(short), None))
    })
    .boxed()
}
