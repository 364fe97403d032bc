//! Moves one object, surely and fast.
//!
//! Knows no tasks, no SQL and no service. One call is one attempt: whoever calls decides about the next.

mod ahead;
mod frontier;
mod gather;
mod open;
pub mod plan;
pub mod progress;
mod prove;
mod published;
pub mod resume;
mod run;
pub mod throttle;
pub mod verify;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use haulier_base::{Checksum, Error, ErrorKind, Result};
use haulier_storage::{Attributes, Guard, Location, ObjectMeta, ObjectPath, ObjectWriter, Placement, Version, Written};
use tokio::time::{Instant, timeout};

pub use plan::Method;
pub use progress::{Progress, ProgressView};
pub use resume::{Checkpoint, NoCheckpoint, ResumePoint};
pub use throttle::{ByteBudget, Limits};
pub use verify::{Proof, Verify};

use open::{Opened, Start, open};
use prove::Found;
use published::Published;
use run::{Run, SOURCE_CHANGED, source_changed};

/// How long a stopped move may take to keep what it has.
const SUSPEND_WITHIN: Duration = Duration::from_millis(700);
/// More unflushed bytes than this are flushed before publishing, where a stop still counts.
const FLUSH_FIRST: u64 = 8 << 20;

/// The bytes of the source to move; absolute offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte; none, or beyond the end of the source, means to its end.
    pub end: Option<u64>,
}

/// How to move.
#[derive(Clone, Debug)]
pub struct MoveOptions {
    /// Goes into temporary names.
    pub label: String,
    /// How the bytes at the target are to be proven.
    pub verify: Verify,
    /// Whether their SHA-256 is wanted for its own sake. Else it is computed only where nothing that costs less proves
    /// as much: neither a checksum that goes along to the target's store, nor one that the source's store tells.
    pub digest: bool,
    /// Replace the target, or write into it.
    pub placement: Placement,
    /// Whether missing parent folders are made.
    pub create_parents: bool,
    /// Bytes in one part of a parallel move.
    pub part_size: u64,
    /// Parts at once.
    pub parts_in_flight: usize,
    /// How often a resume point is saved. A shorter move saves none.
    pub checkpoint_every: Duration,
    /// How long the source may give no byte.
    pub stall: Duration,
    /// The checksum that the bytes must have to be published.
    pub expected: Option<Checksum>,
    /// The version of the source to move; any other fails as one that changed does. None: whatever is there.
    pub source_version: Option<Version>,
    /// What must be at the target for the bytes to be published.
    pub guard: Guard,
    /// Where the version that is replaced goes, with `Guard::Version`.
    pub keep_old: Option<ObjectPath>,
    /// Set along with the bytes.
    pub attributes: Attributes,
}

impl Default for MoveOptions {
    fn default() -> Self {
        Self {
            label: String::new(),
            verify: Verify::Store,
            digest: true,
            placement: Placement::Replace,
            create_parents: false,
            part_size: 16 << 20,
            parts_in_flight: 4,
            checkpoint_every: Duration::from_secs(1),
            stall: Duration::from_secs(30),
            expected: None,
            source_version: None,
            guard: Guard::Any,
            keep_old: None,
            attributes: Attributes::default(),
        }
    }
}

impl MoveOptions {
    pub(crate) fn hashes(&self) -> bool {
        self.verify != Verify::None || self.expected.is_some()
    }
}

/// One object to move.
#[derive(Clone, Debug)]
pub struct Move {
    /// Where the bytes are.
    pub source: Location,
    /// Where they go.
    pub target: Location,
    /// Which of them.
    pub range: ByteRange,
    /// How.
    pub options: MoveOptions,
    /// Where an earlier attempt stopped.
    pub resume: Option<ResumePoint>,
}

/// What a finished move did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveOutcome {
    /// Length of what is at the target now.
    pub bytes: u64,
    /// Its SHA-256, unless none was computed here: `Verify::None`, copies that the store made by itself, and where
    /// it was not wanted (`MoveOptions::digest`).
    pub checksum: Option<Checksum>,
    /// Reads or kernel calls that this attempt needed.
    pub parts: u64,
    /// Bytes that an earlier attempt had moved and this one read or moved again.
    pub reread_bytes: u64,
    /// How long this attempt took.
    pub duration: Duration,
    /// Whether an earlier attempt's bytes were thrown away.
    pub started_over: bool,
    /// "reflink", "kernel", "within", "parallel", "ahead" or "stream".
    pub method: &'static str,
    /// How the bytes at the target were proven.
    pub proof: Proof,
    /// What the target's storage says about what was published.
    pub target: ObjectMeta,
    /// The version of the source that was moved, if the source has versions.
    pub source_version: Option<Version>,
}

