//! Reads a TOML text into a value and tells every fault, not only the first.
//!
//! A fault is noted, the item that holds it is taken out, and the rest is tried again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More faults than this in one file are not told.
const FAULTS_MAX: usize = 100;

/// What could be read, and every fault with its place in the text.
pub(super) fn read<T: DeserializeOwned + Default>(text: &str) -> (T, Vec<(Range<usize>, String)>) {
    let (mut document, broken) = DeTable::parse_recoverable(text);
    let mut faults: Vec<_> = broken.iter().map(|e| (e.span().unwrap_or(0..0), e.message().to_owned())).collect();
    // A text that is no TOML recovers into half a document, whose other faults would mislead.
    while faults.is_empty() || (broken.is_empty() && faults.len() < FAULTS_MAX) {
        let error = match T::deserialize(toml::Deserializer::from(document.clone())) {
            Ok(value) => return (value, faults),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let found = take_out(document.get_mut(), &span);
        faults.push((span, error.message().to_owned()));
        if !found {
            break;
        }
    }
    (T::default(), faults)
}

/// Removes the innermost item that holds the place; false when there is none.
fn take_out(table: &mut DeTable<'_>, place: &Range<usize>) -> bool {
    let mut holder = None;
    for (key, value) in table.iter_mut() {
        if take_out_of_value(value, place) {
            return true;
        }
        if holds(&key.span(), place) || holds(&value.span(), place) {
            holder = Some(key.clone());
        }
    }
    holder.is_some_and(|key| table.remove(&key).is_some())
}

fn take_out_of_value(value: &mut Spanned<DeValue<'_>>, place: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => take_out(table, place),
        DeValue::Array(items) => items.iter_mut().any(|item| take_out_of_value(item, place)),
        _ => false,
    }
}

fn holds(item: &Range<usize>, place: &Range<usize>) -> bool {
    item.start <= place.start && place.end <= item.end && !item.is_empty()
}
