//! Removes what has expired in the buckets of a client: tombstones for good, objects everywhere (contract §8 E).

use std::time::Duration;

use haulier_base::{Checksum, Error, ErrorKind, Result, Timestamp};
use haulier_catalog::Tx;
use serde::{Deserialize, Serialize};

use super::Going;
use crate::model::{Action, Bucket, BucketName, Object, ObjectName, Order, RecordId, Status, next_event};
use crate::run::Run;
use crate::service::Inner;
use crate::store::uploads::Upload;
use crate::store::{buckets, expired, objects, outbox, trash};

/// Records of one transaction; fewer where their bytes are copied.
const PAGE: i64 = 200;
const ARCHIVED_PAGE: i64 = 16;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Point {
    /// The bucket that is being purged, and the last name in it that is done.
    bucket: String,
    after: String,
}

pub(super) async fn run(going: &mut Going<'_>) -> Result<Option<String>> {
    let mut point: Point = going.point()?;
    loop {
        let mut tx = going.room.catalog.read().await?;
        let bucket = match BucketName::new(point.bucket.as_str()) {
            Ok(name) => buckets::find(&mut tx, &name).await?,
            Err(_) => None,
        };
        let bucket = match bucket {
            Some(bucket) => Some(bucket),
            None => expired::bucket_after(&mut tx, &going.run.client, &point.bucket).await?,
        };
        drop(tx);
        let Some(bucket) = bucket else { return Ok(None) };
        point.bucket = bucket.name.to_string();
        purge_bucket(going, &mut point, &bucket).await?;
        let mut tx = going.begin().await?;
        expired::forget_bucket(&mut tx, &bucket.name, going.run.started_at).await?;
        let next = expired::bucket_after(&mut tx, &going.run.client, &point.bucket).await?;
        (point.bucket, point.after) = (next.as_ref().map(|b| b.name.to_string()).unwrap_or_default(), String::new());
        going.set_point(&point)?;
        going.save(tx).await?;
        if next.is_none() {
            return Ok(None);
        }
    }
}

