//! Contents of objects, going out and coming in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, BodyDataStream};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPECT, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use haulier_base::{Error, Result};
use haulier_storage::ByteStream;

use super::answer::Refusal;
use crate::content::range::{Part, etag, part};
use crate::content::zstd::{compressed, decompressed};
use crate::content::{Coding, object_headers, wants_zstd};
use crate::model::Object;
use crate::service::Replication;
use crate::service::upload::blamed_on_the_sender;

/// Answers with the content of a READY object of this site's own: whole, a range of it, or compressed, as the request
/// wants. None when the bytes are not there.
///
/// # Errors
/// As the storage says.
pub(crate) async fn send(room: &Replication, asked: &HeaderMap, object: &Object) -> Result<Option<Response>> {
    let tag = object.sha256.as_deref().and_then(etag);
    let part = part(asked, object.size_bytes, tag.as_ref());
    let (status, range) = match &part {
        Part::Whole => (StatusCode::OK, 0..object.size_bytes),
        Part::Bytes(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
        Part::Outside => return Ok(Some(outside(object))),
    };
    let Some(stream) = room.open_object(object, range.clone()).await? else { return Ok(None) };
    let mut headers = object_headers(object, &room.inner.site)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // A part is sent as it is, so that its length is the one that was asked for.
    let zstd = part == Part::Whole && wants_zstd(asked);
    if zstd {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    } else {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        // A tag names bytes as they are sent: not the compressed ones.
        headers.extend(tag.map(|tag| (ETAG, tag)));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, object.size_bytes);
        headers.extend(HeaderValue::from_str(&text).ok().map(|text| (CONTENT_RANGE, text)));
    }
    let body = Body::from_stream(if zstd { compressed(stream) } else { stream });
    Ok(Some((status, headers, body).into_response()))
}

fn outside(object: &Object) -> Response {
    let error = Error::invalid(format!("the object has {} bytes, none of them in this range", object.size_bytes));
    let mut response = Refusal::with(StatusCode::RANGE_NOT_SATISFIABLE, error).into_response();
    let text = HeaderValue::from_str(&format!("bytes */{}", object.size_bytes)).ok();
    response.headers_mut().extend(text.map(|text| (CONTENT_RANGE, text)));
    response
}

/// The body of an upload, which can be read as content and, when that has failed, to its end.
pub(crate) struct Incoming {
    body: Arc<Mutex<BodyDataStream>>,
    begun: Arc<AtomicBool>,
}

impl Incoming {
    pub(crate) fn new(body: Body) -> Self {
        Self { body: Arc::new(Mutex::new(body.into_data_stream())), begun: Arc::default() }
    }

    /// The content: decompressed if it has to be.
    pub(crate) fn content(&self, coding: Coding) -> ByteStream {
        match coding {
            Coding::Identity => self.bytes(),
            Coding::Zstd => blamed_on_the_sender(decompressed(self.bytes())),
        }
    }

    fn bytes(&self) -> ByteStream {
        let (body, begun) = (self.body.clone(), self.begun.clone());
        let bytes = stream::poll_fn(move |cx| {
            begun.store(true, Ordering::Relaxed);
            body.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
        });
        let broken = |error| Error::invalid("the request's body ended early").caused_by(error);
        bytes.map(move |piece| piece.map_err(broken)).boxed()
    }

    /// Reads and drops what is left of a body that is refused, so that its sender sees the answer. A sender that
    /// still waits for leave to send gets the answer instead.
    pub(crate) async fn discard(self, parts: &Parts) {
        if self.begun.load(Ordering::Relaxed) || !parts.headers.contains_key(EXPECT) {
            haulier_http::discard_rest(Body::from_stream(self.bytes())).await;
        }
    }
}
