//! What is laid around every router: request id, span, metrics, and an answer even after a panic.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use haulier_base::{Error, id};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tracing::Instrument;

use crate::metrics::Metrics;
use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS: usize = 64;

/// The identifier of one request: a request extension, a span field and a response header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

impl RequestId {
    /// The sender's own identifier if it is 1 to 64 visible ASCII characters, else a fresh one.
    fn of(headers: &HeaderMap) -> Self {
        let sane =
            |text: &&str| (1..=REQUEST_ID_CHARS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
        Self(given.map_or_else(id::ordered_uuid, str::to_owned))
    }
}

/// Lays the standard layers around a router; call it last, when all routes are in.
pub fn standard(router: Router, metrics: &Metrics) -> Router {
    router.layer(from_fn_with_state(RequestMetrics::register(metrics), around))
}

type Route = [(&'static str, String); 3];

#[derive(Clone)]
struct RequestMetrics {
    requests: Family<Route, Counter>,
    seconds: Family<[(&'static str, String); 2], Histogram>,
}

impl RequestMetrics {
    fn register(metrics: &Metrics) -> Self {
        let seconds = Family::new_with_constructor(latencies as fn() -> Histogram);
        let made = Self { requests: Family::default(), seconds };
        metrics.register("haulier_http_requests", "Requests answered", made.requests.clone());
        metrics.register("haulier_http_request_seconds", "From head to head of the answer", made.seconds.clone());
        made
    }

    fn count(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let (method, route) = (("method", method.to_owned()), ("route", route.to_owned()));
        self.seconds.get_or_create(&[method.clone(), route.clone()]).observe(seconds);
        self.requests.get_or_create(&[method, route, ("status", status.to_string())]).inc();
    }
}

/// Buckets from one millisecond to half a minute.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 12))
}

async fn around(State(metrics): State<RequestMetrics>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId::of(request.headers());
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    // The path's pattern only: queries and path values may hold secrets.
    let span = tracing::info_span!("request", method, route, request.id = %id.0);
    request.extensions_mut().insert(id.clone());

    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answer.unwrap_or_else(|panic| {
        let _entered = span.enter();
        let what = panic_text(panic.as_ref());
        Problem::of(&Error::internal("a handler panicked").context("panic", what)).into_response()
    });
    let (status, took) = (response.status().as_u16(), began.elapsed());
    metrics.count(method, &route, status, took.as_secs_f64());
    span.in_scope(|| tracing::info!(status, latency_ms = took.as_secs_f64() * 1e3, "answered {status}"));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Methods as label values; made-up ones share one label, so that nobody can fill the registry.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn answer(path: &str, id: Option<&str>) -> (Response, String) {
        let metrics = Metrics::default();
        let panics = || async {
            if true {
                panic!("secret detail")
            }
        };
        let router = Router::new().route("/things/{id}", get(|| async { "fine" })).route("/panics", get(panics));
        let mut request = axum::http::Request::get(path);
        if let Some(id) = id {
            request = request.header(REQUEST_ID, id);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = standard(router, &metrics).oneshot(request).await.unwrap();
        (response, metrics.encode().unwrap())
    }

    #[tokio::test]
    async fn a_sane_request_id_is_echoed_and_an_odd_one_replaced() {
        let (response, _) = answer("/things/1", Some("abc-123")).await;
        assert_eq!(response.headers()[REQUEST_ID], "abc-123");
        for odd in ["", "two words", &"x".repeat(65)] {
            let (response, _) = answer("/things/1", Some(odd)).await;
            let fresh = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
            assert!(id::is_canonical_uuid(&fresh), "{odd} -> {fresh}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_500_without_its_text() {
        let (response, page) = answer("/panics", None).await;
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(r#""code":"internal""#) && !body.contains("secret"), "{body}");
        assert!(page.contains(r#"haulier_http_requests_total{method="GET",route="/panics",status="500"} 1"#), "{page}");
    }

    #[tokio::test]
    async fn metrics_name_the_pattern_and_never_the_path() {
        let (_, page) = answer("/things/42?token=x", None).await;
        assert!(page.contains(r#"route="/things/{id}",status="200"} 1"#), "{page}");
        assert!(page.contains("haulier_http_request_seconds_count"), "{page}");
        let (response, page) = answer("/nowhere/42", None).await;
        assert_eq!(response.status(), 404);
        assert!(page.contains(r#"route="unmatched",status="404"} 1"#), "{page}");
        assert!(!page.contains("42"), "{page}");
    }
}