/// Makes one attempt to move one object.
///
/// Promises:
/// - `Ok` means that the whole range is flushed and visible at the target, of one version of the source.
/// - Before that nothing is visible at the target (with `Placement::Replace`).
/// - After an error the last saved point is where a later attempt goes on. Without one the unfinished target
///   is removed, except after `LostLease`, when nothing is touched at all.
/// - Saved bytes are thrown away in three cases only, each told to `Checkpoint::start_over` before: the source
///   is another version, or has none and reads differently now; the bytes are proven wrong; or what is there
///   is less than was saved, because somebody took it away.
/// - `Progress` never calls bytes safe that a crash could take away.
/// - Dropping the future is like a crash: the last saved point holds.
///
/// A source that cannot start in the middle, or gives no version, is read from its first byte again; what the
/// target holds is kept when the hash of these bytes proves it the same, and moved again otherwise.
/// `stop` takes effect within a second, even while the source is silent; once the bytes are flushed and
/// the target is being published, the move ends as done.
pub async fn move_object(
    mv: Move,
    checkpoint: &dyn Checkpoint,
    progress: &Progress,
    limits: &Limits,
    stop: impl Future<Output = ()> + Send,
) -> Result<MoveOutcome> {
    let began = Instant::now();
    let mut stop = pin!(stop);
    let opened = tokio::select! {
        biased;
        () = &mut stop => return Err(stopped()),
        opened = open(&mv, checkpoint, limits) => opened?,
    };
    let Opened { source, writer, footing } = match opened {
        Start::Ready(opened) => *opened,
        Start::Done(published) => return accept(&mv, published, checkpoint, progress, began).await,
    };
    progress.begin(footing.length, footing.safe);
    let attempted = {
        let run = Run::new(&mv, &footing, writer.as_ref(), checkpoint, progress, limits);
        let attempt = async {
            let copied = run.carry_out(source).await?;
            let found = Found::of(&mv, copied.method, run.hasher().as_ref())?;
            refuse_unexpected(found.checksum.as_ref(), mv.options.expected.as_ref())?;
            if run.reached() - run.saved() > FLUSH_FIRST {
                writer.flush().await?;
            }
            let read_back = prove::unpublished(&mv, writer.as_ref(), run.reached(), found.checksum.as_ref()).await?;
            refuse_changed_source(&mv, footing.version.as_ref()).await?;
            Ok((copied, found, run.reached(), run.saved(), read_back))
        };
        let result = tokio::select! {
            biased;
            () = &mut stop => Err(stopped()),
            result = attempt => result,
        };
        match result {
            Ok(done) => Ok(done),
            Err(error) => Err(keep_or_remove(error, &run, stop).await),
        }
    };
    let (copied, found, bytes, saved, read_back) = match attempted {
        Ok(done) => done,
        Err((error, leftover)) => {
            let leftover = leftover.if_ours(checkpoint).await;
            return Err(leave(writer, leftover, error).await);
        }
    };
    let written = publish(&mv, writer, checkpoint, bytes, saved > 0).await?;
    let proof = match prove::published(&mv, &written, read_back, &found).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            return Err(take_back(&mv, checkpoint, saved > 0, error).await);
        }
        proof => proof?,
    };
    progress.set_safe(bytes);
    Ok(MoveOutcome {
        proof,
        bytes,
        checksum: found.checksum,
        parts: copied.parts,
        reread_bytes: footing.reread_bytes,
        duration: began.elapsed(),
        started_over: footing.started_over,
        method: copied.method.as_str(),
        target: written.meta,
        source_version: footing.version,
    })
}

/// What becomes of an unfinished target.
enum Leftover {
    /// Another process may own it now.
    Untouched,
    /// A later attempt goes on with it.
    Kept,
    /// It is of no use.
    Removed,
}

impl Leftover {
    /// Nothing is removed by a move that is no longer ours: the same name may be somebody else's file by now.
    async fn if_ours(self, checkpoint: &dyn Checkpoint) -> Self {
        match self {
            Self::Removed => match checkpoint.publish().await {
                Err(lost) if lost.kind() == ErrorKind::LostLease => Self::Untouched,
                _ => self,
            },
            _ => self,
        }
    }
}

/// Saves what can be saved, and says what becomes of the target.
async fn keep_or_remove(error: Error, run: &Run<'_>, stop: impl Future<Output = ()>) -> (Error, Leftover) {
    let stopped = error.kind() == ErrorKind::Canceled;
    match error.kind() {
        ErrorKind::LostLease => return (error, Leftover::Untouched),
        ErrorKind::Corrupt => return give_up(error, run).await,
        ErrorKind::Unavailable if error.detail(SOURCE_CHANGED).is_some() => return give_up(error, run).await,
        ErrorKind::Unavailable | ErrorKind::Canceled => {}
        // Nothing against the bytes that an earlier point holds.
        _ if run.saved() > 0 => return (error, Leftover::Kept),
        _ => return (error, Leftover::Removed),
    }
    let saved = if stopped {
        timeout(SUSPEND_WITHIN, run.save()).await.unwrap_or(Ok(()))
    } else {
        tokio::select! {
            biased;
            saved = run.save() => saved,
            // Stopped while saving after trouble: the point saved before that holds.
            () = async { stop.await; tokio::time::sleep(SUSPEND_WITHIN).await } => Ok(()),
        }
    };
    match saved {
        Err(lost) if lost.kind() == ErrorKind::LostLease => (lost, Leftover::Untouched),
        // A target that cannot even be flushed is left as it is: the earlier point may still hold.
        _ if run.saved() > 0 => (error, Leftover::Kept),
        _ => (error, Leftover::Removed),
    }
}

