//! Wire types of transfer contract §2, strict reading of bodies, and conversion to and from the model.

use haulier_access::Locations;
use haulier_base::{Error, ErrorKind, Result};
use haulier_mover::Verify;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::model::{NewTransfer, Transfer, TransferState};
use crate::service::{Action, Filter, ListTransfers, ends};

/// Longest URL, in characters (transfer contract §2.2).
const URL_CHARS_MAX: usize = 2048;

/// A transfer (transfer contract §2.1).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransferView {
    /// UUID, version 4, canonical.
    #[schema(format = Uuid)]
    id: String,
    /// As posted.
    source_url: String,
    /// As posted.
    destination_url: String,
    /// One of the states of transfer contract §4.
    #[schema(example = "STATE_RUNNING")]
    state: &'static str,
    /// Contiguous bytes of the range that are safe at the destination.
    #[schema(minimum = 0)]
    progress: i64,
    /// First byte of the range.
    #[schema(minimum = 0)]
    start_offset: i64,
    /// End of the range, exclusive; -1 is the end of the source.
    #[schema(minimum = -1)]
    end_offset: i64,
    /// As posted, secrets replaced by `***`.
    #[schema(value_type = Value)]
    source_options: Value,
    /// As posted, secrets replaced by `***`.
    #[schema(value_type = Value)]
    destination_options: Value,
    /// Why the last run failed.
    error: Option<ErrorView>,
    /// Why a transfer that is under way is not moving.
    waiting: Option<WaitingView>,
    /// `sha256:` and 64 hex digits, of the bytes at the destination; known at `STATE_COMPLETE`, unless nothing
    /// was hashed here: with `verify` `none`, or when the store made the copy by itself.
    checksum: Option<String>,
    /// How the bytes at the destination were proven: `read-back`, `store:` and the kind of the store's own
    /// checksum, `written` (hashed on the way) or `length`; known at `STATE_COMPLETE`.
    verified_by: Option<String>,
    /// How many times an executor began or resumed it.
    attempts: i64,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
}

/// Why a run failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorView {
    /// A stable word for programs, such as `not_found`.
    code: String,
    /// A sentence for people.
    message: String,
}

/// Why a transfer waits, and until when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingView {
    /// A sentence for people.
    reason: String,
    /// RFC 3339; when the next attempt is due.
    until: Option<String>,
}

impl TransferView {
    pub(crate) fn new(transfer: Transfer, locations: &Locations) -> Self {
        let (source, target) = ends(&transfer.request);
        let (source_options, destination_options) = (locations.redact(source), locations.redact(target));
        let request = transfer.request;
        Self {
            id: transfer.id.to_string(),
            state: transfer.state.as_str(),
            progress: transfer.progress,
            start_offset: request.start_offset,
            end_offset: request.end_offset,
            source_options,
            destination_options,
            source_url: request.source_url,
            destination_url: request.destination_url,
            error: transfer.error.map(|e| ErrorView { code: e.code, message: e.message }),
            waiting: transfer.waiting.map(|w| WaitingView { reason: w.reason, until: w.until.map(|t| t.to_string()) }),
            checksum: transfer.checksum,
            verified_by: transfer.verified_by,
            attempts: transfer.attempts,
            created_at: transfer.created_at.to_string(),
            updated_at: transfer.updated_at.to_string(),
        }
    }
}

/// A request for a transfer (transfer contract §2.2). Only describes the body; [`read_new_transfer`] reads it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body in the OpenAPI document; the reader below gives better messages")]
pub(crate) struct SubmitTransfer {
    /// Where the bytes come from.
    #[schema(min_length = 1, max_length = 2048, example = "file:///bin/bash")]
    source_url: String,
    /// Where they go.
    #[schema(min_length = 1, max_length = 2048, example = "file:///tmp/ooo")]
    destination_url: String,
    /// Any JSON value; the source's connector says what it understands.
    #[schema(value_type = Option<Value>)]
    source_options: Option<Value>,
    /// Any JSON value; `placement`, `create_parents`, `verify`, `rate_bytes_per_second` and `checksum` are understood everywhere.
    #[schema(value_type = Option<Value>)]
    destination_options: Option<Value>,
    /// First byte of the range; default 0.
    #[schema(minimum = 0)]
    start_offset: Option<i64>,
    /// End of the range, exclusive; default -1, the end of the source.
    #[schema(minimum = -1)]
    end_offset: Option<i64>,
}

