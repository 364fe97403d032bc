//! `Range` on contents, an extension: a single range of bytes of the content as it is (RFC 9110, section 14). Pure.

use std::ops::Range;

use axum::http::header::{IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue};

/// Which bytes a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them.
    Whole,
    /// These; never empty.
    Bytes(Range<u64>),
    /// None that there are.
    Outside,
}

/// Reads `Range` and `If-Range`. What cannot be understood, and several ranges at once, ask for everything.
pub(crate) fn part(headers: &HeaderMap, size_bytes: u64, etag: Option<&HeaderValue>) -> Part {
    if headers.get(IF_RANGE).is_some_and(|known| Some(known) != etag) {
        return Part::Whole;
    }
    let spec = headers.get(RANGE).and_then(|value| value.to_str().ok()).and_then(|text| {
        let (unit, spec) = text.split_once('=')?;
        unit.trim().eq_ignore_ascii_case("bytes").then_some(spec.trim())
    });
    spec.and_then(|spec| read(spec, size_bytes)).unwrap_or(Part::Whole)
}

fn read(spec: &str, size_bytes: u64) -> Option<Part> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        // A sign is not a digit, though `parse` takes one.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(text.parse().unwrap_or(u64::MAX))
    };
    let range = if first.is_empty() {
        size_bytes.saturating_sub(number(last)?)..size_bytes
    } else {
        let first = number(first)?;
        let end = match last {
            "" => size_bytes,
            last => {
                let last = number(last)?;
                if last < first {
                    return None;
                }
                last.saturating_add(1).min(size_bytes)
            }
        };
        first..end
    };
    Some(if range.is_empty() { Part::Outside } else { Part::Bytes(range) })
}

/// The tag of a content: its SHA-256.
pub(crate) fn etag(sha256: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{sha256}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, size_bytes: u64) -> Part {
        part(&HeaderMap::from_iter([(RANGE, text.parse().unwrap())]), size_bytes, None)
    }

    #[test]
    fn single_ranges() {
        assert_eq!(of("bytes=0-3", 10), Part::Bytes(0..4));
        assert_eq!(of("Bytes = 4-", 10), Part::Bytes(4..10));
        assert_eq!(of("bytes=-3", 10), Part::Bytes(7..10));
        assert_eq!(of("bytes=-30", 10), Part::Bytes(0..10));
        assert_eq!(of("bytes=8-99999999999999999999999", 10), Part::Bytes(8..10));
        assert_eq!(of("bytes=9-9", 10), Part::Bytes(9..10));
        for outside in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
            assert_eq!(of(outside, 10), Part::Outside, "{outside}");
        }
        assert_eq!(of("bytes=0-", 0), Part::Outside);
    }

    #[test]
    fn what_is_not_understood_asks_for_everything() {
        for odd in ["bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=4-2", "bytes=+1-2", "0-1"] {
            assert_eq!(of(odd, 10), Part::Whole, "{odd}");
        }
    }

    #[test]
    fn another_version_is_sent_whole() {
        let etag = etag("ab").unwrap();
        let mut headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-1"))]);
        headers.insert(IF_RANGE, HeaderValue::from_static("\"ab\""));
        assert_eq!(part(&headers, 10, Some(&etag)), Part::Bytes(0..2));
        headers.insert(IF_RANGE, HeaderValue::from_static("\"cd\""));
        assert_eq!(part(&headers, 10, Some(&etag)), Part::Whole);
    }
}
