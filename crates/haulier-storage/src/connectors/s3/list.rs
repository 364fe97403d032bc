//! Listings, one page ahead of whoever reads them.

use std::sync::Arc;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Bucket, meta_of, read};
use crate::{ListedObject, ObjectPath};

type Page = Result<Vec<ListedObject>>;

/// The objects at and below a folder. Empty objects whose key ends with a slash stand for folders and are left out.
pub(super) async fn list(bucket: Arc<Bucket>, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
    let exact = prefix.as_str().trim_end_matches('/');
    let folder = if exact.is_empty() { String::new() } else { format!("{exact}/") };
    let at_prefix = match (exact, prefix.as_str().ends_with('/')) {
        ("", _) | (_, true) => None,
        (key, false) => match read::head(&bucket, key, false).await {
            Ok(found) => Some(ListedObject {
                path: ObjectPath::new(key),
                meta: meta_of(found.content_length(), found.e_tag(), found.last_modified()),
            }),
            // A refusal is explained by the first page, since this answer cannot carry a reason.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) => None,
            Err(error) => return Err(error),
        },
    };
    // The first page is waited for, so that a listing that cannot start says so here.
    let first = page(&bucket, &folder, None).await?;
    let (pages, queue) = mpsc::channel::<Page>(1);
    let mut fetching = JoinSet::new();
    let next = next_token(&first);
    let first = objects(first)?;
    if let Some(token) = next {
        fetching.spawn(fetch(bucket, folder, token, pages));
    }
    let first = at_prefix.into_iter().chain(first).map(Ok);
    // The task lives as long as the stream that holds it.
    let rest = stream::unfold((queue, fetching), |(mut queue, fetching)| async move {
        let page = queue.recv().await?;
        let objects: Vec<Result<ListedObject>> = match page {
            Ok(objects) => objects.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Some((stream::iter(objects), (queue, fetching)))
    });
    Ok(stream::iter(first).chain(rest.flatten()).boxed())
}

/// Fetches page after page; at most one waits for its reader.
async fn fetch(bucket: Arc<Bucket>, folder: String, mut token: String, pages: mpsc::Sender<Page>) {
    loop {
        let (page, next) = match page(&bucket, &folder, Some(&token)).await {
            Ok(answer) => {
                let next = next_token(&answer);
                (objects(answer), next)
            }
            Err(error) => (Err(error), None),
        };
        let failed = page.is_err();
        if pages.send(page).await.is_err() || failed {
            return;
        }
        match next {
            // A server that gives the same page again would go on for ever.
            Some(next) if next != token => token = next,
            _ => return,
        }
    }
}

async fn page(bucket: &Bucket, folder: &str, token: Option<&str>) -> Result<ListObjectsV2Output> {
    let request = bucket
        .store
        .client
        .list_objects_v2()
        .bucket(&bucket.name)
        .encoding_type(EncodingType::Url)
        .set_prefix((!folder.is_empty()).then(|| folder.to_owned()))
        .set_continuation_token(token.map(str::to_owned));
    bucket.store.ask(request.send()).await
}

fn next_token(answer: &ListObjectsV2Output) -> Option<String> {
    answer.is_truncated().unwrap_or(false).then(|| answer.next_continuation_token().map(str::to_owned)).flatten()
}

fn objects(answer: ListObjectsV2Output) -> Page {
    let encoded = answer.encoding_type() == Some(&EncodingType::Url);
    let mut objects = Vec::with_capacity(answer.contents().len());
    for object in answer.contents() {
        let Some(key) = object.key() else { continue };
        let key = if encoded { decode(key)? } else { key.to_owned() };
        if key.ends_with('/') && object.size() == Some(0) {
            continue;
        }
        let meta = meta_of(object.size(), object.e_tag(), object.last_modified());
        objects.push(ListedObject { path: ObjectPath::new(key), meta });
    }
    Ok(objects)
}

/// Keys come as forms encode them: a plus is a space.
fn decode(key: &str) -> Result<String> {
    let spaced = key.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err(Error::invalid("the store lists a key that is not UTF-8")),
    }
}
