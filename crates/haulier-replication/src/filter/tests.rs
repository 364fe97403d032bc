//! A filter shows exactly what passes each of its parts.

use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::model::{BucketName, ObjectName, RecordId, SiteId};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

fn object(name: &str, status: Status, created: i64, expires: Option<i64>, size: u64, metadata: Metadata) -> Object {
    Object {
        id: RecordId::fresh(),
        bucket: BucketName::stored("abc".to_owned()),
        name: ObjectName::stored(name.to_owned()),
        status,
        created_at: at(created),
        event_at: at(created),
        expires_at: expires.map(at),
        size_bytes: size,
        sha256: None,
        metadata,
        origin: SiteId::stored("here".to_owned()),
        buried_at: None,
    }
}

prop_compose! {
    fn objects()(
        name in "[ab]{1,3}",
        status in proptest::sample::select(Status::ALL),
        created in 0_i64..5,
        expires in proptest::option::of(0_i64..5),
        size in 0_u64..5,
        metadata in proptest::collection::btree_map("[kl]", "[xy]", 0..2),
    ) -> Object {
        object(&name, status, created, expires, size, metadata)
    }
}

prop_compose! {
    fn filters()(
        name_prefix in "[ab]{0,2}",
        statuses in proptest::collection::vec(proptest::sample::select(Status::ALL), 0..3),
        creation in (proptest::option::of(0_i64..5), proptest::option::of(0_i64..5)),
        expires in (proptest::option::of(0_i64..5), proptest::option::of(0_i64..5)),
        sizes in (0_u64..5, 0_u64..5),
        metadata in proptest::collection::btree_map("[kl]", "[xy]", 0..2),
    ) -> Filter {
        Filter {
            name_prefix,
            statuses,
            creation_before: creation.0.map(at),
            creation_after: creation.1.map(at),
            expires_before: expires.0.map(at),
            expires_after: expires.1.map(at),
            size_most: Some(sizes.0).filter(|size| *size > 0),
            size_least: Some(sizes.1).filter(|size| *size > 0),
            metadata,
        }
    }
}

/// The filter written into headers, as a client would.
fn headers(filter: &Filter) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, text: String| drop(headers.insert(name, HeaderValue::from_str(&text).unwrap()));
    let instant = |at: Timestamp| crate::api::Instant(at).to_string();
    put(NAME_PREFIX, filter.name_prefix.clone());
    if !filter.statuses.is_empty() {
        let names: Vec<_> = filter.statuses.iter().map(|status| status.as_str()).collect();
        put(STATUSES, serde_json::to_string(&names).unwrap());
    }
    for (name, bound) in [
        (CREATION_BEFORE, filter.creation_before),
        (CREATION_AFTER, filter.creation_after),
        (EXPIRES_BEFORE, filter.expires_before),
        (EXPIRES_AFTER, filter.expires_after),
    ] {
        put(name, bound.map(instant).unwrap_or_default());
    }
    put(SIZE_LT, filter.size_most.unwrap_or_default().to_string());
    put(SIZE_GT, filter.size_least.unwrap_or_default().to_string());
    put(METADATA_EQ, serde_json::to_string(&filter.metadata).unwrap());
    headers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_filter_is_the_sum_of_its_parts(object in objects(), filter in filters()) {
        let only = |part: Filter| part.shows(&object);
        let none = Filter::default();
        let parts = [
            only(Filter { name_prefix: filter.name_prefix.clone(), ..none.clone() }),
            only(Filter { statuses: filter.statuses.clone(), ..none.clone() }),
            only(Filter { creation_before: filter.creation_before, ..none.clone() }),
            only(Filter { creation_after: filter.creation_after, ..none.clone() }),
            only(Filter { expires_before: filter.expires_before, ..none.clone() }),
            only(Filter { expires_after: filter.expires_after, ..none.clone() }),
            only(Filter { size_most: filter.size_most, ..none.clone() }),
            only(Filter { size_least: filter.size_least, ..none.clone() }),
            only(Filter { metadata: filter.metadata.clone(), ..none.clone() }),
        ];
        prop_assert!(none.shows(&object));
        prop_assert_eq!(filter.shows(&object), parts.iter().all(|part| *part), "{:?}", parts);
    }

    #[test]
    fn a_filter_is_read_as_it_was_written(filter in filters()) {
        prop_assert_eq!(Filter::from_headers(&headers(&filter)).unwrap(), filter);
    }

    #[test]
    fn bounds_are_inclusive(object in objects()) {
        let exact = Filter {
            name_prefix: object.name.to_string(),
            statuses: vec![object.status],
            creation_before: Some(object.created_at),
            creation_after: Some(object.created_at),
            expires_before: object.expires_at,
            expires_after: object.expires_at,
            size_most: Some(object.size_bytes),
            size_least: Some(object.size_bytes),
            metadata: object.metadata.clone(),
        };
        prop_assert!(exact.shows(&object));
        let millis = |at: Timestamp, by: i64| Some(Timestamp::from_micros(at.as_micros() + by * 1000));
        let none = Filter::default;
        let wrong_before = Filter { creation_before: millis(object.created_at, -1), ..none() };
        let wrong_after = Filter { creation_after: millis(object.created_at, 1), ..none() };
        let wrong_size = Filter { size_least: Some(object.size_bytes + 1), ..none() };
        prop_assert!(![wrong_before, wrong_after, wrong_size].iter().any(|filter| filter.shows(&object)));
    }
}

#[test]
fn what_never_expires_does_so_neither_before_nor_after() {
    let eternal = object("a", Status::Ready, 1, None, 1, Metadata::new());
    assert!(!Filter { expires_before: Some(at(9)), ..Filter::default() }.shows(&eternal));
    assert!(!Filter { expires_after: Some(at(0)), ..Filter::default() }.shows(&eternal));
}

#[test]
fn malformed_filters_are_refused() {
    for (name, value) in [
        (STATUSES, "READY"),
        (STATUSES, r#"["ready"]"#),
        (STATUSES, "{}"),
        (CREATION_BEFORE, "soon"),
        (EXPIRES_AFTER, "5"),
        (SIZE_LT, "-1"),
        (SIZE_GT, "many"),
        (METADATA_EQ, "[]"),
        (METADATA_EQ, r#"{"a":1}"#),
    ] {
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
        let error = Filter::from_headers(&headers).unwrap_err();
        assert!(error.message().starts_with(name.as_str()), "{value}: {error}");
    }
    assert_eq!(Filter::from_headers(&HeaderMap::new()).unwrap(), Filter::default());
}
