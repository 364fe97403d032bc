//! How far running passes are, for whoever asks. In memory only: a pass that died with its process begins anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use haulier_base::Timestamp;

use crate::model::EntryName;

/// How far one pass over an entry is. What is left to be carried is in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// When it began.
    pub(crate) began_at: Timestamp,
    /// Files that the index knew when it began: about as many will be looked at.
    pub(crate) files_known: u64,
    /// Files looked at.
    pub(crate) files_seen: u64,
    /// Files whose stamp was not the one known, so that a closer look was needed.
    pub(crate) files_examined: u64,
    /// Bytes read to know what they are.
    pub(crate) bytes_read: u64,
}

/// The running passes, by entry. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passes(Arc<Mutex<BTreeMap<EntryName, Pass>>>);

impl Passes {
    /// How far the pass over an entry is; none when none is running in this process.
    pub(crate) fn of(&self, entry: &EntryName) -> Option<Pass> {
        self.with(|passes| passes.get(entry).copied())
    }

    /// Begins a pass, which ends with what is given back.
    pub(crate) fn begin(&self, entry: &EntryName, files_known: u64, now: Timestamp) -> RunningPass {
        let pass = Pass { began_at: now, files_known, files_seen: 0, files_examined: 0, bytes_read: 0 };
        self.with(|passes| passes.insert(entry.clone(), pass));
        RunningPass { passes: self.clone(), entry: entry.clone() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<EntryName, Pass>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A pass that is shown until this is dropped.
#[derive(Debug)]
pub(crate) struct RunningPass {
    passes: Passes,
    entry: EntryName,
}

impl RunningPass {
    /// Changes what is shown.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Pass)) {
        self.passes.with(|passes| passes.get_mut(&self.entry).map(change));
    }
}

impl Drop for RunningPass {
    fn drop(&mut self) {
        self.passes.with(|passes| passes.remove(&self.entry));
    }
}
