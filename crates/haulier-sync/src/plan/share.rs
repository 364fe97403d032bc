//! What a new version, a deletion or other rules make pending at the entries. Pure.

use std::collections::BTreeSet;

use super::{Conflict, ConflictPolicy, Law};
use crate::model::{Copy, CopyState, EntryName, FileName, FileRecord, FileState, Pending, Subject};
use crate::plan::name::conflict_name;

/// The number of a copy of some earlier version, no matter which: it may be replaced.
pub(super) const EARLIER: u64 = 1;

/// The entries that should own a file after a change from one of them (§3.2).
pub(super) fn owners(law: &Law<'_>, record: &FileRecord, from: &EntryName) -> BTreeSet<EntryName> {
    let mut owners = law.rules.owners(from, Subject::of(record));
    owners.retain(|owner| law.entries.contains(owner));
    owners
}

/// Makes what an entry has the current version, and sends it to those that should have it (13).
pub(super) fn publish(
    state: &mut FileState,
    law: &Law<'_>,
    name: &FileName,
    at: &EntryName,
    copy: CopyState,
    kind: Option<String>,
) -> Option<Conflict> {
    let before = state.record.take();
    let mut past = before.as_ref().map(|record| record.past.clone()).unwrap_or_default();
    if let Some((record, content)) = before.as_ref().and_then(|record| Some((record, record.content.as_ref()?))) {
        past.push(record.number, content);
    }
    let record = FileRecord {
        name: name.clone(),
        number: next_number(before.as_ref(), law),
        size_bytes: copy.found.stamp.size_bytes,
        attributes: copy.found.attributes,
        content: copy.content.clone(),
        kind,
        past,
        origin: at.clone(),
        deleted: false,
        changed_at: law.now,
    };
    let owners = owners(law, &record, at);
    let owner = owners.contains(at);
    let copy = Copy { owner, state: Some(copy), number: record.number, pending: None, aside: None };
    state.copies.insert(at.clone(), copy);
    state.record = Some(record);
    share(state, law, &owners)
}

/// Brings the current version to its owners; the others keep what they have (3.4.5).
pub(super) fn share(state: &mut FileState, law: &Law<'_>, owners: &BTreeSet<EntryName>) -> Option<Conflict> {
    let mut conflict = None;
    if let Some(record) = &state.record {
        for owner in owners {
            state.copies.entry(owner.clone()).or_insert_with(|| Copy { number: record.number - 1, ..nothing() });
        }
        for (entry, copy) in &mut state.copies {
            match owners.contains(entry) {
                true => conflict = fetch(copy, record, law, entry).or(conflict),
                false => disown(copy),
            }
        }
    }
    prune(state, law);
    conflict
}

/// Lets an entry own the current version.
pub(super) fn fetch(copy: &mut Copy, record: &FileRecord, law: &Law<'_>, entry: &EntryName) -> Option<Conflict> {
    copy.owner = true;
    let leaving = copy.pending == Some(Pending::Delete);
    if leaving && copy.number != 0 {
        // It may be gone already: its absence must not be taken for a deletion of what is current now.
        copy.number = copy.number.min(record.number - 1);
    }
    if copy.holds(record) {
        copy.aside = None;
        copy.pending = copy.pending.filter(|pending| *pending == Pending::Touch);
        return None;
    }
    let idle = matches!(copy.pending, None | Some(Pending::Touch));
    let content = copy.state.as_ref().and_then(|state| state.content.as_ref());
    // Where something is under way the bytes that are known may not be those that are there.
    if idle && content.is_some() && content == record.content.as_ref() {
        (copy.number, copy.pending, copy.aside) = (record.number, None, None);
        return None;
    }
    copy.pending = Some(Pending::Fetch);
    set_aside(copy, record, law, entry)
}

/// Sees to it that bytes which are nobody else's are kept when the entry's copy is replaced (30, 33).
pub(super) fn set_aside(copy: &mut Copy, record: &FileRecord, law: &Law<'_>, entry: &EntryName) -> Option<Conflict> {
    if copy.state.is_none() || copy.number != 0 {
        copy.aside = None;
        return None;
    }
    match law.policy {
        ConflictPolicy::KeepBoth => {
            copy.aside.get_or_insert_with(|| conflict_name(&record.name, entry, law.now));
            None
        }
        ConflictPolicy::Newest => {
            (copy.number, copy.aside) = (EARLIER, None);
            Some(Conflict { loser: entry.clone(), winner: record.origin.clone(), aside: None })
        }
    }
}

