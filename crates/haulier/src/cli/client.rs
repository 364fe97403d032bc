//! Speaks to a server over its public HTTP API.

use std::time::Duration;

use haulier_base::{Error, ErrorKind, Result, Secret};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::Common;
use crate::config::DEFAULT_LISTEN;

/// How long a server may take to answer, or be silent in the middle of a long answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// A token's file is no longer than this, bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A server and who we are there.
pub(crate) struct Client {
    base: Url,
    http: reqwest::Client,
    token: Option<Secret<String>>,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// Where the next page is, if there is one.
    pub(crate) next: Option<Url>,
}

impl Client {
    /// The server of the present context; the local one when nothing is said.
    pub(crate) fn new(common: &Common) -> Result<Self> {
        let text = common.server.clone().unwrap_or_else(|| format!("http://{DEFAULT_LISTEN}"));
        let base = Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let base = base.ok_or_else(|| Error::invalid(format!("\"{text}\" is not the URL of a server")))?;
        let token = common.token_file.as_deref().map(read_token).transpose()?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::internal("cannot set up an HTTP client").caused_by(error))?;
        Ok(Self { base, http, token })
    }

    /// The address of a path on the server.
    pub(crate) fn url(&self, segments: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::invalid("the URL of the server cannot have a path"))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    /// One request; an answer that is no success is an error.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Answer> {
        let mut request = self.http.request(method, url.clone()).headers(self.headers(key)?).timeout(ANSWER_WITHIN);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.sent(request).await?;
        let status = response.status();
        let next = response.headers().get("link").and_then(|link| next_page(link, &url));
        let bytes = response.bytes().await.map_err(broken_off)?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|error| Error::internal("the server's answer is not JSON").caused_by(error))?
        };
        Ok(Answer { status, body, next })
    }

    /// All items of one of our own lists, page after page; `parameter` says where the next one begins.
    pub(crate) async fn pages(&self, url: Url, member: &str, parameter: &str) -> Result<Vec<Value>> {
        let (mut found, mut from) = (Vec::new(), None::<String>);
        loop {
            let mut url = url.clone();
            if let Some(from) = &from {
                url.query_pairs_mut().append_pair(parameter, from);
            }
            let mut page = self.send(Method::GET, url, None, None).await?.body;
            found.extend(items(page[member].take())?);
            match page["next"].as_str() {
                Some(next) => from = Some(next.to_owned()),
                None => return Ok(found),
            }
        }
    }

    /// Starts a request whose body or answer may be large: it may take as long as it takes.
    pub(crate) fn request(&self, method: Method, url: Url) -> Result<reqwest::RequestBuilder> {
        Ok(self.http.request(method, url).headers(self.headers(None)?))
    }

    /// Sends a request; an answer that is no success is an error.
    pub(crate) async fn sent(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let response = request.send().await.map_err(|error| {
            Error::unavailable(format!("the server at {} cannot be reached", self.base)).caused_by(error)
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // An answer to HEAD has no body; replication says why in a header.
        let said = response.headers().get("x-clonecloudstore-error").and_then(|said| said.to_str().ok());
        let said = said.map(str::to_owned);
        Err(refusal(status, &response.bytes().await.map_err(broken_off)?, said))
    }

    fn headers(&self, key: Option<&str>) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                .map_err(|_| Error::invalid("the token has characters that cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        if let Some(key) = key {
            let value = HeaderValue::from_str(key).map_err(|_| Error::invalid("the key cannot be sent in a header"))?;
            headers.insert("idempotency-key", value);
        }
        Ok(headers)
    }
}

fn read_token(path: &std::path::Path) -> Result<Secret<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let error = Error::from(error);
        Error::new(error.kind(), format!("the token file {} cannot be read: {error}", path.display()))
    })?;
    match text.trim() {
        "" => Err(Error::invalid(format!("the token file {} is empty", path.display()))),
        token if token.len() > TOKEN_BYTES_MAX => Err(Error::invalid("the token is too long")),
        token => Ok(Secret::new(token.to_owned())),
    }
}

/// The items of a list in an answer.
pub(crate) fn items(list: Value) -> Result<Vec<Value>> {
    match list {
        Value::Array(items) => Ok(items),
        _ => Err(Error::internal("the server's answer is not a list")),
    }
}

/// The error of an answer that ended early.
pub(crate) fn broken_off(error: reqwest::Error) -> Error {
    Error::unavailable("the connection broke before the answer was complete").caused_by(error)
}

/// The error a refusing answer stands for, with the server's own sentence.
fn refusal(status: StatusCode, body: &[u8], header: Option<String>) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = [&body["message"], &body["error"]["message"], &body["reason"], &body["description"]];
    let said = said.into_iter().find_map(Value::as_str);
    let said = said.map(str::to_owned).or(header);
    let message = said.unwrap_or_else(|| format!("the server answered {status}"));
    let kind = match status.as_u16() {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        406 | 409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 | 502..=504 => ErrorKind::Unavailable,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, message)
}

/// The `rel="next"` target of a `Link` header, on the server that sent it.
fn next_page(link: &HeaderValue, here: &Url) -> Option<Url> {
    let link = link.to_str().ok()?.split(',').find(|part| part.contains("rel=\"next\""))?;
    let target = link.split_once('<')?.1.split_once('>')?.0;
    // A page on another host would be handed our token.
    here.join(target).ok().filter(|url| url.origin() == here.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_pages_on_the_same_server_only() {
        let here = Url::parse("http://a:1/v1/transfers").unwrap();
        let next = |link: &'static str| next_page(&HeaderValue::from_static(link), &here).map(String::from);
        let expected = "http://a:1/v1/transfers?limit=2&next=x";
        assert_eq!(next("</v1/transfers?limit=2&next=x>; rel=\"next\"").as_deref(), Some(expected));
        assert_eq!(next("<http://b/v1/transfers>; rel=\"next\""), None);
        assert_eq!(next("</v1/transfers>; rel=\"prev\""), None);
    }

    #[test]
    fn a_refusal_carries_the_servers_sentence() {
        let error = refusal(StatusCode::BAD_REQUEST, br#"{"message": "limit is not a number"}"#, None);
        assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "limit is not a number"));
        let error = refusal(StatusCode::CONFLICT, br#"{"status": "error", "reason": "entry A is not running"}"#, None);
        assert_eq!((error.kind(), error.message()), (ErrorKind::Conflict, "entry A is not running"));
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, b"<html>", None).kind(), ErrorKind::Unavailable);
    }
}
