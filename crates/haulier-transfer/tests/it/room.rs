//! A transfer room with a real catalogue, real files and a runner that tests drive by hand.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use haulier_access::{AuthMode, Authenticator, Locations, Sealer};
use haulier_storage::{MemoryStore, StorageConfig, Storages};
use haulier_testkit::catalog::TestCatalog;
pub(crate) use haulier_testkit::web::Answer;
use haulier_testkit::web::Web;
use haulier_transfer::{TransferConfig, Transfers};
use haulier_work::{Handlers, Runner, RunnerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything a story needs.
pub(crate) struct Room {
    pub(crate) catalog: TestCatalog,
    pub(crate) folder: TempDir,
    /// What is behind `memory:` URLs, whose unfinished uploads have names that nobody can guess.
    pub(crate) memory: MemoryStore,
    pub(crate) transfers: Transfers,
    web: Web,
}

impl Deref for Room {
    type Target = Web;

    fn deref(&self) -> &Web {
        &self.web
    }
}

/// What this room's refusals look like.
pub(crate) trait Refused {
    /// The message of a refusal, after a look at its shape.
    fn refusal(&self, status: u16) -> String;
}

impl Refused for Answer {
    fn refusal(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["code"], format!("{status} {}", body["title"].as_str().unwrap()));
        body["message"].as_str().unwrap().to_owned()
    }
}

impl Room {
    pub(crate) async fn new(catalog: TestCatalog) -> Self {
        Self::with(catalog, TransferConfig::default()).await
    }

    pub(crate) async fn with(catalog: TestCatalog, config: TransferConfig) -> Self {
        let folder = TempDir::new().unwrap();
        Self::build(catalog, folder, config, AuthMode::Open).await
    }

    pub(crate) async fn build(catalog: TestCatalog, folder: TempDir, config: TransferConfig, auth: AuthMode) -> Self {
        let memory = MemoryStore::new();
        let storages = Storages::new(StorageConfig {
            memory: Some(memory.clone()),
            roots: vec![folder.path().to_owned(), PathBuf::from("/dev/shm")],
            allow_private: true,
            stall: Duration::from_secs(2),
            ..StorageConfig::default()
        })
        .unwrap();
        let sealer = Sealer::from_text(&"5".repeat(64)).unwrap();
        let locations = Locations::new(catalog.catalog.clone(), storages, sealer, Arc::default()).await.unwrap();
        let transfers = Transfers::new(catalog.catalog.clone(), locations, config);
        let router = haulier_access::layer(haulier_transfer::router(transfers.clone()), Authenticator::new(auth));
        Self { catalog, folder, memory, transfers, web: Web::new(router) }
    }

    pub(crate) fn runner(&self) -> Runner {
        let handlers = self.transfers.handlers().into_iter().fold(Handlers::new(), |all, one| all.register(one));
        let config = RunnerConfig { holder: "test".to_owned(), ..RunnerConfig::default() };
        Runner::new(self.catalog.catalog.clone(), handlers, config)
    }

    /// Runs what is due until nothing is.
    pub(crate) async fn run_tasks(&self) {
        self.runner().run_until_idle().await.unwrap();
    }

    /// Lets every wait of a failing transfer pass, and runs each attempt.
    pub(crate) async fn run_to_the_end(&self, id: &str) -> Value {
        for _ in 0..200 {
            self.run_tasks().await;
            let document = self.document(id).await;
            if ["STATE_COMPLETE", "STATE_ERROR", "STATE_CANCELED"].contains(&document["state"].as_str().unwrap()) {
                return document;
            }
            self.catalog.clock.advance(Duration::from_secs(61));
            tokio::task::yield_now().await;
        }
        panic!("transfer {id} does not end: {}", self.document(id).await);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    /// Writes a source file of bytes that differ from place to place.
    pub(crate) fn source(&self, name: &str, size: usize) -> Vec<u8> {
        let bytes = pattern(size);
        std::fs::write(self.path(name), &bytes).unwrap();
        bytes
    }

    pub(crate) async fn delete(&self, id: &str) -> Answer {
        self.send(Method::DELETE, &format!("/v1/transfers/{id}"), &[], Body::empty()).await
    }

    pub(crate) async fn act(&self, id: &str, body: Value) -> Answer {
        self.post(&format!("/v1/transfers/{id}/action"), body).await
    }

    pub(crate) async fn document(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/transfers/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }

    /// Posts a transfer that must be accepted, and returns its id.
    pub(crate) async fn submit(&self, source: &str, target: &str, more: Value) -> String {
        let mut body = json!({ "source_url": source, "destination_url": target });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.post("/v1/transfers", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Names in the folder that start with a dot: temporary files of ours.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect();
        names.sort();
        names
    }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}
