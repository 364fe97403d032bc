//! A backup room with a real catalogue, and users who talk to it.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use haulier_access::{AuthMode, Authenticator};
use haulier_backup::{BackupConfig, Backups};
use haulier_testkit::catalog::TestCatalog;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Everything a story needs.
pub(crate) struct Room {
    pub(crate) catalog: TestCatalog,
    pub(crate) backups: Backups,
    router: Router,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The body of an answer with that status.
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The title and the description of a refusal with that status.
    pub(crate) fn refused(&self, status: u16) -> (String, String) {
        let body = self.ok(status);
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        assert!(!text("description").is_empty());
        (text("title"), text("description"))
    }
}

impl Room {
    /// Nobody has to say who he is, and everybody may.
    pub(crate) fn new(catalog: TestCatalog) -> Self {
        Self::with(catalog, AuthMode::Open)
    }

    pub(crate) fn with(catalog: TestCatalog, auth: AuthMode) -> Self {
        Self::configured(catalog, auth, BackupConfig::default())
    }

    pub(crate) fn configured(catalog: TestCatalog, auth: AuthMode, config: BackupConfig) -> Self {
        let backups = Backups::new(catalog.catalog.clone(), config);
        let authenticator = Authenticator::new(auth).self_named("anonymous");
        let own = haulier_backup::own_router(backups.clone());
        let router = haulier_access::layer(haulier_backup::below_v1(backups.clone()).merge(own), authenticator);
        Self { catalog, backups, router: router.merge(haulier_backup::versions_router()) }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 256 << 20).await.unwrap();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// A request of the user `ann`.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask_as("ann", method, path, body).await
    }

    pub(crate) async fn ask_as(&self, user: &str, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &[("x-user-id", user)], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Value::Null).await
    }

    /// Keeps a document and gives its identifier.
    pub(crate) async fn create(&self, plural: &str, body: Value) -> String {
        let made = self.ask("POST", &format!("/v1/{plural}"), body).await.ok(201);
        made.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    /// The elements that a search finds.
    pub(crate) async fn list(&self, plural: &str, page: &str, search: Value) -> Vec<Value> {
        let found = self.ask("GET", &format!("/v1/{plural}/?{page}"), search).await.ok(200);
        found[plural].as_array().unwrap().clone()
    }

    pub(crate) async fn show(&self, plural: &str, id: &str) -> Value {
        self.get(&format!("/v1/{plural}/{id}")).await.ok(200)
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.catalog.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn now(&self) -> i64 {
        self.catalog.catalog.now().as_micros() / 1_000_000
    }
}

/// A backup's metadata with little more than it must have.
pub(crate) fn metadata(number: usize) -> Value {
    json!({ "container": "c", "hostname": "h", "backup_name": format!("n{number}"), "level": number })
}

/// A job with little more than it must have.
pub(crate) fn job(client: &str) -> Value {
    json!({
        "client_id": client,
        "job_actions": [{ "freezer_action": { "action": "backup", "mode": "fs", "container": "c", "max_level": "4" } }],
        "job_schedule": { "schedule_interval": "5 minutes" },
    })
}
