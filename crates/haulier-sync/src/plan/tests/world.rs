//! A small world for the judge: disks that users write to, an index, and hands that may be cut off between any two
//! steps. It keeps the promises that storages and carriers make, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use haulier_base::Timestamp;

use crate::model::{
    Attributes, ContentHash, EntryName, FileName, FileState, Found, Owners, Pending, Seen, Stamp, Subject,
};
use crate::plan::{Carried, ConflictPolicy, Decision, Law, Verdict, carried, judge_anew, observe};

/// Contents from here on are not read before they are copied.
pub(super) const LARGE: u32 = 1 << 20;
const START_SECONDS: i64 = 1_795_262_400;

/// A file on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: u32,
    pub(super) modified: i64,
    pub(super) mode: u32,
    version: u64,
}

/// Rules: where all files go, and where those of one-way names go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) sync: BTreeSet<EntryName>,
    pub(super) ban: BTreeSet<EntryName>,
}

impl Owners for Rules {
    fn owners(&self, from: &EntryName, _: Subject<'_>) -> BTreeSet<EntryName> {
        let mut owners = self.sync.clone();
        owners.insert(from.clone());
        &owners - &self.ban
    }
}

/// Somebody looked, and did not tell yet.
#[derive(Clone, Debug)]
struct Look {
    at: EntryName,
    name: FileName,
    seen: Seen,
    known: Option<Stamp>,
}

/// A carrier at work.
#[derive(Clone, Debug)]
struct Hand {
    name: FileName,
    state: FileState,
    /// What it did, once it did it.
    done: Option<Carried>,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) disks: BTreeMap<EntryName, BTreeMap<FileName, File>>,
    pub(super) index: BTreeMap<FileName, FileState>,
    pub(super) stopped: BTreeSet<EntryName>,
    pub(super) rules: Rules,
    pub(super) policy: ConflictPolicy,
    pub(super) conflicts: usize,
    pub(super) copied: usize,
    pub(super) kept: BTreeSet<u32>,
    looks: Vec<Look>,
    hands: BTreeMap<EntryName, Hand>,
    /// Contents that a user replaced or deleted where they stood: nobody promised to keep them.
    superseded: BTreeSet<u32>,
    written: BTreeSet<u32>,
    /// What users themselves brought to a second entry.
    by_hand: BTreeSet<(FileName, u32)>,
    seconds: i64,
    versions: u64,
}

impl World {
    pub(super) fn new(entries: &[&str]) -> Self {
        let entries: BTreeSet<_> = entries.iter().map(|name| entry(name)).collect();
        Self {
            disks: entries.iter().map(|entry| (entry.clone(), BTreeMap::new())).collect(),
            index: BTreeMap::new(),
            stopped: BTreeSet::new(),
            rules: Rules { sync: entries, ban: BTreeSet::new() },
            policy: ConflictPolicy::KeepBoth,
            conflicts: 0,
            copied: 0,
            kept: BTreeSet::new(),
            looks: Vec::new(),
            hands: BTreeMap::new(),
            superseded: BTreeSet::new(),
            written: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            seconds: START_SECONDS,
            versions: 0,
        }
    }

    pub(super) fn entries(&self) -> BTreeSet<EntryName> {
        self.disks.keys().cloned().collect()
    }

    pub(super) fn file(&self, at: &EntryName, name: &FileName) -> Option<File> {
        self.disks.get(at).and_then(|disk| disk.get(name)).copied()
    }

    // What users do.

    pub(super) fn write(&mut self, at: &EntryName, name: &FileName, content: u32) {
        self.seconds += 1;
        let before = self.file(at, name);
        if let Some(before) = before {
            self.superseded.insert(before.content);
        }
        self.written.insert(content);
        self.put(at, name, content, self.seconds, 0o644);
    }

    /// Writes at several entries in the same second.
    pub(super) fn write_at_once(&mut self, writes: &[(&EntryName, u32)], name: &FileName) {
        let began = self.seconds;
        for (at, content) in writes {
            self.seconds = began;
            self.write(at, name, *content);
        }
    }

    /// Puts what another entry has under a name there by hand.
    pub(super) fn write_same(&mut self, at: &EntryName, name: &FileName, content: u32) {
        self.by_hand.insert((name.clone(), content));
        self.write(at, name, content);
    }

    pub(super) fn touch(&mut self, at: &EntryName, name: &FileName, mode: u32) {
        if let Some(file) = self.file(at, name) {
            self.seconds += 1;
            self.put(at, name, file.content, self.seconds, mode);
        }
    }

    pub(super) fn delete(&mut self, at: &EntryName, name: &FileName) {
        self.seconds += 1;
        if let Some(file) = self.disks.get_mut(at).and_then(|disk| disk.remove(name)) {
            self.superseded.insert(file.content);
        }
    }

