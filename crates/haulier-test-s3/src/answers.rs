//! What each request does to the store, and what is answered.
//!
//! The library checks signatures and speaks the protocol; anything that is not here is answered as not implemented.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use crate::listing;
use crate::store::{Memory, Object, is_met, now};
use crate::sums::{self, Declared, sent, tell};
use crate::uploads::{self, Part, Upload};

/// A body has no more bytes: all of it is in memory.
const BODY_MAX: usize = 1 << 30;

/// All bytes of a request.
async fn bytes_of(body: Option<StreamingBlob>, length: Option<i64>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| s3_error!(IncompleteBody, "{error}"))?);
            if bytes.len() > BODY_MAX {
                return Err(s3_error!(EntityTooLarge));
            }
        }
    }
    match length {
        Some(length) if length != bytes.len() as i64 => Err(s3_error!(IncompleteBody)),
        _ => Ok(bytes.freeze()),
    }
}

/// The bytes of a part that a header asks for, `bytes=first-last`.
fn slice(object: &Object, range: Option<&str>) -> S3Result<Bytes> {
    let Some(range) = range else { return Ok(object.bytes.clone()) };
    let parsed = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let ends = parsed.and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<usize>().ok()?)));
    match ends {
        Some((first, last)) if first <= last && last < object.bytes.len() => Ok(object.bytes.slice(first..=last)),
        _ => Err(s3_error!(InvalidRange)),
    }
}

