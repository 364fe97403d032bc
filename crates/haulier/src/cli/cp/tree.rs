//! A local folder with all it holds, copied by this process, many files at once; goes on past errors.

use std::path::{Path, PathBuf};
use std::time::Instant;

use futures::StreamExt;
use haulier_base::{Error, Result};
use haulier_mover::{ByteRange, Progress};
use serde_json::json;
use tokio::sync::mpsc;

use super::local::{Copier, name_of};
use super::state::Memory;
use super::{CpArgs, path_url, to_path};
use crate::cli::{Exit, Failure, Format, Outcome, Output, interrupted};

/// Files copied at once.
const AT_ONCE: usize = 16;
/// Names found ahead of their turn.
const AHEAD: usize = 1024;

#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    errors: u64,
}

/// Copies a folder.
pub(super) async fn copy(args: &CpArgs, output: &Output) -> Outcome {
    let failed = |error| Failure::new(format!("cannot copy {}", args.source), error);
    let local = |text: &str| {
        to_path(text).ok_or_else(|| failed(Error::invalid(format!("{text} is not a local folder, which -r needs"))))
    };
    let (source, mut target) = (local(&args.source)?, local(&args.target)?);
    let source = source.canonicalize().map_err(|error| failed(error.into()))?;
    if !source.is_dir() {
        return Err(failed(Error::invalid("it is not a folder")).advice("leave out -r"));
    }
    if let Some(name) = source.file_name().filter(|_| target.is_dir()) {
        target.push(name);
    }
    std::fs::create_dir_all(&target).map_err(|error| failed(error.into()))?;
    let target = target.canonicalize().map_err(|error| failed(error.into()))?;
    if target.starts_with(&source) {
        return Err(failed(Error::invalid("the target is inside the source")));
    }
    let name = name_of(&["tree", &source.to_string_lossy(), &target.to_string_lossy()]);
    let _alone = Memory::of(&name).lock().map_err(failed)?;
    let copier = Copier::new(args).map_err(failed)?;
    let began = Instant::now();
    let tally = tokio::select! {
        tally = copy_all(&copier, &source, &target, output) => tally,
        () = async { interrupted().await; copier.stop.cancel(); } => {
            return Err(failed(Error::canceled("interrupted")));
        }
    };
    report(&tally, began, output);
    Ok(match tally {
        Tally { errors: 0, .. } => Exit::Done,
        Tally { files: 0, .. } => Exit::Failed,
        _ => Exit::Partial,
    })
}

async fn copy_all(copier: &Copier, source: &Path, target: &Path, output: &Output) -> Tally {
    let (found, names) = mpsc::channel(AHEAD);
    let root = source.to_owned();
    let walk = tokio::task::spawn_blocking(move || walk(&root, &found));
    let bar = output.progress(None);
    let names = futures::stream::unfold(names, async |mut names| Some((names.recv().await?, names)));
    let mut copies = Box::pin(names)
        .map(|entry: Result<PathBuf>| async {
            let path = entry?;
            let result = copy_one(copier, &source.join(&path), &target.join(&path)).await;
            result.map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
        })
        .buffer_unordered(AT_ONCE);
    let mut tally = Tally::default();
    while let Some(copied) = copies.next().await {
        match copied {
            Ok(bytes) => {
                tally.files += 1;
                tally.bytes += bytes;
                bar.set_position(tally.bytes);
            }
            Err(error) => {
                tally.errors += 1;
                bar.suspend(|| output.remark(&format!("error: {error}")));
            }
        }
    }
    bar.finish_and_clear();
    if walk.await.is_err() {
        tally.errors += 1;
    }
    tally
}

/// Copies one entry; its bytes.
async fn copy_one(copier: &Copier, source: &Path, target: &Path) -> Result<u64> {
    let meta = std::fs::symlink_metadata(source)?;
    if meta.is_dir() {
        std::fs::create_dir_all(target)?;
        return Ok(0);
    }
    std::fs::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
    if meta.is_symlink() {
        let points_to = std::fs::read_link(source)?;
        return match std::os::unix::fs::symlink(&points_to, target) {
            Err(_) if std::fs::read_link(target).is_ok_and(|there| there == points_to) => Ok(0),
            other => Ok(other.map(|()| 0)?),
        };
    }
    if !meta.is_file() {
        return Err(Error::invalid("it is neither a file nor a folder nor a link"));
    }
    let (from, to) = (path_url(source)?, path_url(target)?);
    let name = name_of(&[&from, &to]);
    let memory = Memory::of(&name);
    let outcome = copier.copy(&from, &to, ByteRange::default(), &memory, &name, &Progress::new()).await?;
    std::fs::set_permissions(target, meta.permissions())?;
    Ok(outcome.bytes)
}

/// Sends every name below a folder, relative to it, folders before what they hold.
fn walk(root: &Path, found: &mpsc::Sender<Result<PathBuf>>) {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) => {
                let kind = Error::from(error);
                let message = format!("{}: {kind}", folder.display());
                if found.blocking_send(Err(Error::new(kind.kind(), message))).is_err() {
                    return;
                }
                continue;
            }
        };
        for entry in entries {
            let name = entry.map_err(Error::from).map(|entry| {
                let path = folder.join(entry.file_name());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path.clone());
                }
                path
            });
            if found.blocking_send(name).is_err() {
                return;
            }
        }
    }
}

fn report(tally: &Tally, began: Instant, output: &Output) {
    let rate = (tally.bytes as f64 / began.elapsed().as_secs_f64().max(1e-6)) as u64;
    match output.format() {
        Format::Table => {
            output.line(&format!("{} entries  {} bytes  {rate} B/s  {} errors", tally.files, tally.bytes, tally.errors))
        }
        _ => output.document(&json!({
            "entries": tally.files, "bytes": tally.bytes, "bytes_per_second": rate, "errors": tally.errors,
        })),
    }
}
