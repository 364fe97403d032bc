//! Objects on the web, `http:` and `https:`: read only.

pub(in crate::connectors) mod answer;
mod client;
pub(in crate::connectors) mod options;

#[cfg(test)]
mod nginx_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, Result, Secret};
use reqwest::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use url::Url;

use crate::connector::{Connector, Environment, Side, join_encoded};
use crate::{
    ByteStream, Capabilities, ListedObject, Location, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter, ReadRequest,
    Storage, WriteRequest,
};
use client::Request;

pub use client::Client;

pub(crate) const HTTP: Connector = Connector {
    scheme: "http",
    readable: true,
    writable: false,
    secret_members: options::SECRET_MEMBERS,
    offered: |_| true,
    check: |environment, url, options, side| open(environment, url, options, side).map(|_| ()),
    open,
    identity: |_, _| None,
    redact_url: options::redact_url,
    join: join_encoded,
    example: ("https://data.example/object", "{}"),
};

pub(crate) const HTTPS: Connector = Connector { scheme: "https", ..HTTP };

fn open(environment: &Environment, url: &str, options: &Value, _side: Side) -> Result<Location> {
    let url = options::parse_url(url)?;
    let own = Arc::new(options::own_headers(&url, options)?);
    let path = ObjectPath::new(options::redact_url(url.as_str()));
    let storage = Arc::new(WebObject { client: environment.web.clone(), url, own });
    Ok(Location { storage, path })
}

/// One object at one URL; the path is ignored, since the URL may carry secrets and a path may not.
#[derive(Clone)]
pub(in crate::connectors) struct WebObject {
    pub(in crate::connectors) client: Client,
    pub(in crate::connectors) url: Url,
    pub(in crate::connectors) own: Arc<Secret<HeaderMap>>,
}

impl std::fmt::Debug for WebObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebObject({})", options::redact_url(self.url.as_str()))
    }
}

impl WebObject {
    async fn send(&self, method: Method, headers: HeaderMap) -> Result<Response> {
        self.client.send(Request { method, url: &self.url, own: self.own.reveal(), headers }).await
    }

    async fn look(&self) -> Result<ObjectMeta> {
        let mut response = self.send(Method::HEAD, HeaderMap::new()).await?;
        if matches!(response.status().as_u16(), 405 | 501) {
            response = self.send(Method::GET, HeaderMap::new()).await?;
        }
        match response.status() {
            StatusCode::OK => Ok(answer::meta_of(response.headers(), answer::content_length(response.headers()))),
            other => Err(answer::error_of(other, response.headers())),
        }
    }

    /// A range without bytes cannot be asked for on the wire.
    async fn nothing(&self, request: &ReadRequest, meta: ObjectMeta) -> Result<ObjectRead> {
        request.check_version(&meta)?;
        if let Some(size) = meta.size {
            request.range_of(size)?;
        }
        let start = request.start;
        Ok(ObjectRead { meta, start, end: Some(start), stream: stream::empty().boxed(), handle: None, crc64: None })
    }

    async fn beyond_the_end(&self, request: &ReadRequest, headers: &HeaderMap) -> Result<ObjectRead> {
        let meta = match answer::content_range(headers).size {
            Some(size) => answer::meta_of(headers, Some(size)),
            None => self.look().await?,
        };
        // A changed object is the likely reason, so say that first, as far as the headers tell.
        if request.version.is_some() && meta.version.is_some() {
            request.check_version(&meta)?;
        }
        if meta.size != Some(request.start) {
            return Err(Error::invalid(format!("the start {} is beyond the end of the source", request.start)));
        }
        self.nothing(&ReadRequest { version: None, ..request.clone() }, meta).await
    }
}

#[async_trait]
impl Storage for WebObject {
    fn capabilities(&self) -> Capabilities {
        // Not parallel: a server that ignores ranges would send the whole object once per part.
        Capabilities { read: true, ranged_read: true, ..Capabilities::default() }
    }

    async fn stat(&self, _path: &ObjectPath) -> Result<ObjectMeta> {
        self.look().await
    }

    async fn read(&self, _path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        if request.end.is_some_and(|end| end <= request.start) {
            return self.nothing(&request, self.look().await?).await;
        }
        let headers = range_headers(&request)?;
        let response = self.send(Method::GET, headers).await?;
        let stall = self.client.stall();
        match response.status() {
            StatusCode::PARTIAL_CONTENT => partial(response, &request, stall),
            StatusCode::OK => whole(response, &request, stall),
            StatusCode::RANGE_NOT_SATISFIABLE => self.beyond_the_end(&request, response.headers()).await,
            other => Err(answer::error_of(other, response.headers())),
        }
    }

