//! Making an object visible, and comparing what the store then says of it with what it was given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use haulier_base::{Error, Result};

use super::checksum::{Kind, Sums, Verdict, checksum_of, compare, reported, send_along};
use super::plan::Cut;
use super::trouble::is_ambiguous;
use super::upload::{Part, Upload, body, length, wire_length};
use super::{Bucket, copy, meta_of, read};
use crate::{ObjectMeta, StoreSource, Written};

/// An object that was just made.
struct Fresh {
    size: u64,
    etag: Option<String>,
    /// What the store said of it when it was made.
    said: Option<String>,
}

/// Puts an object that fits into one request.
pub(super) async fn put(bucket: &Bucket, key: &str, buffers: Vec<Bytes>) -> Result<Written> {
    let (kind, buffers): (_, Arc<[Bytes]>) = (bucket.checksum, buffers.into());
    let (size, moved) = (length(&buffers), Arc::new(AtomicU64::new(0)));
    let checksum = checksum_of(kind, &buffers).await;
    let request =
        bucket.store.client.put_object().bucket(&bucket.name).key(key).content_length(wire_length(size)?).body(body(
            buffers,
            kind,
            moved.clone(),
        ));
    let request = send_along!(kind, request, checksum.clone());
    let answer = match kind {
        Kind::None => bucket.store.ask_long(request.send()).await?,
        _ => bucket.store.ask_moving(&moved, request.send()).await?,
    };
    let said = reported!(kind, answer).map(str::to_owned);
    let fresh = Fresh { size, etag: answer.e_tag().map(str::to_owned), said };
    // A store that was asked once and said nothing is not asked for every object.
    let sums = Sums { parts: vec![checksum.clone()], whole: checksum };
    prove(bucket, key, kind, fresh, bucket.store.may_report(), |reported| sums.judge(kind, reported)).await
}

/// Has the store copy an object as a whole.
pub(super) async fn copy_whole(bucket: &Bucket, key: &str, source: &StoreSource) -> Result<Written> {
    let (kind, wanted) = match copy::checksum_of(source) {
        Some((kind, value)) => (kind, Some(value)),
        None => (Kind::None, None),
    };
    let request = bucket
        .store
        .client
        .copy_object()
        .bucket(&bucket.name)
        .key(key)
        .copy_source(copy::place(source)?)
        .copy_source_if_match(copy::condition(source))
        .set_checksum_algorithm(kind.declared().map(|(algorithm, _): (ChecksumAlgorithm, _)| algorithm));
    let answer = bucket.store.ask_long(request.send()).await.map_err(copy::changed)?;
    let copied = answer.copy_object_result();
    let said = copied.and_then(|copied| reported!(kind, copied)).map(str::to_owned);
    let etag = copied.and_then(|copied| copied.e_tag()).map(str::to_owned);
    if wanted.is_none() {
        refuse_other_size(bucket, key, source.size).await?;
    }
    let fresh = Fresh { size: source.size, etag, said };
    prove(bucket, key, kind, fresh, wanted.is_some(), |reported| compare(wanted, reported)).await
}

/// Not every store heeds the condition of a copy: Ceph 16 copies what is there now. Where no checksum tells, the length
/// has to.
async fn refuse_other_size(bucket: &Bucket, key: &str, size: u64) -> Result<()> {
    let found = read::head(bucket, key, false).await?;
    if found.content_length().and_then(|length| u64::try_from(length).ok()) == Some(size) {
        return Ok(());
    }
    remove(bucket, key).await;
    Err(Error::unavailable("source changed while it was copied"))
}

/// Joins the parts of an upload. What became of an answer that got lost is found out by looking.
pub(super) async fn complete(
    bucket: &Bucket,
    key: &str,
    upload: &Upload,
    parts: &BTreeMap<u64, Part>,
    whole: Option<String>,
    source: Option<&StoreSource>,
) -> Result<Written> {
    let kind = upload.kind;
    let size = parts.values().map(|part| part.size).sum();
    let sums = Sums { whole, parts: parts.values().map(|part| part.checksum.clone()).collect() };
    let of_source = source.and_then(copy::checksum_of).filter(|(of, _)| *of == kind).map(|(_, value)| value);
    let judged = |reported: &str| match of_source {
        Some(wanted) => compare(Some(wanted), reported),
        None => sums.judge(kind, reported),
    };
    let fresh = match request_complete(bucket, key, upload, parts, size, sums.whole.clone()).await {
        Ok((etag, said)) => Fresh { size, etag, said },
        Err(error) if is_ambiguous(&error) => {
            let Ok(found) = read::head(bucket, key, true).await else { return Err(error) };
            let same_size = found.content_length().and_then(|length| u64::try_from(length).ok()) == Some(size);
            let said = reported!(kind, found).map(str::to_owned);
            // An upload that an older version began left no mark; its checksum may tell as well.
            let same_bytes = said.as_deref().map(judged) == Some(Verdict::Same);
            if !same_size || !(same_bytes || upload.became(&found)) {
                return Err(error);
            }
            Fresh { size, etag: found.e_tag().map(str::to_owned), said }
        }
        Err(error) => return Err(error),
    };
    prove(bucket, key, kind, fresh, true, judged).await
}

