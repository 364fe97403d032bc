//! `http:` and `https:` URLs with their options: parsed once, secrets kept apart from the address.

use haulier_base::{Error, Result, Secret};
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use url::Url;

/// Members whose values are never shown. Any header may carry a secret, so none is.
pub(super) const SECRET_MEMBERS: &[&str] = &["password", "token", "headers"];

/// Headers that the connector sets itself.
const RESERVED: &[&str] = &[
    "host",
    "range",
    "if-range",
    "accept-encoding",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
];

/// Parses a URL and refuses one without a host.
pub(in crate::connectors) fn parse_url(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).map_err(|error| Error::invalid(format!("is not a URL: {error}")))?;
    if parsed.host_str().is_none_or(str::is_empty) {
        return Err(Error::invalid("has no host"));
    }
    Ok(parsed)
}

/// The headers that URL and options ask for; they go to the URL's own host only.
pub(super) fn own_headers(url: &Url, options: &Value) -> Result<Secret<HeaderMap>> {
    let empty = Map::new();
    let members = match options {
        Value::Null => &empty,
        Value::Object(members) => members,
        _ => return Err(Error::invalid("has options that are not an object")),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in members {
        match name.as_str() {
            "headers" => add_headers(&mut headers, value)?,
            "username" | "password" | "token" => {}
            other => return Err(Error::invalid(format!("has an unknown option, \"{other}\""))),
        }
    }
    if let Some(value) = authorization(url, members)? {
        headers.insert(AUTHORIZATION, value);
    }
    Ok(Secret::new(headers))
}

fn add_headers(headers: &mut HeaderMap, value: &Value) -> Result<()> {
    let members = value.as_object().ok_or_else(|| Error::invalid("has an option \"headers\" that is not an object"))?;
    for (name, value) in members {
        let wrong = || Error::invalid(format!("has a header that cannot be sent, \"{name}\""));
        let parsed = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        let mut value = value.as_str().and_then(|text| HeaderValue::from_str(text).ok()).ok_or_else(wrong)?;
        if RESERVED.contains(&parsed.as_str()) {
            return Err(wrong());
        }
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(())
}

fn authorization(url: &Url, members: &Map<String, Value>) -> Result<Option<HeaderValue>> {
    let member = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::invalid(format!("has an option \"{name}\" that is not a string"))),
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let in_url = (!url.username().is_empty() || url.password().is_some()).then(|| decoded(url.username()));
    let user = member("username")?.or(in_url);
    let password = member("password")?.or_else(|| url.password().map(decoded));
    let value = match (member("token")?, user) {
        (Some(token), None) => format!("Bearer {token}"),
        (Some(_), Some(_)) => return Err(Error::invalid("has both a token and a user name")),
        (None, Some(user)) => basic(&user, password.as_deref().unwrap_or_default()),
        (None, None) if password.is_some() => return Err(Error::invalid("has a password but no user name")),
        (None, None) => return Ok(None),
    };
    let mut value =
        HeaderValue::from_str(&value).map_err(|_| Error::invalid("has credentials that cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The header for a user name and a password: RFC 7617, with the base64 of RFC 4648 §4.
pub(in crate::connectors) fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Basic ");
    for group in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The URL without user name and password.
pub(in crate::connectors) fn redact_url(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return "***".to_owned() };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    match parsed.set_username("***").and_then(|()| parsed.set_password(None)) {
        Ok(()) => parsed.into(),
        Err(()) => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn authorization_of(url: &str, options: Value) -> Result<Option<String>> {
        let headers = own_headers(&parse_url(url)?, &options)?;
        Ok(headers.reveal().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn credentials_come_from_options_or_the_url() {
        let plain = "http://a.example/";
        assert_eq!(authorization_of(plain, json!({})).unwrap(), None);
        assert_eq!(authorization_of(plain, json!({"token": "t"})).unwrap().as_deref(), Some("Bearer t"));
        let basic = authorization_of(plain, json!({"username": "Aladdin", "password": "open sesame"})).unwrap();
        assert_eq!(basic.as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        let in_url = authorization_of("http://a%40b:c@a.example/", Value::Null).unwrap();
        assert_eq!(in_url.as_deref(), Some("Basic YUBiOmM="));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let refused = |options| authorization_of("http://a.example/", options).unwrap_err().to_string();
        assert!(refused(json!({"tokn": "t"})).contains("tokn"));
        assert!(refused(json!({"token": 5})).contains("token"));
        assert!(refused(json!({"headers": {"Range": "bytes=0-"}})).contains("Range"));
        assert!(refused(json!({"headers": {"X": "a\nb"}})).contains('X'));
        assert!(refused(json!([])).contains("object"));
        refused(json!({"token": "t", "username": "u"}));
    }

    #[test]
    fn credentials_are_taken_out_of_urls() {
        assert_eq!(redact_url("https://ann:pw@a.example/x?y"), "https://***@a.example/x?y");
        assert_eq!(redact_url("https://a.example/x y"), "https://a.example/x y");
    }
}
