//! What follows from seeing a name at an entry. Pure.

use std::cmp::Reverse;

use super::share::{self, EARLIER};
use super::{Became, Conflict, Law, Verdict};
use crate::model::{
    Attributes, ContentHash, Copy, CopyState, EntryName, FileName, FileRecord, FileState, Found, Pending, Seen, Stamp,
};

/// Judges what was seen of a name at an entry by somebody who found `known` in the index before looking.
pub(crate) fn observe(
    before: &FileState,
    name: &FileName,
    at: &EntryName,
    seen: &Seen,
    known: Option<&Stamp>,
    law: &Law<'_>,
) -> Verdict {
    let index = before.copies.get(at).and_then(Copy::stamp);
    let stamp = match seen {
        Seen::Present { found, .. } => Some(&found.stamp),
        Seen::Missing => None,
    };
    if index != known && index != stamp {
        return Verdict::Stale;
    }
    match seen {
        Seen::Missing => missing(before, at, law),
        Seen::Present { found, content, kind } => {
            let seen = CopyState { found: found.clone(), content: content.clone() };
            Sight { before, name, at, kind: kind.as_deref(), law }.present(seen)
        }
    }
}

/// The file is not there.
fn missing(before: &FileState, at: &EntryName, law: &Law<'_>) -> Verdict {
    let mut state = before.clone();
    let Some(copy) = state.copies.get_mut(at) else { return Verdict::Unchanged };
    let (was_there, leaving) = (copy.state.is_some(), copy.pending == Some(Pending::Delete));
    if !was_there && !leaving {
        return Verdict::Unchanged;
    }
    if was_there && before.is_up_to_date(at) && !leaving {
        let (restored, conflict) = share::delete(&mut state, law, at);
        let became = if restored { Became::Edited } else { Became::Deleted };
        return Verdict::of(before, state, became, conflict);
    }
    match copy.owner && !leaving {
        // It was not up to date here, so it is sent again (9, 21).
        true => share::send_anew(copy, state.record.as_ref()),
        false => drop(state.copies.remove(at)),
    }
    share::prune(&mut state, law);
    let conflict = share::heal(&mut state, law);
    Verdict::of(before, state, Became::Settled, conflict)
}

/// How what is there relates to what was known to be there.
enum Difference {
    /// The same bytes.
    Same,
    /// The same bytes, whose hash is known now.
    Learned(ContentHash),
    /// The same bytes with another time, mode or stamp.
    Touched,
    /// Other bytes.
    Changed,
    /// Reading would tell.
    Unsure,
}

fn difference(known: &CopyState, seen: &CopyState) -> Difference {
    if known.found.stamp == seen.found.stamp {
        return match (&known.content, &seen.content) {
            (None, Some(content)) => Difference::Learned(content.clone()),
            (Some(known), Some(seen)) if known != seen => Difference::Changed,
            _ if differ(known.found.attributes, seen.found.attributes) => Difference::Touched,
            _ => Difference::Same,
        };
    }
    match (&known.content, &seen.content) {
        _ if known.found.stamp.size_bytes != seen.found.stamp.size_bytes => Difference::Changed,
        (Some(known), Some(seen)) if known == seen => Difference::Touched,
        (Some(_), None) => Difference::Unsure,
        _ => Difference::Changed,
    }
}

/// Whether two contents are the same.
enum Equal {
    Yes,
    No,
    /// The copy of this entry has to be read first.
    Read(EntryName),
}

/// A file that is there.
struct Sight<'a> {
    before: &'a FileState,
    name: &'a FileName,
    at: &'a EntryName,
    /// The type that the bytes tell, where the name tells none.
    kind: Option<&'a str>,
    law: &'a Law<'a>,
}

