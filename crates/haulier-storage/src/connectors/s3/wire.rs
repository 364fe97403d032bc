//! The connections below the clients: HTTP/1.1 only, to allowed addresses only, kept for the next request.
//!
//! Of its own, since a pool that offers HTTP/2 sends all parts of an object over one connection at half the speed,
//! and one that normalizes paths loses keys.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use haulier_base::{Error, Result};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector as TcpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::trouble::NameTrouble;
use crate::connectors::network::Reach;

/// Connections that wait for more work, per host, and how long they do.
const IDLE_PER_HOST: usize = 64;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// Whose certificates are believed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nobody's: the connections are not encrypted.
    Nobody,
    System,
    /// Only those signed by one of these, as PEM.
    Own(String),
}

/// Connections for all clients that trust alike.
pub(super) fn connections(trust: &Trust, reach: Arc<Reach>, connect_timeout: Duration) -> Result<SharedHttpClient> {
    let mut tcp = TcpConnector::new_with_resolver(GuardedResolver(reach));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    let tls = HttpsConnectorBuilder::new().with_tls_config(config(trust)?).https_or_http().enable_http1();
    let web = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(tls.wrap_connector(tcp));
    Ok(SharedHttpClient::new(Wire(web)))
}

/// The authorities in a PEM text; none when there is no certificate in it, or one that cannot be read.
pub(super) fn authorities(pem: &str) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

fn config(trust: &Trust) -> Result<ClientConfig> {
    let roots = match trust {
        Trust::Nobody => RootCertStore::empty(),
        Trust::System => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
        Trust::Own(pem) => authorities(pem).ok_or_else(|| Error::invalid("the certificates cannot be read"))?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| Error::internal("TLS cannot be set up").caused_by(error))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// What the client library asks for connections. Cheap to clone.
#[derive(Clone)]
struct Wire(Client<HttpsConnector<TcpConnector<GuardedResolver>>, SdkBody>);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let web = self.0.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            // Without a body, none is told by itself, and some stores want to know even that.
            if request.method() == "PUT" && request.body().content_length() == Some(0) {
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            let used = capture_connection(&mut request);
            if let Some(asked) = request.extensions().get::<CaptureSmithyConnection>() {
                asked.set_connection_retriever(move || Some(connection(&used)));
            }
            // Whatever goes wrong on a connection may go well on the next one.
            let answer = web.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// What the library has to know of a connection: how it is kept from being used again after a failure on it.
fn connection(used: &CaptureConnection) -> ConnectionMetadata {
    let used = used.clone();
    let close = move || {
        if let Some(connection) = used.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    ConnectionMetadata::builder().proxied(false).poison_fn(close).build()
}

/// Gives allowed addresses only. The connection is made to just these, so a name cannot change its mind.
#[derive(Clone, Debug)]
struct GuardedResolver(Arc<Reach>);

impl tower::Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameTrouble;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, NameTrouble>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), NameTrouble>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.0.clone();
        Box::pin(async move {
            let name = name.as_str();
            let found = tokio::net::lookup_host((name, 0)).await;
            let found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
            if found.is_empty() {
                return Err(NameTrouble::Unknown(name.to_owned()));
            }
            let allowed: Vec<_> = found.into_iter().filter(|address| reach.allows(address.ip())).collect();
            if allowed.is_empty() { Err(NameTrouble::NotAllowed(name.to_owned())) } else { Ok(allowed.into_iter()) }
        })
    }
}
