//! Long answers, a page at a time, so that their length costs no memory.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use haulier_base::{Error, Result};
use serde::Serialize;

use crate::content::wants_zstd;
use crate::content::zstd::compressed;

/// A JSON list of all items of all pages. The first page is read before the status is sent, so that a failing
/// catalogue is an error and not half a list.
///
/// # Errors
/// What the first page says.
pub(crate) async fn json_list<T>(pages: impl Stream<Item = Result<Vec<T>>> + Send + 'static) -> Result<Response>
where
    T: Serialize + Send + 'static,
{
    let mut opened = false;
    let items = begun(pages).await?.map(move |page| {
        let mut text = Vec::new();
        for item in page? {
            text.push(if opened { b',' } else { b'[' });
            opened = true;
            write(&mut text, &item)?;
        }
        Ok::<_, Error>((Bytes::from(text), opened))
    });
    let closed = stream::unfold((items.boxed(), Some(false)), |(mut items, opened)| async move {
        let opened = opened?;
        match items.next().await {
            Some(Ok((text, opened))) => Some((Ok(text), (items, Some(opened)))),
            Some(Err(error)) => Some((Err(error), (items, None))),
            None => Some((Ok(Bytes::from_static(if opened { b"]" } else { b"[]" })), (items, None))),
        }
    });
    let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([kind], Body::from_stream(closed)).into_response())
}

/// All items of all pages, one a line; zstd for whoever wants it (§6.1).
///
/// # Errors
/// What the first page says.
pub(crate) async fn lines<T>(
    headers: &HeaderMap,
    pages: impl Stream<Item = Result<Vec<T>>> + Send + 'static,
) -> Result<Response>
where
    T: Serialize + Send + 'static,
{
    let text = begun(pages).await?.map(|page| {
        let mut text = Vec::new();
        for item in page? {
            write(&mut text, &item)?;
            text.push(b'\n');
        }
        Ok::<_, Error>(Bytes::from(text))
    });
    let zstd = wants_zstd(headers);
    let text = if zstd { compressed(text.boxed()) } else { text.boxed() };
    let mut response = Body::from_stream(text).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if zstd {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    }
    Ok(response)
}

async fn begun<T: Send + 'static>(
    pages: impl Stream<Item = Result<Vec<T>>> + Send + 'static,
) -> Result<BoxStream<'static, Result<Vec<T>>>> {
    let mut pages = pages.boxed();
    let first = pages.try_next().await?;
    Ok(stream::iter(first.map(Ok)).chain(pages).boxed())
}

fn write(text: &mut Vec<u8>, item: &impl Serialize) -> Result<()> {
    serde_json::to_writer(text, item).map_err(|error| Error::internal("an item is no JSON").caused_by(error))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn list(pages: Vec<Result<Vec<u8>>>) -> Result<String> {
        let body = json_list(stream::iter(pages)).await?.into_body();
        let bytes = to_bytes(body, 1 << 20).await.map_err(|error| Error::internal("cut off").caused_by(error))?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn lists_are_json_however_they_are_cut() {
        assert_eq!(list(vec![]).await.unwrap(), "[]");
        assert_eq!(list(vec![Ok(vec![])]).await.unwrap(), "[]");
        assert_eq!(list(vec![Ok(vec![1])]).await.unwrap(), "[1]");
        assert_eq!(list(vec![Ok(vec![1, 2]), Ok(vec![]), Ok(vec![3])]).await.unwrap(), "[1,2,3]");
        assert_eq!(list(vec![Err(Error::unavailable("away"))]).await.unwrap_err().message(), "away");
        assert_eq!(list(vec![Ok(vec![1]), Err(Error::unavailable("away"))]).await.unwrap_err().message(), "cut off");
    }
}
