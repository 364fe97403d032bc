//! Compares what the records of a bucket say with the bytes that are in the store (contract §8 B).
//!
//! Writes down what this site has under each name, and takes READY from what it cannot serve.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use haulier_base::{ErrorKind, Result, Timestamp};
use haulier_catalog::Tx;
use serde::{Deserialize, Serialize};

use super::Going;
use crate::compare::{Code, Entry, Fix, at_site};
use crate::model::{Object, RecordId, Status};
use crate::service::Inner;
use crate::store::findings::{Finding, insert_all, unsettled};
use crate::store::{objects, trash};
use crate::vault::{Stored, Vault};

/// Records of one transaction; fewer where every byte is read, since a crash has them read again.
const PAGE: i64 = 500;
const DEEP_PAGE: i64 = 32;
/// Looks at bytes at once.
const LOOKS: usize = 16;
const DEEP_LOOKS: usize = 4;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Point {
    /// The last name that is done.
    after: String,
}

/// What a look at one record came to.
struct Seen {
    object: Object,
    code: Code,
    fix: Fix,
    /// What the bytes are, where they were read.
    read: Option<Stored>,
    matched: bool,
}

pub(super) async fn run(going: &mut Going<'_>) -> Result<Option<String>> {
    let mut point: Point = going.point()?;
    let (scope, deep) = (going.run.asked.scope.clone(), going.run.asked.deep);
    let limit = if deep { DEEP_PAGE } else { PAGE };
    loop {
        let mut tx = going.room.catalog.read().await?;
        let bucket = going.run.bucket()?;
        let page = objects::page(&mut tx, bucket, &scope.prefix, &point.after, limit).await?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(None) };
        let (written, removed) = unsettled(&mut tx, bucket, (&first.name, &last.name)).await?;
        drop(tx);
        point.after = last.name.to_string();
        let count = u64::try_from(page.len()).unwrap_or_default();
        let (written, removed) = (set(written), set(removed));
        let looks = page.into_iter().map(|object| {
            let (written, removed) = (written.contains(&object.id), removed.contains(&object.id));
            look(going, object, written, removed)
        });
        let seen: Vec<_> = stream::iter(looks).buffered(if deep { DEEP_LOOKS } else { LOOKS }).try_collect().await?;
        let seen: Vec<Seen> = seen.into_iter().flatten().collect();
        let counts = &mut going.run.counts;
        counts.checked += count;
        counts.checked_db += count;
        counts.checked_driver += u64::try_from(seen.len()).unwrap_or_default();
        write_down(going, &point, seen).await?;
    }
}

fn set(ids: Vec<RecordId>) -> HashSet<RecordId> {
    ids.into_iter().collect()
}

/// Looks at the bytes of one record; nothing when there is nothing to be said of it yet.
async fn look(going: &Going<'_>, object: Object, written: bool, removed: bool) -> Result<Option<Seen>> {
    going.check()?;
    let matched = going.run.asked.scope.matches(&object);
    if written && object.status == Status::Upload {
        // What is on its way is none of this run's business, but the delete before it is everybody's.
        let Some(buried_at) = object.buried_at else { return Ok(None) };
        let object = Object { event_at: buried_at, created_at: buried_at, ..object };
        return Ok(Some(Seen { object, code: Code::Deleted, fix: Fix::Leave, read: None, matched }));
    }
    let vault = &going.room.vault;
    let size = vault.size(&object.id).await?.filter(|_| !removed);
    let Some((mut code, mut fix)) = at_site(object.status, size.is_some()) else { return Ok(None) };
    let mut read = None;
    let wanted = match fix {
        Fix::Verify if size != Some(object.size_bytes) => false,
        Fix::Verify if going.run.asked.deep && matched => {
            read = content(vault, &object.id).await?;
            read.as_ref().is_some_and(|read| Some(&read.sha256) == object.sha256.as_ref())
        }
        Fix::Refresh => {
            read = content(vault, &object.id).await?;
            read.as_ref().is_some_and(|read| match &object.sha256 {
                Some(known) => *known == read.sha256 && read.size_bytes == object.size_bytes,
                None => true,
            })
        }
        _ => true,
    };
    if !wanted {
        (code, fix) = (Code::Upload, Fix::Miss);
    }
    Ok(Some(Seen { object, code, fix, read, matched }))
}

