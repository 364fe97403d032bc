//! Unfinished uploads at the store: beginning, finding again, filling and removing them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream as Body, SdkBody};
use bytes::Bytes;
use futures::stream;
use haulier_base::id::random_uuid;
use haulier_base::{Clock, Error, ErrorKind, Result, SystemClock};
use serde_json::{Value, json};

use super::checksum::{Kind, Verdict, checksum_of, compare, reported, send_along};
use super::plan::Cut;
use super::trouble::NO_SUCH_UPLOAD;
use super::{Bucket, read, timestamp};

/// An empty upload that is older than this was left by somebody who died before its id was kept.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Pages of a list that are looked at for abandoned uploads.
const PAGES_MAX: usize = 10;
/// The member of an object's own metadata that says which upload it was.
const MARK: &str = "haulier-upload";
/// Up to here a body is one buffer, which is signed; above, that would cost a copy and a second hash.
const ONE_BUFFER_MAX: u64 = 256 << 10;

/// An upload that a store keeps until it is completed or aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) id: String,
    pub(super) cut: Cut,
    pub(super) kind: Kind,
    /// What the finished object bears; empty in tokens of an older version.
    pub(super) mark: String,
}

/// One part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) size: u64,
    pub(super) etag: String,
    /// In base64. Ours, or the store's for parts that were not put here.
    pub(super) checksum: Option<String>,
}

