//! What a request carries and what its sender would like back.

use axum::http::{HeaderMap, HeaderName, header};

/// What the `Content-Type` header says about a body that ought to be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonContentType {
    /// There is no such header, or it is empty.
    Missing,
    /// `application/json` or a type ending in `+json`, whatever the parameters.
    Json,
    /// Something else.
    Other,
}

/// Reads the `Content-Type` header.
pub fn content_type_is_json(headers: &HeaderMap) -> JsonContentType {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return JsonContentType::Missing };
    let essence = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" => JsonContentType::Missing,
        "application/json" => JsonContentType::Json,
        other if other.starts_with("application/") && other.ends_with("+json") => JsonContentType::Json,
        _ => JsonContentType::Other,
    }
}

/// Whether the sender would rather read `text/plain` than JSON.
pub fn prefers_text(headers: &HeaderMap) -> bool {
    prefers(headers, "text/plain")
}

/// Whether the sender would rather read `text/html` than JSON.
pub fn prefers_html(headers: &HeaderMap) -> bool {
    prefers(headers, "text/html")
}

/// Whether the sender takes JSON at all: by its name, by a wildcard, or by not saying what it takes.
pub fn admits_json(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers, header::ACCEPT);
    ranges.is_empty() || weight(&ranges, "application/json") > 0
}

/// How much the sender wants a media type back, in thousandths: 0 is not at all. Without `Accept` everything is fine.
pub fn media_weight(headers: &HeaderMap, media: &str) -> u32 {
    match headers.contains_key(header::ACCEPT) {
        true => weight(&ranges(headers, header::ACCEPT), media),
        false => 1000,
    }
}

/// How much the sender wants a content coding, in thousandths; none when it does not name the coding itself.
pub fn coding_weight(headers: &HeaderMap, coding: &str) -> Option<u32> {
    let codings = ranges(headers, header::ACCEPT_ENCODING);
    codings.into_iter().find(|(name, _)| name == coding).map(|(_, weight)| weight)
}

fn prefers(headers: &HeaderMap, media: &str) -> bool {
    let ranges = ranges(headers, header::ACCEPT);
    weight(&ranges, media) > weight(&ranges, "application/json")
}

/// The media ranges of all lines of a header with their weights in thousandths; malformed weights count as 1.
fn ranges(headers: &HeaderMap, name: HeaderName) -> Vec<(String, u32)> {
    let lines = headers.get_all(name);
    let items = lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    items.map(range).filter(|(range, _)| !range.is_empty()).take(64).collect()
}

fn range(item: &str) -> (String, u32) {
    let mut parts = item.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default().to_ascii_lowercase();
    let q = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let weight = q.and_then(|q| q.parse::<f32>().ok()).filter(|q| q.is_finite()).unwrap_or(1.0).clamp(0.0, 1.0);
    (range, (weight * 1000.0) as u32)
}

/// The weight of a media type: the most specific range that covers it decides.
fn weight(ranges: &[(String, u32)], media: &str) -> u32 {
    let group = media.split('/').next().unwrap_or_default();
    let of = |wanted: &str| ranges.iter().find(|(range, _)| range == wanted).map(|(_, weight)| *weight);
    of(media).or_else(|| of(&format!("{group}/*"))).or_else(|| of("*/*")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn weights_decide_and_a_tie_means_json() {
        let cases = [
            ("text/plain", true),
            ("application/json, text/plain", false),
            ("application/json;q=0.5, text/plain", true),
            ("text/plain;q=0.2, */*;q=0.1", true),
            ("*/*", false),
            ("text/*", true),
            ("text/plain;q=0, text/*", false),
        ];
        for (accept, text) in cases {
            assert_eq!(prefers_text(&with(header::ACCEPT, accept)), text, "{accept}");
        }
        assert!(!prefers_text(&HeaderMap::new()));
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(prefers_html(&with(header::ACCEPT, browser)));
        assert!(!prefers_html(&with(header::ACCEPT, "*/*")));
    }

    #[test]
    fn json_is_admitted_by_name_by_wildcard_and_by_silence() {
        for accept in ["application/json", "*/*", "application/*", "text/html, */*;q=0.1", ""] {
            assert!(admits_json(&with(header::ACCEPT, accept)), "{accept}");
        }
        assert!(admits_json(&HeaderMap::new()));
        for accept in ["text/html", "application/xml", "application/json;q=0, */*"] {
            assert!(!admits_json(&with(header::ACCEPT, accept)), "{accept}");
        }
    }

    #[test]
    fn codings_are_wanted_by_name() {
        let cases =
            [("zstd", Some(1000)), ("gzip, ZSTD;q=0.5", Some(500)), ("zstd;q=0", Some(0)), ("*", None), ("gzip", None)];
        for (accept, expected) in cases {
            assert_eq!(coding_weight(&with(header::ACCEPT_ENCODING, accept), "zstd"), expected, "{accept}");
        }
        assert_eq!(coding_weight(&HeaderMap::new(), "zstd"), None);
    }

    #[test]
    fn media_are_wanted_by_range() {
        assert_eq!(media_weight(&HeaderMap::new(), "application/json"), 1000);
        assert_eq!(media_weight(&with(header::ACCEPT, "text/html"), "application/json"), 0);
        assert_eq!(media_weight(&with(header::ACCEPT, "text/html, */*;q=0.3"), "application/json"), 300);
    }

    #[test]
    fn json_is_known_with_parameters() {
        let kind = |value| content_type_is_json(&with(header::CONTENT_TYPE, value));
        assert_eq!(kind("Application/JSON; charset=utf-8"), JsonContentType::Json);
        assert_eq!(kind("application/problem+json"), JsonContentType::Json);
        assert_eq!(kind("text/plain"), JsonContentType::Other);
        assert_eq!(content_type_is_json(&HeaderMap::new()), JsonContentType::Missing);
    }
}
