//! Watches a local folder and everything below it: says which names are worth a look.
//!
//! Hints only. Events are lost, doubled and late; a scan is the truth. Knows no index and no storage.

mod dirty;
mod events;
mod folders;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use haulier_base::{Error, Result};
use notify::{Config, RecommendedWatcher, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use dirty::{Dirty, Lost, Notices};

/// Names that are kept until somebody looks; more make a scan cheaper than looking one by one.
pub(crate) const NAMES_MAX: usize = 65_536;
/// Names handed out at a time.
pub(crate) const BATCH: usize = 500;

/// A folder being watched. Dropping it ends the watching.
#[derive(Debug)]
pub(crate) struct Watch {
    inner: Arc<Inner>,
    _ends_on_drop: DropGuard,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Device and inode of the root, which tell whether it was replaced.
    identity: (u64, u64),
    shared: Arc<Shared>,
    watcher: Mutex<RecommendedWatcher>,
    names_max: usize,
    ended: CancellationToken,
}

/// What the thread that hears the kernel and those who ask share.
#[derive(Debug)]
struct Shared {
    dirty: Mutex<Dirty>,
    stirred: Notify,
    limited: AtomicBool,
}

impl Watch {
    /// Watches a folder, given without links in its path, and those below it. Once this returns, no change is missed.
    ///
    /// # Errors
    /// When the folder is not there or cannot be read, or the system has no watcher left.
    pub(crate) async fn start(root: &Path) -> Result<Self> {
        Self::start_with(root, NAMES_MAX).await
    }

    async fn start_with(root: &Path, names_max: usize) -> Result<Self> {
        let (root, ended) = (root.to_owned(), CancellationToken::new());
        let guard = ended.clone().drop_guard();
        let inner = blocking(move || {
            let inner = Arc::new(Inner::new(root, names_max, ended)?);
            inner.follow_root()?;
            Ok(inner)
        });
        Ok(Self { inner: inner.await?, _ends_on_drop: guard })
    }

    /// Waits for something that is worth a look. Safe to drop: what was not handed out stays.
    pub(crate) async fn next(&self) -> Notices {
        loop {
            let stirred = self.inner.shared.stirred.notified();
            let folders = self.inner.shared.dirty().take_folders();
            if !folders.is_empty() {
                let inner = self.inner.clone();
                // The job goes on when this future is dropped, so no folder is forgotten.
                let follow = move || {
                    inner.follow_all(&folders);
                    Ok(())
                };
                let followed = blocking(follow).await;
                if followed.is_err() {
                    self.inner.shared.dirty().lose(Lost::Overflow);
                }
                continue;
            }
            let now = Instant::now();
            let (notices, due) = {
                let mut dirty = self.inner.shared.dirty();
                (dirty.take(now, BATCH), dirty.due(now))
            };
            if !notices.is_empty() {
                return notices;
            }
            match due {
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = stirred => {}
                },
                None => stirred.await,
            }
        }
    }

    /// Whether the root is still the folder that is watched. A mount over it, or another folder in its place, is not.
    pub(crate) async fn is_in_place(&self) -> bool {
        let inner = self.inner.clone();
        blocking(move || Ok(identity_of(&inner.root).is_ok_and(|now| now == inner.identity))).await.unwrap_or(false)
    }

    /// Whether folders are left out, because the system allows no more watches.
    pub(crate) fn is_limited(&self) -> bool {
        self.inner.shared.limited.load(Ordering::SeqCst)
    }
}

impl Inner {
    fn new(root: PathBuf, names_max: usize, ended: CancellationToken) -> Result<Self> {
        let identity = identity_of(&root)?;
        let shared = Arc::new(Shared {
            dirty: Mutex::new(Dirty::new(names_max)),
            stirred: Notify::new(),
            limited: AtomicBool::new(false),
        });
        let (hears, place) = (shared.clone(), root.clone());
        let hear = move |answer| {
            if events::take(&mut hears.dirty(), &place, answer, Instant::now()) {
                hears.limited.store(true, Ordering::SeqCst);
            }
            hears.stirred.notify_one();
        };
        let config = Config::default().with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(hear, config).map_err(|error| {
            Error::unavailable("the system has no watcher left: raise fs.inotify.max_user_instances").caused_by(error)
        })?;
        Ok(Self { root, identity, shared, watcher: Mutex::new(watcher), names_max, ended })
    }

    fn watcher(&self) -> MutexGuard<'_, RecommendedWatcher> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity_of(root: &Path) -> Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(root)?;
    if !found.is_dir() {
        return Err(Error::not_found("the root is not a folder"));
    }
    Ok((found.dev(), found.ino()))
}

/// Runs work that waits for the disk where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(stopped) => Err(Error::internal("looking at a folder was broken off").caused_by(stopped)),
    }
}

#[cfg(test)]
mod tests;
