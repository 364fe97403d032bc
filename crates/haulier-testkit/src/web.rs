//! Requests to a router with no network between, and their answers, read whole.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

/// A longer answer is no answer to a test.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Somebody who asks a router.
#[derive(Clone, Debug)]
pub struct Web(Router);

impl Web {
    /// Asks this one.
    pub fn new(router: Router) -> Self {
        Self(router)
    }

    /// One request.
    ///
    /// # Panics
    /// When it is none that can be sent, or the answer is too long or no text.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a test sends what can be sent");
        let Ok(response) = self.0.clone().oneshot(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.expect("an answer comes whole");
        let text = String::from_utf8(bytes.to_vec()).expect("an answer is text");
        Answer { status, headers, text }
    }

    /// A `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    /// A `POST` of JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }
}
