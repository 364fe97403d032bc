//! One object, copied by this process: attempts, waits, and the report at the end.

use std::time::{Duration, Instant};

use haulier_base::{Backoff, Error, Result, id};
use haulier_mover::{
    ByteBudget, ByteRange, Limits, Move, MoveOptions, MoveOutcome, Progress, ResumePoint, move_object,
};
use haulier_storage::{Location, ObjectKind, StorageConfig, Storages};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::CpArgs;
use super::many::Done;
use super::place::Place;
use super::state::Memory;
use super::summary::Summary;
use crate::cli::{Exit, Failure, Format, Outcome, Output, interrupted};

/// Attempts and waits of transfer contract §6.3.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(8), attempts: 6 };
const UNKNOWN_HOST_ATTEMPTS: u32 = 2;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// So many new safe bytes make the failures before them forgotten.
const FORGIVING_BYTES: u64 = 1 << 20;

/// What all copies of one command share.
pub(super) struct Copier {
    pub(super) storages: Storages,
    limits: Limits,
    options: MoveOptions,
    pub(super) stop: CancellationToken,
}

impl Copier {
    pub(super) fn new(args: &CpArgs, create_parents: bool) -> Result<Self> {
        let config = StorageConfig { allow_any_path: true, allow_private: true, ..StorageConfig::default() };
        let mut limits = Limits::none();
        limits.node = std::sync::Arc::new(ByteBudget::new(args.limit_rate));
        let (verify, digest) = (args.verify.into(), args.sha256);
        let options = MoveOptions { verify, digest, create_parents, ..MoveOptions::default() };
        Ok(Self { storages: Storages::new(config)?, limits, options, stop: CancellationToken::new() })
    }

    /// Opens both ends, and copies; refuses two names of one object.
    pub(super) async fn copy(
        &self,
        source: &Place,
        target: &Place,
        range: ByteRange,
        memory: &Memory,
        label: &str,
        progress: &Progress,
    ) -> Result<MoveOutcome> {
        if self.storages.same_object(&source.url, &target.url) {
            return Err(same_object());
        }
        let source = self.storages.open_source(&source.url, &source.options)?;
        let target = self.storages.open_target(&target.url, &target.options)?;
        self.copy_object(&source, &target, range, memory, label, progress).await
    }

    /// How many bytes a copy would have, as far as its source says.
    async fn size_of(&self, source: &Place, target: &Place, args: &CpArgs) -> Result<Option<u64>> {
        if self.storages.same_object(&source.url, &target.url) {
            return Err(same_object());
        }
        self.storages.check_target(&target.url, &target.options)?;
        let source = self.storages.open_source(&source.url, &source.options)?;
        let meta = source.storage.stat(&source.path).await?;
        match meta.size {
            _ if meta.kind == ObjectKind::Directory => Err(Error::invalid("it is a folder; copy it with -r")),
            Some(size) if args.start > size => {
                Err(Error::invalid(format!("--start is beyond the end of the source, {size}")))
            }
            Some(size) => Ok(Some(args.end.map_or(size, |end| end.min(size)) - args.start)),
            None => Ok(args.end.map(|end| end - args.start)),
        }
    }

