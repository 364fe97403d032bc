//! The web client: which addresses it connects to, where redirects lead, what it says about failures.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Error, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Certificate, Method, Response, StatusCode};
use url::{Host, Url};

use super::answer;
use crate::StorageConfig;
use crate::connectors::network::Reach;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 10;

/// One client per node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    web: reqwest::Client,
    reach: Arc<Reach>,
    stall: Duration,
}

/// What is asked for: `own` headers go to the first host only.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) own: &'a HeaderMap,
    pub(super) headers: HeaderMap,
}

impl Client {
    /// Makes the client for what a node allows.
    pub fn new(config: &StorageConfig) -> Result<Self> {
        Self::trusting(config, Vec::new())
    }

    /// Makes one that also trusts further certificate authorities.
    pub(in crate::connectors) fn trusting(config: &StorageConfig, authorities: Vec<Certificate>) -> Result<Self> {
        let reach = Arc::new(Reach { allow_private: config.allow_private, networks: config.allow_networks.clone() });
        let web = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT.min(config.stall))
            .user_agent(concat!("haulier/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(GuardedResolver(reach.clone()))
            .tls_certs_merge(authorities)
            .build()
            .map_err(|error| Error::internal("the web client cannot be made").caused_by(error))?;
        Ok(Self { web, reach, stall: config.stall })
    }

    pub(in crate::connectors) fn stall(&self) -> Duration {
        self.stall
    }

    /// Sends a request and follows redirects. The answer may have any other status.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Response> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut headers = request.headers.clone();
            if url.origin() == request.url.origin() {
                headers.extend(request.own.clone());
            }
            let response = self.send_once(request.method.clone(), &url, headers).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| url.join(target).ok());
            url = target.ok_or_else(|| Error::invalid("the source redirects to nowhere"))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(Error::invalid(format!("the source redirects to the scheme \"{}\"", url.scheme())));
            }
        }
        Err(Error::invalid(format!("the source redirects more than {REDIRECTS_MAX} times")))
    }

    /// Sends a request once, and waits no longer than the other side may be silent.
    pub(in crate::connectors) async fn send_once(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response> {
        match tokio::time::timeout(self.stall, self.send_body(method, url, headers, Body::default())).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::unavailable("the source does not answer").context("host", host(url))),
        }
    }

    /// Sends a request with a body. The caller bounds the wait, since it knows how the body gets on.
    pub(in crate::connectors) async fn send_body(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<Response> {
        // A resolver is not asked about addresses, so they are looked at here.
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        if literal.is_some_and(|ip| !self.reach.allows(ip)) {
            return Err(forbidden(url.host_str().unwrap_or_default()));
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut plain = url.clone();
        // Cannot fail for http and https; the credentials went into a header.
        let _ = plain.set_username("").and_then(|()| plain.set_password(None));
        let sending = self.web.request(method, plain).headers(headers).body(body).send();
        sending.await.map_err(|error| describe(error, url))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

fn forbidden(host: &str) -> Error {
    Error::forbidden(format!("the address of {host} is not public, and its network is not allowed"))
}

/// Says what went wrong without repeating the URL, which may carry secrets.
fn describe(error: reqwest::Error, url: &Url) -> Error {
    let error = error.without_url();
    let mut cause: Option<&dyn StdError> = Some(&error);
    while let Some(found) = cause {
        match found.downcast_ref::<NameTrouble>() {
            Some(NameTrouble::NotAllowed) => return forbidden(host(url)),
            Some(NameTrouble::Unknown) => {
                return Error::unavailable(format!("the host {} is unknown", host(url)))
                    .context("unknown_host", host(url))
                    .caused_by(error);
            }
            None => cause = found.source(),
        }
    }
    if error.is_builder() {
        return Error::invalid("the request cannot be made").caused_by(error);
    }
    if is_about_trust(&error) {
        let host = host(url);
        return Error::unavailable(format!(
            "the certificate of {host} is not trusted: check the address, or name its authority in the option ca_pem \
             where the storage has one"
        ))
        .context("host", host)
        .caused_by(error);
    }
    answer::broken(error).context("host", host(url))
}

/// Whether a certificate is what kept a connection from being made.
fn is_about_trust(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(found) = cause {
        if found.downcast_ref::<rustls::Error>().is_some_and(|e| matches!(e, rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // What input and output wraps is no source of it.
        let wrapped = found.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &dyn StdError).or_else(|| found.source());
    }
    false
}

#[derive(Debug)]
enum NameTrouble {
    Unknown,
    NotAllowed,
}

impl fmt::Display for NameTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown host",
            Self::NotAllowed => "address not allowed",
        })
    }
}

impl StdError for NameTrouble {}

/// Gives allowed addresses only. The connection is made to just these, so a name cannot change its mind.
struct GuardedResolver(Arc<Reach>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NameTrouble::Unknown)?;
            let found: Vec<SocketAddr> = found.collect();
            let allowed: Vec<_> = found.iter().copied().filter(|address| reach.allows(address.ip())).collect();
            match (found.is_empty(), allowed.is_empty()) {
                (true, _) => Err(NameTrouble::Unknown.into()),
                (false, true) => Err(NameTrouble::NotAllowed.into()),
                (false, false) => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