/// An action (transfer contract §4.2). Only describes the body; [`read_action`] reads it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body in the OpenAPI document; the reader below gives better messages")]
pub(crate) struct ActOnTransfer {
    /// `cancel`, `restart` or `start`.
    #[schema(example = "cancel")]
    xferaction: String,
    /// `false` waits up to 30 s for the end.
    r#async: Option<bool>,
}

/// An error (transfer contract §2.5).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// Status code and phrase.
    #[schema(example = "400 Bad Request")]
    pub(crate) code: String,
    /// The phrase.
    #[schema(example = "Bad Request")]
    pub(crate) title: String,
    /// One sentence that names the field, the id or the state concerned.
    pub(crate) message: String,
}

/// Reads the body of `POST /v1/transfers`.
pub(crate) fn read_new_transfer(body: &[u8]) -> Result<NewTransfer> {
    let mut members = object(body)?;
    let source_url = url(&mut members, "source_url")?;
    let destination_url = url(&mut members, "destination_url")?;
    let source_options = options(&mut members, "source_options");
    let destination_options = options(&mut members, "destination_options");
    let start_offset = integer(&mut members, "start_offset")?.unwrap_or(0);
    let end_offset = integer(&mut members, "end_offset")?.unwrap_or(-1);
    nothing_else(&members)?;
    if start_offset < 0 {
        return Err(Error::invalid(format!("start_offset: {start_offset} is negative")));
    }
    if end_offset < -1 {
        return Err(Error::invalid(format!("end_offset: {end_offset} is neither -1 nor a position")));
    }
    if end_offset != -1 && end_offset < start_offset {
        return Err(Error::invalid(format!("end_offset: {end_offset} lies before start_offset {start_offset}")));
    }
    let new =
        NewTransfer { source_url, destination_url, source_options, destination_options, start_offset, end_offset };
    CopyOptions::read(&new.destination_options)?;
    Ok(new)
}

/// Reads the body of `POST /v1/transfers/{id}/action`.
pub(crate) fn read_action(body: &[u8]) -> Result<Action> {
    let mut members = object(body)?;
    let action = match members.remove("xferaction") {
        Some(Value::String(action)) => action,
        Some(_) => return Err(Error::invalid("xferaction: must be a string")),
        None => return Err(Error::invalid("xferaction is missing")),
    };
    let wait = match members.remove("async") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(at_once)) => !at_once,
        Some(_) => return Err(Error::invalid("async: must be true or false")),
    };
    nothing_else(&members)?;
    match action.as_str() {
        "cancel" => Ok(Action::Cancel { wait }),
        "restart" => Ok(Action::Restart),
        "start" => Ok(Action::Start),
        other => {
            let shown: String = other.chars().take(64).collect();
            Err(Error::invalid(format!("xferaction: \"{shown}\" is not one of cancel, restart, start")))
        }
    }
}

/// Reads the options of a list from the query and from a body; the query wins (transfer contract §2.3).
pub(crate) fn read_list(query: Option<&str>, body: &[u8]) -> Result<ListTransfers> {
    let mut list = ListTransfers::default();
    if !body.is_empty() {
        let mut members = object(body)?;
        list.limit = match members.remove("limit") {
            None | Some(Value::Null) => None,
            Some(value) => Some(
                value
                    .as_u64()
                    .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
                    .ok_or_else(|| Error::invalid(format!("limit: {value} is not an integer of 0 or more")))?,
            ),
        };
        list.next = match members.remove("next") {
            None | Some(Value::Null) => None,
            Some(Value::String(next)) => Some(next),
            Some(_) => return Err(Error::invalid("next: must be the id of a transfer")),
        };
        if let Some(filter) = members.remove("filter") {
            list.filter = read_filter(filter)?;
        }
        nothing_else(&members)?;
    }
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "limit" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                list.limit = Some(value.parse().unwrap_or(usize::MAX));
            }
            "limit" => return Err(Error::invalid(format!("limit: \"{value}\" is not an integer of 0 or more"))),
            "next" => list.next = Some(value.into_owned()),
            "filter" => {
                let filter = serde_json::from_str(&value).map_err(|e| Error::invalid(format!("filter: {e}")))?;
                list.filter = read_filter(filter)?;
            }
            _ => {}
        }
    }
    Ok(list)
}