    pub(super) fn rename(&mut self, at: &EntryName, from: &FileName, to: &FileName) {
        if from == to {
            return;
        }
        let Some(file) = self.disks.get_mut(at).and_then(|disk| disk.remove(from)) else { return };
        self.seconds += 1;
        if self.by_hand.contains(&(from.clone(), file.content)) {
            // Two that have the same have one file (8): who takes it away takes it away from both.
            self.superseded.insert(file.content);
        }
        if let Some(before) = self.file(at, to) {
            self.superseded.insert(before.content);
        }
        self.put(at, to, file.content, file.modified, file.mode);
    }

    fn put(&mut self, at: &EntryName, name: &FileName, content: u32, modified: i64, mode: u32) {
        self.versions += 1;
        let file = File { content, modified, mode, version: self.versions };
        self.disks.entry(at.clone()).or_default().insert(name.clone(), file);
    }

    // What operators and accidents do.

    pub(super) fn stop(&mut self, at: &EntryName) {
        self.stopped.insert(at.clone());
        self.hands.remove(at);
        self.looks.retain(|look| look.at != *at);
    }

    pub(super) fn start(&mut self, at: &EntryName) {
        if self.stopped.remove(at) {
            self.scan(at);
        }
    }

    pub(super) fn crash(&mut self) {
        self.hands.clear();
        self.looks.clear();
        for at in self.active() {
            self.scan(&at);
        }
    }

    pub(super) fn reload(&mut self, rules: Rules) {
        self.rules = rules;
        for name in self.index.keys().cloned().collect::<Vec<_>>() {
            let before = self.index.get(&name).cloned().unwrap_or_default();
            let verdict = self.judged(|law| judge_anew(&before, law));
            self.apply(&name, verdict);
        }
    }

    pub(super) fn active(&self) -> BTreeSet<EntryName> {
        &self.entries() - &self.stopped
    }

    // What the eyes do.

    /// Looks at a name at an entry, and tells later.
    pub(super) fn look(&mut self, at: &EntryName, name: &FileName, read: bool) {
        if self.stopped.contains(at) {
            return;
        }
        let copy = self.index.get(name).and_then(|state| state.copies.get(at));
        let known = copy.and_then(|copy| copy.stamp().cloned());
        let seen = match self.file(at, name) {
            None => Seen::Missing,
            Some(file) => {
                // A large file is read only where the index knew something else there, or when it was asked for.
                let changed = known.as_ref().is_some_and(|known| *known != stamp(&file));
                let read = read || file.content < LARGE || changed;
                Seen::Present { found: found(&file), content: read.then(|| hash(file.content)), kind: None }
            }
        };
        self.looks.push(Look { at: at.clone(), name: name.clone(), seen, known });
    }

    /// Tells what was seen in one of the looks.
    pub(super) fn tell(&mut self, which: usize) {
        if self.looks.is_empty() {
            return;
        }
        let which = which % self.looks.len();
        // Looks of one name at one entry are told in the order in which they were made.
        let same = |look: &Look| look.at == self.looks[which].at && look.name == self.looks[which].name;
        let which = self.looks.iter().position(same).expect("it is one of them");
        let look = self.looks.remove(which);
        let before = self.index.get(&look.name).cloned().unwrap_or_default();
        let verdict = self.judged(|law| observe(&before, &look.name, &look.at, &look.seen, look.known.as_ref(), law));
        match verdict {
            Verdict::Stale => self.look(&look.at, &look.name, true),
            Verdict::NeedsContent(holder) => {
                assert!(!self.stopped.contains(&holder), "a stopped entry cannot be read");
                self.look(&holder, &look.name, true);
                if holder != look.at {
                    self.look(&look.at, &look.name, true);
                }
            }
            verdict => self.apply(&look.name, verdict),
        }
    }

    pub(super) fn scan(&mut self, at: &EntryName) {
        let on_disk = self.disks.get(at).into_iter().flat_map(BTreeMap::keys);
        let known = self.index.iter().filter(|(_, state)| state.copies.contains_key(at)).map(|(name, _)| name);
        let names: BTreeSet<_> = on_disk.chain(known).cloned().collect();
        for name in names {
            self.look(at, &name, false);
        }
        while !self.looks.is_empty() {
            self.tell(0);
        }
    }

    // What the hands do.

    /// Takes the next of three steps of some work at an entry: take it up, do it, record it.
    pub(super) fn carry(&mut self, at: &EntryName, which: usize) {
        if self.stopped.contains(at) {
            return;
        }
        match self.hands.remove(at) {
            None => self.take_up(at, which),
            Some(Hand { name, state, done: None }) => {
                if let Some(done) = self.act(at, &name, &state) {
                    self.hands.insert(at.clone(), Hand { name, state, done: Some(done) });
                }
            }
            Some(Hand { name, state, done: Some(done) }) => self.record(at, &name, &state, &done),
        }
    }

