//! The content of an object that another site sends, passed on as it comes.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use haulier_base::Result;
use haulier_storage::ByteStream;

use crate::content::zstd::{compressed, decompressed};
use crate::content::{Coding, Described, coding, read_described, wants_zstd};
use crate::header;
use crate::model::ObjectName;
use crate::peer::{Asked, Passed, Peer, Said, plain_body};

/// Headers that are passed on, besides those of the contract.
const PASSED: [HeaderName; 5] = [CONTENT_TYPE, CONTENT_RANGE, ACCEPT_RANGES, ETAG, CONTENT_LENGTH];
/// Those of the contract that are about one answer, and not about the object.
const OWN: [HeaderName; 3] = [header::OP_ID, header::MODULE, header::ERROR];

/// A content that has begun to come.
pub(crate) struct Relayed {
    status: StatusCode,
    headers: HeaderMap,
    stream: ByteStream,
    coding: Coding,
    pub(crate) described: Option<Described>,
}

/// Asks a site for a content, and waits for its first byte, so that another site can still be asked instead.
pub(crate) async fn begin(
    peer: &Peer,
    asked: &Asked,
    name: &ObjectName,
    headers: &HeaderMap,
    zstd: bool,
) -> Said<Relayed> {
    let passed = Passed {
        range: headers.get(RANGE).cloned(),
        if_range: headers.get(IF_RANGE).cloned(),
        zstd: zstd || wants_zstd(headers),
    };
    let response = match peer.pass_on(asked, name, passed).await {
        Said::Has(response) => response,
        Said::Lacks => return Said::Lacks,
        Said::Deleted => return Said::Deleted,
        Said::Forbidden => return Said::Forbidden,
        Said::Failed(error) => return Said::Failed(error),
    };
    let coding = match coding(response.headers()) {
        Ok(coding) => coding,
        Err(error) => return Said::Failed(peer.nonsense(error)),
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let mut stream = plain_body(peer, response);
    let first = match stream.next().await {
        Some(Err(error)) => return Said::Failed(error),
        Some(Ok(first)) => first,
        None => Bytes::new(),
    };
    let described = read_described(&headers).ok();
    let stream = stream::iter([Ok(first)]).chain(stream).boxed();
    Said::Has(Relayed { status, headers, stream, coding, described })
}

impl Relayed {
    /// The answer for whoever asked with these headers: as it came, if it came as wanted.
    ///
    /// # Errors
    /// None as yet.
    pub(crate) fn answer(self, asked: &HeaderMap) -> Result<Response> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let ours = name.as_str().starts_with("x-clonecloudstore-") && !OWN.contains(name);
            if ours || PASSED.contains(name) {
                headers.append(name, value.clone());
            }
        }
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        let whole = self.status != StatusCode::PARTIAL_CONTENT;
        let packed = HeaderValue::from_static("zstd");
        let body = match (self.coding, wants_zstd(asked) && whole) {
            (Coding::Zstd, true) => {
                headers.insert(CONTENT_ENCODING, packed);
                self.stream
            }
            (Coding::Zstd, false) => {
                headers.remove(CONTENT_LENGTH);
                if let Some(described) = self.described.as_ref().filter(|_| whole) {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(described.size_bytes));
                }
                decompressed(self.stream)
            }
            (Coding::Identity, true) => {
                headers.insert(CONTENT_ENCODING, packed);
                for name in [CONTENT_LENGTH, ETAG] {
                    headers.remove(name);
                }
                compressed(self.stream)
            }
            (Coding::Identity, false) => self.stream,
        };
        Ok((self.status, headers, Body::from_stream(body)).into_response())
    }
}
