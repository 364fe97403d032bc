//! Contents on the wire: the metadata headers of an object, both ways, and what a request says of bodies (contract §1).
//! Pure but for the streams in `zstd.rs`.

pub(crate) mod range;
pub(crate) mod zstd;

use std::fmt::Write;

use axum::http::header::{CONTENT_ENCODING, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use haulier_base::{Error, Result, Timestamp};
use haulier_http::{coding_weight, media_weight};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::api::Instant;
use crate::api::hash::read_sha256;
use crate::header;
use crate::model::{Metadata, Object, SiteId};

/// Most bytes that the keys and values of an object's metadata have together (§2.4).
pub(crate) const METADATA_BYTES_MAX: usize = 2048;
/// What is escaped in the name of an object: everything but visible ASCII, and the sign of escaping.
const NAME: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Zstd,
}

/// What a GET of an object asks for (§1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Content,
    Metadata,
    /// Neither can be accepted.
    Nothing,
}

/// What a client says about the object it creates; all of it is optional (§6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stated {
    /// Length of the content; none when nothing or 0 was said.
    pub(crate) size_bytes: Option<u64>,
    pub(crate) sha256: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) expires_at: Option<Timestamp>,
}

/// What a peer says about the content that it sends (§1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// The site that holds the copy being sent.
    pub(crate) site: Option<SiteId>,
    /// The site that it was first written at; peers that are not Haulier do not say.
    pub(crate) origin: Option<SiteId>,
    pub(crate) created_at: Timestamp,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
    pub(crate) metadata: Metadata,
    pub(crate) expires_at: Option<Timestamp>,
}

/// The metadata headers of an object that this site sends (§1.3).
///
/// # Errors
/// `Internal` when something stored cannot be a header.
pub(crate) fn object_headers(object: &Object, site: &SiteId) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, text: &str| -> Result<()> {
        if !text.is_empty() {
            let value = HeaderValue::from_str(text);
            headers.insert(name, value.map_err(|_| Error::internal("what is stored of an object fits no header"))?);
        }
        Ok(())
    };
    put(header::ID, object.id.as_str())?;
    put(header::SITE, site.as_str())?;
    put(header::BUCKET, object.bucket.as_str())?;
    put(header::NAME, &utf8_percent_encode(object.name.as_str(), NAME).to_string())?;
    put(header::CREATION, &Instant(object.created_at).to_string())?;
    put(header::SIZE, &object.size_bytes.to_string())?;
    put(header::HASH, object.sha256.as_deref().unwrap_or_default())?;
    if !object.metadata.is_empty() {
        put(header::METADATA, &ascii_json(&object.metadata)?)?;
    }
    put(header::STATUS, object.status.as_str())?;
    if let Some(at) = object.expires_at {
        put(header::EXPIRES, &Instant(at).to_string())?;
    }
    put(header::ORIGIN, object.origin.as_str())?;
    Ok(headers)
}

/// A JSON object without a byte that is not ASCII.
fn ascii_json(metadata: &Metadata) -> Result<String> {
    let text = serde_json::to_string(metadata)
        .map_err(|error| Error::internal("metadata could not be written as JSON").caused_by(error))?;
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            ascii.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    Ok(ascii)
}

/// Reads what a client says about a new object.
///
/// # Errors
/// `Invalid`, with the header that is wrong.
pub(crate) fn read_stated(headers: &HeaderMap) -> Result<Stated> {
    let metadata = text(headers, &header::METADATA)?.map(|text| read_metadata(&text)).transpose()?;
    Ok(Stated {
        size_bytes: read_size(headers)?.filter(|size| *size > 0),
        sha256: read_hash(headers)?,
        metadata: metadata.unwrap_or_default(),
        expires_at: read_instant(headers, &header::EXPIRES)?,
    })
}

