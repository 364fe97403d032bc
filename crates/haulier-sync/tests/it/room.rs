//! A sync room with a real catalogue, real folders and runners that go on for as long as the test.

use std::ops::Deref;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use haulier_access::{AuthMode, Authenticator, Locations, Sealer};
use haulier_storage::{StorageConfig, Storages};
use haulier_sync::{EntryName, NewEntry, Setup, SyncConfig, Syncs};
use haulier_testkit::catalog::TestCatalog;
use haulier_testkit::web::{Answer, Web};
use haulier_work::{Handlers, Runner, RunnerConfig};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything a story needs.
pub(crate) struct Room {
    pub(crate) catalog: TestCatalog,
    pub(crate) syncs: Syncs,
    web: Web,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Deref for Room {
    type Target = Web;

    fn deref(&self) -> &Web {
        &self.web
    }
}

/// What this room's refusals look like.
pub(crate) trait Refused {
    /// The reason of a refusal, after a look at its shape.
    fn reason(&self, status: u16) -> String;
}

impl Refused for Answer {
    fn reason(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], "error", "{body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        body["reason"].as_str().unwrap().to_owned()
    }
}

/// A local entry in a folder of the test's own, which is made.
pub(crate) fn local(catalog: &TestCatalog, name: &str) -> NewEntry {
    let root = catalog.folder().join(name);
    std::fs::create_dir_all(&root).unwrap();
    entry(name, "local_storage", json!({ "root": root }))
}

pub(crate) fn entry(name: &str, driver: &str, options: Value) -> NewEntry {
    NewEntry { name: EntryName::new(name).unwrap(), driver: driver.to_owned(), options }
}

pub(crate) fn setup(entries: Vec<NewEntry>, rules: Value) -> Setup {
    Setup { name: None, entries, rules: Some(rules) }
}

impl Room {
    /// A room with two local entries, A and B, and one rule that sends everything to both.
    pub(crate) async fn new(catalog: TestCatalog) -> Self {
        let entries = vec![local(&catalog, "A"), local(&catalog, "B")];
        let rules = json!([{ "match": { "path": "/" }, "sync": ["A", "B"] }]);
        Self::with(catalog, setup(entries, rules)).await
    }

    pub(crate) async fn with(catalog: TestCatalog, setup: Setup) -> Self {
        let room = Self::build(catalog, SyncConfig::default(), AuthMode::Open).await;
        room.syncs.begin(setup).await.unwrap();
        room
    }

    /// A room that has not begun.
    pub(crate) async fn build(catalog: TestCatalog, config: SyncConfig, auth: AuthMode) -> Self {
        let storages = Storages::new(StorageConfig {
            roots: vec![catalog.folder().to_owned()],
            allow_private: true,
            ..StorageConfig::default()
        })
        .unwrap();
        let sealer = Sealer::from_text(&"5".repeat(64)).unwrap();
        let locations = Locations::new(catalog.catalog.clone(), storages.clone(), sealer, Default::default());
        let own = vec![catalog.folder().join("data")];
        let locations = locations.await.unwrap();
        let syncs = Syncs::new(catalog.catalog.clone(), locations, storages, config, own).await.unwrap();
        let authenticator = Authenticator::new(auth);
        let own = haulier_sync::own_router(syncs.clone());
        let router = haulier_access::layer(haulier_sync::router(syncs.clone()), authenticator.clone());
        let router = router.merge(haulier_access::layer(own, authenticator));
        let web = Web::new(router);
        let room = Self { catalog, syncs, web, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        for handlers in [room.syncs.handlers(), room.syncs.attendants()] {
            let handlers = handlers.into_iter().fold(Handlers::new(), Handlers::register);
            let config = RunnerConfig { holder: "test".to_owned(), ..RunnerConfig::default() };
            let runner = Runner::new(room.catalog.catalog.clone(), handlers, config);
            room.tasks.spawn(runner.run(room.stop.clone()));
        }
        room
    }

    /// Stops the runners in order.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(Method::PUT, path, &[], body).await
    }

    pub(crate) async fn status(&self, entry: &str) -> Value {
        self.get(&format!("/api/v1.0/entries/{entry}/status")).await.json()
    }

    /// Asks until an answer is as it should be.
    pub(crate) async fn wait_until(&self, path: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if holds(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{path} stays {}", answer.text);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until an entry takes part.
    pub(crate) async fn wait_active(&self, entry: &str) {
        let path = format!("/api/v1.0/entries/{entry}/status");
        self.wait_until(&path, |answer| answer.json()["status"] == "active").await;
    }
}
