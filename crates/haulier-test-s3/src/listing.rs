//! Pages of objects, uploads and parts.
//!
//! A page goes on behind the last key that the one before it had; its token is that key, in hexadecimal.

use std::ops::Bound;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Result, s3_error};

use crate::store::Bucket;
use crate::sums::tell;

/// Entries of a page at most.
const PAGE_MAX: usize = 1000;
/// What stays as it is in a key of an answer with `encoding-type: url`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// A key as an answer has it: a form's encoding, if that was asked for.
fn shown(key: &str, encoding: Option<&EncodingType>) -> String {
    match encoding {
        Some(_) => utf8_percent_encode(key, PLAIN).to_string().replace("%20", "+"),
        None => key.to_owned(),
    }
}

fn page_length(asked: Option<i32>) -> S3Result<usize> {
    let asked = usize::try_from(asked.unwrap_or(PAGE_MAX as i32));
    asked.map(|asked| asked.min(PAGE_MAX)).map_err(|_| s3_error!(InvalidArgument))
}

fn key_of_token(token: &str) -> S3Result<String> {
    let bytes = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of this server"))
}

/// The part of a key up to the first delimiter behind the prefix.
fn common(key: &str, prefix: &str, delimiter: Option<&str>) -> Option<String> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(key[..prefix.len() + at + delimiter.len()].to_owned())
}

/// One page of objects, and of the folders that a delimiter makes.
pub(crate) fn objects(bucket: &Bucket, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let (prefix, most) = (input.prefix.clone().unwrap_or_default(), page_length(input.max_keys)?);
    let after = match &input.continuation_token {
        Some(token) => Some(key_of_token(token)?),
        None => input.start_after.clone(),
    };
    let encoding = input.encoding_type.as_ref();
    let from = after.as_ref().filter(|after| **after >= prefix).map_or(Bound::Included(&prefix), Bound::Excluded);
    let (mut contents, mut folders, mut last) = (Vec::new(), Vec::<String>::new(), None);
    let mut more = false;
    let keys = bucket.objects.range::<String, _>((from, Bound::Unbounded));
    for (key, object) in keys.take_while(|(key, _)| key.starts_with(&prefix)) {
        let folder = common(key, &prefix, input.delimiter.as_deref());
        // A folder that an earlier page gave, or this one, is not given again.
        let given = |folder: &String| {
            folders.last() == Some(folder) || after.as_ref().is_some_and(|after| after.starts_with(folder.as_str()))
        };
        if folder.as_ref().is_some_and(given) {
            last = Some(key.clone());
            continue;
        }
        if contents.len() + folders.len() == most {
            more = true;
            break;
        }
        last = Some(key.clone());
        match folder {
            Some(folder) => folders.push(folder),
            None => contents.push(Object {
                key: Some(shown(key, encoding)),
                size: Some(object.size()),
                e_tag: Some(object.tag()),
                last_modified: Some(object.modified.clone()),
                ..Object::default()
            }),
        }
    }
    let count = contents.len() + folders.len();
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(shown(&prefix, encoding)),
        max_keys: Some(most as i32),
        key_count: Some(count as i32),
        is_truncated: Some(more),
        next_continuation_token: last.filter(|_| more).map(hex::encode),
        contents: Some(contents),
        common_prefixes: Some(
            folders.iter().map(|folder| CommonPrefix { prefix: Some(shown(folder, encoding)) }).collect(),
        ),
        continuation_token: input.continuation_token,
        delimiter: input.delimiter.map(|delimiter| shown(&delimiter, encoding)),
        start_after: input.start_after.map(|after| shown(&after, encoding)),
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    })
}

