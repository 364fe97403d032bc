//! Copies that the store makes by itself, as a whole or part by part.

use std::ops::Range;

use aws_sdk_s3::types::ChecksumType;
use futures::stream::{self, StreamExt, TryStreamExt};
use haulier_base::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::Bucket;
use super::checksum::{Kind, reported};
use super::plan::Cut;
use super::read::head;
use super::upload::{Part, Upload};
use crate::{StoreSource, Version};

/// Larger objects are copied part by part: no store copies more in one request. That one request is the quicker way,
/// since a checksum of the whole is not computed again.
pub(super) const WHOLE_MAX: u64 = 5_000_000_000;
/// Parts that the store copies at once.
const AT_ONCE: usize = 4;
/// Parts of one call, after which the caller may stop.
const PARTS_PER_CALL: u64 = 8;

/// What stays as it is in a header that names an object.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Describes an object for a copy inside the store, with its checksum if that can be compared with the copy's.
pub(super) async fn source(bucket: &Bucket, key: &str) -> Result<Option<StoreSource>> {
    let found = head(bucket, key, true).await?;
    let (Some(size), Some(etag)) = (found.content_length().and_then(|size| u64::try_from(size).ok()), found.e_tag())
    else {
        return Ok(None);
    };
    if size > WHOLE_MAX && bucket.store.loses_sources() && encoded(key) != key {
        return Ok(None);
    }
    let mut known = [Kind::Crc64Nvme, Kind::Crc32c, Kind::Sha256]
        .into_iter()
        .filter_map(|kind| reported!(kind, found).map(|value| (kind, value)))
        .filter(|(_, value)| found.checksum_type() != Some(&ChecksumType::Composite) && !value.contains('-'));
    // Parts are joined to the checksum of the kind that an upload has, and to no other.
    let comparable = known.find(|(kind, _)| size <= WHOLE_MAX || *kind == bucket.checksum && *kind != Kind::Sha256);
    Ok(Some(StoreSource {
        store: bucket.store.name.clone(),
        locator: json!({ "bucket": bucket.name, "key": key }).to_string(),
        size,
        version: Version::from(etag.trim_matches('"')),
        checksum: comparable.map(|(kind, value)| format!("{}:{value}", kind.name())),
    }))
}

/// Where a source is, as `x-amz-copy-source` has it.
pub(super) fn place(source: &StoreSource) -> Result<String> {
    let wrong = || Error::internal("the place of a source in its store cannot be read");
    let locator: Value = serde_json::from_str(&source.locator).map_err(|_| wrong())?;
    let (Some(bucket), Some(key)) = (locator["bucket"].as_str(), locator["key"].as_str()) else { return Err(wrong()) };
    Ok(format!("{bucket}/{}", encoded(key)))
}

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, PLAIN).to_string()
}

/// The checksum of a source, if it has one.
pub(super) fn checksum_of(source: &StoreSource) -> Option<(Kind, &str)> {
    let (kind, value) = source.checksum.as_deref()?.split_once(':')?;
    Some((Kind::parse(kind)?, value))
}

/// The condition under which a source is the one that was described.
pub(super) fn condition(source: &StoreSource) -> String {
    format!("\"{}\"", source.version)
}

/// The parts that one call copies of `at..at + len`: whole ones and the last, and one at least.
pub(super) fn numbers(cut: &Cut, size: u64, at: u64, len: u64) -> Range<u64> {
    let (first, until) = (cut.part_at(at), at.saturating_add(len).min(size));
    let last = cut.part_at(size.saturating_sub(1));
    let more = (first + 1..first + PARTS_PER_CALL).take_while(|number| *number <= last);
    let fitting = more.take_while(|number| cut.part(*number).1.min(size) <= until);
    first..fitting.last().unwrap_or(first) + 1
}