    fn take_up(&mut self, at: &EntryName, which: usize) {
        let pending: Vec<_> = self.pending(at);
        if let Some(name) = pending.get(which.checked_rem(pending.len()).unwrap_or(0)) {
            let state = self.index.get(name).cloned().unwrap_or_default();
            self.hands.insert(at.clone(), Hand { name: name.clone(), state, done: None });
        }
    }

    pub(super) fn pending(&self, at: &EntryName) -> Vec<FileName> {
        let is_pending = |state: &FileState| state.copies.get(at).is_some_and(|copy| copy.pending.is_some());
        self.index.iter().filter(|(_, state)| is_pending(state)).map(|(name, _)| name.clone()).collect()
    }

    fn act(&mut self, at: &EntryName, name: &FileName, state: &FileState) -> Option<Carried> {
        let copy = state.copies.get(at).expect("work is about a copy");
        let record = state.record.as_ref().expect("work is about a file");
        let there = self.file(at, name);
        if there.as_ref().map(stamp) != copy.stamp().cloned() {
            // The guard says no.
            self.look(at, name, true);
            return None;
        }
        let modified = record.attributes.modified_at.map_or(0, |time| time.as_micros() / 1_000_000);
        let mode = record.attributes.mode.unwrap_or_default();
        match copy.pending? {
            Pending::Delete => {
                if let Some(file) = self.disks.get_mut(at).and_then(|disk| disk.remove(name)) {
                    self.kept.insert(file.content);
                }
                Some(Carried::Deleted)
            }
            Pending::Touch => {
                self.put(at, name, there?.content, modified, mode);
                let found = found(&self.file(at, name)?);
                Some(Carried::Touched { found, asked: record.attributes })
            }
            Pending::Fetch => {
                let content = self.source(name, state)?;
                if copy.number == 0
                    && let Some(there) = there
                    && self.policy == ConflictPolicy::KeepBoth
                {
                    let aside = copy.aside.clone().expect("bytes of nobody else are set aside");
                    match self.file(at, &aside) {
                        Some(taken) if taken.content != there.content => return Some(Carried::AsideTaken { aside }),
                        Some(_) => {}
                        None => self.put(at, &aside, there.content, there.modified, there.mode),
                    }
                }
                if let Some(there) = there {
                    self.kept.insert(there.content);
                }
                self.put(at, name, content, modified, mode);
                self.copied += 1;
                Some(Carried::Fetched {
                    number: record.number,
                    found: found(&self.file(at, name)?),
                    content: Some(hash(content)),
                    asked: record.attributes,
                    aside: copy.aside.clone(),
                })
            }
        }
    }

    /// Reads the version that is wanted from somebody who still has it.
    fn source(&mut self, name: &FileName, state: &FileState) -> Option<u32> {
        for holder in state.holders().cloned().collect::<Vec<_>>() {
            if self.stopped.contains(&holder) {
                continue;
            }
            let known = state.copies.get(&holder).and_then(|copy| copy.stamp().cloned());
            match self.file(&holder, name) {
                Some(file) if Some(stamp(&file)) == known => return Some(file.content),
                _ => self.look(&holder, name, true),
            }
        }
        None
    }

    fn record(&mut self, at: &EntryName, name: &FileName, state: &FileState, done: &Carried) {
        let known = state.copies.get(at).and_then(|copy| copy.stamp().cloned());
        let before = self.index.get(name).cloned().unwrap_or_default();
        let verdict = self.judged(|law| carried(&before, name, at, known.as_ref(), done, law));
        match verdict {
            Verdict::Stale => self.look(at, name, true),
            verdict => self.apply(name, verdict),
        }
    }

