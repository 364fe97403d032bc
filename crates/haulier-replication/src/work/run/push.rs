//! Orders every READY object of a bucket at one other site (contract §6.5, sync to an empty site).

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};

use super::Going;
use crate::model::{Action, Object, Order, SiteId, Status};
use crate::store::{buckets, objects, outbox};

/// Records of one transaction.
const PAGE: i64 = 500;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Point {
    /// Whether the bucket was ordered.
    begun: bool,
    /// The last name that was.
    after: String,
}

pub(super) async fn run(going: &mut Going<'_>) -> Result<Option<String>> {
    let mut point: Point = going.point()?;
    let target = going.run.asked.target.clone().map(SiteId::stored);
    let target = target.ok_or_else(|| Error::internal("a push has no target"))?;
    loop {
        let mut tx = going.begin().await?;
        let name = going.run.bucket()?.clone();
        let bucket = buckets::find(&mut tx, &name).await?.filter(|bucket| bucket.status == Status::Ready);
        let bucket = bucket.ok_or_else(|| Error::not_found(format!("the bucket {name} is gone")))?;
        let order = Order {
            op_id: going.run.id.asked().to_owned(),
            from: Some(going.room.site.clone()),
            client: bucket.client,
            bucket: name.clone(),
            object: None,
            size_bytes: 0,
            sha256: None,
            action: Action::Create,
            event_at: Some(bucket.event_at),
        };
        if !point.begun {
            outbox::send(&mut tx, &target, &order).await?;
            point.begun = true;
        }
        let page = objects::page(&mut tx, &name, "", &point.after, PAGE).await?;
        let last = page.last().map(|object| object.name.to_string());
        for object in page {
            going.run.counts.checked += 1;
            going.run.counts.checked_db += 1;
            if object.status == Status::Ready {
                going.run.counts.actions += 1;
                outbox::send(&mut tx, &target, &of_object(&order, object)).await?;
            }
        }
        let more = last.is_some();
        point.after = last.unwrap_or(point.after);
        going.set_point(&point)?;
        going.save(tx).await?;
        going.room.bells.outbox.ring();
        if !more {
            return Ok(None);
        }
    }
}

fn of_object(order: &Order, object: Object) -> Order {
    Order {
        object: Some(object.name),
        size_bytes: object.size_bytes,
        sha256: object.sha256,
        event_at: Some(object.event_at),
        ..order.clone()
    }
}
