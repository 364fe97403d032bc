//! One client per store and account, on connections that all of a node's clients share.
//!
//! Knows which addresses may be reached and how long anything may take; knows no object.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use haulier_base::{Error, Result};
use tokio::time::timeout;
use url::Host;

use super::options::{Identity, Settings};
use super::patience::Patience;
use super::trouble::{NameTrouble, explain};
use super::wire::{Trust, connections};
use crate::StorageConfig;
use crate::connectors::network::Reach;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the library sends one request; the mover and the layers around a storage do the rest.
const ATTEMPTS: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How many times longer than otherwise a store may take to join parts or to copy by itself, which large objects
/// make it do for minutes.
const WORK_STALLS: u32 = 20;
/// How many stores and trusts are kept; one used longest ago makes room.
const KEPT_MAX: usize = 64;

/// What a store is known to say about checksums after a put.
const UNKNOWN: u8 = 0;
const REPORTS: u8 = 1;
const SILENT: u8 = 2;

/// All clients of a node.
pub struct Clients {
    reach: Arc<Reach>,
    stall: Duration,
    connections: Mutex<Vec<(Trust, SharedHttpClient)>>,
    stores: Mutex<Vec<(Settings, Arc<Store>)>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clients({} stores)", lock(&self.stores).len())
    }
}

/// One store as one account sees it.
pub(super) struct Store {
    pub(super) client: Client,
    /// Equal for stores that can copy each other's objects.
    pub(super) name: String,
    /// How long nothing may move.
    pub(super) stall: Duration,
    reports: AtomicU8,
    /// Whether a copy by parts failed to find a source that is there.
    loses_sources: AtomicBool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.name)
    }
}

impl Clients {
    /// Makes no connection yet.
    pub fn new(config: &StorageConfig) -> Self {
        let reach = Reach { allow_private: config.allow_private, networks: config.allow_networks.clone() };
        let (connections, stores) = (Mutex::default(), Mutex::default());
        Self { reach: Arc::new(reach), stall: config.stall, connections, stores }
    }

    /// The store that settings lead to. An address that may not be reached is `Forbidden`.
    pub(super) fn store(&self, settings: &Settings) -> Result<Arc<Store>> {
        // A resolver is not asked about addresses, so they are looked at here.
        let literal = settings.endpoint.as_ref().and_then(|endpoint| match endpoint.host()? {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain(_) => None,
        });
        if let Some(ip) = literal.filter(|ip| !self.reach.allows(*ip)) {
            return Err(Error::forbidden(NameTrouble::NotAllowed(ip.to_string()).to_string()));
        }
        kept(&self.stores, settings, || self.open(settings).map(Arc::new))
    }

    fn open(&self, settings: &Settings) -> Result<Store> {
        let trust = match &settings.ca {
            _ if !settings.is_tls() => Trust::Nobody,
            Some(pem) => Trust::Own(pem.clone()),
            None => Trust::System,
        };
        let connect = CONNECT_TIMEOUT.min(self.stall);
        let http = kept(&self.connections, &trust, || connections(&trust, self.reach.clone(), connect))?;
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(BACKOFF)
            .with_max_backoff(BACKOFF_MAX);
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(Region::new(settings.region.clone()))
            .force_path_style(settings.path_style)
            .http_client(http)
            .retry_config(retries)
            .retry_classifier(Patience(BACKOFF_MAX))
            .timeout_config(TimeoutConfig::disabled())
            // Connecting is bounded by the connections; checksums and stalls are looked after here, for parts in flight and with the node's own bounds.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint.as_str().trim_end_matches('/'));
        }
        let config = match &settings.identity {
            Identity::Anonymous => config.allow_no_auth(),
            Identity::Keys { id, secret, session_token } => {
                let session = session_token.as_ref().map(|token| token.reveal().clone());
                config.credentials_provider(Credentials::new(id, secret.reveal(), session, None, "options"))
            }
        };
        let client = Client::from_conf(config.build());
        Ok(Store {
            client,
            name: settings.store(),
            stall: self.stall,
            reports: AtomicU8::new(UNKNOWN),
            loses_sources: AtomicBool::new(false),
        })
    }
}

impl Store {
    /// Waits for a short request.
    pub(super) async fn ask<T, E>(&self, sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>) -> Result<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        within(self.stall, sent).await
    }

    /// Waits for a request that makes the store work.
    pub(super) async fn ask_long<T, E>(
        &self,
        sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        within(self.stall * WORK_STALLS, sent).await
    }

    /// Waits for a request with a long body, as long as that body moves.
    pub(super) async fn ask_moving<T, E>(
        &self,
        moved: &AtomicU64,
        sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let (mut sent, mut seen) = (std::pin::pin!(sent), 0);
        loop {
            match timeout(self.stall, &mut sent).await {
                Ok(answer) => return answer.map_err(explain),
                Err(_) => {
                    let now = moved.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(Error::unavailable("the store takes no bytes and does not answer"));
                    }
                    seen = now;
                }
            }
        }
    }

    /// Whether a look at a fresh object may tell its checksum.
    pub(super) fn may_report(&self) -> bool {
        self.reports.load(Ordering::Relaxed) != SILENT
    }

    /// Whether copies by parts find only sources whose keys need no encoding, as in Ceph before 17.
    pub(super) fn loses_sources(&self) -> bool {
        self.loses_sources.load(Ordering::Relaxed)
    }

    /// Keeps in mind that a source was not found although it is there.
    pub(super) fn note_lost_source(&self) {
        self.loses_sources.store(true, Ordering::Relaxed);
    }

    /// Keeps in mind whether the store said a checksum, so that silent ones are not asked in vain again.
    pub(super) fn note_report(&self, said: bool) {
        let known = if said { REPORTS } else { SILENT };
        let _unchanged = self.reports.compare_exchange(UNKNOWN, known, Ordering::Relaxed, Ordering::Relaxed);
    }
}

async fn within<T, E>(limit: Duration, sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>) -> Result<T>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match timeout(limit, sent).await {
        Ok(answer) => answer.map_err(explain),
        Err(_) => Err(Error::unavailable("the store does not answer")),
    }
}

/// What is kept under a key, made where it is missing.
fn kept<K, V>(list: &Mutex<Vec<(K, V)>>, key: &K, make: impl FnOnce() -> Result<V>) -> Result<V>
where
    K: Clone + PartialEq,
    V: Clone,
{
    let mut list = lock(list);
    let entry = match list.iter().position(|(known, _)| known == key) {
        Some(at) => list.remove(at),
        None => (key.clone(), make()?),
    };
    let value = entry.1.clone();
    list.insert(0, entry);
    list.truncate(KEPT_MAX);
    Ok(value)
}

/// No caller panics while holding such a lock in a half-changed state, so a poisoned one is still sound.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
