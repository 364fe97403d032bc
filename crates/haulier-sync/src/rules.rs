//! The rules: which entries own a file that changed at one of them (§3). Pure; knows no database and no clock.
//!
//! How they are written is in `rules/read.rs`.

mod amount;
mod read;

use std::collections::BTreeSet;

use globset::{GlobMatcher, GlobSet};
use haulier_base::{Error, Result, Timestamp};
use regex::Regex;
use serde::Serialize;
use serde_json::Value;

use crate::mime;
use crate::model::{EntryName, Owners, Subject};

/// More rules than this are refused: each is asked about each file.
pub(crate) const RULES_MAX: usize = 1000;

/// Rules in order, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    when: Match,
    sync: BTreeSet<EntryName>,
    ban: BTreeSet<EntryName>,
}

/// What a file must be like; all that is given must hold.
#[derive(Clone, Debug, Default)]
struct Match {
    path: Option<Regex>,
    mime: Option<GlobSet>,
    glob: Option<GlobMatcher>,
    min_size_bytes: Option<u64>,
    max_size_bytes: Option<u64>,
    modified_after: Option<Timestamp>,
    modified_before: Option<Timestamp>,
}

/// What one rule did to the owners of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Step {
    /// Which rule, counted from 0.
    pub rule: usize,
    /// Whether it matches.
    pub matches: bool,
    /// The first member of `match` that does not hold, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// The owners after it, in the order of names.
    #[schema(value_type = Vec<String>)]
    pub owners: BTreeSet<EntryName>,
}

impl RuleSet {
    /// Reads a list of rules. With `known`, every entry they name must be one of those.
    ///
    /// # Errors
    /// `Invalid` with the place of the first fault, such as `rules[1].sync: unknown entry "Z"`.
    pub fn read(list: &Value, known: Option<&BTreeSet<EntryName>>) -> Result<Self> {
        read::rules(list, known).map(|rules| Self { rules })
    }

    /// Rules as they are stored. The entries they name may be gone by now.
    ///
    /// # Errors
    /// `Corrupt` when they are no rules.
    pub fn stored(text: &str) -> Result<Self> {
        let corrupt = |why: String| Error::corrupt(format!("the stored rules cannot be read: {why}"));
        let list: Value = serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
        Self::read(&list, None).map_err(|error| corrupt(error.message().to_owned()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none, so that nothing is sent anywhere.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What each rule does to the owners of a file that changed at an entry, in order; the last step has the result.
    pub fn explain(&self, from: &EntryName, file: Subject<'_>) -> Vec<Step> {
        let mut owners = BTreeSet::from([from.clone()]);
        let asked = Asked::new(file);
        let step = |(index, rule): (usize, &Rule)| {
            let why_not = rule.when.why_not(&asked);
            if why_not.is_none() {
                rule.apply(&mut owners);
            }
            let why_not = why_not.map(|why| why.sentence(&asked));
            Step { rule: index, matches: why_not.is_none(), why_not, owners: owners.clone() }
        };
        self.rules.iter().enumerate().map(step).collect()
    }
}

impl Owners for RuleSet {
    fn owners(&self, from: &EntryName, file: Subject<'_>) -> BTreeSet<EntryName> {
        let mut owners = BTreeSet::from([from.clone()]);
        let asked = Asked::new(file);
        self.rules.iter().filter(|rule| rule.when.why_not(&asked).is_none()).for_each(|rule| rule.apply(&mut owners));
        owners
    }
}

impl Rule {
    fn apply(&self, owners: &mut BTreeSet<EntryName>) {
        owners.extend(self.sync.iter().cloned());
        owners.retain(|entry| !self.ban.contains(entry));
    }
}

/// A file with what every rule wants to know of it.
struct Asked<'a> {
    file: Subject<'a>,
    path: String,
    kind: &'a str,
    packing: Option<&'static str>,
}

impl<'a> Asked<'a> {
    fn new(file: Subject<'a>) -> Self {
        let name = file.name.as_str();
        let (kind, packing) = (mime::kind_of(name, file.kind), mime::guess(name).packing);
        Self { file, path: format!("/{name}"), kind, packing }
    }
}

/// The member of `match` that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhyNot {
    Path,
    Mime,
    Glob,
    MinSize,
    MaxSize,
    ModifiedAfter,
    ModifiedBefore,
}

impl WhyNot {
    fn sentence(self, asked: &Asked<'_>) -> String {
        let modified = || asked.file.modified_at.map_or_else(|| "not known".to_owned(), |at| at.to_string());
        match self {
            Self::Path => format!("path: does not match the beginning of {:?}", asked.path),
            Self::Mime => match asked.packing {
                None => format!("mime: the type is {}", asked.kind),
                Some(packing) => format!("mime: the type is {}, packed as {packing}", asked.kind),
            },
            Self::Glob => format!("glob: does not match {:?}", asked.file.name.as_str()),
            Self::MinSize => format!("min_size: the size is {} bytes", asked.file.size_bytes),
            Self::MaxSize => format!("max_size: the size is {} bytes", asked.file.size_bytes),
            Self::ModifiedAfter => format!("modified_after: the time is {}", modified()),
            Self::ModifiedBefore => format!("modified_before: the time is {}", modified()),
        }
    }
}

impl Match {
    fn why_not(&self, asked: &Asked<'_>) -> Option<WhyNot> {
        let file = &asked.file;
        // The leftmost match is at the beginning exactly when there is one at the beginning.
        let path = |path: &Regex| path.find(&asked.path).is_some_and(|found| found.start() == 0);
        let mime = |types: &GlobSet| types.is_match(asked.kind) || asked.packing.is_some_and(|p| types.is_match(p));
        let after = |bound: Timestamp| file.modified_at.is_some_and(|at| at >= bound);
        let before = |bound: Timestamp| file.modified_at.is_some_and(|at| at < bound);
        let held = [
            (self.path.as_ref().is_none_or(path), WhyNot::Path),
            (self.mime.as_ref().is_none_or(mime), WhyNot::Mime),
            (self.glob.as_ref().is_none_or(|glob| glob.is_match(file.name.as_str())), WhyNot::Glob),
            (self.min_size_bytes.is_none_or(|min| file.size_bytes >= min), WhyNot::MinSize),
            (self.max_size_bytes.is_none_or(|max| file.size_bytes <= max), WhyNot::MaxSize),
            (self.modified_after.is_none_or(after), WhyNot::ModifiedAfter),
            (self.modified_before.is_none_or(before), WhyNot::ModifiedBefore),
        ];
        held.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why)
    }
}

#[cfg(test)]
mod tests;
