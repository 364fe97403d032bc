//! What one site asks another, typed: buckets, objects, orders, and what became of the orders that it took.

use std::time::Duration;

use bytes::Bytes;
use haulier_base::{Error, Result};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, IF_MATCH, IF_RANGE, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::Peer;
use crate::api::{AccessorBucket, ReplicatorOrder, json};
use crate::header;
use crate::model::{BucketName, ClientId, ObjectName, Order, SiteId};

/// Until the head of an answer must be there (contract §4.2).
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// The same where the answer comes after a commit of many orders.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// Longest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What sites tell each other of received orders.
const RECEIVED: &str = "/haulier/v1/replication/received";

/// What a site says when it is asked for something.
#[derive(Debug)]
pub(crate) enum Said<T> {
    /// It has it.
    Has(T),
    /// It does not.
    Lacks,
    /// It had it, and it was deleted.
    Deleted,
    /// The client may not see it.
    Forbidden,
    /// It gave no usable answer.
    Failed(Error),
}

/// What a site did with orders.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It recorded them.
    Yes,
    /// It never will: why.
    Refused(String),
}

/// Who asks for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) bucket: BucketName,
    pub(crate) client: ClientId,
    pub(crate) op_id: String,
}

impl Asked {
    fn path(&self) -> String {
        format!("/replicator/remote/buckets/{}", self.bucket)
    }

    fn object_path(&self, path: &str) -> String {
        format!("{}/{path}", self.path())
    }
}

/// Which bytes of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) start: u64,
    /// One past the last byte.
    pub(crate) end: Option<u64>,
    /// The only content that is of use, in hexadecimal.
    pub(crate) sha256: Option<&'a str>,
    /// Whether it may be compressed; only for all of it.
    pub(crate) zstd: bool,
}

/// What of a client's request for a content is passed on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) range: Option<HeaderValue>,
    pub(crate) if_range: Option<HeaderValue>,
    pub(crate) zstd: bool,
}