/// Bytes of no use are removed, but not before they have ceased to count.
async fn give_up(error: Error, run: &Run<'_>) -> (Error, Leftover) {
    if run.saved() == 0 {
        return (error, Leftover::Removed);
    }
    match run.checkpoint.start_over().await {
        Ok(()) => (error, Leftover::Removed),
        Err(lost) if lost.kind() == ErrorKind::LostLease => (lost, Leftover::Untouched),
        Err(trouble) => {
            tracing::warn!(error = ?trouble, "cannot record that a move starts over");
            (error, Leftover::Kept)
        }
    }
}

/// Removes a published target that holds other bytes than it was given; first they cease to count.
async fn take_back(mv: &Move, checkpoint: &dyn Checkpoint, has_point: bool, error: Error) -> Error {
    if has_point && let Err(trouble) = checkpoint.start_over().await {
        return if trouble.kind() == ErrorKind::LostLease { trouble } else { error };
    }
    if mv.options.placement == Placement::Replace
        && let Err(trouble) = mv.target.storage.delete(&mv.target.path).await
    {
        tracing::warn!(error = ?trouble, "cannot remove a target that holds other bytes than it was given");
    }
    error
}

async fn leave(writer: Box<dyn ObjectWriter>, leftover: Leftover, error: Error) -> Error {
    let left = match leftover {
        Leftover::Untouched => Ok(()),
        Leftover::Kept => timeout(SUSPEND_WITHIN, writer.suspend()).await.unwrap_or(Ok(())),
        Leftover::Removed => writer.abort().await,
    };
    if let Err(trouble) = left {
        tracing::warn!(error = ?trouble, "cannot tidy up the unfinished target");
    }
    error
}

/// Ends a move whose target an earlier attempt published already.
async fn accept(
    mv: &Move,
    published: Published,
    checkpoint: &dyn Checkpoint,
    progress: &Progress,
    began: Instant,
) -> Result<MoveOutcome> {
    let Published { length, checksum, writer } = published;
    let point = mv.resume.as_ref();
    let version = point.and_then(|point| point.source_version.clone()).map(Version::from);
    refuse_changed_source(mv, version.as_ref()).await?;
    checkpoint.publish().await?;
    progress.begin(Some(length), point.map_or(0, |point| point.safe));
    let written = writer.finish(length).await?;
    progress.set_safe(length);
    Ok(MoveOutcome {
        proof: Proof::ReadBack,
        bytes: length,
        checksum,
        parts: 0,
        reread_bytes: 0,
        duration: began.elapsed(),
        started_over: false,
        method: Method::Stream.as_str(),
        target: written.meta,
        source_version: version,
    })
}

/// Makes the target visible, if the work is still ours.
async fn publish(
    mv: &Move,
    writer: Box<dyn ObjectWriter>,
    checkpoint: &dyn Checkpoint,
    bytes: u64,
    has_point: bool,
) -> Result<Written> {
    if let Err(error) = checkpoint.publish().await {
        let leftover = match error.kind() {
            ErrorKind::LostLease => Leftover::Untouched,
            ErrorKind::Unavailable | ErrorKind::Canceled => Leftover::Kept,
            _ if has_point => Leftover::Kept,
            _ => Leftover::Removed,
        };
        return Err(leave(writer, leftover, error).await);
    }
    let token = writer.token();
    match writer.finish(bytes).await {
        Ok(written) => Ok(written),
        Err(error) => {
            // A conflict may mean that the unfinished target is another writer's now.
            let removed = !error.is_temporary() && !has_point && error.kind() != ErrorKind::Conflict;
            if let (true, Some(token)) = (removed, token)
                && let Err(trouble) = mv.target.storage.discard(&mv.target.path, &mv.options.label, Some(&token)).await
            {
                tracing::warn!(error = ?trouble, "cannot remove the unfinished target");
            }
            Err(error)
        }
    }
}

fn refuse_unexpected(found: Option<&Checksum>, expected: Option<&Checksum>) -> Result<()> {
    match (found, expected) {
        (Some(found), Some(expected)) if found != expected => {
            Err(Error::corrupt(format!("the bytes have checksum {found}, not {expected}")))
        }
        _ => Ok(()),
    }
}

/// A file may change behind an open handle, so its identity is compared once more.
///
/// A source that cannot be looked at again keeps its promise through the version in every read; so does one whose
/// reads never mix versions, which is not asked in vain.
async fn refuse_changed_source(mv: &Move, version: Option<&Version>) -> Result<()> {
    let Some(version) = version.filter(|_| !mv.source.storage.capabilities().one_version) else { return Ok(()) };
    match timeout(mv.options.stall, mv.source.storage.stat(&mv.source.path)).await {
        Ok(Ok(meta)) if meta.version.as_ref().is_some_and(|now| now != version) => Err(source_changed()),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Err(source_changed()),
        _ => Ok(()),
    }
}

fn stopped() -> Error {
    Error::canceled("stopped")
}