/// One page of uploads.
pub(crate) fn uploads(bucket: &Bucket, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
    let (prefix, most) = (input.prefix.clone().unwrap_or_default(), page_length(input.max_uploads)?);
    let after = (input.key_marker.clone(), input.upload_id_marker.clone());
    let is_after = |key: &String, id: &String| match &after {
        (None, _) => true,
        (Some(marker), None) => key > marker,
        (Some(marker), Some(marker_id)) => (key, id) > (marker, marker_id),
    };
    let matching = |(key, id): &&(String, String)| key.starts_with(&prefix) && is_after(key, id);
    let found: Vec<_> = bucket.uploads.keys().filter(matching).take(most + 1).collect();
    let more = found.len() > most;
    let page = &found[..found.len().min(most)];
    let encoding = input.encoding_type.as_ref();
    let uploads = page.iter().map(|place| {
        let upload = &bucket.uploads[*place];
        MultipartUpload {
            key: Some(shown(&place.0, encoding)),
            upload_id: Some(place.1.clone()),
            initiated: Some(upload.begun.clone()),
            checksum_algorithm: Some(upload.declared.algorithm.clone()),
            checksum_type: Some(upload.declared.style.clone()),
            ..MultipartUpload::default()
        }
    });
    let last = page.last().filter(|_| more);
    Ok(ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        is_truncated: Some(more),
        next_key_marker: last.map(|(key, _)| shown(key, encoding)),
        next_upload_id_marker: last.map(|(_, id)| id.clone()),
        max_uploads: Some(most as i32),
        bucket: Some(input.bucket),
        key_marker: input.key_marker,
        prefix: Some(shown(&prefix, encoding)),
        upload_id_marker: input.upload_id_marker,
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    })
}

/// One page of the parts of an upload.
pub(crate) fn parts(bucket: &mut Bucket, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let upload = bucket.upload(&input.key, &input.upload_id)?;
    let (most, after) = (page_length(input.max_parts)?, input.part_number_marker.unwrap_or(0));
    let found: Vec<_> = upload.parts.range(after + 1..).take(most + 1).collect();
    let more = found.len() > most;
    let page = &found[..found.len().min(most)];
    let shown = page.iter().map(|(number, part)| {
        let mut shown = Part {
            part_number: Some(**number),
            size: Some(part.bytes.len() as i64),
            e_tag: Some(part.tag()),
            last_modified: Some(part.modified.clone()),
            ..Part::default()
        };
        tell!(&part.sums, shown);
        shown
    });
    Ok(ListPartsOutput {
        parts: Some(shown.collect()),
        is_truncated: Some(more),
        next_part_number_marker: page.last().filter(|_| more).map(|(number, _)| **number),
        max_parts: Some(most as i32),
        checksum_algorithm: Some(upload.declared.algorithm.clone()),
        checksum_type: Some(upload.declared.style.clone()),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: input.part_number_marker,
        ..ListPartsOutput::default()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::now;

    fn bucket(keys: &[&str]) -> Bucket {
        let mut bucket = Bucket::default();
        for key in keys {
            let object = crate::store::Object {
                bytes: Default::default(),
                etag: String::new(),
                modified: now(),
                sums: Checksum::default(),
                metadata: None,
            };
            bucket.objects.insert((*key).to_owned(), Arc::new(object));
        }
        bucket
    }

    /// Keys and folders of all pages.
    fn all(bucket: &Bucket, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let input = ListObjectsV2Input {
                prefix: Some(prefix.to_owned()),
                delimiter: delimiter.map(str::to_owned),
                continuation_token: token,
                max_keys: Some(2),
                ..ListObjectsV2Input::default()
            };
            let page = objects(bucket, input).unwrap();
            found.extend(page.common_prefixes.unwrap().into_iter().filter_map(|folder| folder.prefix));
            found.extend(page.contents.unwrap().into_iter().filter_map(|object| object.key));
            token = page.next_continuation_token;
            if token.is_none() {
                return found;
            }
        }
    }

    #[test]
    fn pages_hold_every_key_once() {
        let bucket = bucket(&["a", "b//c", "b/c", "b/d/e", "b/d/f", "b/g", "c/", "é"]);
        assert_eq!(all(&bucket, "", None), ["a", "b//c", "b/c", "b/d/e", "b/d/f", "b/g", "c/", "é"]);
        assert_eq!(all(&bucket, "b/", None), ["b//c", "b/c", "b/d/e", "b/d/f", "b/g"]);
        assert_eq!(all(&bucket, "", Some("/")), ["b/", "a", "c/", "é"]);
        assert_eq!(all(&bucket, "b/", Some("/")), ["b//", "b/c", "b/d/", "b/g"]);
    }

    #[test]
    fn keys_are_encoded_as_forms_are() {
        let encoding = EncodingType::from_static(EncodingType::URL);
        assert_eq!(shown("a b+c/%é\n", Some(&encoding)), "a+b%2Bc/%25%C3%A9%0A");
        assert_eq!(shown("a b+c", None), "a b+c");
    }
}
