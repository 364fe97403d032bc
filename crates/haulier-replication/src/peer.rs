//! Another site, spoken to over its API.
//!
//! Knows no SQL and decides nothing: which site to ask, and what an answer means, the callers know.

mod calls;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Error, Result, Secret};
use reqwest::{Client, Method, RequestBuilder};

use crate::header;
use crate::model::{ClientId, Site};
use crate::vault::IDLE_MAX;

pub(crate) use calls::{Asked, Passed, Said, Taken};
pub(crate) use source::{Source, plain_body};

/// Contract §4.2.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Makes peers; they share their connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    client: Client,
}

/// One site, ready to be asked.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) site: Site,
    token: Option<Arc<Secret<String>>>,
    client: Client,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("site", &self.site).finish_non_exhaustive()
    }
}

impl Peers {
    /// Prepares connections.
    ///
    /// # Errors
    /// `Internal` when there is no TLS.
    pub(crate) fn new() -> Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(IDLE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .build()
            .map_err(|error| Error::internal("cannot prepare connections to other sites").caused_by(error))?;
        Ok(Self { client })
    }

    /// A site with the token that it takes.
    pub(crate) fn of(&self, site: Site, token: Option<Secret<String>>) -> Peer {
        Peer { site, token: token.map(Arc::new), client: self.client.clone() }
    }
}

impl Peer {
    /// Starts a request; `path` is absolute and already encoded.
    pub(crate) fn request(&self, method: Method, path: &str, op_id: &str, client: Option<&ClientId>) -> RequestBuilder {
        let url = format!("{}{path}", self.site.uri.trim_end_matches('/'));
        let mut request = self.client.request(method, url).header(header::OP_ID, op_id);
        if let Some(client) = client {
            request = request.header(header::CLIENT_ID, client.as_str());
        }
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    /// A site that gave no usable answer.
    pub(crate) fn unreachable(&self, error: reqwest::Error) -> Error {
        let why = if error.is_timeout() {
            "did not answer in time"
        } else if error.is_connect() {
            "cannot be reached"
        } else {
            "broke off"
        };
        Error::unavailable(format!("the site {} {why}", self.site.id)).caused_by(error.without_url())
    }
}