/// Reads what a peer says about the content that follows.
///
/// # Errors
/// `Invalid`, with the header that is missing or wrong.
pub(crate) fn read_described(headers: &HeaderMap) -> Result<Described> {
    let missing = |name: HeaderName| move || Error::invalid(format!("{name}: is missing"));
    let site = |name: &HeaderName| -> Result<Option<SiteId>> { text(headers, name)?.map(SiteId::new).transpose() };
    let metadata = text(headers, &header::METADATA)?.map(|text| parse_metadata(&text)).transpose()?;
    Ok(Described {
        site: site(&header::SITE)?,
        origin: site(&header::ORIGIN)?,
        created_at: read_instant(headers, &header::CREATION)?.ok_or_else(missing(header::CREATION))?,
        size_bytes: read_size(headers)?.ok_or_else(missing(header::SIZE))?,
        sha256: read_hash(headers)?.ok_or_else(missing(header::HASH))?,
        metadata: metadata.unwrap_or_default(),
        expires_at: read_instant(headers, &header::EXPIRES)?,
    })
}

/// A header as text; one that is empty says nothing.
///
/// # Errors
/// `Invalid` when it is not UTF-8.
pub(crate) fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Error::invalid(format!("{name}: is not UTF-8")))?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// An instant in a header.
///
/// # Errors
/// `Invalid` when it is none.
pub(crate) fn read_instant(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Timestamp>> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let at: Result<Instant> = text.parse();
    at.map(|at| Some(at.0)).map_err(|error| Error::invalid(format!("{name}: {error}")))
}

fn read_size(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(text) = text(headers, &header::SIZE)? else { return Ok(None) };
    let size = text.parse().ok().filter(|size: &u64| i64::try_from(*size).is_ok());
    size.map(Some).ok_or_else(|| Error::invalid(format!("{}: {text:?} is no number of bytes", header::SIZE)))
}

fn read_hash(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(text) = text(headers, &header::HASH)? else { return Ok(None) };
    read_sha256(&text).map(Some).map_err(|error| Error::invalid(format!("{}: {error}", header::HASH)))
}

/// Reads metadata within the limits of §2.4.
///
/// # Errors
/// `Invalid`, with the rule.
pub(crate) fn read_metadata(text: &str) -> Result<Metadata> {
    let refuse = |why: String| Error::invalid(format!("{}: {why}", header::METADATA));
    let metadata = parse_metadata(text)?;
    let mut bytes = 0;
    for (key, value) in &metadata {
        let first = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !first || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(refuse(format!("{key:?} is no key; use letters, digits and _, and no digit first")));
        }
        if value.chars().any(char::is_control) {
            return Err(refuse(format!("the value of {key:?} has a control character")));
        }
        bytes += key.len() + value.len();
    }
    match bytes <= METADATA_BYTES_MAX {
        true => Ok(metadata),
        false => Err(refuse(format!("keys and values have {bytes} bytes, {METADATA_BYTES_MAX} are the most"))),
    }
}

/// Metadata of whoever has checked them.
fn parse_metadata(text: &str) -> Result<Metadata> {
    serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("{}: is no JSON object of texts: {error}", header::METADATA)))
}

/// Whether the sender would rather have zstd (§1.1).
pub(crate) fn wants_zstd(headers: &HeaderMap) -> bool {
    let identity = coding_weight(headers, "identity").unwrap_or_default();
    coding_weight(headers, "zstd").is_some_and(|zstd| zstd > 0 && zstd >= identity)
}

/// How the body of a request or an answer is encoded (§1.1).
///
/// # Errors
/// `Invalid` for any other coding.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Coding> {
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    let (first, second) = (lines.next(), lines.next());
    let text = first.map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase()).unwrap_or_default();
    match (text.as_str(), second) {
        ("" | "identity", None) => Ok(Coding::Identity),
        ("zstd", None) => Ok(Coding::Zstd),
        _ => Err(Error::invalid("Content-Encoding: this is neither zstd nor absent; send the content in either way")),
    }
}

/// What a GET of an object asks for: `application/json` is metadata, everything else content (§1.1).
pub(crate) fn wanted(headers: &HeaderMap) -> Wanted {
    let content = media_weight(headers, "application/octet-stream");
    let metadata = media_weight(headers, "application/json");
    match (content, metadata) {
        (0, 0) => Wanted::Nothing,
        (content, metadata) if metadata > content => Wanted::Metadata,
        (0, _) => Wanted::Metadata,
        _ => Wanted::Content,
    }
}

#[cfg(test)]
mod tests;