async fn purge_bucket(going: &mut Going<'_>, point: &mut Point, bucket: &Bucket) -> Result<()> {
    let archive = match &going.run.asked.archive {
        Some(name) if *name != bucket.name.as_str() => Some(archive(going, name).await?),
        _ => None,
    };
    loop {
        let mut tx = going.room.catalog.read().await?;
        let limit = if archive.is_some() { ARCHIVED_PAGE } else { PAGE };
        let until = going.run.started_at;
        let page = expired::page(&mut tx, &bucket.name, until, &point.after, limit).await?;
        drop(tx);
        let Some(last) = page.last() else { return Ok(()) };
        let last = last.name.to_string();
        let copies = match &archive {
            Some(archive) => copy(going, archive, &page).await?,
            None => Vec::new(),
        };
        point.after = last;
        going.run.counts.checked += u64::try_from(page.len()).unwrap_or_default();
        going.run.counts.checked_db += u64::try_from(page.len()).unwrap_or_default();
        going.set_point(point)?;
        let mut tx = going.begin().await?;
        if let Some(archive) = &archive {
            let held = buckets::find_for_share(&mut tx, &archive.name).await?;
            if held.is_none_or(|held| held.status != Status::Ready || held.client != archive.client) {
                return Err(Error::not_found(format!("the bucket {} is gone", archive.name)));
            }
        }
        for object in page {
            let copy = copies.iter().find(|(of, _)| *of == object.id).map(|(_, copy)| copy);
            if let Some(copy) = copy {
                going.let_go(&mut tx, &copy.id).await?;
            }
            match remove(going.room, &mut tx, &going.run, bucket, &object, copy).await {
                Ok(()) => going.run.counts.actions += 1,
                // It is another version by now: nothing that has expired.
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    if let Some(copy) = copy {
                        trash::add(&mut tx, &copy.id).await?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        going.save(tx).await?;
        going.room.bells.outbox.ring();
        going.room.bells.trash.ring();
    }
}

/// The bucket that expired objects are copied to.
async fn archive(going: &Going<'_>, name: &str) -> Result<Bucket> {
    let mut tx = going.room.catalog.read().await?;
    let found = buckets::find(&mut tx, &BucketName::new(name)?).await?;
    let found = found.filter(|bucket| bucket.status == Status::Ready && bucket.client == going.run.client);
    found.ok_or_else(|| Error::not_found(format!("the client {} has no bucket {name} to archive to", going.run.client)))
}

/// Copies what is about to go into the archive, and describes the copies; they count with the next transaction.
async fn copy(going: &Going<'_>, archive: &Bucket, page: &[Object]) -> Result<Vec<(RecordId, Object)>> {
    let ready: Vec<&Object> = page.iter().filter(|object| object.status == Status::Ready).collect();
    let held = |object: &&Object| {
        // One name for each version that ever expires: names come back, ids do not.
        let name = ObjectName::new(format!("{}/{}", object.bucket, object.id))?;
        Ok(Upload { id: RecordId::fresh(), bucket: archive.name.clone(), name })
    };
    let held: Vec<Upload> = ready.iter().map(held).collect::<Result<_>>()?;
    let mut tx = going.begin().await?;
    going.hold(&mut tx, &held).await?;
    tx.commit().await?;
    going.holding(&held, copy_all(going, ready.into_iter().zip(held.iter().cloned()))).await
}

async fn copy_all(going: &Going<'_>, all: impl Iterator<Item = (&Object, Upload)>) -> Result<Vec<(RecordId, Object)>> {
    let mut copies = Vec::new();
    for (object, Upload { id, bucket, name }) in all {
        let read = going.room.vault.read(&object.id, 0, None).await?;
        let expected: Option<Checksum> =
            object.sha256.as_ref().map(|hash| format!("sha256:{hash}").parse()).transpose()?;
        let stored = going.room.vault.put(&id, read.stream, expected).await?;
        let mut metadata = object.metadata.clone();
        for (key, value) in [
            ("archived_from_bucket", object.bucket.as_str()),
            ("archived_from_id", object.id.as_str()),
            ("archived_from_name", object.name.as_str()),
        ] {
            metadata.insert(key.to_owned(), value.to_owned());
        }
        let at = next_event(going.room.catalog.now(), None);
        let copy = Object {
            id,
            bucket,
            name,
            status: Status::Ready,
            created_at: at,
            event_at: at,
            expires_at: None,
            size_bytes: stored.size_bytes,
            sha256: Some(stored.sha256),
            metadata,
            origin: going.room.site.clone(),
            buried_at: None,
        };
        copies.push((object.id.clone(), copy));
    }
    Ok(copies)
}

async fn remove(
    room: &Inner,
    tx: &mut Tx,
    run: &Run,
    bucket: &Bucket,
    object: &Object,
    copy: Option<&Object>,
) -> Result<()> {
    if object.status == Status::Deleted {
        objects::delete(tx, &object.id).await?;
        return trash::add(tx, &object.id).await;
    }
    let kept = run.asked.expired_seconds.map_or(room.config.tombstones_for(), Duration::from_secs);
    let gone = tombstone(object, tx.now(), kept);
    objects::replace(tx, (&object.id, object.status), &gone).await?;
    trash::add(tx, &object.id).await?;
    let order = |of: &Object, action| Order {
        op_id: run.id.asked().to_owned(),
        from: Some(room.site.clone()),
        client: bucket.client.clone(),
        bucket: of.bucket.clone(),
        object: Some(of.name.clone()),
        size_bytes: of.size_bytes,
        sha256: of.sha256.clone(),
        action,
        event_at: Some(of.event_at),
    };
    if let Some(copy) = copy {
        objects::insert(tx, copy).await?;
        outbox::announce(tx, &room.site, &order(copy, Action::Create)).await?;
    }
    outbox::announce(tx, &room.site, &order(&gone, Action::Delete)).await
}

fn tombstone(object: &Object, now: Timestamp, kept: Duration) -> Object {
    let at = next_event(now, Some(object.event_at));
    Object {
        status: Status::Deleted,
        created_at: at,
        event_at: at,
        expires_at: Some(at.plus(kept)),
        size_bytes: 0,
        sha256: None,
        buried_at: None,
        ..object.clone()
    }
}
