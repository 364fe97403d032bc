//! What was noticed and when it is worth a look: bursts collapse, and what is being written waits. Pure.
//!
//! Knows no file system. Everything here is a hint: the look decides what is so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::FileName;

/// A file whose writer did not say that it is done is looked at after so long without a notice (§4.3 12).
pub(crate) const QUIET: Duration = Duration::from_millis(100);
/// The two halves of a rename come one after the other: what came waits so long for the one that went before it.
const PAIRED: Duration = Duration::from_millis(5);
/// And what went waits so long for the one that is still to come: somebody may be kept from telling it, and a deletion
/// is in no hurry.
const UNPAIRED: Duration = Duration::from_millis(50);

/// A name worth a look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Noticed {
    pub(crate) name: FileName,
    /// Whether its writer said that it is done: it closed the file, or put it in place by a rename.
    pub(crate) done: bool,
}

/// Why single notices no longer tell what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lost {
    /// More happened than was kept: scan all.
    Overflow,
    /// The root itself was moved, removed or replaced: watch anew and scan all.
    Root,
}

/// What is worth a look now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    pub(crate) names: Vec<Noticed>,
    /// Files or folders that were there and went: what the index knows below them is worth a look too. With the name
    /// they have now, if it is known.
    pub(crate) gone: Vec<(FileName, Option<FileName>)>,
    pub(crate) lost: Option<Lost>,
}

impl Notices {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.gone.is_empty() && self.lost.is_none()
    }
}

/// Names noticed and not looked at yet.
#[derive(Debug)]
pub(crate) struct Dirty {
    /// When a name is due, and whether its writer is done.
    names: HashMap<FileName, (Instant, bool)>,
    order: BTreeSet<(Instant, FileName)>,
    /// When what went is due, and what it is called now.
    gone: BTreeMap<FileName, (Instant, Option<FileName>)>,
    folders: BTreeSet<FileName>,
    lost: Option<Lost>,
    names_max: usize,
}

impl Dirty {
    /// Keeps at most so many names; more are [`Lost::Overflow`].
    pub(crate) fn new(names_max: usize) -> Self {
        Self {
            names: HashMap::new(),
            order: BTreeSet::new(),
            gone: BTreeMap::new(),
            folders: BTreeSet::new(),
            lost: None,
            names_max,
        }
    }

    /// A writer is done with a file, or it went.
    pub(crate) fn done(&mut self, name: FileName, now: Instant) {
        self.put(name, now, true);
    }

    /// Something happened to a file, and more may follow: each such notice puts the look off.
    pub(crate) fn stirred(&mut self, name: FileName, now: Instant) {
        if !matches!(self.names.get(&name), Some((_, true))) {
            self.put(name, now + QUIET, false);
        }
    }

    /// A file or a folder went from there.
    pub(crate) fn went(&mut self, name: FileName, now: Instant) {
        self.folders.remove(&name);
        // A folder says it twice: for itself, and for the one it was in.
        if !self.gone.contains_key(&name) {
            self.put(name.clone(), now + UNPAIRED, true);
            self.gone.insert(name, (now + UNPAIRED, None));
            self.bound();
        }
    }

    /// Something came there by a rename, from wherever.
    pub(crate) fn came(&mut self, name: FileName, now: Instant) {
        self.folders.insert(name.clone());
        self.put(name, now + PAIRED, true);
    }

    /// What went and what came are one, and nothing more is waited for.
    pub(crate) fn renamed(&mut self, from: &FileName, to: FileName, now: Instant) {
        let Some(gone) = self.gone.get_mut(from) else { return };
        *gone = (now, Some(to.clone()));
        // The same instant, or one would be looked at and told before the other.
        self.put(from.clone(), now, true);
        self.put(to, now, true);
    }

    /// A folder appeared: it is watched, and what is in it looked at.
    pub(crate) fn appeared(&mut self, folder: FileName) {
        self.folders.insert(folder);
        self.bound();
    }

    /// Single notices no longer tell. What was kept of them is of no use, since all is looked at.
    pub(crate) fn lose(&mut self, why: Lost) {
        self.names.clear();
        self.order.clear();
        self.gone.clear();
        self.folders.clear();
        self.lost = self.lost.max(Some(why));
    }

    /// Takes the folders that appeared.
    pub(crate) fn take_folders(&mut self) -> Vec<FileName> {
        std::mem::take(&mut self.folders).into_iter().collect()
    }