fn read_filter(filter: Value) -> Result<Filter> {
    let mut members = match filter {
        Value::Null => return Ok(Filter::default()),
        Value::Object(members) => members,
        _ => return Err(Error::invalid("filter: must be an object such as {\"state\": \"STATE_ERROR\"}")),
    };
    let state = |value: &Value| -> Result<TransferState> {
        value
            .as_str()
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| Error::invalid(format!("filter.state: {value} is not a state of a transfer")))
    };
    let states = match members.remove("state") {
        None => Vec::new(),
        Some(Value::Array(names)) if names.len() <= TransferState::ALL.len() && !names.is_empty() => {
            names.iter().map(state).collect::<Result<_>>()?
        }
        Some(Value::Array(_)) => return Err(Error::invalid("filter.state: a list holds 1 to 7 states")),
        Some(name) => vec![state(&name)?],
    };
    match members.keys().next() {
        Some(other) => Err(Error::invalid(format!("filter: \"{other}\" is not known; only state is"))),
        None => Ok(Filter { states }),
    }
}

/// What the room itself understands in `destination_options`, whatever the connector.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyOptions {
    /// Write at the source's offset without truncating (transfer contract §5.2).
    pub(crate) same_placement: bool,
    /// Create missing parent folders (transfer contract §5.4).
    pub(crate) create_parents: bool,
    /// How the bytes at the destination are to be proven.
    pub(crate) verify: Verify,
    /// Byte rate of this transfer, bytes per second.
    pub(crate) rate_bytes_per_second: Option<u64>,
    /// The digest the bytes must have.
    pub(crate) checksum: Option<haulier_base::Checksum>,
}

impl CopyOptions {
    /// Reads the members the room knows and leaves the others to the connector.
    pub(crate) fn read(options: &Value) -> Result<Self> {
        let Value::Object(members) = options else { return Ok(Self::default()) };
        let wrong = |name: &str, expected: &str| {
            Error::invalid(format!("destination_options.{name}: must be {expected}, not {}", members[name]))
        };
        let word = |name: &str, words: [&str; 2]| match members.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::String(given)) if given == words[0] => Ok(false),
            Some(Value::String(given)) if given == words[1] => Ok(true),
            Some(_) => Err(wrong(name, &format!("\"{}\" or \"{}\"", words[0], words[1]))),
        };
        Ok(Self {
            same_placement: word("placement", ["start", "same"])?,
            verify: match members.get("verify") {
                None | Some(Value::Null) => Verify::default(),
                Some(verify) => {
                    Verify::deserialize(verify).map_err(|_| wrong("verify", "\"store\", \"read-back\" or \"none\""))?
                }
            },
            create_parents: match members.get("create_parents") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(create)) => *create,
                Some(_) => return Err(wrong("create_parents", "true or false")),
            },
            rate_bytes_per_second: match members.get("rate_bytes_per_second") {
                None | Some(Value::Null) => None,
                Some(rate) => Some(
                    rate.as_u64()
                        .filter(|rate| *rate > 0)
                        .ok_or_else(|| wrong("rate_bytes_per_second", "an integer above 0"))?,
                ),
            },
            checksum: match members.get("checksum") {
                None | Some(Value::Null) => None,
                Some(sum) => Some(
                    sum.as_str()
                        .and_then(|sum| sum.parse().ok())
                        .ok_or_else(|| wrong("checksum", "\"sha256:\" and 64 hex digits"))?,
                ),
            },
        })
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Error::invalid("the body is JSON but not an object")),
        Err(e) => Err(Error::new(ErrorKind::Invalid, format!("the body is not JSON: {e}"))),
    }
}

fn url(members: &mut Map<String, Value>, name: &str) -> Result<String> {
    let text = match members.remove(name) {
        Some(Value::String(text)) => text,
        Some(_) => return Err(Error::invalid(format!("{name}: must be a string"))),
        None => return Err(Error::invalid(format!("{name} is missing"))),
    };
    let length = text.chars().count();
    if length == 0 || length > URL_CHARS_MAX {
        return Err(Error::invalid(format!("{name}: has {length} characters; 1 to {URL_CHARS_MAX} are allowed")));
    }
    if text.contains('\0') {
        return Err(Error::invalid(format!("{name}: contains a NUL character")));
    }
    Ok(text)
}

fn options(members: &mut Map<String, Value>, name: &str) -> Value {
    match members.remove(name) {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(value) => value,
    }
}

