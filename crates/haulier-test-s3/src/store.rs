//! Buckets with their objects and unfinished uploads, in memory, under keys that nobody touches.
//!
//! Knows no requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use haulier_base::{Clock, SystemClock};
use s3s::dto::{Checksum, ETag, ETagCondition, Metadata, Timestamp};
use s3s::{S3Result, s3_error};

use crate::uploads::Upload;

/// A whole object; another one under its key is another value.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    pub(crate) etag: String,
    pub(crate) modified: Timestamp,
    pub(crate) sums: Checksum,
    /// What whoever put it wrote on it.
    pub(crate) metadata: Option<Metadata>,
}

impl Object {
    /// Its length, as answers have it.
    pub(crate) fn size(&self) -> i64 {
        self.bytes.len() as i64
    }

    pub(crate) fn tag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

/// One bucket. Both maps are in the order of the bytes of their keys, as listings are.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<String, Arc<Object>>,
    pub(crate) uploads: BTreeMap<(String, String), Upload>,
}

impl Bucket {
    pub(crate) fn object(&self, key: &str) -> S3Result<Arc<Object>> {
        self.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// Refuses a write whose condition does not hold.
    pub(crate) fn allows(
        &self,
        key: &str,
        wanted: Option<&ETagCondition>,
        unwanted: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let there = self.objects.get(key);
        if wanted.is_some() && there.is_none() {
            return Err(s3_error!(NoSuchKey));
        }
        let meets = |condition: &ETagCondition| there.is_some_and(|object| is_met(condition, object));
        match wanted.is_none_or(meets) && !unwanted.is_some_and(meets) {
            true => Ok(()),
            false => Err(s3_error!(PreconditionFailed)),
        }
    }
}

/// Whether an object is the one that a condition means.
pub(crate) fn is_met(condition: &ETagCondition, object: &Object) -> bool {
    condition.as_etag().is_none_or(|tag| tag.strong_cmp(&object.tag()))
}

/// The whole store.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<String, Bucket>>);

impl Memory {
    /// A store with one empty bucket.
    pub(crate) fn with_bucket(name: &str) -> Self {
        Self(Mutex::new(HashMap::from([(name.to_owned(), Bucket::default())])))
    }

    /// Adds a bucket; one that is there stays.
    pub(crate) fn make(&self, name: &str) {
        self.lock().entry(name.to_owned()).or_default();
    }

    /// Does something with a bucket that nobody else touches meanwhile.
    pub(crate) fn with<T>(&self, name: &str, act: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        act(self.lock().get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket))?)
    }

    /// Nothing here is left half done by a panic, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time, as answers have it.
pub(crate) fn now() -> Timestamp {
    let micros = u64::try_from(SystemClock.now().as_micros()).unwrap_or(0);
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
}
