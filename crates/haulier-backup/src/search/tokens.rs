//! Documents and queries as words of an index: what a document has, and a formula of what is asked for. Pure.
//!
//! A word is a hash, so that names and values of any length and alphabet fit. Every hash begins with owner and kind:
//! one user's words are another user's nonsense, and no index list is longer than one user's documents.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use haulier_base::{Error, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Condition, Query, Scalar, each_leaf, taken_at, words};
use crate::model::Kind;

/// No document has more values and words.
pub(crate) const TOKENS_MAX: usize = 20_000;
/// What letters and digits a word is made of: lower case only, since indexes fold the case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Letters of a word, five bits each: two of a hundred million words are the same once in about 200 indexes.
const LETTERS: usize = 12;

/// Times are found by the blocks of 2^n seconds they lie in, from an hour to a century.
const BLOCKS: [u32; 6] = [12, 16, 20, 24, 28, 32];
/// Times from 1970 to about 4147 lie in blocks; the others lie together.
const BLOCK_TIMES: std::ops::Range<i64> = 0..1 << 36;

/// Makes the words of one user's documents of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    kind: Kind,
    start: Sha256,
}

impl Tokens {
    pub(crate) fn new(kind: Kind, owner: &str) -> Self {
        let mut start = Sha256::new();
        start.update(kind.as_str());
        start.update([0]);
        // Lengths go along, so that no two ways to cut a text give the same word.
        start.update((owner.len() as u64).to_be_bytes());
        start.update(owner);
        Self { kind, start }
    }

    fn word(&self, sort: u8, name: &str, value: &str) -> String {
        let mut hash = self.start.clone();
        hash.update([sort]);
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update(value);
        let digest = hash.finalize();
        let bits = u64::from_be_bytes(digest[..8].try_into().expect("eight of thirty-two bytes"));
        (0..LETTERS).map(|place| char::from(ALPHABET[(bits >> (5 * place) & 31) as usize])).collect()
    }

    /// What every document has.
    fn any(&self) -> String {
        self.word(b'*', "", "")
    }

    fn scalar(&self, sort: u8, name: &str, value: &Scalar) -> String {
        match value {
            Scalar::Text(text) => self.word(sort, name, text),
            // Values that are no text have names that are none.
            Scalar::Bool(flag) => self.word(sort | 0x80, name, if *flag { "t" } else { "f" }),
            Scalar::Null => self.word(sort | 0x80, name, "n"),
        }
    }

    /// A leaf right inside the envelope, where nearly all leaves of backups and clients are: one word serves name
    /// and path.
    fn usual(&self, name: &str, value: &Scalar) -> String {
        self.scalar(b'u', name, value)
    }

    fn named(&self, name: &str, value: &Scalar) -> String {
        self.scalar(b'n', name, value)
    }

    fn at_path(&self, path: &str, value: &Scalar) -> String {
        self.scalar(b'p', path, value)
    }