fn integer(members: &mut Map<String, Value>, name: &str) -> Result<Option<i64>> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| Error::invalid(format!("{name}: {value} is not an integer between -1 and 2^63-1"))),
    }
}

fn nothing_else(members: &Map<String, Value>) -> Result<()> {
    match members.keys().next() {
        None => Ok(()),
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            Err(Error::invalid(format!("\"{shown}\" is not a known member of this body")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        read_new_transfer(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_names_the_member() {
        assert_eq!(refusal("{}"), "source_url is missing");
        assert_eq!(refusal(r#"{"source_url":"file:///a"}"#), "destination_url is missing");
        let with =
            |more: &str| refusal(&format!(r#"{{"source_url":"file:///a","destination_url":"file:///b",{more}}}"#));
        assert_eq!(with(r#""random":90"#), "\"random\" is not a known member of this body");
        assert_eq!(with(r#""start_offset":-1"#), "start_offset: -1 is negative");
        for offset in [r#""3""#, "3.0", "true", "9223372036854775808", "[]"] {
            assert!(with(&format!(r#""start_offset":{offset}"#)).starts_with("start_offset: "), "{offset}");
            assert!(with(&format!(r#""end_offset":{offset}"#)).starts_with("end_offset: "), "{offset}");
        }
        assert_eq!(with(r#""end_offset":-2"#), "end_offset: -2 is neither -1 nor a position");
        assert_eq!(with(r#""start_offset":9,"end_offset":3"#), "end_offset: 3 lies before start_offset 9");
        assert!(with(r#""destination_options":{"placement":"x"}"#).contains("destination_options.placement"));
        assert!(with(r#""destination_options":{"checksum":"x"}"#).contains("destination_options.checksum"));
        assert!(with(r#""destination_options":{"rate_bytes_per_second":0}"#).contains("rate_bytes_per_second"));
    }

    #[test]
    fn nulls_mean_the_defaults_and_options_may_be_any_json() {
        let body = r#"{"source_url":"file:///a","destination_url":"file:///b","start_offset":null,
            "end_offset":null,"source_options":null,"destination_options":[1,{"x":null}]}"#;
        let new = read_new_transfer(body.as_bytes()).unwrap();
        assert_eq!((new.start_offset, new.end_offset), (0, -1));
        assert_eq!(new.source_options, serde_json::json!({}));
        assert_eq!(new.destination_options, serde_json::json!([1, { "x": null }]));
    }

    #[test]
    fn bodies_that_are_no_objects_are_refused() {
        for body in ["", "[]", "7", "{", "\u{feff}{}", "null"] {
            assert_eq!(read_new_transfer(body.as_bytes()).unwrap_err().kind(), ErrorKind::Invalid, "{body}");
        }
        assert!(read_new_transfer(b"{\"source_url\":\"\xff\"}").is_err());
    }

    #[test]
    fn actions_are_read_strictly() {
        assert_eq!(read_action(br#"{"xferaction":"cancel"}"#).unwrap(), Action::Cancel { wait: false });
        assert_eq!(read_action(br#"{"xferaction":"cancel","async":false}"#).unwrap(), Action::Cancel { wait: true });
        for bad in [
            "{}",
            r#"{"xferaction":1}"#,
            r#"{"xferaction":"stop"}"#,
            r#"{"xferaction":"cancel","x":1}"#,
            r#"{"xferaction":"cancel","async":1}"#,
        ] {
            assert!(read_action(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_query_wins_over_the_body() {
        let list = read_list(Some("limit=2&other=x"), br#"{"limit":5,"next":"n"}"#).unwrap();
        assert_eq!((list.limit, list.next.as_deref()), (Some(2), Some("n")));
        let list = read_list(Some("filter=%7B%22state%22%3A%5B%22STATE_ERROR%22%5D%7D"), b"").unwrap();
        assert_eq!(list.filter.states, [TransferState::Error]);
        for query in
            ["limit=", "limit=-1", "limit=x", "limit=1.0", "limit=%2B1", "filter=x", "filter=%7B%22a%22%3A1%7D"]
        {
            assert!(read_list(Some(query), b"").is_err(), "{query}");
        }
        for body in
            [r#"{"limit":-1}"#, r#"{"limit":"5"}"#, r#"{"x":1}"#, r#"{"next":1}"#, r#"{"filter":{"state":"X"}}"#]
        {
            assert!(read_list(None, body.as_bytes()).is_err(), "{body}");
        }
    }
}
