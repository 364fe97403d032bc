//! The requests that WebDAV adds to the web, and what their answers mean.

use std::fmt;
use std::sync::Arc;

use futures::stream::{StreamExt, TryStreamExt};
use haulier_base::{Error, Result, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method, Response, StatusCode};
use url::Url;

use super::missing_is_none;
use super::multistatus::{Entries, QUESTION};
use super::settings::Settings;
use crate::connector::Environment;
use crate::connectors::http::{Client, answer};
use crate::{Guard, ObjectKind, ObjectMeta};

/// What stays as it is in a path (RFC 3986 §2.3), and the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Folders that are made for one file.
const PARENTS_MAX: usize = 256;
const DEPTH: HeaderName = HeaderName::from_static("depth");
const DESTINATION: HeaderName = HeaderName::from_static("destination");
const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");

/// One server as one login sees it.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) own: Arc<Secret<HeaderMap>>,
    pub(super) direct: bool,
    origin: Url,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.origin)
    }
}

impl Server {
    pub(super) fn new(environment: &Environment, settings: Settings) -> Result<Self> {
        let client = match settings.authorities.is_empty() {
            true => environment.web.clone(),
            false => Client::trusting(&environment.config, settings.authorities)?,
        };
        Ok(Self { client, own: Arc::new(settings.own), direct: settings.direct, origin: settings.origin })
    }

    /// Where a key is found.
    pub(super) fn url_of(&self, key: &str) -> Result<Url> {
        if key.contains('\0') {
            return Err(Error::invalid("the path contains a zero byte"));
        }
        if key.split('/').any(|name| name == "." || name == "..") {
            return Err(Error::invalid("the path has a name that is . or .., which no web address can have"));
        }
        let mut url = self.origin.clone();
        url.set_path(&utf8_percent_encode(key, ENCODED).to_string());
        Ok(url)
    }