    /// The name of a leaf whose path says that it lies right inside the envelope.
    fn usual_name<'a>(&self, path: &'a str) -> Option<&'a str> {
        let name = path.strip_prefix(self.kind.envelope()?)?.strip_prefix('.')?;
        (!name.contains('.')).then_some(name)
    }

    /// The words of a document, with blanks between them.
    ///
    /// # Errors
    /// `Invalid` when there are too many.
    pub(crate) fn of(&self, document: &Value) -> Result<String> {
        let mut found = BTreeSet::from([self.any()]);
        each_leaf(document, &mut |leaf| {
            if found.len() > TOKENS_MAX {
                return;
            }
            if let Some(name) = self.usual_name(leaf.path).filter(|name| *name == leaf.name) {
                found.insert(self.usual(name, &leaf.value));
            } else {
                found.insert(self.named(leaf.name, &leaf.value));
                if leaf.path.contains('.') {
                    found.insert(self.at_path(leaf.path, &leaf.value));
                }
            }
            if let Scalar::Text(text) = &leaf.value {
                found.extend(words(text).map(|word| self.word(b'w', "", &word)));
            }
        });
        if let Some(at) = taken_at(document).filter(|_| self.kind == Kind::Backup) {
            found.extend(self.times(at));
        }
        if found.len() > TOKENS_MAX {
            return Err(Error::invalid(format!("a document may have at most {TOKENS_MAX} values and words")));
        }
        let mut text = String::with_capacity(found.len() * (LETTERS + 1));
        for word in found {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&word);
        }
        Ok(text)
    }

    /// A formula of words, `AND`, `OR`, `NOT` and brackets, which holds for the documents that a query asks for, and
    /// perhaps for some whose time is a little outside its bounds.
    pub(crate) fn formula(&self, query: &Query) -> String {
        let mut parts: Vec<String> = query.all.iter().map(|condition| self.condition(condition)).collect();
        if self.kind == Kind::Backup && (query.time_after.is_some() || query.time_before.is_some()) {
            let span = self.span(query.time_after.unwrap_or(i64::MIN), query.time_before.unwrap_or(i64::MAX));
            parts.push(any_of(span.into_iter().collect()));
        }
        if parts.is_empty() {
            parts.push(self.any());
        }
        let mut text = parts.join(" AND ");
        if !query.none.is_empty() {
            let clauses = query.none.iter().map(|clause| {
                let all: Vec<_> = clause.iter().map(|condition| self.condition(condition)).collect();
                format!("({})", all.join(" AND "))
            });
            let clauses: Vec<_> = clauses.collect();
            text = format!("({text}) NOT ({})", clauses.join(" OR "));
        }
        text
    }

    fn condition(&self, condition: &Condition) -> String {
        match condition {
            Condition::Name(name, value) => {
                let mut either = vec![self.named(name, value)];
                if self.kind.envelope().is_some() {
                    either.push(self.usual(name, value));
                }
                any_of(either)
            }
            Condition::Path(path, value) => match self.usual_name(path) {
                Some(name) => self.usual(name, value),
                None => self.at_path(path, value),
            },
            // A word that no document has, since a word of a document is never empty.
            Condition::Words(wanted) if wanted.is_empty() => self.word(b'w', "", ""),
            Condition::Words(wanted) => any_of(wanted.iter().map(|word| self.word(b'w', "", word)).collect()),
        }
    }

    fn block(&self, bits: u32, number: i64) -> String {
        self.word(b't', &bits.to_string(), &number.to_string())
    }

    fn far(&self) -> String {
        self.word(b't', "", "")
    }

    /// The blocks that a time lies in.
    fn times(&self, at: i64) -> Vec<String> {
        match BLOCK_TIMES.contains(&at) {
            true => BLOCKS.iter().map(|bits| self.block(*bits, at >> bits)).collect(),
            false => vec![self.far()],
        }
    }

    /// Few blocks that together hold all times of a span: large ones inside it, the smallest at its ends.
    fn span(&self, from: i64, to: i64) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if from < BLOCK_TIMES.start || to >= BLOCK_TIMES.end || from > to {
            found.insert(self.far());
        }
        let (from, to) = (from.max(BLOCK_TIMES.start), to.min(BLOCK_TIMES.end - 1));
        let mut ends = vec![(from, to)];
        for (index, bits) in BLOCKS.iter().enumerate().rev() {
            let mut rest = Vec::new();
            for (from, to) in ends {
                if from > to {
                    continue;
                }
                // The blocks that lie wholly inside; at the smallest size those that are touched.
                let (first, last) = match index {
                    0 => (from >> bits, to >> bits),
                    _ => ((from + (1 << bits) - 1) >> bits, ((to + 1) >> bits) - 1),
                };
                if first > last {
                    rest.push((from, to));
                    continue;
                }
                found.extend((first..=last).map(|number| self.block(*bits, number)));
                rest.push((from, (first << bits) - 1));
                rest.push(((last + 1) << bits, to));
            }
            ends = rest;
        }
        found
    }
}

fn any_of(words: Vec<String>) -> String {
    if let [only] = words.as_slice() {
        return only.clone();
    }
    let mut text = String::from("(");
    for (index, word) in words.iter().enumerate() {
        let _ = write!(text, "{}{word}", if index > 0 { " OR " } else { "" });
    }
    text.push(')');
    text
}