impl Upload {
    pub(super) async fn begin(bucket: &Bucket, key: &str, kind: Kind, cut: Cut) -> Result<Self> {
        let (algorithm, style) = kind.declared().unzip();
        let mark = random_uuid();
        let request = bucket
            .store
            .client
            .create_multipart_upload()
            .bucket(&bucket.name)
            .key(key)
            .metadata(MARK, &mark)
            .set_checksum_algorithm(algorithm)
            .set_checksum_type(style);
        let answer = bucket.store.ask(request.send()).await?;
        let id = answer.upload_id().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Error::unavailable("the store begins an upload without a name"))?;
        Ok(Self { id: id.to_owned(), cut, kind, mark })
    }

    /// What a later writer needs; `sums` are the checksums of the first so many parts, since not every store
    /// tells those of its parts.
    pub(super) fn token(&self, sums: &[(u64, String)]) -> String {
        let mut token = self.cut.to_json();
        token["sums"] = json!(sums);
        token["upload_id"] = json!(self.id);
        token["checksum"] = json!(self.kind.name());
        token["mark"] = json!(self.mark);
        token.to_string()
    }

    /// What `token` gave; none for anything else.
    pub(super) fn from_token(token: &str) -> Option<Self> {
        let token: Value = serde_json::from_str(token).ok()?;
        let id = token["upload_id"].as_str().filter(|id| !id.is_empty())?.to_owned();
        let mark = token["mark"].as_str().unwrap_or_default().to_owned();
        Some(Self { id, cut: Cut::from_json(&token)?, kind: Kind::parse(token["checksum"].as_str()?)?, mark })
    }

    /// The checksums of the first so many parts that a token holds.
    pub(super) fn sums_of_token(token: &str) -> Vec<(u64, String)> {
        let token: Value = serde_json::from_str(token).unwrap_or_default();
        let sums = token["sums"].as_array().map(Vec::as_slice).unwrap_or_default();
        sums.iter().filter_map(|sum| Some((sum[0].as_u64()?, sum[1].as_str()?.to_owned()))).collect()
    }

    /// The parts that the store has, counted from 0; none when it does not know the upload (any more).
    pub(super) async fn parts(&self, bucket: &Bucket, key: &str) -> Result<Option<BTreeMap<u64, Part>>> {
        let (mut parts, mut marker) = (BTreeMap::new(), None);
        loop {
            let list = bucket.store.client.list_parts().bucket(&bucket.name).key(key).upload_id(&self.id);
            let answer = match bucket.store.ask(list.set_part_number_marker(marker.clone()).send()).await {
                Err(error) if error.detail(NO_SUCH_UPLOAD).is_some() || error.kind() == ErrorKind::NotFound => {
                    return Ok(None);
                }
                answer => answer?,
            };
            for part in answer.parts() {
                let number = part.part_number().and_then(|number| u64::try_from(number - 1).ok());
                let size = part.size().and_then(|size| u64::try_from(size).ok());
                if let (Some(number), Some(size), Some(etag)) = (number, size, part.e_tag()) {
                    let checksum = reported!(self.kind, part).map(str::to_owned);
                    parts.insert(number, Part { size, etag: etag.to_owned(), checksum });
                }
            }
            let next = answer.next_part_number_marker().map(str::to_owned);
            if !answer.is_truncated().unwrap_or(false) || next.is_none() || next == marker {
                return Ok(Some(parts));
            }
            marker = next;
        }
    }

    /// Whether an object is what this upload became.
    pub(super) fn became(&self, found: &HeadObjectOutput) -> bool {
        let mark = found.metadata().and_then(|metadata| metadata.get(MARK));
        !self.mark.is_empty() && mark == Some(&self.mark)
    }

    /// The length of the object that this upload became, when somebody completed it.
    pub(super) async fn completed(&self, bucket: &Bucket, key: &str) -> Result<Option<u64>> {
        if self.mark.is_empty() {
            return Ok(None);
        }
        match read::head(bucket, key, false).await {
            Ok(found) if self.became(&found) => Ok(found.content_length().and_then(|size| u64::try_from(size).ok())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The checksum that some bytes have in this upload.
    pub(super) async fn checksum_of(&self, buffers: &[Bytes]) -> Option<String> {
        checksum_of(self.kind, buffers).await
    }

    /// Puts one part. One that arrived damaged is sent once more.
    pub(super) async fn put(&self, bucket: &Bucket, key: &str, number: u64, buffers: Arc<[Bytes]>) -> Result<Part> {
        let checksum = checksum_of(self.kind, &buffers).await;
        match self.put_once(bucket, key, number, buffers.clone(), checksum.clone()).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(number, ?error, "a part arrived damaged and is sent again");
                self.put_once(bucket, key, number, buffers, checksum).await
            }
            outcome => outcome,
        }
    }

    pub(super) async fn put_once(
        &self,
        bucket: &Bucket,
        key: &str,
        number: u64,
        buffers: Arc<[Bytes]>,
        checksum: Option<String>,
    ) -> Result<Part> {
        let (size, moved) = (length(&buffers), Arc::new(AtomicU64::new(0)));
        let request = bucket
            .store
            .client
            .upload_part()
            .bucket(&bucket.name)
            .key(key)
            .upload_id(&self.id)
            .part_number(Cut::wire_number(number)?)
            .content_length(wire_length(size)?)
            .body(body(buffers, self.kind, moved.clone()));
        let request = send_along!(self.kind, request, checksum.clone());
        let answer = match self.kind {
            // One buffer leaves in one piece, of which nobody sees how far it is.
            Kind::None => bucket.store.ask_long(request.send()).await?,
            _ => bucket.store.ask_moving(&moved, request.send()).await?,
        };
        if let Some(theirs) = reported!(self.kind, answer) {
            if compare(checksum.as_deref(), theirs) == Verdict::Different {
                return Err(Error::corrupt("the store holds another part than was sent"));
            }
            bucket.store.note_report(true);
        }
        let etag = answer.e_tag().ok_or_else(|| Error::unavailable("the store gives a part no ETag"))?;
        Ok(Part { size, etag: etag.to_owned(), checksum })
    }

    /// Removes the upload; one that is not there is fine.
    pub(super) async fn abort(&self, bucket: &Bucket, key: &str) -> Result<()> {
        abort(bucket, key, &self.id).await
    }
}

async fn abort(bucket: &Bucket, key: &str, id: &str) -> Result<()> {
    let request = bucket.store.client.abort_multipart_upload().bucket(&bucket.name).key(key).upload_id(id);
    match bucket.store.ask(request.send()).await {
        Err(error) if error.detail(NO_SUCH_UPLOAD).is_some() || error.kind() == ErrorKind::NotFound => Ok(()),
        answer => answer.map(|_| ()),
    }
}

