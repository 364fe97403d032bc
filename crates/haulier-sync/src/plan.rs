//! The judge: from what is known about a name, what was seen, and the rules, to what is to be done. Pure.
//!
//! Knows no database, no storage and no time but the one it is given. Rules named are those of the contract's §4.

mod carried;
mod name;
mod observe;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use haulier_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Attributes, ContentHash, EntryName, FileName, FileState, Found, Owners};

pub(crate) use carried::carried;
pub(crate) use name::free_conflict_name;
pub(crate) use observe::observe;

/// What becomes of the version that loses a conflict (§4.5 33).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConflictPolicy {
    /// It is kept beside the winner, under a name of its own.
    #[default]
    KeepBoth,
    /// It is dropped; only the kept old versions have it for a while.
    Newest,
}

/// What a file is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Law<'a> {
    /// The rules in force.
    pub rules: &'a dyn Owners,
    /// The entries that exist.
    pub entries: &'a BTreeSet<EntryName>,
    /// Those of them that are not stopped.
    pub active: &'a BTreeSet<EntryName>,
    /// What becomes of losers.
    pub policy: ConflictPolicy,
    /// The present instant.
    pub now: Timestamp,
}

/// Two versions of which one lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Whose version lost.
    pub loser: EntryName,
    /// Whose version is current.
    pub winner: EntryName,
    /// Under which name the loser's version is kept, at the loser; none when the policy dropped it.
    pub aside: Option<FileName>,
}

/// What became true of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    /// A first version, or one after a deletion.
    Created,
    /// Another version.
    Edited,
    /// Another time or mode.
    Touched,
    /// A deletion.
    Deleted,
    /// Nothing that anybody else has to know.
    Settled,
}

/// What is known from now on, and what became of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What is known from now on. A state without a record is to be forgotten.
    pub state: FileState,
    /// What became true.
    pub became: Became,
    /// A version that was set aside, or dropped by the policy.
    pub conflict: Option<Conflict>,
}

/// The judge's answer to what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is the answer for one name, taken apart at once")]
pub(crate) enum Verdict {
    /// This is so from now on.
    Decided(Decision),
    /// All of it was known.
    Unchanged,
    /// The copy of this entry must be read first: two contents have to be compared.
    NeedsContent(EntryName),
    /// What was seen is older than what is known: it has to be looked at again.
    Stale,
}

/// What a carrier did at an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// It put a version in place.
    Fetched {
        /// Which version.
        number: u64,
        /// What is there now.
        found: Found,
        /// Its hash, as computed while copying.
        content: Option<ContentHash>,
        /// The time and mode it was asked to give it.
        asked: Attributes,
        /// Under which name it kept what was there before, if that had lost a conflict.
        aside: Option<FileName>,
    },
    /// It removed what was there, or found nothing there.
    Deleted,
    /// It took over time and mode.
    Touched {
        /// What is there now.
        found: Found,
        /// What it was asked to take over.
        asked: Attributes,
    },
    /// The name for what lost a conflict is taken by something else: another one is needed.
    AsideTaken {
        /// The name.
        aside: FileName,
    },
}

/// Judges a file by the rules in force now, as if its current version came in again (3.4.5, 3.4.6).
pub(crate) fn judge_anew(before: &FileState, law: &Law<'_>) -> Verdict {
    let mut state = before.clone();
    share::prune(&mut state, law);
    let mut conflict = None;
    if let Some(record) = &mut state.record
        && !record.deleted
    {
        if !law.entries.contains(&record.origin)
            && let Some(holder) = before.holders().find(|holder| law.entries.contains(*holder))
        {
            record.origin = holder.clone();
        }
        conflict = share::heal(&mut state, law).or_else(|| reapply(&mut state, law));
    }
    Verdict::of(before, state, Became::Settled, conflict)
}

fn reapply(state: &mut FileState, law: &Law<'_>) -> Option<Conflict> {
    let record = state.record.as_ref().filter(|record| !record.deleted)?;
    let mut owners = share::owners(law, record, &record.origin);
    let up_to_date: Vec<_> = state.copies.keys().filter(|entry| state.is_up_to_date(entry)).cloned().collect();
    if !up_to_date.iter().any(|entry| owners.contains(entry)) {
        owners.extend(up_to_date);
    }
    share::share(state, law, &owners)
}

impl Verdict {
    fn of(before: &FileState, state: FileState, became: Became, conflict: Option<Conflict>) -> Self {
        match *before == state && conflict.is_none() {
            true => Self::Unchanged,
            false => Self::Decided(Decision { state, became, conflict }),
        }
    }
}
