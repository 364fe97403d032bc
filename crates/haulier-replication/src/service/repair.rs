//! Bytes that turn out missing are asked for at a peer (contract §4.1).

use haulier_base::{Result, id};

use super::Replication;
use crate::model::{Action, Object, Order, Status};
use crate::store::orders::{self, Arrived};
use crate::store::{buckets, objects};

impl Replication {
    /// Queues the repair of a READY object whose bytes are not what they should be, unless one is queued already.
    /// Whoever found out goes on either way.
    pub(crate) async fn ask_for_repair(&self, object: &Object) {
        match self.queue_repair(object).await {
            Ok(true) => {
                tracing::warn!(
                    bucket = %object.bucket, record = %object.id,
                    "the bytes of an object are missing; a peer is asked for them"
                );
                self.inner.bells.orders.ring();
            }
            Ok(false) => {}
            Err(error) => tracing::error!(error.chain = ?error, "the repair of an object cannot be queued: {error}"),
        }
    }

    async fn queue_repair(&self, object: &Object) -> Result<bool> {
        let mut tx = self.inner.catalog.begin("replication.repair").await?;
        let Some(bucket) = buckets::find(&mut tx, &object.bucket).await? else { return Ok(false) };
        // It may have been deleted or replaced meanwhile, which takes the bytes away rightly.
        let now = objects::find(&mut tx, &object.bucket, &object.name).await?;
        if !now.is_some_and(|now| now.id == object.id && now.status == Status::Ready)
            || orders::any_open(&mut tx, &object.bucket, &object.name, Action::Update).await?
        {
            return Ok(false);
        }
        let order = Order {
            op_id: id::ordered_uuid(),
            from: None,
            client: bucket.client,
            bucket: object.bucket.clone(),
            object: Some(object.name.clone()),
            size_bytes: object.size_bytes,
            sha256: object.sha256.clone(),
            action: Action::Update,
            event_at: None,
        };
        orders::receive(&mut tx, &[Arrived::queued(order)]).await?;
        tx.commit().await?;
        Ok(true)
    }
}
