//! What a search means (backup contract §8): does this document match? Pure.
//!
//! Nothing here knows how documents are kept; `search/tokens.rs` turns documents and questions into words of an index,
//! and a property test compares both.

mod read;
pub(crate) mod tokens;

use serde_json::Value;

use crate::model::Kind;

/// What a list shows. Empty, it shows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// All of these must hold.
    pub(crate) all: Vec<Condition>,
    /// A document for which all conditions of any of these hold is left out.
    pub(crate) none: Vec<Vec<Condition>>,
    /// Bounds of a backup's time in seconds, inclusive.
    pub(crate) time_after: Option<i64>,
    pub(crate) time_before: Option<i64>,
}

/// One condition on the leaves of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// A leaf of this name, at any depth, has this value.
    Name(String, Scalar),
    /// The leaf at this path from the root has this value.
    Path(String, Scalar),
    /// Any of these words, in lower case, stands in some text of the document.
    Words(Vec<String>),
}

/// A value that can be compared, in a form in which a number equals its digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Text(String),
    Bool(bool),
    Null,
}

impl Scalar {
    /// None for objects and arrays.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => Some(Self::Text(digits(number))),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// A number as text; `4.0` is `4`.
fn digits(number: &serde_json::Number) -> String {
    match number.as_f64() {
        // Whole numbers up to 2^53 have one spelling.
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => (float as i64).to_string(),
        _ => number.to_string(),
    }
}

/// One leaf of a document: its path from the root with dots, its own name, its value.
pub(crate) struct Leaf<'a> {
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
    pub(crate) value: Scalar,
}

/// Shows every leaf. Arrays are looked through: they have no place in a path.
pub(crate) fn each_leaf(document: &Value, show: &mut impl FnMut(Leaf<'_>)) {
    fn walk(path: &mut String, name: &str, value: &Value, show: &mut impl FnMut(Leaf<'_>)) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(path, name, item, show)),
            Value::Object(members) => {
                let before = path.len();
                for (name, value) in members {
                    if before > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    walk(path, name, value, show);
                    path.truncate(before);
                }
            }
            scalar => {
                if let Some(value) = Scalar::of(scalar) {
                    show(Leaf { path, name, value });
                }
            }
        }
    }
    walk(&mut String::new(), "", document, show);
}

/// The words of a text: runs of letters, digits and underscores, in lower case.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    parts.filter(|part| !part.is_empty()).map(str::to_lowercase)
}

/// The time of a backup, in seconds (§8): `timestamp`, or `time_stamp` where that says nothing.
pub(crate) fn taken_at(document: &Value) -> Option<i64> {
    let metadata = document.get("backup_metadata")?;
    let said = |name: &str| metadata.get(name).filter(|value| !value.is_null() && *value != "");
    seconds(said("timestamp").or_else(|| said("time_stamp"))?)
}

/// An integer or a text of digits.
fn seconds(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}

impl Query {
    /// Reads the body of a list request.
    ///
    /// # Errors
    /// `Invalid` when a type is wrong, or when there are more conditions than a search may have.
    pub fn read(body: &serde_json::Map<String, Value>) -> haulier_base::Result<Self> {
        read::query(body)
    }

    /// The client that asks for its jobs, if this is how clients do it (backup contract §12): those of one client that
    /// are not completed, and nothing besides.
    pub(crate) fn polled_client(&self) -> Option<&str> {
        let [Condition::Name(name, Scalar::Text(client))] = self.all.as_slice() else { return None };
        let [clause] = self.none.as_slice() else { return None };
        let open = [Condition::Name("status".to_owned(), Scalar::Text("completed".to_owned()))];
        (name == "client_id" && *clause == open).then_some(client)
    }

    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// The meaning of a query, document by document.
#[derive(Clone, Debug)]
pub struct Matcher<'a> {
    query: &'a Query,
    kind: Kind,
}

impl<'a> Matcher<'a> {
    /// For documents of a kind; only backups have a time.
    pub fn new(query: &'a Query, kind: Kind) -> Self {
        Self { query, kind }
    }

    /// Whether a list that this query asks for shows the document.
    pub fn matches(&self, document: &Value) -> bool {
        let query = self.query;
        query.all.iter().all(|condition| holds(condition, document))
            && !query.none.iter().any(|clause| clause.iter().all(|condition| holds(condition, document)))
            && (self.kind != Kind::Backup || self.is_in_time(document))
    }

    fn is_in_time(&self, document: &Value) -> bool {
        let (after, before) = (self.query.time_after, self.query.time_before);
        if after.is_none() && before.is_none() {
            return true;
        }
        taken_at(document)
            .is_some_and(|at| after.is_none_or(|after| at >= after) && before.is_none_or(|before| at <= before))
    }
}

fn holds(condition: &Condition, document: &Value) -> bool {
    let mut found = false;
    each_leaf(document, &mut |leaf| {
        found = found
            || match condition {
                Condition::Name(name, value) => leaf.name == name && leaf.value == *value,
                Condition::Path(path, value) => leaf.path == path && leaf.value == *value,
                Condition::Words(wanted) => match &leaf.value {
                    Scalar::Text(text) => words(text).any(|word| wanted.contains(&word)),
                    _ => false,
                },
            };
    });
    found
}

#[cfg(test)]
mod tests;
