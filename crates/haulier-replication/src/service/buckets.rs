//! What clients do with buckets (contract §6.1).

use haulier_base::{Error, Result};

use super::Replication;
use super::denial::{Denial, Verdict};
use crate::model::{Action, Bucket, BucketName, ClientId, Order, Rights, Status, next_event};
use crate::store::{buckets, objects, outbox, ownerships};

impl Replication {
    /// Creates a bucket; the client becomes its owner.
    ///
    /// # Errors
    /// `Conflict` when there is one of that name, whoever owns it.
    pub(crate) async fn create_bucket(&self, client: &ClientId, name: &BucketName, op_id: &str) -> Result<Bucket> {
        let mut tx = self.inner.catalog.begin("replication.create_bucket").await?;
        let before = buckets::find_for_update(&mut tx, name).await?;
        match before.as_ref().map(|bucket| bucket.status) {
            None | Some(Status::Deleted | Status::ErrUpl) => {}
            Some(status) => return Err(Error::conflict(format!("there is a bucket {name} already ({status})"))),
        }
        let event_at = next_event(tx.now(), before.as_ref().map(|bucket| bucket.event_at));
        let bucket = Bucket {
            name: name.clone(),
            client: client.clone(),
            status: Status::Ready,
            created_at: event_at,
            event_at,
            expires_at: None,
        };
        buckets::put(&mut tx, &bucket, before.is_some()).await?;
        ownerships::set(&mut tx, client, name, Rights::OWNER).await?;
        outbox::announce(&mut tx, &self.inner.site, &self.about_bucket(&bucket, client, Action::Create, op_id)).await?;
        tx.commit().await?;
        self.inner.bells.outbox.ring();
        Ok(bucket)
    }

    /// Deletes a bucket that holds no objects; only its owner may.
    ///
    /// # Errors
    /// `NotFound`, gone; `Forbidden`; occupied while objects remain; `Conflict` while it is being created.
    pub(crate) async fn delete_bucket(&self, client: &ClientId, name: &BucketName, op_id: &str) -> Verdict<()> {
        let mut tx = self.inner.catalog.begin("replication.delete_bucket").await?;
        let before = buckets::find_for_update(&mut tx, name).await?.ok_or_else(|| absent(name))?;
        if before.status.is_buried() && before.status != Status::ErrDel {
            return Err(gone(name));
        }
        if before.client != *client {
            return Err(Error::forbidden(format!("only the owner of the bucket {name} may delete it")).into());
        }
        if before.status == Status::Upload {
            return Err(Error::conflict(format!("the bucket {name} is being created")).into());
        }
        if objects::any_in(&mut tx, name, true).await? {
            return Err(Denial::occupied(format!("the bucket {name} is not empty; delete its objects first")));
        }
        let event_at = next_event(tx.now(), Some(before.event_at));
        let bucket = Bucket {
            status: Status::Deleted,
            created_at: event_at,
            event_at,
            expires_at: Some(event_at.plus(self.inner.config.tombstones_for())),
            ..before
        };
        buckets::put(&mut tx, &bucket, true).await?;
        ownerships::delete_all(&mut tx, name).await?;
        outbox::announce(&mut tx, &self.inner.site, &self.about_bucket(&bucket, client, Action::Delete, op_id)).await?;
        tx.commit().await?;
        self.inner.bells.outbox.ring();
        Ok(())
    }

    /// A bucket as this site has it; any client may know.
    ///
    /// # Errors
    /// `NotFound`, gone.
    pub(crate) async fn own_bucket(&self, name: &BucketName) -> Verdict<Bucket> {
        let mut tx = self.inner.catalog.read().await?;
        match buckets::find(&mut tx, name).await? {
            Some(bucket) if bucket.status == Status::Ready => Ok(bucket),
            Some(bucket) if bucket.status.is_buried() => Err(gone(name)),
            _ => Err(absent(name).into()),
        }
    }

    /// A page of the buckets that a client owns, after a name.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn buckets_of(&self, client: &ClientId, after: &str, limit: i64) -> Result<Vec<Bucket>> {
        buckets::list_of(&mut self.inner.catalog.read().await?, client, after, limit).await
    }

    fn about_bucket(&self, bucket: &Bucket, client: &ClientId, action: Action, op_id: &str) -> Order {
        Order {
            op_id: op_id.to_owned(),
            from: Some(self.inner.site.clone()),
            client: client.clone(),
            bucket: bucket.name.clone(),
            object: None,
            size_bytes: 0,
            sha256: None,
            action,
            event_at: Some(bucket.event_at),
        }
    }
}

pub(super) fn absent(name: &BucketName) -> Error {
    Error::not_found(format!("there is no bucket {name}"))
}

fn gone(name: &BucketName) -> Denial {
    Denial::gone(format!("the bucket {name} was deleted"))
}
