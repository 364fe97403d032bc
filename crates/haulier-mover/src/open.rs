//! Opens both ends of a move, going on from a resume point when everything about it still holds.

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use haulier_base::{Error, ErrorKind, Result};
use haulier_storage::{
    ObjectMeta, ObjectRead, ObjectWriter, Placement, ReadRequest, StoreSource, Version, WriteRequest,
};
use tokio::time::timeout;

use crate::gather::{Gather, no_byte_for};
use crate::published::{Published, find_published};
use crate::run::source_changed;
use crate::verify::Hasher;
use crate::{ByteRange, Checkpoint, Limits, Move, ResumePoint, Verify};

/// What opening led to.
pub(crate) enum Start {
    /// There are bytes to move.
    Ready(Box<Opened>),
    /// An earlier attempt crashed when all was done.
    Done(Published),
}

/// Both ends, ready to move.
pub(crate) struct Opened {
    pub(crate) source: Source,
    pub(crate) writer: Box<dyn ObjectWriter>,
    pub(crate) footing: Footing,
}

/// Where the missing bytes come from.
pub(crate) enum Source {
    /// The source from the first missing byte on.
    Read(ObjectRead),
    /// The store copies them by itself.
    Within(StoreSource),
    /// The range is empty.
    Empty,
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
pub(crate) async fn open(mv: &Move, checkpoint: &dyn Checkpoint, limits: &Limits) -> Result<Start> {
    let usable = |point: &ResumePoint| match (&mv.options.source_version, &point.source_version) {
        (Some(wanted), Some(saved)) => wanted.as_str() == saved,
        _ => true,
    };
    let Some(point) = &mv.resume else { return start(mv, None).await.map(|opened| Start::Ready(Box::new(opened))) };
    if point.is_usable() && usable(point) {
        let resumed = match within(mv).await? {
            Some(source) => resume_within(mv, point, source).await?,
            None => resume(mv, point, limits).await?,
        };
        if let Some(start) = resumed {
            return Ok(start);
        }
    }
    if point.safe > 0 {
        checkpoint.start_over().await?;
    }
    mv.target.storage.discard(&mv.target.path, &mv.options.label, point.token.as_deref()).await?;
    start(mv, Some(point)).await.map(|opened| Start::Ready(Box::new(opened)))
}

async fn start(mv: &Move, given_up: Option<&ResumePoint>) -> Result<Opened> {
    let range = mv.range;
    if range.end.is_some_and(|end| end < range.start) {
        return Err(Error::invalid(format!("the range ends at {:?} before its start {}", range.end, range.start)));
    }
    let (source, meta, length) = if range.end == Some(range.start) {
        let meta = stat(mv).await?;
        refuse_start_beyond(range.start, meta.size)?;
        (Source::Empty, meta, Some(0))
    } else if let Some(source) = within(mv).await? {
        let (size, version) = (Some(source.size), Some(source.version.clone()));
        (Source::Within(source), ObjectMeta { size, version, ..ObjectMeta::default() }, size)
    } else {
        let read = match read_from(mv, range.start, mv.options.source_version.clone()).await {
            Err(error) if error.kind() == ErrorKind::Invalid && range.start > 0 => {
                refuse_start_beyond(range.start, stat(mv).await.ok().and_then(|meta| meta.size))?;
                return Err(error);
            }
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(source_changed()),
            read => read?,
        };
        refuse_start_beyond(range.start, read.meta.size)?;
        let (meta, length) = (read.meta.clone(), length_of(mv, &read));
        (Source::Read(read), meta, length)
    };
    if mv.options.source_version.is_some() && meta.version != mv.options.source_version {
        return Err(source_changed());
    }
    let writer = mv.target.storage.write(&mv.target.path, write_request(mv, None, length)).await?;
    let lost = given_up.map_or(0, |point| point.safe);
    let hasher = hasher_for(mv, &source, meta.version.is_some());
    let footing = Footing {
        length,
        source_size: meta.size,
        version: meta.version,
        safe: 0,
        hasher,
        started_over: lost > 0,
        reread_bytes: length.map_or(lost, |length| lost.min(length)),
    };
    Ok(Opened { source, writer, footing })
}

/// Whether a SHA-256 is needed: somebody wants it, or a later attempt could not tell otherwise where it goes on.
pub(crate) fn wants_sha(mv: &Move, has_version: bool) -> bool {
    let options = &mv.options;
    options.digest || options.expected.is_some() || options.verify == Verify::ReadBack || !has_version
}

/// What is computed of the bytes on their way, so that they can be proven.
fn hasher_for(mv: &Move, source: &Source, has_version: bool) -> Option<Hasher> {
    if !mv.options.hashes() || matches!(source, Source::Within(_)) {
        return None;
    }
    let told = match source {
        Source::Read(read) if mv.range == ByteRange::default() && mv.options.verify != Verify::None => read.crc64,
        _ => None,
    };
    let enough = told.is_some() || mv.target.storage.capabilities().checksums;
    let sha = wants_sha(mv, has_version) || !enough;
    (sha || told.is_some()).then(|| Hasher::new(sha, told))
}

/// The source as its store sees it, when the target is in the same store and its copy is proof enough.
async fn within(mv: &Move) -> Result<Option<StoreSource>> {
    let (source, target) = (&mv.source, &mv.target.storage);
    let whole = mv.range == ByteRange::default() && mv.options.placement == Placement::Replace;
    let hashed = mv.options.verify == Verify::ReadBack || mv.options.expected.is_some();
    if !whole || hashed || source.storage.store().is_none_or(|store| target.store() != Some(store)) {
        return Ok(None);
    }
    let looking = timeout(mv.options.stall, source.storage.store_source(&source.path));
    let found = looking.await.map_err(|_| no_byte_for(mv.options.stall))??;
    // Without a checksum there would be nothing to compare the copy's with.
    Ok(found.filter(|found| found.checksum.is_some() || mv.options.verify == Verify::None))
}

/// Goes on with a copy that the store makes by itself.
async fn resume_within(mv: &Move, point: &ResumePoint, source: StoreSource) -> Result<Option<Start>> {
    if point.hash_state.is_some()
        || point.source_version.as_deref() != Some(source.version.as_str())
        || source.size < point.safe
    {
        return Ok(None);
    }
    let request = write_request(mv, point.token.clone(), Some(source.size));
    let writer = mv.target.storage.write(&mv.target.path, request).await?;
    if writer.resumed_size() < point.safe {
        writer.abort().await?;
        return Ok(None);
    }
    let footing = Footing {
        length: Some(source.size),
        source_size: Some(source.size),
        version: Some(source.version.clone()),
        safe: point.safe,
        hasher: None,
        started_over: false,
        reread_bytes: 0,
    };
    Ok(Some(Start::Ready(Box::new(Opened { source: Source::Within(source), writer, footing }))))
}

/// Goes on from a point; none when something about it does not hold any more.
async fn resume(mv: &Move, point: &ResumePoint, limits: &Limits) -> Result<Option<Start>> {
    let Some(Behind { read, length, skipped }) = read_behind(mv, point, limits).await? else { return Ok(None) };
    let writer = mv.target.storage.write(&mv.target.path, write_request(mv, point.token.clone(), length)).await?;
    let present = writer.resumed_size();
    let (can, wants_sha) = (mv.target.storage.capabilities(), wants_sha(mv, point.source_version.is_some()));
    let needed = mv.options.hashes() && (wants_sha || !can.checksums);
    let mut hasher = None;
    if mv.options.hashes() {
        hasher = point.hash_state.as_deref().and_then(|state| Hasher::restore(state, point.safe));
        hasher = hasher.filter(|hasher| hasher.has_sha() || !wants_sha);
        if needed && hasher.is_none() && can.cheap_read_back && writer.read_back(0, 0).await?.is_some() {
            hasher = Some(Hasher::sha256());
        }
    }
    if present < point.safe || needed && hasher.is_none() {
        let published = find_published(mv, point, read, length).await?;
        if published.is_some() {
            writer.abort().await?;
        }
        return Ok(published.map(Start::Done));
    }
    let present = length.map_or(present, |length| present.min(length));
    let footing = Footing {
        length,
        source_size: read.meta.size,
        version: read.meta.version.clone(),
        safe: point.safe,
        hasher,
        started_over: false,
        reread_bytes: present.saturating_sub(point.safe) + skipped,
    };
    Ok(Some(Start::Ready(Box::new(Opened { source: Source::Read(read), writer, footing }))))
}

/// The source from the first byte on that a point does not hold.
struct Behind {
    read: ObjectRead,
    /// Length of the range, as far as the source says.
    length: Option<u64>,
    /// How many bytes were read only to be compared.
    skipped: u64,
}

/// Opens the source behind a point; none when it is not what the point was saved for.
async fn read_behind(mv: &Move, point: &ResumePoint, limits: &Limits) -> Result<Option<Behind>> {
    let version = point.source_version.clone().map(Version::from);
    let skips = version.is_none() || !mv.source.storage.capabilities().ranged_read;
    let from = if skips { Some(mv.range.start) } else { mv.range.start.checked_add(point.safe) };
    let Some(from) = from else { return Ok(None) };
    let read = match read_from(mv, from, version.clone()).await {
        // Another version, or a source that is shorter now.
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid) => return Ok(None),
        read => read?,
    };
    let length = length_of(mv, &read);
    if version.is_some() && read.meta.version != version || length.is_some_and(|length| length < point.safe) {
        return Ok(None);
    }
    if !skips {
        return Ok(Some(Behind { read, length, skipped: 0 }));
    }
    Ok(skip(mv, point, read, limits).await?.map(|read| Behind { read, length, skipped: point.safe }))
}