    /// Takes up to `limit` names that are due, and all else that is.
    pub(crate) fn take(&mut self, now: Instant, limit: usize) -> Notices {
        let mut names = Vec::new();
        while names.len() < limit {
            match self.order.first() {
                Some((due, _)) if *due <= now => {}
                _ => break,
            }
            let Some((_, name)) = self.order.pop_first() else { break };
            let done = self.names.remove(&name).is_some_and(|(_, done)| done);
            names.push(Noticed { name, done });
        }
        let gone = self.gone.extract_if(.., |_, (due, _)| *due <= now).map(|(name, (_, to))| (name, to)).collect();
        Notices { names, gone, lost: self.lost.take() }
    }

    /// When there is something to take or to follow; none before the next notice.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        if self.lost.is_some() || !self.folders.is_empty() {
            return Some(now);
        }
        let gone = self.gone.values().map(|(due, _)| *due).min();
        self.order.first().map(|(due, _)| *due).into_iter().chain(gone).min()
    }

    fn put(&mut self, name: FileName, due: Instant, done: bool) {
        if let Some((before, _)) = self.names.insert(name.clone(), (due, done)) {
            self.order.remove(&(before, name.clone()));
        }
        self.order.insert((due, name));
        self.bound();
    }

    fn bound(&mut self) {
        if self.names.len() + self.gone.len() + self.folders.len() > self.names_max {
            self.lose(Lost::Overflow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::new(text).unwrap()
    }

    fn noticed(text: &str, done: bool) -> Noticed {
        Noticed { name: name(text), done }
    }

    #[test]
    fn a_file_being_written_waits_for_its_writer_or_for_quiet() {
        let (mut dirty, start) = (Dirty::new(100), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        dirty.stirred(name("a"), at(0));
        dirty.stirred(name("b"), at(0));
        dirty.stirred(name("a"), at(60));
        assert_eq!(dirty.take(at(99), 9), Notices::default());
        assert_eq!(dirty.take(at(100), 9).names, [noticed("b", false)]);
        assert_eq!(dirty.due(at(100)), Some(at(160)));
        dirty.done(name("a"), at(110));
        // The writer is done: what comes after is another one.
        dirty.stirred(name("a"), at(111));
        assert_eq!(dirty.take(at(112), 9).names, [noticed("a", true)]);
        assert_eq!(dirty.due(at(112)), None);
    }

    #[test]
    fn both_halves_of_a_rename_come_at_once() {
        let (mut dirty, now) = (Dirty::new(100), Instant::now());
        dirty.went(name("a"), now);
        assert!(dirty.take(now + PAIRED, 9).is_empty(), "the other half may be late");
        let now = now + PAIRED * 2;
        dirty.came(name("b"), now);
        dirty.renamed(&name("a"), name("b"), now);
        dirty.went(name("a"), now);
        dirty.take_folders();
        let notices = dirty.take(now, 9);
        assert_eq!(notices.names, [noticed("a", true), noticed("b", true)]);
        assert_eq!(notices.gone, [(name("a"), Some(name("b")))]);
        assert_eq!(dirty.due(now), None);
    }

    #[test]
    fn bursts_collapse_and_come_in_pieces() {
        let (mut dirty, now) = (Dirty::new(100), Instant::now());
        for round in 0..50 {
            for file in ["a", "b", "c"] {
                dirty.done(name(file), now + Duration::from_micros(round));
            }
        }
        let later = now + Duration::from_millis(1);
        assert_eq!(dirty.take(later, 2).names.len(), 2);
        assert_eq!(dirty.take(later, 2).names.len(), 1);
        assert!(dirty.take(later, 2).is_empty());
    }

    #[test]
    fn too_much_is_lost_as_a_whole() {
        let (mut dirty, now) = (Dirty::new(3), Instant::now());
        for file in ["a", "b", "c"] {
            dirty.done(name(file), now);
        }
        dirty.appeared(name("d"));
        assert_eq!(dirty.take(now, 9), Notices { lost: Some(Lost::Overflow), ..Notices::default() });
        dirty.lose(Lost::Root);
        dirty.lose(Lost::Overflow);
        assert_eq!(dirty.take(now, 9).lost, Some(Lost::Root), "the graver loss stays");
        assert!(dirty.take(now, 9).is_empty());
    }
}