/// Copies some parts, all at the same offsets as in the source.
pub(super) async fn parts(
    bucket: &Bucket,
    key: &str,
    upload: &Upload,
    source: &StoreSource,
    numbers: Range<u64>,
) -> Result<Vec<(u64, Part)>> {
    let place = place(source)?;
    let copies = numbers.map(|number| {
        let place = place.clone();
        async move { Ok((number, part(bucket, key, upload, source, place, number).await?)) }
    });
    let copied: Result<Vec<_>> = stream::iter(copies).buffer_unordered(AT_ONCE).try_collect().await;
    match copied {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(lost(bucket, source, error).await),
        copied => copied,
    }
}

/// What it means that a store does not find a source: it is gone, or the store looks for it under its encoded key.
///
/// Then the next attempt has to move the bytes through here.
async fn lost(bucket: &Bucket, source: &StoreSource, error: Error) -> Error {
    let locator: Value = serde_json::from_str(&source.locator).unwrap_or_default();
    let (Some(place), Some(key)) = (locator["bucket"].as_str(), locator["key"].as_str()) else { return error };
    let looking = bucket.store.client.head_object().bucket(place).key(key).send();
    let there = bucket.store.ask(looking).await;
    let is_same =
        there.is_ok_and(|found| found.e_tag().map(|tag| tag.trim_matches('"')) == Some(source.version.as_str()));
    if !is_same || encoded(key) == key {
        return error;
    }
    bucket.store.note_lost_source();
    Error::unavailable("the store cannot copy an object with this key by parts; its bytes go through here instead")
}

async fn part(
    bucket: &Bucket,
    key: &str,
    upload: &Upload,
    source: &StoreSource,
    place: String,
    number: u64,
) -> Result<Part> {
    let (start, end) = upload.cut.part(number);
    let end = end.min(source.size);
    let request = bucket
        .store
        .client
        .upload_part_copy()
        .bucket(&bucket.name)
        .key(key)
        .upload_id(&upload.id)
        .part_number(Cut::wire_number(number)?)
        .copy_source(place)
        .copy_source_if_match(condition(source))
        .copy_source_range(format!("bytes={start}-{}", end - 1));
    let answer = bucket.store.ask_long(request.send()).await.map_err(changed)?;
    let copied = answer.copy_part_result();
    let etag = copied.and_then(|part| part.e_tag());
    let etag = etag.ok_or_else(|| Error::unavailable("the store gives a part no ETag"))?;
    let checksum = copied.and_then(|part| reported!(upload.kind, part)).map(str::to_owned);
    Ok(Part { size: end - start, etag: etag.to_owned(), checksum })
}

/// Only the source has a condition in a copy.
pub(super) fn changed(error: Error) -> Error {
    match (error.kind(), error.detail("status")) {
        (ErrorKind::Conflict, Some("412")) => Error::unavailable("source changed while it was copied"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_copy_whole_parts_and_the_last() {
        const MIB: u64 = 1 << 20;
        let cut = Cut::new(5 * MIB, Some(100 * MIB));
        for (size, at, len, wanted) in [
            (12, 0, 12, 0..3),
            (12, 0, 11, 0..2),
            (12, 0, 1, 0..1),
            (12, 10, 5, 2..3),
            (100, 0, 100, 0..8),
            (100, 40, 1000, 8..16),
            (10, 5, 5, 1..2),
        ] {
            assert_eq!(numbers(&cut, size * MIB, at * MIB, len * MIB), wanted, "{at} {len} of {size}");
        }
    }

    #[test]
    fn places_are_encoded_but_for_slashes() {
        let locator = json!({ "bucket": "b", "key": "a//b/c+d %é?#" }).to_string();
        let version = Version::from("v");
        let source = StoreSource { store: String::new(), locator, size: 1, version, checksum: None };
        assert_eq!(place(&source).unwrap(), "b/a//b/c%2Bd%20%25%C3%A9%3F%23");
        let source = StoreSource { locator: "b/k".to_owned(), checksum: Some("crc32c:AA==".to_owned()), ..source };
        assert_eq!(place(&source).unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(checksum_of(&source), Some((Kind::Crc32c, "AA==")));
    }
}
