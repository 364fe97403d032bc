//! Adopts files that were put into the store under `import/{bucket}/`: the path below that is the object's name.
//!
//! A file is copied to the key of a record, and removed once the record is committed: a crash loses neither.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use haulier_base::{Error, ErrorKind, Result};
use haulier_storage::{Guard, ListedObject, Location, ReadRequest};

use super::Going;
use crate::model::{Action, Bucket, Object, ObjectName, Order, RecordId, Status, next_event};
use crate::store::uploads::Upload;
use crate::store::{buckets, objects, outbox, trash};
use crate::vault::Stored;

/// Files that are adopted at once.
const BATCH: usize = 16;
/// Names of files that stayed where they were which are told.
const TOLD: usize = 5;

/// Files that cannot be adopted.
#[derive(Default)]
struct Left {
    count: u64,
    told: Vec<String>,
}

impl Left {
    fn add(&mut self, path: &str, why: &str) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{path}: {why}"));
        }
    }
}

/// A file on its way into the store.
struct Adoption {
    file: ListedObject,
    name: ObjectName,
    id: RecordId,
    /// What it is; none when an object with that name is there already, so that nothing was copied.
    stored: Option<Stored>,
}

pub(super) async fn run(going: &mut Going<'_>) -> Result<Option<String>> {
    let mut tx = going.room.catalog.read().await?;
    let name = going.run.bucket()?.clone();
    let bucket = buckets::find(&mut tx, &name).await?.filter(|bucket| bucket.status == Status::Ready);
    let bucket = bucket.ok_or_else(|| Error::not_found(format!("the bucket {name} is gone")))?;
    drop(tx);
    let folder = going.room.vault.imports(&name);
    let mut files = folder.storage.list(&folder.path).await?.chunks(BATCH);
    let mut left = Left::default();
    while let Some(batch) = files.next().await {
        let batch: Vec<ListedObject> = batch.into_iter().collect::<Result<_>>()?;
        adopt(going, &bucket, &folder, batch, &mut left).await?;
    }
    Ok((left.count > 0).then(|| {
        let more = if left.told.len() < TOLD { "" } else { ", ..." };
        format!("{} files were left where they are: {}{more}", left.count, left.told.join(", "))
    }))
}

async fn adopt(
    going: &mut Going<'_>,
    bucket: &Bucket,
    folder: &Location,
    batch: Vec<ListedObject>,
    left: &mut Left,
) -> Result<()> {
    let mut adoptions = Vec::new();
    for file in batch {
        going.run.counts.checked += 1;
        going.run.counts.checked_driver += 1;
        let path = file.path.as_str();
        let below = path.strip_prefix(folder.path.as_str()).unwrap_or(path).trim_start_matches('/');
        match ObjectName::new(below) {
            Ok(name) => adoptions.push(Adoption { name, file, id: RecordId::fresh(), stored: None }),
            Err(error) => left.add(path, error.message()),
        }
    }
    let mut tx = going.begin().await?;
    let held = |adoption: &Adoption| Upload {
        id: adoption.id.clone(),
        bucket: bucket.name.clone(),
        name: adoption.name.clone(),
    };
    let held: Vec<Upload> = adoptions.iter().map(held).collect();
    going.hold(&mut tx, &held).await?;
    tx.commit().await?;
    let copies = join_all(adoptions.into_iter().map(|adoption| copy(going, folder, adoption)));
    let copied = going.holding(&held, async { Ok(copies.await) }).await?;
    let copied: Vec<Adoption> = copied.into_iter().collect::<Result<_>>()?;
    commit(going, bucket, folder, copied, left).await
}

/// Copies a file to the key of its record to be.
async fn copy(going: &Going<'_>, folder: &Location, mut adoption: Adoption) -> Result<Adoption> {
    let request = ReadRequest { version: adoption.file.meta.version.clone(), ..ReadRequest::default() };
    let stored = match folder.storage.read(&adoption.file.path, request).await {
        Ok(read) => going.room.vault.put(&adoption.id, read.stream, None).await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(stored) => adoption.stored = Some(stored),
        // Somebody is still writing it, or has taken it away: another import finds it.
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
        Err(error) => return Err(error),
    }
    Ok(adoption)
}

async fn commit(
    going: &mut Going<'_>,
    bucket: &Bucket,
    folder: &Location,
    copied: Vec<Adoption>,
    left: &mut Left,
) -> Result<()> {
    let mut done = Vec::new();
    let mut tx = going.begin().await?;
    let held = buckets::find_for_share(&mut tx, &bucket.name).await?;
    if held.is_none_or(|held| held.status != Status::Ready || held.client != bucket.client) {
        return Err(Error::not_found(format!("the bucket {} is gone", bucket.name)));
    }
    for Adoption { file, name, id, stored } in copied {
        going.let_go(&mut tx, &id).await?;
        let path = file.path.as_str().to_owned();
        let Some(stored) = stored else {
            left.add(&path, "it changed while it was read");
            continue;
        };
        let there = objects::find_for_update(&mut tx, &bucket.name, &name).await?;
        let same = there
            .as_ref()
            .is_some_and(|there| there.status == Status::Ready && there.sha256.as_ref() == Some(&stored.sha256));
        let free = there.as_ref().is_none_or(|there| matches!(there.status, Status::Deleted | Status::ErrUpl));
        if !free {
            trash::add(&mut tx, &id).await?;
            match same {
                // Adopted before a crash.
                true => done.push(file),
                false => left.add(&path, "there is an object of that name"),
            }
            continue;
        }
        let at = next_event(tx.now(), there.as_ref().map(|there| there.event_at));
        let after = going.run.asked.expired_seconds.filter(|seconds| *seconds > 0);
        let object = Object {
            id,
            bucket: bucket.name.clone(),
            name,
            status: Status::Ready,
            created_at: at,
            event_at: at,
            expires_at: after.map(|seconds| at.plus(Duration::from_secs(seconds))),
            size_bytes: stored.size_bytes,
            sha256: Some(stored.sha256),
            metadata: going.run.asked.metadata.clone(),
            origin: going.room.site.clone(),
            buried_at: None,
        };
        match &there {
            None => objects::insert(&mut tx, &object).await?,
            Some(there) => {
                objects::replace(&mut tx, (&there.id, there.status), &object).await?;
                trash::add(&mut tx, &there.id).await?;
            }
        }
        let order = Order {
            op_id: going.run.id.asked().to_owned(),
            from: Some(going.room.site.clone()),
            client: bucket.client.clone(),
            bucket: bucket.name.clone(),
            object: Some(object.name),
            size_bytes: object.size_bytes,
            sha256: object.sha256,
            action: Action::Create,
            event_at: Some(at),
        };
        outbox::announce(&mut tx, &going.room.site, &order).await?;
        going.run.counts.actions += 1;
        done.push(file);
    }
    going.save(tx).await?;
    going.room.bells.outbox.ring();
    going.room.bells.trash.ring();
    for file in done {
        take_away(folder, &file).await?;
    }
    Ok(())
}

/// Removes a file that was adopted, unless it is another one by now.
async fn take_away(folder: &Location, file: &ListedObject) -> Result<()> {
    let guard = Guard::unchanged(Some(&file.meta));
    match folder.storage.remove_guarded(&file.path, &guard, None).await {
        Err(error) if !Guard::is_refusal(&error) => Err(error),
        _ => Ok(()),
    }
}
