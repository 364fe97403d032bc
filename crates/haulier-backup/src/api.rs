//! The wire: reading bodies and queries, the fixed documents, and the description of the routes.

pub(crate) mod description;

use std::fmt;

use haulier_base::{Error, Result};
use serde::Serialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::model::{Kind, Object};
use crate::search::Query;
use crate::service::List;

/// How many elements a list has when nothing is said (backup contract §5).
const LIMIT_DEFAULT: i64 = 10;

/// An error as clients of this API read it (backup contract §2).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// What sort of error it is.
    pub(crate) title: String,
    /// What is wrong.
    pub(crate) description: String,
}

fn malformed(error: serde_json::Error) -> Error {
    Error::invalid(format!("the body is not JSON: {error}")).context("title", "Malformed JSON").caused_by(error)
}

/// A body as text. None, or one of length 0, is `{}`.
///
/// # Errors
/// `Invalid` when it is not UTF-8.
pub(crate) fn read_text(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::invalid(format!("the body is not UTF-8: {error}")).context("title", "Malformed JSON")
    })?;
    Ok(if text.trim().is_empty() { "{}" } else { text })
}

/// A body as an object.
///
/// # Errors
/// `Invalid` when it is anything else.
pub(crate) fn read_object(text: &str) -> Result<Object> {
    match serde_json::from_str(text).map_err(malformed)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::invalid("the body must be a JSON object")),
    }
}

/// The member of an object that was written first.
///
/// # Errors
/// `Invalid` when it is not an object.
pub(crate) fn read_first(text: &str) -> Result<Option<(String, Value)>> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<(String, Value)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let first = map.next_entry()?;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    read_object(text)?;
    serde_json::Deserializer::from_str(text).deserialize_map(First).map_err(malformed)
}

/// A list request: its page from the query, its filter from the body.
///
/// # Errors
/// `Invalid` when either is wrong.
pub(crate) fn read_list(kind: Kind, query: Option<&str>, text: &str) -> Result<List> {
    let (mut limit, mut offset) = (LIMIT_DEFAULT, 0);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "limit" => limit = number("limit", &value, 1, LIMIT_DEFAULT)?,
            "offset" => offset = number("offset", &value, 0, 0)?,
            _ => {}
        }
    }
    Ok(List { kind, query: Query::read(&read_object(text)?)?, limit, offset })
}

fn number(name: &str, text: &str, min: i64, default: i64) -> Result<i64> {
    if text.is_empty() {
        return Ok(default);
    }
    match text.parse::<i64>() {
        Ok(number) if number >= min => Ok(number),
        _ => {
            let shown: String = text.chars().take(40).collect();
            let message = format!("{name}: \"{shown}\" is not a whole number from {min} to {}", i64::MAX);
            Err(Error::invalid(message).context("title", "Invalid parameter"))
        }
    }
}

/// The list of versions (backup contract §4).
pub(crate) fn versions() -> Value {
    json!({ "versions": [{
        "id": "1",
        "links": [{ "href": "/v1/", "rel": "self" }],
        "status": "CURRENT",
        "updated": "2015-03-23T13:45:00",
    }]})
}

/// The home document (backup contract §4).
pub(crate) fn home() -> Value {
    json!({ "resources": { "rel/backups": {
        "href-template": "/v1/backups/{backup_id}",
        "href-vars": { "backup_id": "param/backup_id" },
        "hints": { "allow": ["GET"], "formats": { "application/json": {} } },
    }}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_member_is_the_one_written_first() {
        let first = |text| read_first(text).unwrap().map(|(name, _)| name);
        assert_eq!(first(r#"{"stop": null, "abort": null}"#).as_deref(), Some("stop"));
        assert_eq!(first("{}"), None);
        assert!(read_first("[1]").is_err() && read_first("{\"a\":").is_err() && read_first("{} x").is_err());
    }

    #[test]
    fn pages_have_bounds() {
        let page = |query| read_list(Kind::Job, Some(query), "{}").map(|list| (list.limit, list.offset));
        assert_eq!(page("").unwrap(), (10, 0));
        assert_eq!(page("limit=&offset=").unwrap(), (10, 0));
        assert_eq!(page("limit=3&limit=4&offset=2&other=x").unwrap(), (4, 2));
        assert_eq!(page("limit=9223372036854775807").unwrap().0, i64::MAX);
        for bad in
            ["limit=0", "limit=-1", "limit=x", "limit=1.5", "offset=-1", "limit=9223372036854775808", "offset=%00"]
        {
            assert_eq!(page(bad).unwrap_err().detail("title"), Some("Invalid parameter"), "{bad}");
        }
    }
}