impl Memory {
    /// The object that a copy is made of.
    fn source(&self, source: &CopySource, condition: Option<&ETagCondition>) -> S3Result<Arc<Object>> {
        let CopySource::Bucket { bucket, key, .. } = source else { return Err(s3_error!(NotImplemented)) };
        let object = self.with(bucket, |bucket| bucket.object(key))?;
        match condition {
            Some(condition) if !is_met(condition, &object) => Err(s3_error!(PreconditionFailed)),
            _ => Ok(object),
        }
    }
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.make(&req.input.bucket);
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.with(&req.input.bucket, |_| Ok(S3Response::new(HeadBucketOutput::default())))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = req.input;
        let bytes = bytes_of(input.body.take(), input.content_length).await?;
        let md5 = sums::md5(&bytes);
        sums::check_md5(input.content_md5.as_deref(), &md5)?;
        let sums = sums::checked(&bytes, input.checksum_algorithm.as_ref(), &sent!(input))?;
        let mut answer = PutObjectOutput { checksum_type: sums.checksum_type.clone(), ..Default::default() };
        tell!(&sums, answer);
        let object = Object { bytes, etag: hex::encode(md5), modified: now(), sums, metadata: input.metadata };
        answer.e_tag = Some(object.tag());
        self.with(&input.bucket, |bucket| {
            bucket.allows(&input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            bucket.objects.insert(input.key, Arc::new(object));
            Ok(S3Response::new(answer))
        })
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let object = self.with(&input.bucket, |bucket| bucket.object(&input.key))?;
        if input.if_match.as_ref().is_some_and(|condition| !is_met(condition, &object)) {
            return Err(s3_error!(PreconditionFailed));
        }
        if input.if_none_match.as_ref().is_some_and(|condition| is_met(condition, &object)) {
            return Err(s3_error!(NotModified));
        }
        let size = object.bytes.len() as u64;
        let range = input.range.map(|range| range.check(size)).transpose()?;
        let content_range =
            range.as_ref().map(|range| format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1)));
        let bytes = match range {
            Some(range) => object.bytes.slice(range.start as usize..range.end as usize),
            None => object.bytes.clone(),
        };
        let mut answer = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(bytes.len() as i64),
            e_tag: Some(object.tag()),
            last_modified: Some(object.modified.clone()),
            metadata: object.metadata.clone(),
            ..Default::default()
        };
        if input.checksum_mode.is_some() && content_range.is_none() {
            answer.checksum_type = object.sums.checksum_type.clone();
            tell!(&object.sums, answer);
        }
        answer.content_range = content_range;
        answer.body = Some(StreamingBlob::from(Body::from(bytes)));
        Ok(S3Response::new(answer))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let object = self.with(&input.bucket, |bucket| bucket.object(&input.key))?;
        if input.if_match.as_ref().is_some_and(|condition| !is_met(condition, &object)) {
            return Err(s3_error!(PreconditionFailed));
        }
        let mut answer = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.size()),
            e_tag: Some(object.tag()),
            last_modified: Some(object.modified.clone()),
            metadata: object.metadata.clone(),
            ..Default::default()
        };
        if input.checksum_mode.is_some() {
            answer.checksum_type = object.sums.checksum_type.clone();
            tell!(&object.sums, answer);
        }
        Ok(S3Response::new(answer))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        self.with(&input.bucket, |bucket| {
            if input.if_match.is_some() {
                bucket.allows(&input.key, input.if_match.as_ref(), None)?;
            }
            bucket.objects.remove(&input.key);
            Ok(S3Response::new(DeleteObjectOutput::default()))
        })
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = req.input.bucket.clone();
        self.with(&bucket, |bucket| listing::objects(bucket, req.input).map(S3Response::new))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let source = self.source(&input.copy_source, input.copy_source_if_match.as_ref())?;
        let sums = match &input.checksum_algorithm {
            Some(algorithm) => sums::checked(&source.bytes, Some(algorithm), &Checksum::default())?,
            None => source.sums.clone(),
        };
        let etag = hex::encode(sums::md5(&source.bytes));
        let metadata = source.metadata.clone();
        let object = Object { bytes: source.bytes.clone(), etag, modified: now(), sums, metadata };
        let mut copied = CopyObjectResult {
            e_tag: Some(object.tag()),
            last_modified: Some(object.modified.clone()),
            checksum_type: object.sums.checksum_type.clone(),
            ..Default::default()
        };
        tell!(&object.sums, copied);
        self.with(&input.bucket, |bucket| {
            bucket.objects.insert(input.key, Arc::new(object));
            Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(copied), ..Default::default() }))
        })
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let declared = Declared::new(input.checksum_algorithm, input.checksum_type)?;
        let id = haulier_base::id::random_uuid();
        self.with(&input.bucket, |bucket| {
            bucket
                .uploads
                .insert((input.key.clone(), id.clone()), Upload::new(declared.clone(), input.metadata.clone()));
            Ok(S3Response::new(CreateMultipartUploadOutput {
                bucket: Some(input.bucket.clone()),
                key: Some(input.key),
                upload_id: Some(id),
                checksum_algorithm: Some(declared.algorithm),
                checksum_type: Some(declared.style),
                ..Default::default()
            }))
        })
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = req.input;
        let bytes = bytes_of(input.body.take(), input.content_length).await?;
        let md5 = sums::md5(&bytes);
        sums::check_md5(input.content_md5.as_deref(), &md5)?;
        let declared = self.with(&input.bucket, |bucket| {
            bucket.upload(&input.key, &input.upload_id).map(|upload| upload.declared.clone())
        })?;
        let sums = sums::checked(&bytes, Some(&declared.algorithm), &sent!(input))?;
        let part = Part { bytes, md5, modified: now(), sums };
        let mut answer = UploadPartOutput { e_tag: Some(part.tag()), ..Default::default() };
        tell!(&part.sums, answer);
        self.with(&input.bucket, |bucket| {
            bucket.upload(&input.key, &input.upload_id)?.add(input.part_number, part)?;
            Ok(S3Response::new(answer))
        })
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let source = self.source(&input.copy_source, input.copy_source_if_match.as_ref())?;
        let bytes = slice(&source, input.copy_source_range.as_deref())?;
        self.with(&input.bucket, |bucket| {
            let upload = bucket.upload(&input.key, &input.upload_id)?;
            let sums = sums::checked(&bytes, Some(&upload.declared.algorithm), &Checksum::default())?;
            let part = Part { md5: sums::md5(&bytes), bytes, modified: now(), sums };
            let mut copied = CopyPartResult {
                e_tag: Some(part.tag()),
                last_modified: Some(part.modified.clone()),
                ..Default::default()
            };
            tell!(&part.sums, copied);
            upload.add(input.part_number, part)?;
            Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(copied), ..Default::default() }))
        })
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let list = input.multipart_upload.as_ref().and_then(|upload| upload.parts.clone()).unwrap_or_default();
        self.with(&input.bucket, |bucket| {
            let wanted = sent!(input);
            let upload = bucket.upload(&input.key, &input.upload_id)?;
            if input.checksum_type.as_ref().is_some_and(|style| *style != upload.declared.style) {
                return Err(s3_error!(InvalidRequest, "the upload was begun with another type of checksum"));
            }
            let object = upload.joined(&list, &wanted, input.mpu_object_size)?;
            bucket.allows(&input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            let object = uploads::complete(bucket, input.key.clone(), &input.upload_id, object);
            let mut answer = CompleteMultipartUploadOutput {
                bucket: Some(input.bucket.clone()),
                key: Some(input.key),
                e_tag: Some(object.tag()),
                checksum_type: object.sums.checksum_type.clone(),
                ..Default::default()
            };
            tell!(&object.sums, answer);
            Ok(S3Response::new(answer))
        })
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = req.input;
        self.with(&bucket, |bucket| {
            bucket.uploads.remove(&(key, upload_id)).ok_or_else(|| s3_error!(NoSuchUpload))?;
            Ok(S3Response::new(AbortMultipartUploadOutput::default()))
        })
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let bucket = req.input.bucket.clone();
        self.with(&bucket, |bucket| listing::parts(bucket, req.input).map(S3Response::new))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let bucket = req.input.bucket.clone();
        self.with(&bucket, |bucket| listing::uploads(bucket, req.input).map(S3Response::new))
    }
}
