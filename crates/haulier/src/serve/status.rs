//! What a node says about itself: alive, ready, metrics, and its APIs' description.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use haulier_backup::Backups;
use haulier_catalog::Catalog;
use haulier_http::{Metrics, Problem};
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

/// How long the catalogue may take to answer before the node calls itself not ready.
const CATALOG_WAIT: Duration = Duration::from_secs(2);

/// Whether a node can do its work.
#[derive(Clone)]
pub(crate) struct Readiness {
    catalog: Catalog,
    open: Arc<AtomicBool>,
}

impl Readiness {
    /// A node that has not begun yet.
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self { catalog, open: Arc::new(AtomicBool::new(false)) }
    }

    /// Says that recovery is done, or that the node is draining.
    pub(crate) fn set(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
    }

    /// Why the node is not ready; none when it is.
    async fn obstacle(&self) -> Option<&'static str> {
        if !self.open.load(Ordering::SeqCst) {
            return Some("the node is starting or stopping");
        }
        let answer = async { haulier_catalog::queue::counts(&mut self.catalog.read().await?).await };
        match tokio::time::timeout(CATALOG_WAIT, answer).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                tracing::warn!(?error, "the catalogue does not answer");
                Some("the catalogue cannot be read")
            }
            Err(_) => Some("the catalogue does not answer in time"),
        }
    }
}

#[derive(Clone)]
struct Status {
    readiness: Readiness,
    metrics: Metrics,
    backups: Backups,
    openapi: Arc<Value>,
}

/// The routes that every listener carries and that ask nobody who they are.
pub(crate) fn router(readiness: Readiness, metrics: Metrics, backups: Backups, mut openapi: OpenApi) -> Router {
    openapi.info.title = "Haulier".to_owned();
    openapi.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let openapi = serde_json::to_value(openapi).expect("an OpenAPI document is JSON");
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "alive"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .route("/openapi.json", get(async |State(status): State<Status>| Json((*status.openapi).clone())))
        .route("/docs", get(async |State(status): State<Status>| Html(docs_page(&status.openapi))))
        .with_state(Status { readiness, metrics, backups, openapi: Arc::new(openapi) })
}

async fn ready(State(status): State<Status>) -> Response {
    match status.readiness.obstacle().await {
        None => Json(json!({"status": "ready"})).into_response(),
        Some(reason) => {
            let body = Json(json!({"status": "not ready", "reason": reason}));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

async fn show_metrics(State(status): State<Status>) -> Response {
    // What the catalogue alone knows is counted when somebody asks; without it the rest is shown.
    match tokio::time::timeout(CATALOG_WAIT, status.backups.observe()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(?error, "the alarms of backup could not be counted"),
        Err(_) => tracing::warn!("the alarms of backup could not be counted in time"),
    }
    match status.metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], page).into_response(),
        Err(error) => Problem::of(&error).into_response(),
    }
}

/// Every route with its summary and answers, as a page that needs nothing from elsewhere.
fn docs_page(openapi: &Value) -> String {
    let mut rows = String::new();
    for (path, methods) in openapi["paths"].as_object().into_iter().flatten() {
        for (method, route) in methods.as_object().into_iter().flatten().filter(|(_, route)| route.is_object()) {
            let answers: Vec<_> = route["responses"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(code, answer)| format!("{code} {}", answer["description"].as_str().unwrap_or_default()))
                .collect();
            let about = route["summary"].as_str().or_else(|| route["description"].as_str()).unwrap_or_default();
            rows.push_str(&format!(
                "<tr><td><code>{} {}</code></td><td>{}</td><td>{}</td></tr>\n",
                method.to_uppercase(),
                escape(path),
                escape(about),
                answers.iter().map(|answer| escape(answer)).collect::<Vec<_>>().join("<br>")
            ));
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Haulier APIs</title>\
         <style>body{{font:1rem/1.5 sans-serif;margin:2rem}}td{{padding:.4rem 1rem .4rem 0;vertical-align:top}}</style>\
         <h1>Haulier {}</h1><p>The full description is in <a href=\"/openapi.json\">openapi.json</a>.</p>\
         <table>\n{rows}</table></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