    async fn write(&self, _: &ObjectPath, _: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        Err(read_only())
    }

    async fn list(&self, _: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        Err(read_only())
    }

    async fn delete(&self, _: &ObjectPath) -> Result<()> {
        Err(read_only())
    }

    async fn discard(&self, _: &ObjectPath, _: &str, _: Option<&str>) -> Result<()> {
        Err(read_only())
    }
}

fn read_only() -> Error {
    Error::invalid("a web address can only be read")
}

fn range_headers(request: &ReadRequest) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let range = match (request.start, request.end) {
        (0, None) => return Ok(headers),
        (start, None) => format!("bytes={start}-"),
        (start, Some(end)) => format!("bytes={start}-{}", end - 1),
    };
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Error::conflict("the source is another version"));
    headers.insert(RANGE, value(&range)?);
    if let Some(validator) = request.version.as_ref().and_then(answer::if_range) {
        headers.insert(IF_RANGE, value(validator)?);
    }
    Ok(headers)
}

/// 206: the part that was asked for, or else a failed attempt.
fn partial(response: Response, request: &ReadRequest, stall: std::time::Duration) -> Result<ObjectRead> {
    let range = answer::content_range(response.headers());
    let Some((_, last)) = range.first_last.filter(|(first, _)| *first == request.start) else {
        return Err(Error::unavailable("the source sent another range than the one asked for"));
    };
    let meta = answer::meta_of(response.headers(), range.size);
    if meta.version.is_some() {
        answer::check_version(request, response.headers(), &meta)?;
    }
    // With the size known, a part that is too short is a short body.
    let given = last.saturating_add(1);
    let end = range.size.unwrap_or(given).min(request.end.unwrap_or(u64::MAX));
    let stream = body(response, Span { at: request.start, start: request.start, cut: end, known: true }, stall);
    Ok(ObjectRead { meta, start: request.start, end: Some(end), stream, handle: None, crc64: None })
}

/// 200: everything, of which the leading bytes are dropped.
fn whole(response: Response, request: &ReadRequest, stall: std::time::Duration) -> Result<ObjectRead> {
    let size = answer::content_length(response.headers());
    let meta = answer::meta_of(response.headers(), size);
    answer::check_version(request, response.headers(), &meta)?;
    let end = size.map(|size| request.range_of(size)).transpose()?.map(|range| range.end);
    let cut = end.or(request.end).unwrap_or(u64::MAX);
    let stream = body(response, Span { at: 0, start: request.start, cut, known: end.is_some() }, stall);
    Ok(ObjectRead { meta, start: request.start, end, stream, handle: None, crc64: None })
}

/// Where a body is, and which part of it is wanted.
struct Span {
    at: u64,
    start: u64,
    cut: u64,
    known: bool,
}

impl Span {
    /// The wanted part of the next bytes.
    fn take(&mut self, bytes: &Bytes) -> Bytes {
        let (from, len) = (self.at, bytes.len() as u64);
        self.at = from.saturating_add(len);
        let first = self.start.saturating_sub(from).min(len);
        let last = self.cut.saturating_sub(from).min(len).max(first);
        bytes.slice(first as usize..last as usize)
    }

    /// What an end of the body here means.
    fn ended(&self) -> Result<()> {
        if self.known && self.at < self.cut {
            return Err(Error::unavailable("the source ended before its last byte")
                .context("expected", self.cut)
                .context("received", self.at));
        }
        if self.at < self.start {
            return Err(Error::invalid(format!(
                "the start {} is beyond the end of the source, {}",
                self.start, self.at
            )));
        }
        Ok(())
    }
}

fn body(response: Response, span: Span, stall: std::time::Duration) -> ByteStream {
    let bytes = response.bytes_stream().boxed();
    stream::unfold(Some((bytes, span)), move |state| async move {
        let (mut bytes, mut span) = state?;
        while span.at < span.cut {
            match tokio::time::timeout(stall, bytes.next()).await {
                Err(_) => return Some((Err(Error::unavailable("the source sends nothing any more")), None)),
                Ok(Some(Err(error))) => return Some((Err(answer::broken(error)), None)),
                Ok(None) => return span.ended().err().map(|error| (Err(error), None)),
                Ok(Some(Ok(more))) => {
                    let wanted = span.take(&more);
                    if !wanted.is_empty() {
                        return Some((Ok(wanted), Some((bytes, span))));
                    }
                }
            }
        }
        None
    })
    .boxed()
}