/// What is stored; none when it is gone or cannot be read through.
async fn content(vault: &Vault, id: &RecordId) -> Result<Option<Stored>> {
    match vault.hash(id).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        stored => stored,
    }
}

/// Writes down what was seen and sets right what this site can set right by itself, in one transaction.
async fn write_down(going: &mut Going<'_>, point: &Point, seen: Vec<Seen>) -> Result<()> {
    going.set_point(point)?;
    let mut tx = going.begin().await?;
    let mut findings = Vec::with_capacity(seen.len());
    for one in seen {
        if let Some(finding) = settle(going.room, &mut tx, &going.run, one).await? {
            findings.push(finding);
        }
    }
    going.run.counts.actions += fixed(&findings);
    insert_all(&mut tx, &going.run.id, &findings).await?;
    going.save(tx).await
}

fn fixed(findings: &[Finding]) -> u64 {
    let wrong = |finding: &&Finding| matches!(finding.entry.code, Code::Upload | Code::Update | Code::Delete);
    u64::try_from(findings.iter().filter(wrong).count()).unwrap_or_default()
}

async fn settle(room: &Inner, tx: &mut Tx, run: &crate::run::Run, seen: Seen) -> Result<Option<Finding>> {
    let Seen { object, mut code, fix, read, matched } = seen;
    let start = run.asked.start.unwrap_or(run.started_at);
    let may = !run.asked.dry_run && matched && object.event_at <= start;
    let mut now = None;
    match fix {
        Fix::Refresh if may => {
            if let Some(Stored { size_bytes, sha256 }) = read.clone() {
                let ready = Object { status: Status::Ready, size_bytes, sha256: Some(sha256), ..object.clone() };
                now = Some(Object { buried_at: None, ..ready });
                code = Code::Ready;
            }
        }
        // Not UPLOAD, as upstream has it: nobody is bringing the bytes yet, and a name in UPLOAD can neither be
        // created nor deleted by its clients if nobody ever does.
        Fix::Miss if may && object.status != Status::ErrUpl => {
            tracing::warn!(bucket = %object.bucket, object = %object.name, id = %object.id,
                "the bytes of an object are missing or damaged");
            now = Some(Object { status: Status::ErrUpl, ..object.clone() });
        }
        Fix::Bury if may => {
            let expires_at = object.expires_at.or(Some(object.event_at.plus(room.config.tombstones_for())));
            let created_at = object.event_at;
            let buried = Object { status: Status::Deleted, size_bytes: 0, sha256: None, ..object.clone() };
            now = Some(Object { created_at, expires_at, ..buried });
        }
        _ => {}
    }
    if let Some(now) = now.filter(|now| *now != object) {
        match objects::replace(tx, (&object.id, object.status), &now).await {
            Ok(()) => {}
            // It is newer than this run by now, so that the run has nothing to say of it.
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    if may && code == Code::Delete {
        trash::add(tx, &object.id).await?;
    }
    let (size_bytes, sha256) = match (code, read) {
        (Code::Ready | Code::Update, Some(read)) => (read.size_bytes, Some(read.sha256)),
        _ => (object.size_bytes, object.sha256.clone()),
    };
    let entry = Entry {
        site: room.site.clone(),
        code,
        event_at: object.event_at,
        created_at: created_at(&object),
        size_bytes,
        sha256,
        origin: Some(object.origin.clone()),
    };
    Ok(Some(Finding { name: object.name, entry, matched }))
}

fn created_at(object: &Object) -> Timestamp {
    if object.status.is_buried() { object.event_at } else { object.created_at }
}