    fn headers(&self, more: &[(HeaderName, &str)]) -> Result<HeaderMap> {
        let mut headers = self.own.reveal().clone();
        for (name, value) in more {
            let value = HeaderValue::from_str(value).map_err(|_| Error::invalid("the path cannot be sent"))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    async fn ask(&self, method: &'static [u8], url: &Url, more: &[(HeaderName, &str)]) -> Result<Response> {
        let method = Method::from_bytes(method).map_err(|error| Error::internal("no such method").caused_by(error))?;
        self.client.send_once(method, url, self.headers(more)?).await.map_err(renamed)
    }

    /// Looks at one thing, or also at what is directly inside it.
    pub(super) async fn look(&self, key: &str, inside: bool) -> Result<Entries> {
        let depth = if inside { "1" } else { "0" };
        let headers = self.headers(&[(DEPTH, depth), (CONTENT_TYPE, "application/xml; charset=utf-8")])?;
        let method = Method::from_bytes(b"PROPFIND");
        let method = method.map_err(|error| Error::internal("no such method").caused_by(error))?;
        let (url, stall) = (self.url_of(key)?, self.client.stall());
        let sending = self.client.send_body(method, &url, headers, Body::from(QUESTION));
        let response = tokio::time::timeout(stall, sending).await.map_err(|_| silent())?.map_err(renamed)?;
        match response.status() {
            StatusCode::MULTI_STATUS => {
                let body = response.bytes_stream().map_err(|error| std::io::Error::other(error.without_url()));
                let bounded = until_silent(body, stall);
                Ok(Entries::new(bounded))
            }
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED | StatusCode::OK => {
                Err(Error::invalid("the server does not speak WebDAV at this address"))
            }
            _ => Err(refused(&response)),
        }
    }

    pub(super) async fn stat(&self, key: &str) -> Result<ObjectMeta> {
        let entry = self.look(key, false).await?.next().await?;
        entry.map(|entry| entry.meta()).ok_or_else(|| Error::unavailable("the server answered without an entry"))
    }

    /// Starts to put an object; the caller bounds the wait.
    pub(super) async fn put(&self, url: &Url, size: Option<u64>, body: Body) -> Result<()> {
        let size = size.map(|size| size.to_string());
        let more: Vec<_> = size.iter().map(|size| (reqwest::header::CONTENT_LENGTH, size.as_str())).collect();
        let response = self.client.send_body(Method::PUT, url, self.headers(&more)?, body).await.map_err(renamed)?;
        if response.status().is_success() { Ok(()) } else { Err(refused(&response)) }
    }

    /// Gives an object another name, in place of what has it if that may be.
    pub(super) async fn rename(&self, from: &str, to: &str, replaces: bool) -> Result<()> {
        let (url, to) = (self.url_of(from)?, self.url_of(to)?);
        let overwrite = if replaces { "T" } else { "F" };
        let response = self.ask(b"MOVE", &url, &[(DESTINATION, to.as_str()), (OVERWRITE, overwrite)]).await?;
        match response.status() {
            StatusCode::PRECONDITION_FAILED if !replaces => Err(Guard::Absent.refusal()),
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Err(Error::invalid(
                "the server cannot rename files, so that an unfinished one would be seen under the final name: \
                 set the option direct to accept that",
            )),
            StatusCode::MULTI_STATUS => Err(Error::unavailable("the server could not rename the finished file")),
            _ => Err(refused(&response)),
        }
    }

    /// Removes what is there; nothing there is fine.
    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        let response = self.ask(b"DELETE", &self.url_of(key)?, &[]).await?;
        match response.status() {
            status if status.is_success() && status != StatusCode::MULTI_STATUS => Ok(()),
            StatusCode::MULTI_STATUS => Err(Error::unavailable("the server could not remove the file")),
            _ => missing_is_none(Err(refused(&response))).map(|_: Option<()>| ()),
        }
    }

    /// Makes the folders that are missing, from the top down.
    pub(super) async fn make_folders(&self, folder: &str) -> Result<()> {
        let mut missing = Vec::new();
        let mut next = folder.trim_end_matches('/');
        while !next.is_empty() {
            if let Some(found) = missing_is_none(self.stat(next).await)? {
                if found.kind != ObjectKind::Directory {
                    return Err(Error::invalid("a folder of the path is a file"));
                }
                break;
            }
            if missing.len() == PARENTS_MAX {
                return Err(Error::invalid(format!("more than {PARENTS_MAX} folders of the path are missing")));
            }
            missing.push(next);
            next = next.rsplit_once('/').map_or("", |(parent, _)| parent).trim_end_matches('/');
        }
        for folder in missing.into_iter().rev() {
            let response = self.ask(b"MKCOL", &self.url_of(&format!("{folder}/"))?, &[]).await?;
            if response.status().is_success() || response.status() == StatusCode::METHOD_NOT_ALLOWED {
                continue;
            }
            // Somebody else may be making it: servers answer that in many ways (Apache with 403).
            let refusal = refused(&response);
            match missing_is_none(self.stat(folder).await)? {
                Some(found) if found.kind == ObjectKind::Directory => {}
                _ => return Err(refusal),
            }
        }
        Ok(())
    }
}

/// Ends with an error when nothing comes for so long.
fn until_silent<S>(
    body: S,
    stall: std::time::Duration,
) -> impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send
where
    S: futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static,
{
    futures::stream::unfold(Some(body.boxed()), move |state| async move {
        let mut body = state?;
        match tokio::time::timeout(stall, body.next()).await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((bytes, Some(body))),
            Err(_) => Some((Err(std::io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

pub(super) fn silent() -> Error {
    Error::unavailable("the server does not answer")
}

/// The web client speaks of a source, which a target is not.
fn renamed(error: Error) -> Error {
    Error::new(error.kind(), error.message().replace("the source", "the server")).caused_by(error)
}

/// A status that is no success.
fn refused(response: &Response) -> Error {
    let status = response.status().as_u16();
    let answered = |what: &str| format!("the server answered {status}: {what}");
    match status {
        401 => Error::unauthenticated(answered("it does not accept the credentials")),
        403 => Error::forbidden(answered("this is not allowed")),
        404 | 410 => Error::not_found(answered("there is nothing at the path")),
        409 => {
            Error::not_found(answered("the folder of the target does not exist; the option create_parents makes it"))
        }
        412 => Error::conflict(answered("the object is not what it was")),
        413 => Error::too_large(answered("the object is larger than it takes")),
        423 => Error::unavailable(answered("somebody has locked the object")),
        507 => Error::no_space(answered("no space left on the target")),
        300..=399 => Error::invalid(answered("the address leads to another one; give that one")),
        408 | 425 | 429 | 500..=599 => {
            let error = Error::unavailable(answered("it cannot do this now"));
            match answer::retry_after(response.headers()) {
                Some(wait) => error.retry_after(wait),
                None => error,
            }
        }
        _ => Error::invalid(answered("it refuses the request")),
    }
}
