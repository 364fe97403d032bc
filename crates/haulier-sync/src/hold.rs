//! When deletions wait for the operator's word (§4.2 10): an unmounted disk must not empty the others. Pure.

use haulier_base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Fewer known files than this are no evidence.
const KNOWN_MIN: u64 = 20;

/// Why deletions are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The root is not there.
    RootMissing,
    /// The root is there without our mark in it: it is another folder, as after a disk was unmounted.
    RootReplaced,
    /// Nothing is in the root, where much was.
    RootEmpty,
    /// More than half of the files went in one pass.
    ManyMissing,
}

/// What one pass over an entry found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Files that the index knew there.
    pub(crate) known: u64,
    /// Those of them that are missing and were not renamed.
    pub(crate) missing: u64,
    /// Files that are there.
    pub(crate) listed: u64,
}

impl Tally {
    /// Why what is missing should not be taken for deleted; none when it should.
    pub(crate) fn doubt(&self) -> Option<Reason> {
        if self.known < KNOWN_MIN || self.missing * 2 <= self.known {
            return None;
        }
        Some(if self.listed == 0 { Reason::RootEmpty } else { Reason::ManyMissing })
    }
}

/// Deletions that wait, as kept in the row of the entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// None when the operator's word came before there was anything to hold.
    pub(crate) reason: Option<Reason>,
    /// How many files are missing.
    pub(crate) missing: u64,
    /// How many were known.
    pub(crate) known: u64,
    /// Since when, microseconds since 1970.
    pub(crate) since: Timestamp,
    /// Whether the operator said that what is missing was meant to be deleted.
    #[serde(default)]
    pub(crate) forced: bool,
}

impl Held {
    pub(crate) fn new(reason: Reason, tally: Tally, since: Timestamp) -> Self {
        Self { reason: Some(reason), missing: tally.missing, known: tally.known, since, forced: false }
    }

    /// Reads the row's document; one that cannot be read holds nothing.
    pub(crate) fn read(document: Option<&Value>) -> Option<Self> {
        serde_json::from_value(document?.clone()).ok()
    }

    /// The operator's word, given with a restart: the next pass believes what it finds.
    pub(crate) fn force(before: Option<&Value>, now: Timestamp) -> Value {
        let nothing = Self { reason: None, missing: 0, known: 0, since: now, forced: true };
        let held = Self { forced: true, ..Self::read(before).unwrap_or(nothing) };
        held.document()
    }

    /// As kept in the row.
    pub(crate) fn document(&self) -> Value {
        json!(self)
    }

    /// What is wrong and what to do, for the operator.
    pub(crate) fn problem(&self) -> String {
        let Self { missing, known, .. } = self;
        match self.reason {
            Some(Reason::RootMissing) => "the root is missing, so nothing is deleted elsewhere: bring it back \
                 (is its disk mounted?), or make the folder anew and restart the entry with force"
                .to_owned(),
            Some(Reason::RootReplaced) => "the root is not the folder that it was, so nothing is read, written or \
                 deleted: bring the old one back (is its disk mounted?), or restart the entry with force to take this one"
                .to_owned(),
            Some(Reason::RootEmpty) => format!(
                "the root is empty where {known} files were, so nothing is deleted elsewhere: bring them back, or \
                 restart the entry with force to delete them everywhere"
            ),
            Some(Reason::ManyMissing) | None => format!(
                "{missing} of {known} files are missing at once, so nothing is deleted elsewhere: bring them back, \
                 or restart the entry with force to delete them everywhere"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_much_at_once_is_doubted() {
        let doubt = |known, missing, listed| Tally { known, missing, listed }.doubt();
        assert_eq!(doubt(20, 11, 9), Some(Reason::ManyMissing));
        assert_eq!(doubt(20, 10, 10), None, "half is not more than half");
        assert_eq!(doubt(19, 19, 0), None, "too few to tell");
        assert_eq!(doubt(20, 20, 0), Some(Reason::RootEmpty));
        assert_eq!(doubt(20, 20, 7), Some(Reason::ManyMissing));
        assert_eq!(doubt(0, 0, 0), None);
    }

    #[test]
    fn the_word_of_the_operator_is_kept_with_what_it_is_about() {
        let (tally, now) = (Tally { known: 30, missing: 20, listed: 10 }, Timestamp::from_micros(5));
        let held = Held::new(Reason::ManyMissing, tally, now);
        let document = held.document();
        assert_eq!(document["reason"], "many_missing");
        assert_eq!(Held::read(Some(&document)), Some(held.clone()));
        let forced = Held::read(Some(&Held::force(Some(&document), Timestamp::from_micros(9)))).unwrap();
        assert_eq!(forced, Held { forced: true, ..held });
        assert!(Held::read(Some(&Held::force(None, now))).unwrap().forced);
        assert_eq!(Held::read(Some(&json!({"odd": 1}))), None);
    }
}
