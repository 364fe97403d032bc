//! What an answer says: its status as an error, its validators as a version, its ranges.

use std::time::Duration;

use haulier_base::{Clock, Error, Result, SystemClock, Timestamp};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED, RETRY_AFTER};

use crate::{ObjectKind, ObjectMeta, ReadRequest, Version};

/// We wait no longer than this, whatever the other side asks for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
const BY_ETAG: &str = "etag:";
const BY_DATE: &str = "modified:";

/// A connection that broke.
pub(super) fn broken(error: reqwest::Error) -> Error {
    let message =
        if error.is_connect() { "the source cannot be reached" } else { "the connection to the source broke" };
    Error::unavailable(message).caused_by(error.without_url())
}

/// A status that brings no bytes, as an error.
pub(super) fn error_of(status: StatusCode, headers: &HeaderMap) -> Error {
    let message = format!("the source answered {}", status.as_u16());
    match status.as_u16() {
        401 => Error::unauthenticated(message),
        403 => Error::forbidden(message),
        404 | 410 => Error::not_found(message),
        408 | 425 | 429 | 500..=599 => {
            let error = Error::unavailable(message);
            match retry_after(headers) {
                Some(wait) => error.retry_after(wait),
                None => error,
            }
        }
        _ => Error::invalid(message),
    }
}

pub(in crate::connectors) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER)?;
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => date(text)?.since(SystemClock.now()),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn text(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(Timestamp::from_micros)
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// `Content-Range: bytes first-last/size`, either half of which may be missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first_last: Option<(u64, u64)>,
    pub(super) size: Option<u64>,
}

pub(super) fn content_range(headers: &HeaderMap) -> ContentRange {
    let parse = || {
        let (range, size) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes")?.trim_start().split_once('/')?;
        let first_last = range.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        Some(ContentRange { first_last: first_last.filter(|(a, b)| a <= b), size: size.parse().ok() })
    };
    parse().unwrap_or_default()
}

/// What the headers say about the whole object.
pub(in crate::connectors) fn meta_of(headers: &HeaderMap, size: Option<u64>) -> ObjectMeta {
    let modified = text(headers, LAST_MODIFIED);
    // A weak tag promises equal meaning, not equal bytes.
    let strong = text(headers, ETAG).filter(|tag| tag.starts_with('"'));
    let version = match (strong, modified, size) {
        (Some(tag), _, _) => Some(format!("{BY_ETAG}{tag}")),
        (None, Some(date), Some(size)) => Some(format!("{BY_DATE}{size};{date}")),
        _ => None,
    };
    ObjectMeta {
        size,
        version: version.map(Version::from),
        modified: modified.and_then(date),
        kind: ObjectKind::Regular,
        mode: None,
    }
}

/// Refuses an object that is another version than the one asked for.
///
/// A server may have given its date only, while a change in the same second was still possible, and give
/// a tag now: then size and date decide.
pub(super) fn check_version(request: &ReadRequest, headers: &HeaderMap, meta: &ObjectMeta) -> Result<()> {
    let by_date = text(headers, LAST_MODIFIED).zip(meta.size).map(|(date, size)| format!("{BY_DATE}{size};{date}"));
    match &request.version {
        Some(wanted) if by_date.as_deref() == Some(wanted.as_str()) => Ok(()),
        _ => request.check_version(meta),
    }
}

/// Whether a version that was known by size and date is what was found, though the server gives a tag by now.
pub(in crate::connectors) fn is_same_by_date(version: &Version, found: &ObjectMeta) -> bool {
    let known = version.as_str().strip_prefix(BY_DATE).and_then(|text| text.split_once(';'));
    known.is_some_and(|(size, text)| {
        size.parse().ok() == found.size && date(text).is_some_and(|at| found.modified == Some(at))
    })
}

/// The value for `If-Range` that a version stands for.
pub(super) fn if_range(version: &Version) -> Option<&str> {
    let text = version.as_str();
    text.strip_prefix(BY_ETAG).or_else(|| text.strip_prefix(BY_DATE)?.split_once(';').map(|(_, date)| date))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn waits_are_read_as_seconds_or_dates_and_capped() {
        let wait = |text| error_of(StatusCode::SERVICE_UNAVAILABLE, &headers(&[("retry-after", text)])).wait_asked();
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("4000"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("Tue, 31 Dec 2999 23:59:59 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("Sat, 01 Jan 2000 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn ranges_are_read_strictly() {
        let range = |text| content_range(&headers(&[("content-range", text)]));
        assert_eq!(range("bytes 5-9/20"), ContentRange { first_last: Some((5, 9)), size: Some(20) });
        assert_eq!(range("bytes 5-9/*"), ContentRange { first_last: Some((5, 9)), size: None });
        assert_eq!(range("bytes */20"), ContentRange { first_last: None, size: Some(20) });
        for bad in ["5-9/20", "bytes 9-5/x", "lines 1-2/3", "bytes a-b/c"] {
            assert_eq!(range(bad), ContentRange::default(), "{bad}");
        }
    }

    #[test]
    fn only_strong_validators_make_a_version() {
        let date = "Sat, 01 Jan 2000 00:00:00 GMT";
        let version = |pairs: &[_], size| meta_of(&headers(pairs), size).version;
        let by_tag = version(&[("etag", "\"a\""), ("last-modified", date)], None).unwrap();
        assert_eq!(if_range(&by_tag), Some("\"a\""));
        let by_date = version(&[("etag", "W/\"a\""), ("last-modified", date)], Some(5)).unwrap();
        assert_eq!((by_date.as_str().contains('5'), if_range(&by_date)), (true, Some(date)));
        assert_eq!(version(&[("etag", "W/\"a\"")], Some(5)), None);
    }
}