/// Removes the upload of a token; without one, uploads of just this key that are empty and long abandoned.
pub(super) async fn discard(bucket: &Bucket, key: &str, token: Option<&str>) -> Result<()> {
    if let Some(token) = token {
        return match Upload::from_token(token) {
            Some(upload) => upload.abort(bucket, key).await,
            None => Ok(()),
        };
    }
    discard_abandoned(bucket, key, ABANDONED).await
}

/// Removes uploads of just this key that are empty and at least so old.
pub(super) async fn discard_abandoned(bucket: &Bucket, key: &str, age: Duration) -> Result<()> {
    let (mut after_key, mut after_id) = (None, None);
    for _ in 0..PAGES_MAX {
        let list = bucket
            .store
            .client
            .list_multipart_uploads()
            .bucket(&bucket.name)
            .prefix(key)
            .set_key_marker(after_key)
            .set_upload_id_marker(after_id);
        let answer = match bucket.store.ask(list.send()).await {
            // Some stores list no uploads; nothing can be found there.
            Err(error) if matches!(error.detail("status"), Some("405" | "501")) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            answer => answer?,
        };
        for upload in answer.uploads().iter().filter(|upload| upload.key() == Some(key)) {
            let (Some(id), Some(begun)) = (upload.upload_id(), upload.initiated()) else { continue };
            if SystemClock.now().since(timestamp(begun)) < age {
                continue;
            }
            let list = bucket.store.client.list_parts().bucket(&bucket.name).key(key).upload_id(id);
            if bucket.store.ask(list.send()).await.is_ok_and(|parts| parts.parts().is_empty()) {
                abort(bucket, key, id).await?;
            }
        }
        (after_key, after_id) =
            (answer.next_key_marker().map(str::to_owned), answer.next_upload_id_marker().map(str::to_owned));
        // Longer keys come after this one.
        let beyond = answer.uploads().last().and_then(|upload| upload.key()).is_some_and(|last| last > key);
        if beyond || !answer.is_truncated().unwrap_or(false) || after_key.is_none() {
            break;
        }
    }
    Ok(())
}

pub(super) fn length(buffers: &[Bytes]) -> u64 {
    buffers.iter().map(|bytes| bytes.len() as u64).sum()
}

/// Takes so many bytes off the end.
pub(super) fn cut_off(buffers: &mut Vec<Bytes>, mut excess: u64) {
    while excess > 0
        && let Some(mut last) = buffers.pop()
    {
        let cut = excess.min(last.len() as u64);
        last.truncate(last.len() - cut as usize);
        excess -= cut;
        if !last.is_empty() {
            buffers.push(last);
        }
    }
}

pub(super) fn wire_length(size: u64) -> Result<i64> {
    i64::try_from(size).map_err(|_| Error::too_large("the object is larger than the store takes"))
}

/// Some buffers as a body that can be sent again; counts what was taken from it.
///
/// A body of several buffers is not signed: its checksum says what the signature would.
pub(super) fn body(buffers: Arc<[Bytes]>, kind: Kind, moved: Arc<AtomicU64>) -> Body {
    if kind == Kind::None || length(&buffers) <= ONE_BUFFER_MAX {
        let whole = match &*buffers {
            [only] => only.clone(),
            several => Bytes::from(several.concat()),
        };
        return Body::from(whole);
    }
    Body::new(SdkBody::retryable(move || {
        let (buffers, moved) = (buffers.clone(), moved.clone());
        let each = (0..buffers.len()).map(move |index| {
            moved.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(buffers[index].clone())
        });
        SdkBody::from_body_1_x(reqwest::Body::wrap_stream(stream::iter(each)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_were() {
        let upload =
            Upload { id: "a/b?\"".to_owned(), cut: Cut::new(1, None), kind: Kind::Crc32c, mark: "m".to_owned() };
        let sums = vec![(3, "AA==".to_owned())];
        assert_eq!(Upload::sums_of_token(&upload.token(&sums)), sums);
        assert_eq!(Upload::from_token(&upload.token(&[])), Some(upload));
        for bad in ["", "{}", "x", r#"{"upload_id":"a"}"#, r#"{"upload_id":"a","part_size":1,"checksum":"md5"}"#] {
            assert_eq!(Upload::from_token(bad), None, "{bad}");
        }
    }
}
