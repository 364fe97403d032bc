//! Reading of bodies and queries.

use haulier_base::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How many files a page has when nobody says (§1.2).
const FILES_DEFAULT: u64 = 20;
/// How many items a page of our own lists has at most, and when nobody says.
const PAGE_MAX: usize = 1000;

/// Reads a body as JSON of a known shape.
pub(crate) fn json_body<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::invalid(format!("the body is not what is asked for: {error}")))
}

/// Reads the body of `PUT /rules`; what is inside the list is checked later.
pub(crate) fn read_rules(body: &[u8]) -> Result<Value> {
    let document: Value =
        serde_json::from_slice(body).map_err(|error| Error::invalid(format!("the body is not JSON: {error}")))?;
    let Value::Object(mut members) = document else {
        return Err(Error::invalid("the body is JSON but not an object such as {\"rules\": []}"));
    };
    let rules = members.remove("rules").ok_or_else(|| Error::invalid("rules: is missing"))?;
    match Map::keys(&members).next() {
        Some(other) => Err(Error::invalid(format!("unknown member {other:?}; known is rules"))),
        None => Ok(rules),
    }
}

/// The options of a query; of those that are given twice the last one counts.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// One option.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `1` and `true` are yes.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        match self.text(name) {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(Error::invalid(format!("{name}: {other:?} is neither true nor false"))),
        }
    }

    /// A number from 0 on; a number too large to count with is as good as the largest.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(Some(text.parse().unwrap_or(u64::MAX))),
            false => Err(Error::invalid(format!("{name}: {text:?} is not an integer of 0 or more"))),
        }
    }

    /// `offset` and `limit` of `GET /files` (§1.2).
    pub(crate) fn files(&self) -> Result<(u64, u64)> {
        Ok((self.number("offset")?.unwrap_or(0), self.number("limit")?.unwrap_or(FILES_DEFAULT)))
    }

    /// `after` and `limit` of our own lists.
    pub(crate) fn page(&self) -> Result<(&str, usize)> {
        let limit = match self.number("limit")? {
            Some(0) => return Err(Error::invalid("limit: must be at least 1")),
            Some(limit) => usize::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX),
            None => PAGE_MAX,
        };
        Ok((self.text("after").unwrap_or_default(), limit))
    }
}

/// `{"<name>": "<fid>"}` (§1).
pub(crate) fn id_of(name: &str) -> Value {
    json!({ name: crate::model::Fid::of_text(name).as_str() })
}
