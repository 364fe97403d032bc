//! What follows from what a carrier did. Pure.

use super::observe::{differ, learn};
use super::share::{self, EARLIER};
use super::{Became, Carried, Conflict, Law, Verdict};
use crate::model::{
    Attributes, ContentHash, Copy, CopyState, EntryName, FileName, FileRecord, FileState, Found, Past, Pending, Stamp,
};
use crate::plan::name::free_conflict_name;

/// Records what a carrier did at an entry, who found `known` in the index before it began.
pub(crate) fn carried(
    before: &FileState,
    name: &FileName,
    at: &EntryName,
    known: Option<&Stamp>,
    outcome: &Carried,
    law: &Law<'_>,
) -> Verdict {
    let index = before.copies.get(at).and_then(Copy::stamp);
    let stamp = match outcome {
        Carried::Fetched { found, .. } | Carried::Touched { found, .. } => Some(&found.stamp),
        Carried::Deleted => None,
        Carried::AsideTaken { .. } => index,
    };
    if index != known && index != stamp {
        // Somebody looked after the carrier was done, and saw something else again.
        return Verdict::Stale;
    }
    let mut state = before.clone();
    let mut conflict = None;
    match outcome {
        Carried::Fetched { number, found, content, asked, aside } => {
            conflict = aside.as_ref().and_then(|aside| kept_aside(before, at, aside));
            let fetched = Fetched { number: *number, found, content: content.as_ref(), asked: *asked };
            fetched.record(&mut state, name, at, law);
            // What it replaced may have become current meanwhile, and have been nobody else's.
            conflict = share::heal(&mut state, law).or(conflict);
        }
        Carried::Deleted => conflict = deleted(&mut state, at, law),
        Carried::Touched { found, asked } => touched(&mut state, at, found, *asked),
        Carried::AsideTaken { aside } => {
            if let Some(copy) = state.copies.get_mut(at).filter(|copy| copy.aside.as_ref() == Some(aside)) {
                copy.aside = Some(free_conflict_name(name, at, law.now, |taken| taken == aside));
            }
        }
    }
    share::prune(&mut state, law);
    Verdict::of(before, state, Became::Settled, conflict)
}

fn kept_aside(before: &FileState, at: &EntryName, aside: &FileName) -> Option<Conflict> {
    // Told a second time, it is on record.
    before.copies.get(at).filter(|copy| copy.aside.as_ref() == Some(aside))?;
    let winner = before.record.as_ref()?.origin.clone();
    Some(Conflict { loser: at.clone(), winner, aside: Some(aside.clone()) })
}

/// A version that was put in place.
struct Fetched<'a> {
    number: u64,
    found: &'a Found,
    content: Option<&'a ContentHash>,
    asked: Attributes,
}

impl Fetched<'_> {
    fn record(&self, state: &mut FileState, name: &FileName, at: &EntryName, law: &Law<'_>) {
        let there = CopyState { found: self.found.clone(), content: self.content.cloned() };
        let Some(record) = state.record.clone() else {
            // Deleted everywhere while it was on its way: it has to go here too.
            state.record = Some(self.tombstone(name, at, law));
            let copy = Copy { state: Some(there), number: EARLIER, pending: Some(Pending::Delete), ..share::nothing() };
            state.copies.insert(at.clone(), copy);
            return;
        };
        let unknown = !state.copies.contains_key(at);
        let copy = state.copies.entry(at.clone()).or_insert_with(share::nothing);
        // Somebody may have looked before us, and taken what is there for what everybody should have.
        let current = self.agrees(&record) || (copy.holds(&record) && copy.stamp() == Some(&self.found.stamp));
        copy.number = if current { record.number } else { self.number.min(record.number - 1) };
        (copy.state, copy.aside) = (Some(there), None);
        if record.deleted {
            if unknown {
                copy.pending = Some(Pending::Delete);
            }
        } else if copy.number == record.number {
            let touch = differ(self.asked, record.attributes).then_some(Pending::Touch);
            copy.pending = copy.pending.filter(|pending| *pending == Pending::Delete).or(touch);
            if let Some(content) = self.content.filter(|_| record.content.is_none()) {
                learn(state, content);
            } else if let Some(there) = &mut copy.state {
                there.content = record.content.clone();
            }
        } else if copy.owner && copy.pending != Some(Pending::Delete) {
            copy.pending = Some(Pending::Fetch);
        }
    }

    fn agrees(&self, record: &FileRecord) -> bool {
        let same_content = match (self.content, &record.content) {
            (Some(fetched), Some(current)) => fetched == current,
            _ => true,
        };
        self.number == record.number && self.found.stamp.size_bytes == record.size_bytes && same_content
    }

    fn tombstone(&self, name: &FileName, at: &EntryName, law: &Law<'_>) -> FileRecord {
        FileRecord {
            name: name.clone(),
            number: u64::try_from(law.now.as_micros()).unwrap_or_default().max(self.number + 1),
            size_bytes: self.found.stamp.size_bytes,
            attributes: self.found.attributes,
            content: self.content.cloned(),
            kind: None,
            past: Past::default(),
            origin: at.clone(),
            deleted: true,
            changed_at: law.now,
        }
    }
}

/// The copy is gone, as it was to be, or as it is not to be any more.
fn deleted(state: &mut FileState, at: &EntryName, law: &Law<'_>) -> Option<Conflict> {
    let copy = state.copies.get_mut(at)?;
    match copy.owner && copy.pending != Some(Pending::Delete) {
        true => share::send_anew(copy, state.record.as_ref()),
        false => drop(state.copies.remove(at)),
    }
    share::prune(state, law);
    share::heal(state, law)
}

fn touched(state: &mut FileState, at: &EntryName, found: &Found, asked: Attributes) {
    let wanted = state.record.as_ref().map(|record| record.attributes);
    let Some(copy) = state.copies.get_mut(at) else { return };
    let Some(there) = &mut copy.state else { return };
    there.found = found.clone();
    if wanted == Some(asked) {
        copy.pending = copy.pending.filter(|pending| *pending != Pending::Touch);
    }
}
