//! Carries out a move: copying, hashing and checkpoints side by side, in bounded memory.
//!
//! All of it runs inside one future, so dropping that future stops everything.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use haulier_base::{Error, ErrorKind, Result};
use haulier_storage::{ByteStream, FileHandle, Flushed, ObjectRead, ObjectWriter, Version};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::frontier::Frontier;
use crate::gather::{CHUNK, Gather, length_of_pieces, split_pieces};
use crate::open::{Footing, Source, read_from};
use crate::plan::{self, Facts, Method};
use crate::verify::{Hasher, Marks};
use crate::{Checkpoint, Limits, Move, Progress, ResumePoint, Verify};

/// Copied inside the kernel at once.
const SLICE: u64 = 8 << 20;
/// Read back for hashing at once.
const READ_BACK: u64 = 2 << 20;
/// How far copying may run ahead of hashing: what was just written is still in the page cache.
const MAX_LAG: u64 = 64 << 20;
/// Fewer unsaved bytes than this are not worth a flush of their own.
const UNSAVED_MIN: u64 = 16 << 20;
/// Chunks waiting to be hashed when hashing takes the very buffers.
const HASH_QUEUE: usize = 2;

/// Bytes in the pieces in which they came.
pub(crate) type Pieces = Vec<Bytes>;

/// Marks of our own on errors.
pub(crate) const SOURCE_CHANGED: &str = "source_changed";
const RANGES_REFUSED: &str = "ranges_refused";

/// One attempt, while it runs.
pub(crate) struct Run<'a> {
    pub(crate) mv: &'a Move,
    pub(crate) writer: &'a dyn ObjectWriter,
    pub(crate) checkpoint: &'a dyn Checkpoint,
    pub(crate) progress: &'a Progress,
    pub(crate) limits: &'a Limits,
    pub(crate) length: Option<u64>,
    source_size: Option<u64>,
    version: Option<Version>,
    pub(crate) safe: u64,
    frontier: Mutex<Frontier>,
    reached: watch::Sender<Reached>,
    hashed: Option<watch::Sender<Hasher>>,
    saved: Mutex<u64>,
    marks: Mutex<Marks>,
    remembered: AtomicBool,
}

/// How far the target is filled without a gap, and whether that is all.
#[derive(Clone, Copy, Debug)]
struct Reached {
    bytes: u64,
    complete: bool,
}