/// Proves an object that somebody completed before, and that was given the same bytes once more to be compared.
pub(super) async fn recognize(
    bucket: &Bucket,
    key: &str,
    upload: &Upload,
    sums: &Sums,
    size: u64,
    source: Option<&StoreSource>,
) -> Result<Written> {
    let found = read::head(bucket, key, true).await?;
    if !upload.became(&found) {
        return Err(Error::conflict("the finished object was replaced by another one"));
    }
    let held = found.content_length().and_then(|length| u64::try_from(length).ok());
    if held != Some(size) {
        return Err(Error::conflict(format!("the finished object has {held:?} bytes, and its source {size} now")));
    }
    let said = reported!(upload.kind, found).map(str::to_owned);
    let fresh = Fresh { size, etag: found.e_tag().map(str::to_owned), said };
    let of_source = source.and_then(copy::checksum_of).filter(|(of, _)| *of == upload.kind).map(|(_, value)| value);
    prove(bucket, key, upload.kind, fresh, false, |reported| match of_source {
        Some(wanted) => compare(Some(wanted), reported),
        None => sums.judge(upload.kind, reported),
    })
    .await
}

async fn request_complete(
    bucket: &Bucket,
    key: &str,
    upload: &Upload,
    parts: &BTreeMap<u64, Part>,
    size: u64,
    whole: Option<String>,
) -> Result<(Option<String>, Option<String>)> {
    let (kind, mut list) = (upload.kind, Vec::with_capacity(parts.len()));
    // All or none: a store that knows some checksums only would miss the others.
    let all_known = parts.values().all(|part| part.checksum.is_some());
    for (number, part) in parts {
        let entry = CompletedPart::builder().part_number(Cut::wire_number(*number)?).e_tag(&part.etag);
        let checksum = part.checksum.clone().filter(|_| all_known);
        let entry = match kind {
            Kind::Crc64Nvme => entry.set_checksum_crc64_nvme(checksum),
            Kind::Crc32c => entry.set_checksum_crc32_c(checksum),
            Kind::Sha256 => entry.set_checksum_sha256(checksum),
            Kind::Md5 | Kind::None => entry,
        };
        list.push(entry.build());
    }
    let request = bucket
        .store
        .client
        .complete_multipart_upload()
        .bucket(&bucket.name)
        .key(key)
        .upload_id(&upload.id)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(list)).build())
        .mpu_object_size(wire_length(size)?)
        .set_checksum_type(kind.declared().map(|(_, style)| style));
    let request = match kind {
        Kind::Crc64Nvme => request.set_checksum_crc64_nvme(whole),
        Kind::Crc32c => request.set_checksum_crc32_c(whole),
        Kind::Sha256 | Kind::Md5 | Kind::None => request,
    };
    let answer = bucket.store.ask_long(request.send()).await?;
    Ok((answer.e_tag().map(str::to_owned), reported!(kind, answer).map(str::to_owned)))
}

/// Compares what the store says of a fresh object with what it was given; other bytes do not stay.
async fn prove(
    bucket: &Bucket,
    key: &str,
    kind: Kind,
    fresh: Fresh,
    look: bool,
    judged: impl Fn(&str) -> Verdict,
) -> Result<Written> {
    let Fresh { size, etag, mut said } = fresh;
    let length = i64::try_from(size).ok();
    let mut meta = meta_of(length, etag.as_deref(), None);
    // Some stores do not name the version of an object that was made of parts.
    let nameless = meta.version.is_none();
    if nameless || said.is_none() && kind.declared().is_some() && look {
        let found = read::head(bucket, key, true).await?;
        let seen = meta_of(found.content_length(), found.e_tag(), found.last_modified());
        // Another one may have been put in its place by now; that says nothing about ours.
        if meta.version.is_none() || seen.version == meta.version {
            refuse_size(bucket, key, &seen, size).await?;
            said = said.or_else(|| reported!(kind, found).map(str::to_owned));
            if kind.declared().is_some() {
                bucket.store.note_report(said.is_some());
            }
            meta = seen;
        }
    } else if said.is_some() {
        bucket.store.note_report(true);
    }
    match said.as_deref().map_or(Verdict::Silent, judged) {
        Verdict::Same => Ok(Written { meta, store_checksum: Some(kind.name()) }),
        Verdict::Silent => Ok(Written { meta, store_checksum: None }),
        Verdict::Different => {
            remove(bucket, key).await;
            Err(Error::corrupt(format!("the store's {} is not that of the bytes it was given", kind.name())))
        }
    }
}

async fn refuse_size(bucket: &Bucket, key: &str, seen: &ObjectMeta, size: u64) -> Result<()> {
    match seen.size {
        Some(found) if found != size => {
            remove(bucket, key).await;
            Err(Error::corrupt(format!("the store holds {found} bytes, not the {size} it was given")))
        }
        _ => Ok(()),
    }
}

async fn remove(bucket: &Bucket, key: &str) {
    let sent = bucket.store.client.delete_object().bucket(&bucket.name).key(key).send();
    if let Err(error) = bucket.store.ask(sent).await {
        tracing::warn!(?error, "cannot remove an object that holds other bytes than it was given");
    }
}
