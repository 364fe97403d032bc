//! Sites in one process that speak real HTTP with each other: a room on a real catalogue with its runners and a
//! listener, which can be cut off, crash and start again.

use std::ops::{Index, IndexMut};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use haulier_access::{AuthMode, Authenticator, Locations, Sealer};
use haulier_base::{Clock, SystemClock, Timestamp};
use haulier_catalog::Catalog;
use haulier_http::{Server, ServerConfig};
use haulier_replication::{NewSite, Place, Replication, ReplicationConfig, Site as Member, SiteId, SiteStatus};
use haulier_storage::{StorageConfig, Storages};
use haulier_testkit::catalog::TestCatalog;
use haulier_work::{Handlers, Runner, RunnerConfig};
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::link::{Door, Line, Link};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The client that asks unless a test says another.
pub(crate) const CLIENT: &str = "client-one";
const NAMES: [&str; 3] = ["site-a", "site-b", "site-c"];

/// Sites that know each other.
pub(crate) struct Sites {
    sites: Vec<Site>,
    /// From the first to the second, but for `None` on the diagonal.
    links: Vec<Vec<Option<Link>>>,
}

/// One site.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) test: TestCatalog,
    pub(crate) clock: Arc<WrongClock>,
    config: ReplicationConfig,
    auth: AuthMode,
    topology: Vec<NewSite>,
    door: Door,
    client: Client,
    life: Option<Life>,
}

/// What ends with a restart.
struct Life {
    catalog: Catalog,
    stop: CancellationToken,
    serving: JoinSet<()>,
    running: JoinSet<()>,
}

/// The machine's clock, set apart from it.
#[derive(Debug, Default)]
pub(crate) struct WrongClock(AtomicI64);

impl WrongClock {
    pub(crate) fn set_apart(&self, seconds: i64) {
        self.0.store(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().as_micros() + self.0.load(Ordering::SeqCst))
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header of the contract's, without its prefix.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(format!("x-clonecloudstore-{name}")).and_then(|value| value.to_str().ok())
    }

    /// Panics unless it has this status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.header("error"), self.text());
        self
    }
}

impl Sites {
    /// Three sites, each in the topology of the others.
    pub(crate) async fn three(test: TestCatalog) -> Self {
        Self::with(test, 3, ReplicationConfig::default()).await
    }

    /// So many, with settings.
    pub(crate) async fn with(test: TestCatalog, count: usize, config: ReplicationConfig) -> Self {
        Self::guarded(test, count, config, AuthMode::Open, None).await
    }

    /// Three whose clocks are ahead by so many seconds.
    pub(crate) async fn with_clocks(test: TestCatalog, ahead: [i64; 3]) -> Self {
        Self::build(test, 3, ReplicationConfig::default(), AuthMode::Open, None, &ahead).await
    }

    /// The same with tokens: `token` is the one that sites send each other.
    pub(crate) async fn guarded(
        test: TestCatalog,
        count: usize,
        config: ReplicationConfig,
        auth: AuthMode,
        token: Option<&str>,
    ) -> Self {
        Self::build(test, count, config, auth, token, &[0; 3]).await
    }

    async fn build(
        test: TestCatalog,
        count: usize,
        config: ReplicationConfig,
        auth: AuthMode,
        token: Option<&str>,
        ahead: &[i64],
    ) -> Self {
        let database = test.database;
        let mut tests = vec![test];
        while tests.len() < count {
            tests.push(TestCatalog::new(database).await);
        }
        let mut sites: Vec<_> = tests
            .into_iter()
            .zip(NAMES.into_iter().zip(ahead))
            .map(|(test, (name, ahead))| Site {
                name,
                test,
                clock: Arc::new(WrongClock(AtomicI64::new(ahead * 1_000_000))),
                config: config.clone(),
                auth: auth.clone(),
                topology: Vec::new(),
                door: Arc::new(Mutex::new("127.0.0.1:1".parse().unwrap())),
                client: Client::builder().no_proxy().build().unwrap(),
                life: None,
            })
            .collect();
        let mut links = Vec::new();
        for from in 0..count {
            let mut row = Vec::new();
            for (to, site) in sites.iter().enumerate() {
                row.push(if from == to { None } else { Some(Link::to(site.door.clone()).await) });
            }
            sites[from].topology = row
                .iter()
                .zip(NAMES)
                .filter_map(|(link, name)| Some(member(name, &format!("http://{}", link.as_ref()?.addr), token)))
                .collect();
            links.push(row);
        }
        for site in &mut sites {
            site.test.catalog.close().await.unwrap();
            site.start().await;
        }
        Self { sites, links }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter()
    }

    /// Changes the line from one site to another.
    pub(crate) fn line(&self, from: usize, to: usize, line: Line) {
        self.links[from][to].as_ref().expect("a site needs no line to itself").set(line);
    }

