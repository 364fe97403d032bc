//! Opens both ends of a move, going on from a resume point when everything about it still holds.

use haulier_base::{Error, ErrorKind, Result};
use haulier_storage::{ObjectRead, ObjectWriter, ReadRequest, Version, WriteRequest};
use tokio::time::timeout;

use crate::gather::no_byte_for;
use crate::published::{Published, find_published};
use crate::verify::Hasher;
use crate::{Move, ResumePoint};

/// What opening led to.
pub(crate) enum Start {
    /// There are bytes to move.
    Ready(Box<Opened>),
    /// An earlier attempt crashed when all was done.
    Done(Published),
}

/// Both ends, ready to move.
pub(crate) struct Opened {
    /// The source from the first missing byte on; none when the range is empty.
    pub(crate) read: Option<ObjectRead>,
    pub(crate) writer: Box<dyn ObjectWriter>,
    pub(crate) footing: Footing,
}

/// Where an attempt stands before it moves anything.
pub(crate) struct Footing {
    /// Length of the range, when it is known.
    pub(crate) length: Option<u64>,
    pub(crate) source_size: Option<u64>,
    pub(crate) version: Option<Version>,
    /// What the target already holds and nobody moves again.
    pub(crate) safe: u64,
    /// Where hashing goes on; behind `safe` when the saved state was lost.
    pub(crate) hasher: Option<Hasher>,
    pub(crate) started_over: bool,
    pub(crate) reread_bytes: u64,
}

/// Opens both ends. A resume point that does not match in every respect is thrown away.
pub(crate) async fn open(mv: &Move) -> Result<Start> {
    let Some(point) = &mv.resume else { return start(mv, None).await.map(|opened| Start::Ready(Box::new(opened))) };
    if point.is_usable()
        && mv.source.storage.capabilities().ranged_read
        && let Some(start) = resume(mv, point).await?
    {
        return Ok(start);
    }
    mv.target.storage.discard(&mv.target.path, &mv.options.label, point.token.as_deref()).await?;
    start(mv, Some(point)).await.map(|opened| Start::Ready(Box::new(opened)))
}

async fn start(mv: &Move, given_up: Option<&ResumePoint>) -> Result<Opened> {
    let range = mv.range;
    if range.end.is_some_and(|end| end < range.start) {
        return Err(Error::invalid(format!("the range ends at {:?} before its start {}", range.end, range.start)));
    }
    let (read, meta) = if range.end == Some(range.start) {
        let meta = stat(mv).await?;
        refuse_start_beyond(range.start, meta.size)?;
        (None, meta)
    } else {
        let read = match read_from(mv, range.start, None).await {
            Err(error) if error.kind() == ErrorKind::Invalid && range.start > 0 => {
                refuse_start_beyond(range.start, stat(mv).await.ok().and_then(|meta| meta.size))?;
                return Err(error);
            }
            read => read?,
        };
        refuse_start_beyond(range.start, read.meta.size)?;
        let meta = read.meta.clone();
        (Some(read), meta)
    };
    let length = read.as_ref().map_or(Some(0), |read| length_of(mv, read));
    let writer = mv.target.storage.write(&mv.target.path, write_request(mv, None, length)).await?;
    let lost = given_up.map_or(0, |point| point.safe);
    let footing = Footing {
        length,
        source_size: meta.size,
        version: meta.version,
        safe: 0,
        hasher: mv.options.hashes().then(Hasher::default),
        started_over: lost > 0,
        reread_bytes: length.map_or(lost, |length| lost.min(length)),
    };
    Ok(Opened { read, writer, footing })
}

/// Goes on from a point; none when something about it does not hold any more.
async fn resume(mv: &Move, point: &ResumePoint) -> Result<Option<Start>> {
    let Some(version) = point.source_version.clone().map(Version::from) else { return Ok(None) };
    let Some(from) = mv.range.start.checked_add(point.safe) else { return Ok(None) };
    let read = match read_from(mv, from, Some(version.clone())).await {
        // Another version, or a source that is shorter now.
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid) => return Ok(None),
        read => read?,
    };
    let length = length_of(mv, &read);
    if read.meta.version.as_ref() != Some(&version) || length.is_some_and(|length| length < point.safe) {
        return Ok(None);
    }
    let writer = mv.target.storage.write(&mv.target.path, write_request(mv, point.token.clone(), length)).await?;
    let present = writer.resumed_size();
    let mut hasher = None;
    if mv.options.hashes() {
        hasher = point.hash_state.as_deref().and_then(|state| Hasher::restore(state, point.safe));
        if hasher.is_none() && writer.read_back(0, 0).await?.is_some() {
            hasher = Some(Hasher::default());
        }
    }
    if present < point.safe || hasher.is_some() != mv.options.hashes() {
        writer.abort().await?;
        return Ok(find_published(mv, point, read, length).await?.map(Start::Done));
    }
    let present = length.map_or(present, |length| present.min(length));
    let footing = Footing {
        length,
        source_size: read.meta.size,
        version: Some(version),
        safe: point.safe,
        hasher,
        started_over: false,
        reread_bytes: present.saturating_sub(point.safe),
    };
    Ok(Some(Start::Ready(Box::new(Opened { read: Some(read), writer, footing }))))
}

/// Opens the source at an absolute offset, up to the end of the range.
pub(crate) async fn read_from(mv: &Move, start: u64, version: Option<Version>) -> Result<ObjectRead> {
    let request = ReadRequest { start, end: mv.range.end, version };
    let reading = mv.source.storage.read(&mv.source.path, request);
    timeout(mv.options.stall, reading).await.map_err(|_| no_byte_for(mv.options.stall))?
}

async fn stat(mv: &Move) -> Result<haulier_storage::ObjectMeta> {
    let looking = mv.source.storage.stat(&mv.source.path);
    timeout(mv.options.stall, looking).await.map_err(|_| no_byte_for(mv.options.stall))?
}

fn refuse_start_beyond(start: u64, size: Option<u64>) -> Result<()> {
    match size {
        Some(size) if start > size => {
            Err(Error::invalid(format!("the range starts at {start}, beyond the end of the source at {size}")))
        }
        _ => Ok(()),
    }
}

/// Length of the range, as far as the source says.
fn length_of(mv: &Move, read: &ObjectRead) -> Option<u64> {
    let end = read.end.or(read.meta.size)?;
    let end = mv.range.end.map_or(end, |wanted| end.min(wanted));
    Some(end.saturating_sub(mv.range.start))
}

fn write_request(mv: &Move, resume: Option<String>, size: Option<u64>) -> WriteRequest {
    WriteRequest {
        label: mv.options.label.clone(),
        resume,
        placement: mv.options.placement,
        create_parents: mv.options.create_parents,
        size,
    }
}