    fn judged(&self, judge: impl FnOnce(&Law<'_>) -> Verdict) -> Verdict {
        let (entries, active) = (self.entries(), self.active());
        let now = Timestamp::from_micros(self.seconds * 1_000_000);
        judge(&Law { rules: &self.rules, entries: &entries, active: &active, policy: self.policy, now })
    }

    fn apply(&mut self, name: &FileName, verdict: Verdict) {
        let Verdict::Decided(Decision { state, conflict, .. }) = verdict else { return };
        self.conflicts += usize::from(conflict.is_some());
        check(name, &state);
        match state.record {
            None => self.index.remove(name),
            Some(_) => self.index.insert(name.clone(), state),
        };
    }

    // What must be so in the end.

    /// Lets everything come to rest, with all entries taking part.
    pub(super) fn rest(&mut self) {
        for at in self.entries() {
            self.stopped.remove(&at);
        }
        for round in 0.. {
            assert!(round < 60, "it never comes to rest: {:#?}", self.index);
            let before = self.index.clone();
            for at in self.entries() {
                self.scan(&at);
            }
            let busy = |world: &Self, at: &EntryName| !world.pending(at).is_empty() || world.hands.contains_key(at);
            // What was looked at before the scan may have been told during it.
            if self.index == before && !self.entries().iter().any(|at| busy(self, at)) {
                break;
            }
            for at in self.entries() {
                for step in 0..3 * self.pending(&at).len() + 3 {
                    self.carry(&at, step / 3);
                }
            }
        }
    }

    /// What must be so when all is at rest.
    pub(super) fn check_rest(&mut self) {
        for (name, state) in &self.index {
            let record = state.record.as_ref().expect("a file that is known has a record");
            for (at, copy) in &state.copies {
                assert_eq!(copy.stamp().cloned(), self.file(at, name).as_ref().map(stamp), "{name} at {at}");
                assert_eq!((copy.pending, &copy.aside), (None, &None), "{name} at {at}");
                assert!(!copy.owner || (!record.deleted && copy.holds(record)), "{name} at {at}: {state:#?}");
                let content = state.holders().filter_map(|holder| self.file(holder, name)).map(|file| file.content);
                assert_eq!(content.collect::<BTreeSet<_>>().len(), usize::from(!record.deleted), "{name}");
            }
        }
        let present: BTreeSet<_> = self.disks.values().flat_map(BTreeMap::values).map(|file| file.content).collect();
        if self.policy == ConflictPolicy::KeepBoth {
            let lost: Vec<_> =
                self.written.iter().filter(|c| !self.superseded.contains(c) && !present.contains(c)).collect();
            assert!(lost.is_empty(), "lost {lost:?} of {self:#?}");
        }
        // Judged anew, a file that only a follower deleted comes back to it, and one that was kept reachable by an
        // entry that should not own it is not any more: let that happen first.
        for _ in 0..2 {
            self.reload(self.rules.clone());
            self.rest();
        }
        let (before, copied) = (self.clone(), self.copied);
        self.rest();
        assert_eq!(self.index, before.index, "a second pass changed something");
        assert_eq!(self.copied, copied, "a second pass copied something");
        self.reload(self.rules.clone());
        assert_eq!(self.index, before.index, "the same rules changed something");
    }

    /// What everybody has, when everybody has the same.
    pub(super) fn same_everywhere(&self) -> BTreeMap<String, u32> {
        let contents = |disk: &BTreeMap<FileName, File>| -> BTreeMap<String, u32> {
            disk.iter().map(|(name, file)| (name.to_string(), file.content)).collect()
        };
        let all: Vec<_> = self.disks.values().map(contents).collect();
        assert!(all.windows(2).all(|two| two.first() == two.last()), "they differ: {all:#?}");
        all.into_iter().next().unwrap_or_default()
    }
}

/// What must be so at every moment.
fn check(name: &FileName, state: &FileState) {
    let Some(record) = &state.record else {
        assert!(state.copies.is_empty(), "{name} is forgotten while somebody has it: {state:#?}");
        return;
    };
    assert_eq!(record.name, *name);
    if !record.deleted {
        assert!(state.holders().next().is_some(), "nobody holds {name}: {state:#?}");
    }
    for (at, copy) in &state.copies {
        let unshared = copy.state.is_some() && copy.number == 0;
        let fetched = copy.pending == Some(Pending::Fetch);
        assert!(copy.aside.is_none() || (unshared && fetched), "{name} at {at}: {state:#?}");
        assert!(!copy.owner || copy.holds(record) || fetched, "{name} at {at}: {state:#?}");
        assert!(!fetched || copy.owner, "{name} at {at}: {state:#?}");
        assert!(copy.number <= record.number, "{name} at {at}: {state:#?}");
    }
    let contents = |state: &FileState| -> BTreeSet<_> {
        state.copies.values().filter(|copy| copy.holds(record)).filter_map(|copy| copy.state.clone()?.content).collect()
    };
    assert!(contents(state).len() <= 1, "two contents are current: {state:#?}");
}

pub(super) fn entry(name: &str) -> EntryName {
    EntryName::new(name).expect("a name of a test is a name")
}

pub(super) fn name(name: &str) -> FileName {
    FileName::new(name).expect("a name of a test is a name")
}

fn hash(content: u32) -> ContentHash {
    ContentHash::from_hex(format!("{content:016x}"))
}

fn stamp(file: &File) -> Stamp {
    // All large files have one size, so that only reading tells them apart.
    let size_bytes = if file.content < LARGE { u64::from(file.content % 3) } else { 60_000_000 };
    Stamp { size_bytes, version: file.version.to_string() }
}

fn found(file: &File) -> Found {
    let modified_at = Some(Timestamp::from_micros(file.modified * 1_000_000));
    Found { stamp: stamp(file), attributes: Attributes { modified_at, mode: Some(file.mode) } }
}