/// Deletes the file wherever an update from this entry would have gone; the entry's own copy is gone already
/// (20, 31). Says whether it was restored instead.
pub(super) fn delete(state: &mut FileState, law: &Law<'_>, at: &EntryName) -> (bool, Option<Conflict>) {
    let Some(record) = state.record.clone() else { return (false, None) };
    let targets = owners(law, &record, at);
    state.copies.remove(at);
    let stays = |entry: &EntryName, copy: &Copy| copy.owner && copy.holds(&record) && !targets.contains(entry);
    let keeper = state.copies.iter().find(|(entry, copy)| stays(entry, copy)).map(|(entry, _)| entry.clone());
    if let Some(keeper) = keeper {
        // Those that update this one, and are not updated by it, keep the file.
        for (entry, copy) in &mut state.copies {
            if targets.contains(entry) && !is_unshared(copy) {
                leave(copy, law, entry);
            }
        }
        if let Some(record) = &mut state.record {
            let origin_stays = state.copies.get(&record.origin).is_some_and(|copy| copy.owner);
            if !origin_stays {
                record.origin = keeper;
            }
        }
        prune(state, law);
        return (false, None);
    }
    let unshared = |copy: &Copy| copy.owner && is_unshared(copy);
    if let Some((entry, copy)) = latest(state, unshared) {
        return (true, publish(state, law, &record.name, &entry, copy, None));
    }
    bury(state, law, at, &targets);
    (false, None)
}

/// Leaves a tombstone until those that have to delete their copy did (22).
fn bury(state: &mut FileState, law: &Law<'_>, at: &EntryName, targets: &BTreeSet<EntryName>) {
    let Some(record) = &mut state.record else { return };
    if let Some(content) = &record.content {
        record.past.push(record.number, content);
    }
    record.number = next_number(Some(record), law);
    (record.deleted, record.origin, record.changed_at) = (true, at.clone(), law.now);
    for (entry, copy) in &mut state.copies {
        match targets.contains(entry) {
            true => leave(copy, law, entry),
            false => disown(copy),
        }
    }
    prune(state, law);
}

/// Takes the best of what is left for current, when nobody holds the current version any more.
pub(super) fn heal(state: &mut FileState, law: &Law<'_>) -> Option<Conflict> {
    let record = state.record.clone().filter(|record| !record.deleted)?;
    if state.holders().next().is_some() {
        return None;
    }
    if let Some((entry, copy)) = latest(state, |copy| copy.owner) {
        return publish(state, law, &record.name, &entry, copy, None);
    }
    let waiting = state.copies.iter().filter(|(_, copy)| copy.owner).map(|(entry, _)| entry.clone()).collect();
    bury(state, law, &record.origin, &waiting);
    None
}

/// The copy of the latest time among some.
fn latest(state: &FileState, is_meant: impl Fn(&Copy) -> bool) -> Option<(EntryName, CopyState)> {
    let meant = state.copies.iter().filter(|(_, copy)| is_meant(copy));
    let present = meant.filter_map(|(entry, copy)| Some((entry, copy.state.as_ref()?)));
    let latest = present.max_by_key(|(_, copy)| copy.found.attributes.modified_at);
    latest.map(|(entry, copy)| (entry.clone(), copy.clone()))
}

/// Whether these bytes are no version of the file and nobody else has them.
fn is_unshared(copy: &Copy) -> bool {
    copy.state.is_some() && copy.number == 0
}

/// Has an entry delete its copy.
fn leave(copy: &mut Copy, law: &Law<'_>, entry: &EntryName) {
    // A fetch that is under way may put the file there after this: somebody has to look.
    let unsure = match copy.pending {
        Some(Pending::Fetch) => law.active.contains(entry),
        Some(Pending::Delete) => true,
        Some(Pending::Touch) | None => false,
    };
    (copy.owner, copy.aside) = (false, None);
    copy.pending = (copy.state.is_some() || unsure).then_some(Pending::Delete);
}

/// Lets an entry keep what it has, without any part in the file.
fn disown(copy: &mut Copy) {
    (copy.owner, copy.aside) = (false, None);
    copy.pending = copy.pending.filter(|pending| *pending == Pending::Delete);
}

/// Forgets copies that say nothing, and a deleted file that nobody holds (22).
pub(super) fn prune(state: &mut FileState, law: &Law<'_>) {
    let says_something = |copy: &Copy| copy.owner || copy.state.is_some() || copy.pending.is_some();
    state.copies.retain(|entry, copy| law.entries.contains(entry) && says_something(copy));
    if state.copies.is_empty() && state.record.as_ref().is_some_and(|record| record.deleted) {
        state.record = None;
    }
}

/// Has the current version sent to an entry where nothing is, and to which none before it is on its way.
pub(super) fn send_anew(copy: &mut Copy, record: Option<&FileRecord>) {
    let number = record.map_or(0, |record| record.number - 1);
    (copy.state, copy.number, copy.aside, copy.pending) = (None, number, None, Some(Pending::Fetch));
}

/// What an entry has of which nothing is known.
pub(super) fn nothing() -> Copy {
    Copy { owner: false, state: None, number: 0, pending: None, aside: None }
}

fn next_number(before: Option<&FileRecord>, law: &Law<'_>) -> u64 {
    match before {
        Some(record) => record.number + 1,
        None => u64::try_from(law.now.as_micros()).unwrap_or_default().max(EARLIER + 1),
    }
}