impl Sight<'_> {
    fn present(&self, seen: CopyState) -> Verdict {
        let Some(record) = &self.before.record else { return self.publish(seen, Became::Created) };
        let copy = self.before.copies.get(self.at);
        if let Some((copy, known)) = copy.and_then(|copy| Some((copy, copy.state.as_ref()?))) {
            match difference(known, &seen) {
                Difference::Same => return Verdict::Unchanged,
                Difference::Learned(content) => return self.learned(copy, record, content),
                Difference::Touched => return self.touched(copy, record, known, &seen),
                Difference::Unsure => return Verdict::NeedsContent(self.at.clone()),
                Difference::Changed => {}
            }
        }
        match copy {
            Some(copy) if copy.pending == Some(Pending::Delete) => self.while_leaving(copy, record, seen),
            _ if record.deleted => self.publish(seen, Became::Created),
            Some(copy) if copy.holds(record) => self.publish(seen, Became::Edited),
            _ => self.on_top_of_another(copy, record, seen),
        }
    }

    /// A change of the current version, or a first one (13, 27, 31).
    fn publish(&self, seen: CopyState, became: Became) -> Verdict {
        let mut state = self.before.clone();
        let conflict = self.publish_in(&mut state, seen);
        Verdict::of(self.before, state, became, conflict)
    }

    fn publish_in(&self, state: &mut FileState, seen: CopyState) -> Option<Conflict> {
        share::publish(state, self.law, self.name, self.at, seen, self.kind.map(str::to_owned))
    }

    /// Other bytes where a copy is about to be deleted: a change, unless we put them there ourselves before we knew of
    /// the deletion.
    fn while_leaving(&self, copy: &Copy, record: &FileRecord, seen: CopyState) -> Verdict {
        match self.is_current(record, &seen) {
            Equal::Read(entry) if entry == *self.at => return Verdict::NeedsContent(entry),
            Equal::No | Equal::Read(_) if !self.is_past(copy, record, &seen) => {
                return match (record.deleted, copy.holds(record)) {
                    (true, _) => self.publish(seen, Became::Created),
                    (false, true) => self.publish(seen, Became::Edited),
                    (false, false) => self.on_top_of_another(Some(copy), record, seen),
                };
            }
            _ => {}
        }
        self.settle(|copy| {
            copy.state = Some(seen);
            copy.number = copy.number.max(EARLIER);
        })
    }

    /// Bytes at an entry that did not have the current version: the same, an earlier one, or a conflict (8, 28).
    fn on_top_of_another(&self, copy: Option<&Copy>, record: &FileRecord, seen: CopyState) -> Verdict {
        match self.is_current(record, &seen) {
            Equal::Yes => {
                let owns = share::owners(self.law, record, self.at).contains(self.at);
                let number = record.number;
                return self.settle(|copy| {
                    copy.owner |= owns;
                    (copy.state, copy.number, copy.pending, copy.aside) = (Some(seen), number, None, None);
                });
            }
            Equal::Read(entry) => return Verdict::NeedsContent(entry),
            Equal::No => {}
        }
        if copy.is_some_and(|copy| self.is_past(copy, record, &seen)) {
            return self.settle(|copy| {
                (copy.state, copy.number, copy.aside) = (Some(seen), copy.number.max(EARLIER), None);
                if copy.owner {
                    copy.pending = Some(Pending::Fetch);
                }
            });
        }
        self.conflict(record, seen)
    }

    /// Two versions, of which neither knew of the other (29, 30).
    fn conflict(&self, record: &FileRecord, seen: CopyState) -> Verdict {
        let rank = |attributes: Attributes, entry| (attributes.modified_at, Reverse(entry));
        let wins = rank(seen.found.attributes, self.at) >= rank(record.attributes, &record.origin);
        let mut state = self.before.clone();
        if wins {
            // One of those that hold the loser keeps it.
            if let Some(copy) = self.keeper().and_then(|keeper| state.copies.get_mut(&keeper)) {
                copy.number = 0;
            }
            let conflict = self.publish_in(&mut state, seen);
            return Verdict::of(self.before, state, Became::Edited, conflict);
        }
        let sent_here = share::owners(self.law, record, &record.origin).contains(self.at);
        let copy = state.copies.entry(self.at.clone()).or_insert_with(share::nothing);
        (copy.state, copy.number) = (Some(seen), 0);
        let mut conflict = None;
        match copy.owner || sent_here {
            true => {
                (copy.owner, copy.pending) = (true, Some(Pending::Fetch));
                conflict = share::set_aside(copy, record, self.law, self.at);
            }
            // The winner is not for this entry, which keeps its own.
            false => (copy.pending, copy.aside) = (None, None),
        }
        Verdict::of(self.before, state, Became::Settled, conflict)
    }

    /// Who keeps the current version when it loses: its origin, or else somebody who can do so now.
    fn keeper(&self) -> Option<EntryName> {
        let origin = self.before.record.as_ref().map(|record| &record.origin);
        let rank = |entry: &&EntryName| (Some(*entry) == origin, self.law.active.contains(*entry));
        self.before.holders().max_by_key(rank).cloned()
    }

    fn learned(&self, copy: &Copy, record: &FileRecord, content: ContentHash) -> Verdict {
        let mut state = self.before.clone();
        match copy.holds(record) {
            true => learn(&mut state, &content),
            false => {
                if let Some(known) = state.copies.get_mut(self.at).and_then(|copy| copy.state.as_mut()) {
                    known.content = Some(content);
                }
            }
        }
        Verdict::of(self.before, state, Became::Settled, None)
    }

    /// The same bytes with another time or mode: no conflict ever, and the latest one wins (18).
    fn touched(&self, copy: &Copy, record: &FileRecord, known: &CopyState, seen: &CopyState) -> Verdict {
        let mut state = self.before.clone();
        let attributes = merge(known.found.attributes, seen.found.attributes);
        if let Some(copy) = state.copies.get_mut(self.at) {
            let found = Found { stamp: seen.found.stamp.clone(), attributes };
            copy.state = Some(CopyState { found, content: known.content.clone() });
        }
        let current = !record.deleted && copy.owner && copy.holds(record);
        if !current || !differ(known.found.attributes, seen.found.attributes) {
            return Verdict::of(self.before, state, Became::Settled, None);
        }
        if let Some(copy) = state.copies.get_mut(self.at) {
            copy.pending = copy.pending.filter(|pending| *pending != Pending::Touch);
        }
        if !differ(record.attributes, attributes) {
            return Verdict::of(self.before, state, Became::Settled, None);
        }
        spread(&mut state, self.law, self.at, merge(record.attributes, attributes));
        Verdict::of(self.before, state, Became::Touched, None)
    }

    /// Records what is here without telling anybody.
    fn settle(&self, change: impl FnOnce(&mut Copy)) -> Verdict {
        let mut state = self.before.clone();
        change(state.copies.entry(self.at.clone()).or_insert_with(share::nothing));
        share::prune(&mut state, self.law);
        Verdict::of(self.before, state, Became::Settled, None)
    }

    /// Whether these bytes are an earlier version that was on its way here.
    fn is_past(&self, copy: &Copy, record: &FileRecord, seen: &CopyState) -> bool {
        seen.content.as_ref().is_some_and(|content| record.past.holds_after(copy.number, content))
    }

    fn is_current(&self, record: &FileRecord, seen: &CopyState) -> Equal {
        if record.size_bytes != seen.found.stamp.size_bytes {
            return Equal::No;
        }
        match (&record.content, &seen.content) {
            (Some(current), Some(seen)) if current == seen => Equal::Yes,
            (Some(_), Some(_)) => Equal::No,
            (_, None) => Equal::Read(self.at.clone()),
            (None, Some(_)) => {
                let readable = self.before.holders().find(|holder| self.law.active.contains(*holder));
                // Where nobody can tell, two versions are kept rather than one lost.
                readable.map_or(Equal::No, |holder| Equal::Read(holder.clone()))
            }
        }
    }
}