    /// Cuts a site off from all others, or heals that.
    pub(crate) fn cut_off(&self, site: usize, cut: bool) {
        for other in (0..self.sites.len()).filter(|other| *other != site) {
            let line = if cut { Line::Cut } else { Line::Open };
            self.line(site, other, line);
            self.line(other, site, line);
        }
    }

    /// Where a site reaches another.
    pub(crate) fn uri(&self, from: usize, to: usize) -> String {
        format!("http://{}", self.links[from][to].as_ref().expect("a site needs no line to itself").addr)
    }

    /// Ends all of them in order.
    pub(crate) async fn end(mut self) {
        for site in &mut self.sites {
            if site.life.is_some() {
                site.stop().await;
            }
        }
    }
}

fn member(name: &str, uri: &str, token: Option<&str>) -> NewSite {
    let site =
        Member { id: SiteId::new(name).unwrap(), name: name.to_owned(), uri: uri.to_owned(), status: SiteStatus::Up };
    NewSite { site, token: token.map(|token| haulier_base::Secret::new(token.to_owned())) }
}

impl Index<usize> for Sites {
    type Output = Site;

    fn index(&self, index: usize) -> &Site {
        &self.sites[index]
    }
}

impl IndexMut<usize> for Sites {
    fn index_mut(&mut self, index: usize) -> &mut Site {
        &mut self.sites[index]
    }
}

impl Site {
    /// Starts the site, with what an earlier life left.
    pub(crate) async fn start(&mut self) {
        let catalog = Catalog::open(&self.test.url, self.clock.clone()).await.unwrap();
        let data_dir = self.test.folder().join("data");
        let storages = Storages::new(StorageConfig {
            roots: vec![self.test.folder().to_owned()],
            allow_private: true,
            ..StorageConfig::default()
        });
        let sealer = Sealer::from_text(&"5".repeat(64)).unwrap();
        let locations = Locations::new(catalog.clone(), storages.unwrap(), sealer, Default::default()).await.unwrap();
        let place = Place { site: self.name.to_owned(), data_dir };
        let replication = Replication::new(catalog.clone(), locations, self.config.clone(), place).await.unwrap();
        replication.begin(self.topology.clone()).await.unwrap();
        let (stop, mut serving, mut running) = (CancellationToken::new(), JoinSet::new(), JoinSet::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *self.door.lock().unwrap() = listener.local_addr().unwrap();
        let router = haulier_replication::router(replication.clone());
        let router = haulier_access::layer(router, Authenticator::new(self.auth.clone()));
        let config = ServerConfig { grace: Duration::from_millis(200), ..ServerConfig::default() };
        let server = Server::new(config).listen(listener, router).run(stop.clone());
        serving.spawn(async move { server.await.unwrap() });
        for handlers in [replication.handlers(), replication.attendants()] {
            let handlers = handlers.into_iter().fold(Handlers::new(), Handlers::register);
            let config = RunnerConfig {
                holder: self.name.to_owned(),
                lease: Duration::from_secs(6),
                renew_every: Duration::from_secs(2),
                grace: Duration::from_secs(3),
                ..RunnerConfig::default()
            };
            running.spawn(Runner::new(catalog.clone(), handlers, config).run(stop.clone()));
        }
        self.life = Some(Life { catalog, stop, serving, running });
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("the site is running")
    }

    /// Its catalogue, while it runs.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.life().catalog
    }

    /// Stops in order.
    pub(crate) async fn stop(&mut self) {
        let mut life = self.life.take().expect("the site is running");
        life.stop.cancel();
        while life.running.join_next().await.is_some() {}
        while life.serving.join_next().await.is_some() {}
        life.catalog.close().await.unwrap();
    }

    /// Stops in the middle of everything.
    pub(crate) async fn crash(&mut self) {
        let mut life = self.life.take().expect("the site is running");
        life.running.shutdown().await;
        life.stop.cancel();
        while life.serving.join_next().await.is_some() {}
        life.catalog.close().await.unwrap();
    }

    /// Stops and starts.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Where it listens, without a proxy.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.door.lock().unwrap())
    }

    /// Asks as the usual client; none of the headers is added when it is given.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    /// The same; an error when the site gives no whole answer.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, self.url(path)).timeout(PATIENCE).body(body);
        if !headers.iter().any(|(name, _)| *name == "x-clonecloudstore-client-id") {
            request = request.header("x-clonecloudstore-client-id", CLIENT);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.send(Method::HEAD, path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Posts bytes, such as an object's.
    pub(crate) async fn upload(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/octet-stream")], body).await
    }

    /// Asks until an answer is as it should be.
    pub(crate) async fn wait_until(&self, path: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if holds(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{}: {path} stays {} {}", self.name, answer.status, answer.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
