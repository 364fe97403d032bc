//! The grammar of rules (§3.1): JSON to rules, with the place of what is wrong.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use haulier_base::{Error, Result, Timestamp};
use regex::RegexBuilder;
use serde_json::{Map, Value};

use super::{Match, RULES_MAX, Rule, amount};
use crate::model::EntryName;

/// What one compiled expression may take, bytes.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

type Known<'a> = Option<&'a BTreeSet<EntryName>>;

fn fault(place: &str, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{place}: {why}"))
}

/// Reads a whole list.
pub(super) fn rules(list: &Value, known: Known<'_>) -> Result<Vec<Rule>> {
    let Value::Array(items) = list else { return Err(fault("rules", "must be a list of rules")) };
    if items.len() > RULES_MAX {
        return Err(fault("rules", format_args!("{} rules are more than {RULES_MAX}", items.len())));
    }
    items.iter().enumerate().map(|(index, item)| rule(&format!("rules[{index}]"), item, known)).collect()
}

fn rule(place: &str, item: &Value, known: Known<'_>) -> Result<Rule> {
    let members = object(place, item, &["match", "sync", "ban"])?;
    let Some(when) = members.get("match") else {
        return Err(fault(&format!("{place}.match"), "is missing; {} matches every file"));
    };
    Ok(Rule {
        when: read_match(&format!("{place}.match"), when)?,
        sync: entries(&format!("{place}.sync"), members.get("sync"), known)?,
        ban: entries(&format!("{place}.ban"), members.get("ban"), known)?,
    })
}

const MATCH_MEMBERS: &[&str] = &["path", "mime", "glob", "min_size", "max_size", "modified_after", "modified_before"];

fn read_match(place: &str, item: &Value) -> Result<Match> {
    let members = object(place, item, MATCH_MEMBERS)?;
    let at = |name: &str| format!("{place}.{name}");
    let size_of = |name: &str| members.get(name).map(|value| size(&at(name), value)).transpose();
    let time_of = |name: &str| members.get(name).map(|value| instant(&at(name), value)).transpose();
    let found = Match {
        path: members.get("path").map(|value| expression(&at("path"), value)).transpose()?,
        mime: members.get("mime").map(|value| types(&at("mime"), value)).transpose()?.flatten(),
        glob: members.get("glob").map(|value| glob(&at("glob"), value)).transpose()?,
        min_size_bytes: size_of("min_size")?,
        max_size_bytes: size_of("max_size")?,
        modified_after: time_of("modified_after")?,
        modified_before: time_of("modified_before")?,
    };
    if let (Some(min), Some(max)) = (found.min_size_bytes, found.max_size_bytes)
        && min > max
    {
        return Err(fault(&at("max_size"), "is less than min_size, so nothing would match"));
    }
    if let (Some(after), Some(before)) = (found.modified_after, found.modified_before)
        && after >= before
    {
        return Err(fault(&at("modified_before"), "is not after modified_after, so nothing would match"));
    }
    Ok(found)
}

/// The members of an object, of which only some are known: a misspelt one must not match everything.
fn object<'a>(place: &str, item: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>> {
    let Value::Object(members) = item else { return Err(fault(place, "must be an object")) };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(fault(place, format_args!("unknown member {name:?}; known are {}", known.join(", ")))),
        None => Ok(members),
    }
}

fn text<'a>(place: &str, value: &'a Value) -> Result<&'a str> {
    value.as_str().ok_or_else(|| fault(place, "must be a string"))
}

fn texts<'a>(place: &str, value: &'a Value) -> Result<Vec<&'a str>> {
    let Value::Array(items) = value else { return Err(fault(place, "must be a list of strings")) };
    items.iter().enumerate().map(|(index, item)| text(&format!("{place}[{index}]"), item)).collect()
}

fn entries(place: &str, value: Option<&Value>, known: Known<'_>) -> Result<BTreeSet<EntryName>> {
    let Some(value) = value else { return Ok(BTreeSet::new()) };
    let named = |name: &str| {
        let entry = EntryName::new(name).map_err(|error| fault(place, error.message()))?;
        match known.is_none_or(|known| known.contains(&entry)) {
            true => Ok(entry),
            false => Err(fault(place, format_args!("unknown entry {name:?}"))),
        }
    };
    texts(place, value)?.into_iter().map(named).collect()
}

fn expression(place: &str, value: &Value) -> Result<regex::Regex> {
    let pattern = text(place, value)?;
    RegexBuilder::new(pattern).size_limit(EXPRESSION_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => fault(place, "is too large an expression; write a shorter one"),
        // The message proper stands last; before it the expression is shown with marks below.
        error => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            fault(place, format_args!("is not a regular expression that is understood: {why}"))
        }
    })
}

fn types(place: &str, value: &Value) -> Result<Option<GlobSet>> {
    let patterns = texts(place, value)?;
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let wrong = |why: &str| fault(&format!("{place}[{index}]"), format_args!("{pattern:?} {why}"));
        let known = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-*/".contains(c);
        if pattern.is_empty() || !pattern.chars().all(known) {
            return Err(wrong("is not a type such as image/png, image/* or gzip"));
        }
        let glob = GlobBuilder::new(pattern).case_insensitive(true).build();
        set.add(glob.map_err(|error| wrong(&error.kind().to_string()))?);
    }
    set.build().map(Some).map_err(|error| fault(place, error.kind()))
}

fn glob(place: &str, value: &Value) -> Result<globset::GlobMatcher> {
    let pattern = text(place, value)?;
    if pattern.starts_with('/') {
        return Err(fault(place, "begins with \"/\", and names do not; leave it out"));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    Ok(glob.map_err(|error| fault(place, error.kind()))?.compile_matcher())
}

fn size(place: &str, value: &Value) -> Result<u64> {
    let found = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(written) => amount::size(written),
        _ => None,
    };
    found.ok_or_else(|| fault(place, format_args!("{value} is not a size such as 1048576, \"15 Mb\" or \"2Gi\"")))
}

fn instant(place: &str, value: &Value) -> Result<Timestamp> {
    let found = value.as_str().and_then(amount::instant);
    let what = "is not an instant such as \"2026-11-21\" or \"2026-11-21T12:00:00Z\"";
    found.ok_or_else(|| fault(place, format_args!("{value} {what}")))
}
