//! A local folder with all it holds, copied by this process, many files at once; goes on past errors.
//!
//! A file whose copy has its size and its time of change is taken to be there, as rsync does. The time is given
//! to a copy last of all, so it is also the mark that the copy is whole.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use haulier_base::{Error, Result};
use haulier_mover::{ByteRange, Progress};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::local::{Copier, name_of};
use super::place::Place;
use super::state::Memory;
use super::summary::Tally;
use super::{CpArgs, path_url, to_path};
use crate::cli::{Failure, Outcome, Output, interrupted};

/// Files copied at once.
const AT_ONCE: usize = 16;
/// Names found ahead of their turn.
const AHEAD: usize = 1024;

/// Copies a folder.
pub(super) async fn copy(args: &CpArgs, copier: Copier, output: &Output) -> Outcome {
    let failed = |error| Failure::new(format!("cannot copy {}", args.source), error);
    let local = |text: &str| {
        to_path(text).ok_or_else(|| failed(Error::invalid(format!("{text} is not a local folder, which -r needs"))))
    };
    let (source, mut target) = (local(&args.source)?, local(&args.target)?);
    let source = source.canonicalize().map_err(|error| failed(error.into()))?;
    if !source.is_dir() {
        return Err(failed(Error::invalid("it is not a folder")).advice("leave out -r"));
    }
    let given = std::path::absolute(&target).map_err(|error| failed(error.into()))?;
    let place = Memory::of(&name_of(&["place", &source.to_string_lossy(), &given.to_string_lossy()]));
    if let Some(begun) = place.recall_place() {
        // What the run before this one was to make is no folder that takes a copy under the source's name.
        target = begun;
    } else if let Some(name) = source.file_name().filter(|_| target.is_dir() && !names_contents(&args.source)) {
        target.push(name);
    }
    std::fs::create_dir_all(&target).map_err(|error| failed(error.into()))?;
    let target = target.canonicalize().map_err(|error| failed(error.into()))?;
    if target.starts_with(&source) {
        return Err(failed(Error::invalid("the target is inside the source")));
    }
    let name = name_of(&["tree", &source.to_string_lossy(), &target.to_string_lossy()]);
    let _alone = Memory::of(&name).lock().map_err(failed)?;
    place.keep_place(&target).map_err(failed)?;
    let stop = copier.stop.clone();
    let tree = Arc::new(Tree { copier, source, target, ignore_times: args.ignore_times });
    let began = Instant::now();
    let interrupt = async {
        interrupted().await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    let tally = tokio::select! {
        tally = copy_all(&tree, output) => tally,
        () = interrupt => unreachable!("interrupted copies end by themselves, after saving how far they came"),
    };
    if tree.copier.stop.is_cancelled() {
        return Err(failed(Error::canceled("interrupted")));
    }
    if tally.failed == 0 {
        place.forget_place();
    }
    tally.report(began, output);
    Ok(tally.exit())
}

/// Whether a source means what the folder holds and not the folder: `photos/.`, as `cp` and `rsync` have it.
fn names_contents(source: &str) -> bool {
    source == "." || source.ends_with("/.")
}

/// What every copy of one tree knows.
struct Tree {
    copier: Copier,
    source: PathBuf,
    target: PathBuf,
    ignore_times: bool,
}

async fn copy_all(tree: &Arc<Tree>, output: &Output) -> Tally {
    let (found, mut names) = mpsc::channel(AHEAD);
    let root = tree.source.clone();
    let walk = tokio::task::spawn_blocking(move || walk(&root, &found));
    let bar = output.progress(None);
    let (mut tally, mut folders) = (Tally::default(), vec![PathBuf::new()]);
    // Tasks of their own, so that they use all cores.
    let mut copies = JoinSet::new();
    let mut more = true;
    while more || !copies.is_empty() {
        let copied: Result<Copied> = tokio::select! {
            () = tree.copier.stop.cancelled(), if more => {
                more = false;
                continue;
            }
            name = names.recv(), if more && copies.len() < AT_ONCE => match name {
                Some(Ok(path)) => {
                    let tree = tree.clone();
                    copies.spawn(async move {
                        let result = copy_one(&tree, &path).await;
                        result.map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
                    });
                    continue;
                }
                Some(Err(error)) => Err(error),
                None => {
                    more = false;
                    continue;
                }
            },
            Some(copied) = copies.join_next() => {
                copied.unwrap_or_else(|panic| Err(Error::internal("a copy broke off").caused_by(panic)))
            }
        };
        match copied {
            Ok(Copied::Now(bytes)) => {
                tally.copied += 1;
                tally.bytes += bytes;
                bar.set_position(tally.bytes);
            }
            Ok(Copied::Before) => tally.skipped += 1,
            Ok(Copied::Folder(path)) => folders.push(path),
            Err(error) => tally.fail(&error, output, &bar),
        }
    }
    bar.finish_and_clear();
    // A walk that still waits for room sees that nobody reads any more.
    drop(names);
    if let Err(panic) = walk.await {
        tally.fail(&Error::internal("the walk broke off").caused_by(panic), output, &bar);
    }
    if let Err(error) = flush_folders(tree, folders).await {
        let why = format!("the folders could not be flushed: {error}");
        tally.fail(&Error::new(error.kind(), why), output, &bar);
    }
    tally
}

/// Makes new folders and links survive a crash. Files brought their own flush along.
async fn flush_folders(tree: &Arc<Tree>, folders: Vec<PathBuf>) -> Result<()> {
    let target = tree.target.clone();
    let flush = move || -> Result<()> {
        let above = target.parent().map(Path::to_owned);
        for folder in folders.iter().map(|folder| target.join(folder)).chain(above) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    let flushed = tokio::task::spawn_blocking(flush).await;
    flushed.unwrap_or_else(|panic| Err(Error::internal("the flush broke off").caused_by(panic)))
}

/// What was done for one entry.
enum Copied {
    /// It was copied, with so many bytes.
    Now(u64),
    /// It was there already.
    Before,
    /// It is a folder, and there.
    Folder(PathBuf),
}

/// Copies one entry.
async fn copy_one(tree: &Tree, path: &Path) -> Result<Copied> {
    let Tree { copier, ignore_times, .. } = tree;
    let (source, target) = (&tree.source.join(path), &tree.target.join(path));
    let meta = std::fs::symlink_metadata(source)?;
    if meta.is_dir() {
        std::fs::create_dir_all(target)?;
        return Ok(Copied::Folder(path.to_owned()));
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    if meta.is_symlink() {
        std::fs::create_dir_all(folder)?;
        let points_to = std::fs::read_link(source)?;
        return match std::os::unix::fs::symlink(&points_to, target) {
            Err(_) if std::fs::read_link(target).is_ok_and(|there| there == points_to) => Ok(Copied::Before),
            other => Ok(other.map(|()| Copied::Now(0))?),
        };
    }
    if !meta.is_file() {
        return Err(Error::invalid("it is neither a file nor a folder nor a link"));
    }
    if !ignore_times && is_there(&meta, target)? {
        return Ok(Copied::Before);
    }
    // Its folder may come after it, since many entries are copied at once.
    std::fs::create_dir_all(folder)?;
    let place = |path| Ok::<_, Error>(Place { url: path_url(path)?, options: Value::Null });
    let (from, to) = (place(source)?, place(target)?);
    let name = name_of(&[&from.url, &to.url]);
    let memory = Memory::of(&name);
    let outcome = copier.copy(&from, &to, ByteRange::default(), &memory, &name, &Progress::new()).await?;
    let copy = File::open(target)?;
    copy.set_permissions(meta.permissions())?;
    copy.set_modified(meta.modified()?)?;
    Ok(Copied::Now(outcome.bytes))
}

/// Whether a file has the size and the time of change of another.
fn is_there(source: &Metadata, target: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(target) {
        Ok(there) => Ok(there.is_file() && there.len() == source.len() && there.modified()? == source.modified()?),
        Err(_) => Ok(false),
    }
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
