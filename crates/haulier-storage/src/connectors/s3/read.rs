//! Looking at objects and reading them, in ranges and never two versions mixed.

use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream as Body;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use futures::stream::{self, StreamExt};
use haulier_base::{Error, Result};

use super::checksum::crc64_of;
use super::trouble::BAD_RANGE;
use super::{Bucket, meta_of};
use crate::connectors::cut;
use crate::{ByteStream, ObjectMeta, ObjectRead, ReadRequest};

/// No object reaches this far, and some servers misread larger numbers.
const OFFSET_MAX: u64 = 1 << 60;

/// Looks at an object, and at what the store knows of its checksum if that is wanted.
pub(super) async fn head(bucket: &Bucket, key: &str, checksum: bool) -> Result<HeadObjectOutput> {
    let mut request = bucket.store.client.head_object().bucket(&bucket.name).key(key);
    if checksum {
        request = request.checksum_mode(ChecksumMode::Enabled);
    }
    bucket.store.ask(request.send()).await
}

pub(super) async fn read(bucket: &Bucket, key: &str, request: ReadRequest) -> Result<ObjectRead> {
    let empty = request.end.is_some_and(|end| end <= request.start);
    if empty || request.start >= OFFSET_MAX {
        return nothing(bucket, key, &request).await;
    }
    let mut get = bucket.store.client.get_object().bucket(&bucket.name).key(key);
    match (request.start, request.end) {
        (0, None) => {}
        (start, None) => get = get.range(format!("bytes={start}-")),
        (start, Some(end)) => get = get.range(format!("bytes={start}-{}", end.min(OFFSET_MAX) - 1)),
    }
    if let Some(version) = &request.version {
        if !version.as_str().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::conflict("the source is not the same version any more"));
        }
        get = get.if_match(format!("\"{version}\""));
    }
    let whole = request.start == 0 && request.end.is_none();
    // The header alone: told by its own means, the library would compute the checksum too.
    let asked = get.customize().mutate_request(move |request| {
        if whole {
            request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        }
    });
    match bucket.store.ask(asked.send()).await {
        Ok(answer) => opened(answer, &request, bucket.store.stall),
        Err(error) if error.detail(BAD_RANGE).is_some() => nothing(bucket, key, &request).await,
        Err(error) => Err(error),
    }
}

/// A read without bytes, which cannot be asked for on the wire; what is wrong with a start is found out here.
async fn nothing(bucket: &Bucket, key: &str, request: &ReadRequest) -> Result<ObjectRead> {
    let found = head(bucket, key, false).await?;
    let meta = meta_of(found.content_length(), found.e_tag(), found.last_modified());
    request.check_version(&meta)?;
    let start = request.range_of(meta.size.unwrap_or(0))?.start;
    Ok(ObjectRead { meta, start, end: Some(start), stream: stream::empty().boxed(), handle: None, crc64: None })
}

fn opened(answer: GetObjectOutput, request: &ReadRequest, stall: Duration) -> Result<ObjectRead> {
    let sent = answer.content_length().and_then(|length| u64::try_from(length).ok());
    let range = answer.content_range().and_then(content_range);
    let meta = |size: Option<u64>| ObjectMeta { size, ..meta_of(None, answer.e_tag(), answer.last_modified()) };
    let (first, meta) = match range {
        Some((first, size)) => (first, meta(size)),
        // A store may give everything instead of a range.
        None => (0, meta(sent)),
    };
    // Some stores ignore the condition.
    request.check_version(&meta)?;
    if first > request.start {
        return Err(Error::unavailable("the store sent another range than the one asked for"));
    }
    let end = match meta.size {
        Some(size) => Some(request.range_of(size)?.end),
        None => sent.map(|length| first + length),
    };
    let composite = answer.checksum_type() == Some(&ChecksumType::Composite);
    let crc64 = answer.checksum_crc64_nvme().filter(|_| !composite).and_then(crc64_of);
    let (skip, last) = (request.start - first, end.map(|end| end - first));
    let stream = body(answer.body, last, stall);
    let stream = if skip > 0 || last.is_some_and(|last| sent.is_some_and(|sent| last < sent)) {
        cut(stream, skip, last)
    } else {
        stream
    };
    Ok(ObjectRead { meta, start: request.start, end, stream, handle: None, crc64 })
}

/// `bytes first-last/size`, where the size may be missing.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()))
}

/// The bytes of an answer; one that ends before it should, or stands still, is a failed attempt.
fn body(body: Body, expected: Option<u64>, stall: Duration) -> ByteStream {
    stream::unfold(Some((body, 0u64)), move |state| async move {
        let (mut body, at) = state?;
        match tokio::time::timeout(stall, body.next()).await {
            Err(_) => Some((Err(Error::unavailable("the store sends nothing any more")), None)),
            Ok(Some(Err(error))) => {
                let error = Error::unavailable("the connection to the store broke").caused_by(error);
                Some((Err(error), None))
            }
            Ok(Some(Ok(bytes))) => {
                let next = at + bytes.len() as u64;
                Some((Ok(bytes), Some((body, next))))
            }
            Ok(None) => match expected.filter(|expected| at < *expected) {
                Some(expected) => {
                    let error = Error::unavailable("the object ended before its last byte");
                    Some((Err(error.context("expected", expected).context("received", at)), None))
                }
                None => None,
            },
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5, Some(20))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["5-9/20", "bytes */20", "bytes a-b/c"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
