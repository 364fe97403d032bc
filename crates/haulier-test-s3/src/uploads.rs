//! Unfinished uploads: their parts, and how these become an object.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use s3s::dto::{Checksum, CompletedPart, ETag, Metadata, Timestamp};
use s3s::{S3Result, s3_error};

use crate::store::{Bucket, Object, now};
use crate::sums::{self, Declared, sent};

/// The smallest part that is not the last one.
const PART_MIN: usize = 5 << 20;
const PARTS_MAX: i32 = 10_000;

/// One part.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    pub(crate) md5: [u8; 16],
    pub(crate) modified: Timestamp,
    pub(crate) sums: Checksum,
}

impl Part {
    pub(crate) fn tag(&self) -> ETag {
        ETag::Strong(hex::encode(self.md5))
    }
}

/// One upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) begun: Timestamp,
    pub(crate) declared: Declared,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) parts: BTreeMap<i32, Part>,
}

impl Bucket {
    pub(crate) fn upload(&mut self, key: &str, id: &str) -> S3Result<&mut Upload> {
        let found = self.uploads.get_mut(&(key.to_owned(), id.to_owned()));
        found.ok_or_else(|| s3_error!(NoSuchUpload))
    }
}

impl Upload {
    pub(crate) fn new(declared: Declared, metadata: Option<Metadata>) -> Self {
        Self { begun: now(), declared, metadata, parts: BTreeMap::new() }
    }

    /// Keeps a part, in place of one with the same number.
    pub(crate) fn add(&mut self, number: i32, part: Part) -> S3Result<()> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(s3_error!(InvalidArgument, "parts are numbered from 1 to {PARTS_MAX}"));
        }
        self.parts.insert(number, part);
        Ok(())
    }

    /// The object that the listed parts make.
    pub(crate) fn joined(&self, list: &[CompletedPart], wanted: &Checksum, size: Option<i64>) -> S3Result<Object> {
        let parts = self.listed(list)?;
        let (mut bytes, mut tags) = (BytesMut::new(), Vec::new());
        for part in &parts {
            bytes.extend_from_slice(&part.bytes);
            tags.extend(part.md5);
        }
        let bytes = bytes.freeze();
        if size.is_some_and(|size| size != bytes.len() as i64) {
            return Err(s3_error!(InvalidRequest, "the parts do not have the size that was told"));
        }
        let sums = if self.declared.is_composite() {
            let of_parts: Vec<_> = parts.iter().map(|part| &part.sums).collect();
            sums::composed(&self.declared, &of_parts)?
        } else {
            sums::checked(&bytes, Some(&self.declared.algorithm), &Checksum::default())?
        };
        sums::compare(wanted, &sums)?;
        let etag = format!("{}-{}", hex::encode(sums::md5(&tags)), parts.len());
        Ok(Object { bytes, etag, modified: now(), sums, metadata: self.metadata.clone() })
    }

    fn listed(&self, list: &[CompletedPart]) -> S3Result<Vec<&Part>> {
        let mut parts: Vec<&Part> = Vec::new();
        let mut before = 0;
        for entry in list {
            let number = entry.part_number.unwrap_or(0);
            if number <= before {
                return Err(s3_error!(InvalidPartOrder));
            }
            before = number;
            let part = self.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            if entry.e_tag.as_ref().is_some_and(|tag| !tag.strong_cmp(&part.tag())) {
                return Err(s3_error!(InvalidPart));
            }
            sums::compare(&sent!(entry), &part.sums).map_err(|_| s3_error!(InvalidPart))?;
            parts.push(part);
        }
        let last = parts.len().checked_sub(1).ok_or_else(|| s3_error!(MalformedXML))?;
        match parts[..last].iter().any(|part| part.bytes.len() < PART_MIN) {
            true => Err(s3_error!(EntityTooSmall)),
            false => Ok(parts),
        }
    }
}

/// Ends an upload; what is visible afterwards is the whole object.
pub(crate) fn complete(bucket: &mut Bucket, key: String, id: &str, object: Object) -> Arc<Object> {
    let object = Arc::new(object);
    bucket.uploads.remove(&(key.clone(), id.to_owned()));
    bucket.objects.insert(key, object.clone());
    object
}