/// What a finished copy was.
pub(crate) struct Copied {
    pub(crate) method: Method,
    pub(crate) parts: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        mv: &'a Move,
        footing: &Footing,
        writer: &'a dyn ObjectWriter,
        checkpoint: &'a dyn Checkpoint,
        progress: &'a Progress,
        limits: &'a Limits,
    ) -> Self {
        Self {
            mv,
            writer,
            checkpoint,
            progress,
            limits,
            length: footing.length,
            source_size: footing.source_size,
            version: footing.version.clone(),
            safe: footing.safe,
            frontier: Mutex::new(Frontier::at(footing.safe)),
            reached: watch::Sender::new(Reached { bytes: footing.safe, complete: false }),
            hashed: footing.hasher.clone().map(watch::Sender::new),
            saved: Mutex::new(footing.safe),
            marks: Mutex::default(),
            remembered: AtomicBool::new(footing.safe > 0),
        }
    }

    /// Moves everything, hashes it, and saves checkpoints meanwhile.
    pub(crate) async fn carry_out(&self, source: Source) -> Result<Copied> {
        self.remember().await?;
        let read = match source {
            Source::Read(read) => read,
            Source::Within(source) => return self.carry_out_within(&source).await,
            Source::Empty => return Ok(Copied { method: Method::Stream, parts: 0 }),
        };
        let method = self.choose(read.handle.is_some()).await?;
        let moved = CancellationToken::new();
        let moving = async {
            let (buffers, queue) = mpsc::channel(HASH_QUEUE);
            // An ordered stream is hashed from its buffers, anything else from what is in the target.
            let buffers = matches!(method, Method::Stream | Method::Ahead).then_some(buffers);
            let queue = buffers.is_some().then_some(queue);
            let copying = async {
                let copied = self.copy(read, method, buffers).await;
                // Also after a failure: what arrived before it is still hashed, so that it can be called safe.
                self.reached.send_modify(|reached| reached.complete = true);
                Ok(copied)
            };
            let (copied, ()) = tokio::try_join!(copying, self.hash_behind(queue))?;
            moved.cancel();
            copied
        };
        // A save under way is left to end, never cut: the room would not know whether it happened.
        let (copied, ()) = tokio::try_join!(moving, self.save_regularly(&moved))?;
        Ok(copied)
    }

    /// How many bytes are in the target without a gap.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.borrow().bytes
    }

    /// The last safe length that was saved, or resumed from.
    pub(crate) fn saved(&self) -> u64 {
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash so far.
    pub(crate) fn hasher(&self) -> Option<Hasher> {
        self.hashed.as_ref().map(|hashed| hashed.borrow().clone())
    }

    /// Flushes, saves a point, and only then calls the bytes safe. Copying goes on meanwhile.
    pub(crate) async fn save(&self) -> Result<()> {
        // The place is taken before the flush, so that the flush covers it.
        let mut hasher = self.hasher();
        let mut safe = hasher.as_ref().map_or_else(|| self.reached(), Hasher::at);
        if safe <= self.saved() {
            return Ok(());
        }
        if let Flushed::First(kept) = self.writer.flush().await?
            && kept < safe
        {
            safe = kept;
            if hasher.is_some() {
                hasher = self.marks().up_to(kept);
                safe = hasher.as_ref().map_or(0, Hasher::at);
            }
            if safe <= self.saved() {
                return Ok(());
            }
        }
        self.save_point(safe, hasher.as_ref()).await?;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = safe;
        self.progress.set_safe(safe);
        Ok(())
    }

    async fn save_point(&self, safe: u64, hasher: Option<&Hasher>) -> Result<()> {
        let point = ResumePoint {
            source_version: self.version.as_ref().map(|version| version.as_str().to_owned()),
            source_size: self.source_size,
            token: self.writer.token(),
            safe,
            hash_state: hasher.map(Hasher::state),
        };
        self.checkpoint.save(&point).await
    }

    /// Keeps the way back to what is left at the store, before there is anything.
    async fn remember(&self) -> Result<()> {
        if self.writer.must_remember() && !self.remembered.swap(true, Ordering::Relaxed) {
            self.save_point(0, None).await?;
        }
        Ok(())
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves a point every so often, and before more bytes than a few parts would have to be moved again.
    pub(crate) async fn save_regularly(&self, moved: &CancellationToken) -> Result<()> {
        let few_parts = self.mv.options.part_size.saturating_mul(self.mv.options.parts_in_flight as u64) / 2;
        let few_parts = few_parts.max(UNSAVED_MIN);
        let (mut reached, mut from) = (self.reached.subscribe(), self.saved());
        loop {
            let full = from.saturating_add(few_parts);
            tokio::select! {
                () = moved.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.mv.options.checkpoint_every) => {}
                // The sender lives in `self`, so this cannot fail.
                () = async { drop(reached.wait_for(|reached| reached.bytes >= full).await) } => {
                    self.wait_for_mark(full, moved).await;
                }
            }
            // Counted from here and not from what is saved: a store may keep nothing before the end.
            from = self.hasher().map_or_else(|| self.reached(), |hasher| hasher.at());
            self.save().await?;
        }
    }

    /// Waits until the hash, which a point needs, has come as far as `place`, or the copy ends.
    async fn wait_for_mark(&self, place: u64, moved: &CancellationToken) {
        let Some(hashed) = &self.hashed else { return };
        let mut hashed = hashed.subscribe();
        tokio::select! {
            () = moved.cancelled() => {}
            () = tokio::time::sleep(self.mv.options.checkpoint_every) => {}
            () = async { drop(hashed.wait_for(|hasher| hasher.at() >= place).await) } => {}
        }
    }

    async fn choose(&self, has_handle: bool) -> Result<Method> {
        let (source, target) = (self.mv.source.storage.capabilities(), self.mv.target.storage.capabilities());
        // A target that is read back is compared with what came from the source, not with itself.
        let hashed_there = target.cheap_read_back && self.mv.options.verify != Verify::ReadBack;
        let mut facts = Facts {
            length: self.length,
            safe: self.safe,
            whole: self.mv.range.start == 0 && self.length == self.source_size,
            kernel: target.kernel_copy && has_handle,
            within: false,
            parallel_reads: source.ranged_read && source.parallel_reads && !has_handle && self.version.is_some(),
            parallel_writes: target.parallel_writes,
            part_size: self.mv.options.part_size,
            parts_in_flight: self.mv.options.parts_in_flight,
        };
        let method = plan::choose(&facts);
        if method == Method::Stream {
            return Ok(method);
        }
        // A device cannot be read back, and takes bytes in order only, whatever its storage can.
        let reads_back = hashed_there && self.writer.read_back(0, 0).await?.is_some();
        if !reads_back && (target.cheap_read_back || self.hashed.is_some()) {
            (facts.kernel, facts.parallel_writes) = (false, false);
        }
        Ok(plan::choose(&facts))
    }

    async fn copy(&self, read: ObjectRead, method: Method, buffers: Option<mpsc::Sender<Pieces>>) -> Result<Copied> {
        let one = |method| Copied { method, parts: 1 };
        match method {
            Method::Reflink | Method::Kernel => {
                if let (Some(handle), Some(length)) = (&read.handle, self.length) {
                    if method == Method::Reflink && self.writer.clone_from(handle, 0, length).await? {
                        self.wrote(0, length);
                        return Ok(one(Method::Reflink));
                    }
                    if let Some(slices) = self.copy_in_kernel(handle, length).await? {
                        return Ok(Copied { method: Method::Kernel, parts: slices });
                    }
                }
                self.copy_ordered(read.stream, read.end, buffers).await?;
                Ok(one(Method::Stream))
            }
            Method::Parallel => match self.copy_parts(read.stream).await {
                Err(error) if error.detail(RANGES_REFUSED).is_some() => {
                    let whole = read_from(self.mv, self.mv.range.start, None).await?;
                    if whole.meta.version != self.version {
                        return Err(source_changed());
                    }
                    self.copy_stream(whole.stream, 0, self.length, true, None).await?;
                    Ok(one(Method::Stream))
                }
                parts => Ok(Copied { method, parts: parts? }),
            },
            Method::Ahead => {
                let parts = self.copy_ahead(read.stream, buffers).await?;
                Ok(Copied { method, parts })
            }
            Method::Stream | Method::Within => {
                self.copy_ordered(read.stream, read.end, buffers).await?;
                Ok(one(Method::Stream))
            }
        }
    }

    /// Copies without the bytes passing through us; none when the kernel cannot, before any byte.
    async fn copy_in_kernel(&self, source: &FileHandle, length: u64) -> Result<Option<u64>> {
        let (mut at, mut slices) = (self.safe, 0);
        while at < length {
            let wanted = self.limits.piece(SLICE).min(length - at);
            self.limits.take(wanted).await;
            self.wait_for_hash().await;
            match self.writer.copy_range(source, self.mv.range.start + at, at, wanted).await? {
                None if at == self.safe => return Ok(None),
                None => return Err(Error::unavailable("the kernel stopped copying half-way")),
                Some(0) => return Err(self.ended_early(at)),
                Some(copied) => {
                    self.wrote(at, copied);
                    at += copied;
                    slices += 1;
                }
            }
        }
        Ok(Some(slices))
    }

    async fn copy_parts(&self, first: ByteStream) -> Result<u64> {
        let length = self.length.unwrap_or(self.safe);
        let mut first = Some(first);
        let parts = plan::parts(self.safe, length, self.mv.options.part_size);
        // The read that is already open serves the first part.
        let copies = parts.map(move |part| {
            let stream = first.take();
            Box::pin(self.copy_part(part, stream)) as futures::future::BoxFuture<'_, Result<()>>
        });
        let mut done = 0;
        let mut copies = stream::iter(copies).buffer_unordered(self.mv.options.parts_in_flight.max(1));
        while let Some(()) = copies.try_next().await? {
            done += 1;
        }
        Ok(done)
    }

    async fn copy_part(&self, part: Range<u64>, stream: Option<ByteStream>) -> Result<()> {
        let stream = match stream {
            Some(stream) => stream,
            None => self.read_part(&part).await?,
        };
        self.copy_stream(stream, part.start, Some(part.end), true, None).await
    }

    pub(crate) async fn read_part(&self, part: &Range<u64>) -> Result<ByteStream> {
        let request = haulier_storage::ReadRequest {
            start: self.mv.range.start + part.start,
            end: Some(self.mv.range.start + part.end),
            version: self.version.clone(),
        };
        let source = &self.mv.source;
        let stall = self.mv.options.stall;
        let reading = tokio::time::timeout(stall, source.storage.read(&source.path, request));
        match reading.await.map_err(|_| crate::gather::no_byte_for(stall))? {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                // A server without ranges answers like one whose object changed; a second look tells them apart.
                let unchanged = source.storage.stat(&source.path).await.is_ok_and(|meta| meta.version == self.version);
                Err(if unchanged { error.context(RANGES_REFUSED, true) } else { source_changed() })
            }
            read => Ok(read?.stream),
        }
    }

    pub(crate) async fn copy_ordered(
        &self,
        stream: ByteStream,
        end: Option<u64>,
        buffers: Option<mpsc::Sender<Pieces>>,
    ) -> Result<()> {
        let promised = end.is_some();
        let wanted = self.mv.range.end.map(|end| end - self.mv.range.start);
        let end = self.length.or(wanted);
        // Without a promise, what lies beyond the wanted end is cut off; with one, it is a lie.
        self.copy_stream(stream, self.safe, end, !promised, buffers).await
    }

    /// Writes a stream from `at` on. A known length that is not reached is an error.
    async fn copy_stream(
        &self,
        stream: ByteStream,
        mut at: u64,
        end: Option<u64>,
        cut: bool,
        buffers: Option<mpsc::Sender<Pieces>>,
    ) -> Result<()> {
        let mut source = Gather::new(stream, self.mv.options.stall);
        while !(cut && end == Some(at)) {
            let Some(mut bytes) = source.next_pieces().await.map_err(conflict_is_change)? else { break };
            let mut left = length_of_pieces(&bytes);
            if let Some(end) = end
                && left > end - at
            {
                if !cut {
                    return Err(Error::unavailable(format!("the source sent more than the {end} bytes it announced")));
                }
                left = end - at;
            }
            while left > 0 {
                let mut length = self.limits.piece(CHUNK as u64).min(left);
                if let Some(part_end) = self.writer.part_end(at) {
                    length = length.min(part_end - at);
                }
                let piece = split_pieces(&mut bytes, length);
                self.limits.take(length).await;
                self.wait_for_hash().await;
                self.writer.put_all_at(at, piece.clone()).await?;
                self.remember().await?;
                self.wrote(at, length);
                (at, left) = (at + length, left - length);
                if let Some(buffers) = &buffers {
                    // A closed queue means that hashing failed or is off; its own result says which.
                    let _closed = buffers.send(piece).await;
                }
            }
        }
        match (end, self.length) {
            (Some(end), Some(_)) if at < end => Err(self.ended_early(at)),
            _ => Ok(()),
        }
    }

    pub(crate) fn wrote(&self, at: u64, length: u64) {
        let mut frontier = self.frontier.lock().unwrap_or_else(PoisonError::into_inner);
        frontier.add(at, at + length);
        self.progress.add_written(length);
        self.reached.send_modify(|reached| reached.bytes = frontier.reached());
    }

    pub(crate) fn ended_early(&self, at: u64) -> Error {
        let length = self.length.unwrap_or(at);
        Error::unavailable(format!("source ended at {at} of {length} bytes"))
    }

    async fn wait_for_hash(&self) {
        let Some(hashed) = &self.hashed else { return };
        let reached = self.reached();
        let mut hashed = hashed.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _hashed = hashed.wait_for(|hasher| reached - hasher.at().min(reached) <= MAX_LAG).await;
    }

    /// Hashes what is in the target, one step behind; then the buffers of an ordered stream.
    async fn hash_behind(&self, queue: Option<mpsc::Receiver<Pieces>>) -> Result<()> {
        let Some(hashed) = &self.hashed else { return Ok(()) };
        let Some(mut queue) = queue else { return self.hash_target(hashed, None).await };
        self.hash_target(hashed, Some(self.safe)).await?;
        while let Some(bytes) = queue.recv().await {
            let hasher = hashed.borrow().clone();
            let hasher = hasher.update_all(bytes).await?;
            if self.writer.part_end(hasher.at().saturating_sub(1)) == Some(hasher.at()) {
                self.marks().add(hasher.clone());
            }
            hashed.send_replace(hasher);
        }
        Ok(())
    }

    async fn hash_target(&self, hashed: &watch::Sender<Hasher>, until: Option<u64>) -> Result<()> {
        let mut hasher = hashed.borrow().clone();
        let mut reached = self.reached.subscribe();
        let mut ahead = None;
        loop {
            let Reached { bytes: present, complete } = *reached.borrow_and_update();
            let present = until.map_or(present, |until| present.min(until));
            if hasher.at() >= present {
                if complete || until == Some(present) {
                    return Ok(());
                }
                if reached.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let bytes = match ahead.take() {
                Some(bytes) => bytes,
                None => self.read_back(hasher.at(), present).await?,
            };
            let next = hasher.at() + bytes.len() as u64;
            let reading =
                async { if next < present { self.read_back(next, present).await.map(Some) } else { Ok(None) } };
            let (updated, read) = tokio::join!(hasher.update(bytes), reading);
            (hasher, ahead) = (updated?, read?);
            hashed.send_replace(hasher.clone());
        }
    }

    async fn read_back(&self, at: u64, end: u64) -> Result<Bytes> {
        match self.writer.read_back(at, READ_BACK.min(end - at)).await? {
            Some(bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(Error::corrupt(format!("the target lost what was written at {at}"))),
        }
    }
}

/// The error of a source that became another version while it was read.
pub(crate) fn source_changed() -> Error {
    Error::unavailable("source changed while it was read").context(SOURCE_CHANGED, true)
}

pub(crate) fn conflict_is_change(error: Error) -> Error {
    if error.kind() == ErrorKind::Conflict { source_changed() } else { error }
}