    /// Copies one object, trying again while it makes sense.
    pub(super) async fn copy_object(
        &self,
        source: &Location,
        target: &Location,
        range: ByteRange,
        memory: &Memory,
        label: &str,
        progress: &Progress,
    ) -> Result<MoveOutcome> {
        let (mut failures, mut safe_before) = (0, 0);
        loop {
            let resume = memory.recall();
            safe_before = safe_before.max(resume.as_ref().map_or(0, |point| point.safe));
            let error = match self.attempt(source, target, range, memory, label, progress, resume).await {
                Ok(outcome) => {
                    memory.forget();
                    return Ok(outcome);
                }
                Err(error) if error.is_temporary() => error,
                // What is remembered stays good for running the command again.
                Err(error) => return Err(error),
            };
            if progress.view().safe >= safe_before + FORGIVING_BYTES {
                (failures, safe_before) = (0, progress.view().safe);
            }
            failures += 1;
            let unknown_host = error.detail("unknown_host").is_some() && failures >= UNKNOWN_HOST_ATTEMPTS;
            let Some(wait) = RETRY.wait(failures, jitter()).filter(|_| !unknown_host) else { return Err(error) };
            let wait = error.wait_asked().map_or(wait, |asked| wait.max(asked.min(RETRY_AFTER_MAX)));
            tracing::warn!(source = %source.path, wait_ms = wait.as_millis() as u64, "{error}; trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Err(Error::canceled("interrupted")),
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one attempt is all of these, and is made in one place")]
    async fn attempt(
        &self,
        source: &Location,
        target: &Location,
        range: ByteRange,
        memory: &Memory,
        label: &str,
        progress: &Progress,
        resume: Option<ResumePoint>,
    ) -> Result<MoveOutcome> {
        let mv = Move {
            source: source.clone(),
            target: target.clone(),
            range,
            options: MoveOptions { label: label.to_owned(), ..self.options.clone() },
            resume,
        };
        move_object(mv, memory, progress, &self.limits, self.stop.cancelled()).await
    }
}

fn same_object() -> Error {
    Error::invalid("the source and the target are the same file")
}

/// Spreads the retries of many processes.
fn jitter() -> f64 {
    let digits = id::random_uuid();
    f64::from(u32::from_str_radix(&digits[..4], 16).unwrap_or(0)) / 65535.0
}

/// The name of a copy: the same request has the same name, so that it finds what it left behind.
pub(super) fn name_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Says what the copy of one object would be, and touches nothing.
pub(super) async fn look(args: &CpArgs, copier: &Copier, source: &Place, target: &Place, output: &Output) -> Outcome {
    let failed = |error| Failure::new(format!("cannot copy {}", args.source), error);
    let size = copier.size_of(source, target, args).await.map_err(failed)?;
    let mut summary = Summary::begin(output, true);
    summary.take(Ok(Done::WouldCopy(Storages::redact_url(&source.url), size)));
    Ok(summary.end())
}

/// Copies one object and reports.
pub(super) async fn copy(args: &CpArgs, copier: Copier, source: &Place, target: &Place, output: &Output) -> Outcome {
    let failed = |error| Failure::new(format!("cannot copy {}", args.source), error);
    let range = ByteRange { start: args.start, end: args.end };
    let name = name_of(&[&source.url, &target.url, &format!("{range:?} {:?}", args.verify)]);
    let memory = Memory::of(&name);
    let _alone = memory.lock().map_err(failed)?;
    let (began, progress) = (Instant::now(), Progress::new());
    let bar = output.progress(None);
    let show = async {
        loop {
            let view = progress.view();
            if let Some(total) = view.total.filter(|_| bar.length().is_none()) {
                bar.set_length(total);
            }
            bar.set_position(view.written.max(view.safe));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let interrupt = async {
        interrupted().await;
        copier.stop.cancel();
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = copier.copy(source, target, range, &memory, &name, &progress) => outcome,
        () = show => unreachable!("the bar is drawn until the copy ends"),
        () = interrupt => unreachable!("an interrupted copy ends by itself"),
    };
    bar.finish_and_clear();
    let outcome = outcome.map_err(failed)?;
    let shown = Storages::redact_url;
    report(&outcome, began.elapsed(), &shown(&source.url), &shown(&target.url), output);
    Ok(Exit::Done)
}

fn report(outcome: &MoveOutcome, took: Duration, source: &str, target: &str, output: &Output) {
    let (checksum, proof) = (outcome.checksum.as_ref().map(ToString::to_string), outcome.proof.to_string());
    let rate = (outcome.bytes as f64 / took.as_secs_f64().max(1e-6)) as u64;
    match output.format() {
        Format::Table => {
            let proof = match (&checksum, outcome.proof) {
                (Some(checksum), _) => checksum,
                (None, haulier_mover::Proof::Length) => "not verified",
                (None, _) => &proof,
            };
            output.line(&format!("{} bytes  {rate} B/s  {proof}  {}", outcome.bytes, outcome.method));
        }
        _ => output.document(&json!({
            "source_url": source, "destination_url": target, "bytes": outcome.bytes, "bytes_per_second": rate,
            "checksum": checksum, "verified_by": proof, "method": outcome.method, "started_over": outcome.started_over,
        })),
    }
}
