//! A local folder with all it holds, copied by this process, many files at once; goes on past errors.
//!
//! A file whose copy has its size and its time of change is taken to be there, as rsync does. The time is given
//! to a copy last of all, so it is also the mark that the copy is whole.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::poll_fn;
use haulier_base::{Error, Result};
use haulier_mover::{ByteRange, Progress};
use serde_json::Value;
use tokio::sync::mpsc;

use super::filter::Filter;
use super::local::{Copier, name_of};
use super::many::{self, Done};
use super::place::Place;
use super::state::{Alone, Memory};
use super::summary::Summary;
use super::{CpArgs, path_url, to_path};
use crate::cli::{Failure, Outcome, Output};

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
    let target = resolved(&target).map_err(failed)?;
    if target.starts_with(&source) {
        return Err(failed(Error::invalid("the target is inside the source")));
    }
    let _alone = if args.dry_run { None } else { Some(begin(&source, &target, &place).map_err(failed)?) };
    let stop = copier.stop.clone();
    let tree = Arc::new(Tree {
        copier,
        source,
        target,
        ignore_times: args.ignore_times,
        dry_run: args.dry_run,
        filter: args.filter.clone(),
        made: Mutex::default(),
    });
    let mut summary = Summary::begin(output, args.dry_run);
    copy_all(&tree, &mut summary).await;
    if stop.is_cancelled() {
        return Err(failed(Error::canceled("interrupted")));
    }
    if summary.failed == 0 && !args.dry_run {
        place.forget_place();
    }
    Ok(summary.end())
}

/// Makes the target, keeps other processes from copying to it, and remembers where it is.
fn begin(source: &Path, target: &Path, place: &Memory) -> Result<Alone> {
    std::fs::create_dir_all(target)?;
    let alone = Memory::of(&name_of(&["tree", &source.to_string_lossy(), &target.to_string_lossy()])).lock()?;
    place.keep_place(target)?;
    Ok(alone)
}

/// Where a path leads, also when its last parts are not there yet.
fn resolved(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for above in path.ancestors() {
        if let Ok(real) = above.canonicalize() {
            let missing = path.strip_prefix(above).unwrap_or(Path::new(""));
            return Ok(if missing == Path::new("") { real } else { real.join(missing) });
        }
    }
    Ok(path)
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
    dry_run: bool,
    filter: Filter,
    /// Folders below the target that may be new, relative to it.
    made: Mutex<BTreeSet<PathBuf>>,
}

impl Tree {
    /// Makes a folder, and those above it.
    fn make(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(self.target.join(folder))?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in folder.ancestors() {
            if !made.insert(folder.to_owned()) {
                break;
            }
        }
        Ok(())
    }
}

async fn copy_all(tree: &Arc<Tree>, summary: &mut Summary<'_>) {
    let (found, mut names) = mpsc::channel(AHEAD);
    let walked = tree.clone();
    let walk = tokio::task::spawn_blocking(move || walk(&walked, &found));
    let act = |path: PathBuf| {
        let tree = tree.clone();
        async move {
            let done = copy_one(&tree, &path).await;
            done.map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
        }
    };
    many::each(poll_fn(|context| names.poll_recv(context)), |_| many::LARGE, act, &tree.copier.stop, summary).await;
    // A walk that still waits for room sees that nobody reads any more.
    drop(names);
    if let Err(panic) = walk.await {
        summary.fail(&Error::internal("the walk broke off").caused_by(panic));
    }
    if tree.dry_run {
        return;
    }
    if let Err(error) = flush_folders(tree).await {
        let why = format!("the folders could not be flushed: {error}");
        summary.fail(&Error::new(error.kind(), why));
    }
}

/// Makes new folders and links survive a crash. Files brought their own flush along.
async fn flush_folders(tree: &Arc<Tree>) -> Result<()> {
    let tree = tree.clone();
    let flush = move || -> Result<()> {
        let mut folders = std::mem::take(&mut *tree.made.lock().unwrap_or_else(PoisonError::into_inner));
        folders.insert(PathBuf::new());
        let above = tree.target.parent().map(Path::to_owned);
        for folder in folders.iter().map(|folder| tree.target.join(folder)).chain(above) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    let flushed = tokio::task::spawn_blocking(flush).await;
    flushed.unwrap_or_else(|panic| Err(Error::internal("the flush broke off").caused_by(panic)))
}

/// Copies one entry, or says that it would be.
async fn copy_one(tree: &Tree, path: &Path) -> Result<Done> {
    let (source, target) = (&tree.source.join(path), &tree.target.join(path));
    let meta = std::fs::symlink_metadata(source)?;
    let would_copy = |bytes| Ok(Done::WouldCopy(path.display().to_string(), Some(bytes)));
    if meta.is_dir() {
        if !tree.dry_run {
            tree.make(path)?;
        }
        return Ok(Done::Uncounted);
    }
    // Its folder may come after it, since many entries are copied at once.
    let folder = path.parent().unwrap_or(Path::new(""));
    if meta.is_symlink() {
        let points_to = std::fs::read_link(source)?;
        if std::fs::read_link(target).is_ok_and(|there| there == points_to) {
            return Ok(Done::There);
        }
        if tree.dry_run {
            return would_copy(0);
        }
        tree.make(folder)?;
        std::os::unix::fs::symlink(&points_to, target)?;
        return Ok(Done::Copied(0));
    }
    if !meta.is_file() {
        return Err(Error::invalid("it is neither a file nor a folder nor a link"));
    }
    if !tree.ignore_times && is_there(&meta, target)? {
        return Ok(Done::There);
    }
    if tree.dry_run {
        return would_copy(meta.len());
    }
    tree.make(folder)?;
    copy_file(tree, source, target, &meta).await.map(Done::Copied)
}

/// Copies a file, with its mode and, last of all, its time of change.
async fn copy_file(tree: &Tree, source: &Path, target: &Path, meta: &Metadata) -> Result<u64> {
    let place = |path| Ok::<_, Error>(Place { url: path_url(path)?, options: Value::Null });
    let (from, to) = (place(source)?, place(target)?);
    let name = name_of(&[&from.url, &to.url]);
    let (memory, progress) = (Memory::of(&name), Progress::new());
    let outcome = tree.copier.copy(&from, &to, ByteRange::default(), &memory, &name, &progress).await?;
    let copy = File::open(target)?;
    copy.set_permissions(meta.permissions())?;
    copy.set_modified(meta.modified()?)?;
    Ok(outcome.bytes)
}

/// Whether a file has the size and the time of change of another.
fn is_there(source: &Metadata, target: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(target) {
        Ok(there) => Ok(there.is_file() && there.len() == source.len() && there.modified()? == source.modified()?),
        Err(_) => Ok(false),
    }
}

/// Sends every name below the source that is to be copied, relative to it, folders before what they hold.
fn walk(tree: &Tree, found: &mpsc::Sender<Result<PathBuf>>) {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(tree.source.join(&folder)) {
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
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !tree.filter.prunes(&path) {
                    folders.push(path.clone());
                }
                path
            });
            let left_out = name.as_ref().is_ok_and(|path| !tree.filter.takes(path));
            if !left_out && found.blocking_send(name).is_err() {
                return;
            }
        }
    }
}
