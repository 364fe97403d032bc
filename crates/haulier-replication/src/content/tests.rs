//! What headers say, both ways.

use axum::http::header::{ACCEPT, ACCEPT_ENCODING};
use haulier_base::Timestamp;
use percent_encoding::percent_decode;
use proptest::prelude::*;

use super::*;
use crate::model::{BucketName, ObjectName, RecordId, Status};

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn object(name: &str, metadata: Metadata) -> Object {
    let at = Timestamp::from_micros(1_708_514_872_867_000);
    Object {
        id: RecordId::fresh(),
        bucket: BucketName::new("abc").unwrap(),
        name: ObjectName::new(name).unwrap(),
        status: Status::Ready,
        created_at: at,
        event_at: at,
        expires_at: Some(at),
        size_bytes: 0,
        sha256: Some(EMPTY.to_owned()),
        metadata,
        origin: SiteId::new("lyon").unwrap(),
        buried_at: None,
    }
}

fn with(name: HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())])
}

#[test]
fn e9_names_are_escaped_in_headers() {
    let headers = object_headers(&object("été/100 %", Metadata::new()), &SiteId::new("paris").unwrap()).unwrap();
    assert_eq!(headers[header::NAME], "%C3%A9t%C3%A9/100%20%25");
    assert_eq!(read_name(&headers).unwrap().unwrap().as_str(), "été/100 %");
    assert_eq!(headers[header::SIZE], "0");
    assert_eq!(headers[header::CREATION], "2024-02-21T11:27:52.867Z");
    assert!(!headers.contains_key(header::METADATA), "empty metadata are left out");
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_read(name in "[^/\\p{Cc}.]{1,40}", values in proptest::collection::btree_map("[a-z_][a-zA-Z0-9_]{0,9}", "\\P{Cc}{0,40}", 0..4)) {
        let sent = object(&name, values.clone());
        let headers = object_headers(&sent, &SiteId::new("paris").unwrap()).unwrap();
        for value in headers.values() {
            prop_assert!(value.to_str().is_ok(), "{value:?} is not visible ASCII");
        }
        prop_assert_eq!(read_name(&headers).unwrap().unwrap(), sent.name);
        let read = read_described(&headers).unwrap();
        prop_assert_eq!(read.metadata, values);
        prop_assert_eq!((read.created_at, read.size_bytes, read.expires_at), (sent.created_at, 0, sent.expires_at));
        let site = |text| SiteId::new(text).ok();
        prop_assert_eq!((read.origin, read.site), (site("lyon"), site("paris")));
    }
}

#[test]
fn e22_wrong_headers_are_refused() {
    for (name, value) in [
        (header::SIZE, "-1"),
        (header::SIZE, "x"),
        (header::SIZE, "9223372036854775808"),
        (header::HASH, "fakeHash"),
        (header::EXPIRES, "tomorrow"),
        (header::METADATA, "{"),
        (header::METADATA, "[]"),
        (header::METADATA, "null"),
        (header::METADATA, r#"{"a":1}"#),
        (header::METADATA, r#"{"a":null}"#),
        (header::METADATA, r#"{"1a":"x"}"#),
        (header::METADATA, r#"{"a-b":"x"}"#),
        (header::METADATA, r#"{"":"x"}"#),
        (header::METADATA, r#"{"a":"\u0007"}"#),
        (header::METADATA, r#"{'a':'x'}"#),
    ] {
        let error = read_stated(&with(name.clone(), value)).unwrap_err();
        assert!(error.message().starts_with(name.as_str()), "{value}: {error}");
    }
    let stated = read_stated(&with(header::SIZE, "0")).unwrap();
    assert_eq!(stated, Stated::default(), "size 0 says nothing");
    assert_eq!(read_stated(&with(header::EXPIRES, "")).unwrap(), Stated::default());
}

#[test]
fn metadata_have_a_limit() {
    let of = |bytes: usize| format!(r#"{{"key_":"{}"}}"#, "x".repeat(bytes - 4));
    assert!(read_metadata(&of(METADATA_BYTES_MAX)).is_ok());
    assert!(read_metadata(&of(METADATA_BYTES_MAX + 1)).unwrap_err().message().contains("2049"));
    assert_eq!(read_metadata(r#"{"Été":"x"}"#).unwrap_err().kind(), haulier_base::ErrorKind::Invalid);
    assert_eq!(read_metadata(r#"{"a":"é\u00e9"}"#).unwrap()["a"], "éé");
}

#[test]
fn zstd_is_wanted_by_name() {
    for (accept, expected) in [
        ("zstd", true),
        ("ZSTD", true),
        ("gzip, zstd;q=0.5", true),
        ("zstd;q=0", false),
        ("*", false),
        ("identity, zstd;q=0.5", false),
        ("gzip", false),
    ] {
        assert_eq!(wants_zstd(&with(ACCEPT_ENCODING, accept)), expected, "{accept}");
    }
    assert!(!wants_zstd(&HeaderMap::new()));
}

#[test]
fn bodies_are_plain_or_zstd() {
    assert_eq!(coding(&HeaderMap::new()).unwrap(), Coding::Identity);
    assert_eq!(coding(&with(CONTENT_ENCODING, "Zstd")).unwrap(), Coding::Zstd);
    for bad in ["gzip", "zstd, zstd", "zstd,gzip"] {
        assert!(coding(&with(CONTENT_ENCODING, bad)).is_err(), "{bad}");
    }
}

#[test]
fn accept_chooses_between_content_and_metadata() {
    for (accept, expected) in [
        ("*/*", Wanted::Content),
        ("application/octet-stream", Wanted::Content),
        ("application/json", Wanted::Metadata),
        ("application/json, */*;q=0.1", Wanted::Metadata),
        ("application/json, application/octet-stream", Wanted::Content),
        ("application/*", Wanted::Content),
        ("text/html", Wanted::Nothing),
        ("application/octet-stream;q=0", Wanted::Nothing),
    ] {
        assert_eq!(wanted(&with(ACCEPT, accept)), expected, "{accept}");
    }
    assert_eq!(wanted(&HeaderMap::new()), Wanted::Content);
}

/// The name in a header, with its escapes undone, as a client would read it.
fn read_name(headers: &HeaderMap) -> Result<Option<ObjectName>> {
    let Some(escaped) = text(headers, &header::NAME)? else { return Ok(None) };
    let name = percent_decode(escaped.as_bytes()).decode_utf8();
    let name = name.map_err(|_| Error::invalid(format!("{}: is not UTF-8", header::NAME)))?;
    ObjectName::new(name).map(Some)
}