impl Peer {
    /// Begins to read an object as a client asked for it.
    pub(crate) async fn pass_on(&self, asked: &Asked, name: &ObjectName, passed: Passed) -> Said<Response> {
        let mut request = self.ask(Method::GET, &asked.object_path(&name.to_path()), asked);
        request = request.header(ACCEPT, "application/octet-stream");
        if passed.zstd {
            request = request.header(ACCEPT_ENCODING, "zstd");
        }
        for (name, value) in [(RANGE, passed.range), (IF_RANGE, passed.if_range)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        self.said(request).await
    }

    /// A bucket.
    pub(crate) async fn bucket(&self, asked: &Asked) -> Said<AccessorBucket> {
        let request = self.ask(Method::GET, &asked.path(), asked);
        match self.said(request).await {
            Said::Has(response) => match self.read(response).await.and_then(|bytes| json::read_object(&bytes)) {
                Ok(bucket) => Said::Has(bucket),
                Err(error) => Said::Failed(self.nonsense(error)),
            },
            other => other.without(),
        }
    }

    /// Whether there is a bucket; with `full_check` the store is asked, too.
    pub(crate) async fn has_bucket(&self, asked: &Asked, full_check: bool) -> Said<()> {
        let path = format!("{}?fullCheck={full_check}", asked.path());
        match self.said(self.ask(Method::HEAD, &path, asked)).await {
            Said::Has(response) if is_of_type(&response, "BUCKET") => Said::Has(()),
            Said::Has(_) => Said::Lacks,
            other => other.without(),
        }
    }

    /// Whether there is an object of that name; a mere beginning of names is none.
    pub(crate) async fn has_object(&self, asked: &Asked, name: &ObjectName, full_check: bool) -> Said<()> {
        let path = format!("{}?fullCheck={full_check}", asked.object_path(&name.to_path()));
        match self.said(self.ask(Method::HEAD, &path, asked)).await {
            Said::Has(response) if is_of_type(&response, "OBJECT") => Said::Has(()),
            Said::Has(_) => Said::Lacks,
            other => other.without(),
        }
    }

    /// Begins to read an object. A peer that takes no ranges sends all of it.
    pub(crate) async fn open(&self, asked: &Asked, name: &ObjectName, piece: Piece<'_>) -> Said<Response> {
        let mut request = self.ask(Method::GET, &asked.object_path(&name.to_path()), asked);
        request = request.header(ACCEPT, "application/octet-stream");
        if piece.zstd {
            request = request.header(ACCEPT_ENCODING, "zstd");
        }
        if let Some(sha256) = piece.sha256 {
            request = request.header(IF_MATCH, format!("\"{sha256}\""));
        }
        if piece.start > 0 || piece.end.is_some() {
            let last = piece.end.map(|end| (end - 1).to_string()).unwrap_or_default();
            request = request.header(RANGE, format!("bytes={}-{last}", piece.start));
            if let Some(sha256) = piece.sha256 {
                request = request.header(IF_RANGE, format!("\"{sha256}\""));
            }
        }
        self.said(request).await
    }

    /// Hands over orders, in order.
    ///
    /// # Errors
    /// `Unavailable` when it is worth another try.
    pub(crate) async fn post_orders(&self, orders: &[Order]) -> Result<Taken> {
        let wire: Vec<_> = orders.iter().map(|order| ReplicatorOrder::new(order, &self.site.id)).collect();
        let (path, body) = match wire.as_slice() {
            [] => return Ok(Taken::Yes),
            [one] => ("/replicator/remote/orders", serde_json::to_vec(one)),
            many => ("/replicator/remote/orders/multiple", serde_json::to_vec(many)),
        };
        let body = body.map_err(|error| Error::internal("orders could not be written as JSON").caused_by(error))?;
        let op_id = orders.first().map_or("", |order| order.op_id.as_str());
        let request = self.request(Method::POST, path, op_id, None).header(CONTENT_TYPE, "application/json").body(body);
        let response = self.send(request, TAKEN_WITHIN).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(Taken::Yes),
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY) => Ok(Taken::Refused(reason(status, &response))),
            _ => Err(self.refusal(&response)),
        }
    }

    /// What became of the orders that the site took from this one; none when it does not say, being no Haulier.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn received_from(&self, own: &SiteId, op_id: &str) -> Result<Option<Value>> {
        let request = self.request(Method::GET, &format!("{RECEIVED}/{own}"), op_id, None);
        let response = self.send(request, HEAD_WITHIN).await?;
        match response.status() {
            StatusCode::OK => {
                let bytes = self.read(response).await?;
                serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                    Error::unavailable(format!("the site {} answered something else than JSON", self.site.id))
                        .caused_by(error)
                })
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => Err(self.refusal(&response)),
        }
    }

    fn ask(&self, method: Method, path: &str, asked: &Asked) -> RequestBuilder {
        self.request(method, path, &asked.op_id, Some(&asked.client))
    }

    async fn send(&self, request: RequestBuilder, within: Duration) -> Result<Response> {
        match timeout(within, request.send()).await {
            Ok(sent) => sent.map_err(|error| self.unreachable(error)),
            Err(_) => Err(Error::unavailable(format!("the site {} did not answer in time", self.site.id))),
        }
    }

    async fn said(&self, request: RequestBuilder) -> Said<Response> {
        let response = match self.send(request, HEAD_WITHIN).await {
            Ok(response) => response,
            Err(error) => return Said::Failed(error),
        };
        match response.status() {
            status if status.is_success() => Said::Has(response),
            // 412: it has another content than the one of use. 416: shorter than that one.
            StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => Said::Lacks,
            StatusCode::GONE => Said::Deleted,
            StatusCode::FORBIDDEN => Said::Forbidden,
            _ => Said::Failed(self.refusal(&response)),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Bytes> {
        let mut whole = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if whole.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(Error::unavailable(format!("the answer of the site {} has no end", self.site.id)));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    fn refusal(&self, response: &Response) -> Error {
        Error::unavailable(format!("the site {} answered {}", self.site.id, reason(response.status(), response)))
    }

    /// An answer that says something else than it should.
    pub(crate) fn nonsense(&self, error: Error) -> Error {
        Error::unavailable(format!("the site {} answered what cannot be used: {}", self.site.id, error.message()))
            .caused_by(error)
    }
}

impl<T> Said<T> {
    /// The same of something else, where there is nothing.
    fn without<U>(self) -> Said<U> {
        match self {
            Self::Has(_) | Self::Lacks => Said::Lacks,
            Self::Deleted => Said::Deleted,
            Self::Forbidden => Said::Forbidden,
            Self::Failed(error) => Said::Failed(error),
        }
    }
}

/// A site that says no type says with its status alone that the thing is there.
fn is_of_type(response: &Response, wanted: &str) -> bool {
    response.headers().get(header::TYPE).is_none_or(|value| value == wanted)
}

fn reason(status: StatusCode, response: &Response) -> String {
    let said = response.headers().get(header::ERROR).and_then(|value| value.to_str().ok());
    match said {
        Some(said) => format!("{}: {said}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}