/// Takes over the hash of the current version wherever it is.
pub(super) fn learn(state: &mut FileState, content: &ContentHash) {
    let Some(record) = &mut state.record else { return };
    record.content = Some(content.clone());
    for copy in state.copies.values_mut().filter(|copy| copy.number == record.number) {
        if let Some(known) = &mut copy.state {
            known.content = Some(content.clone());
        }
    }
}

/// Sends time and mode where an update from this entry would go.
fn spread(state: &mut FileState, law: &Law<'_>, from: &EntryName, attributes: Attributes) {
    let Some(record) = &mut state.record else { return };
    record.attributes = attributes;
    let targets = share::owners(law, record, from);
    for (entry, copy) in &mut state.copies {
        let Some(known) = copy.state.as_ref().filter(|_| copy.owner && copy.number == record.number) else { continue };
        if entry != from && targets.contains(entry) && copy.pending.is_none_or(|pending| pending == Pending::Touch) {
            copy.pending = differ(known.found.attributes, attributes).then_some(Pending::Touch);
        }
    }
}

/// Whether two times or modes differ. One that a storage does not tell agrees with any.
pub(super) fn differ(one: Attributes, other: Attributes) -> bool {
    let times = one.modified_at.zip(other.modified_at).is_some_and(|(one, other)| one != other);
    times || one.mode.zip(other.mode).is_some_and(|(one, other)| one != other)
}

fn merge(old: Attributes, new: Attributes) -> Attributes {
    Attributes { modified_at: new.modified_at.or(old.modified_at), mode: new.mode.or(old.mode) }
}