/// Reads past what the target holds; none when the hash tells that it is something else, or cannot tell.
async fn skip(mv: &Move, point: &ResumePoint, read: ObjectRead, limits: &Limits) -> Result<Option<ObjectRead>> {
    let Some(state) = &point.hash_state else { return Ok(None) };
    let Some(mut hasher) = Hasher::restore(state, point.safe).map(|saved| saved.afresh()) else { return Ok(None) };
    let mut source = Gather::new(read.stream, mv.options.stall);
    let mut rest = Bytes::new();
    while hasher.at() < point.safe {
        rest = match source.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error),
        };
        let known = (point.safe - hasher.at()).min(rest.len() as u64);
        limits.take(known).await;
        hasher = hasher.update(rest.split_to(usize::try_from(known).unwrap_or(rest.len()))).await?;
    }
    if hasher.state() != *state {
        return Ok(None);
    }
    let missing = stream::try_unfold((rest, source), |(rest, mut source)| async move {
        let next = if rest.is_empty() { source.next().await? } else { Some(rest) };
        Ok(next.map(|bytes| (bytes, (Bytes::new(), source))))
    });
    let start = read.start + point.safe;
    Ok(Some(ObjectRead { start, stream: missing.boxed(), handle: None, ..read }))
}

/// Opens the source at an absolute offset, up to the end of the range.
pub(crate) async fn read_from(mv: &Move, start: u64, version: Option<Version>) -> Result<ObjectRead> {
    let request = ReadRequest { start, end: mv.range.end, version };
    let reading = mv.source.storage.read(&mv.source.path, request);
    timeout(mv.options.stall, reading).await.map_err(|_| no_byte_for(mv.options.stall))?
}

async fn stat(mv: &Move) -> Result<ObjectMeta> {
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
        guard: mv.options.guard.clone(),
        keep_old: mv.options.keep_old.clone(),
        attributes: mv.options.attributes,
    }
}
