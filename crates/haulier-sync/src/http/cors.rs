//! What every answer of the sync API carries: `Vary`, and leave for the web pages of configured origins (§1).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::service::Syncs;

const METHODS: &str = "PUT, GET, POST, DELETE, OPTIONS";
const HEADERS: &str = "Origin, Accept, Content-Type, X-Requested-With, X-CSRF-Token";
/// With tokens a page also has to send one.
const HEADERS_WITH_TOKEN: &str =
    "Origin, Accept, Content-Type, X-Requested-With, X-CSRF-Token, Authorization, X-Auth-Token";

/// Lays the headers around an answer. A browser's question beforehand carries no token, and is answered here.
pub(super) async fn around(State(syncs): State<Syncs>, request: Request, next: Next) -> Response {
    let allowed = &syncs.config().allow_origins;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let granted = granted(allowed, origin.as_ref());
    let asks_beforehand = request.method() == Method::OPTIONS && origin.is_some() && granted.is_some();
    let mut response = match asks_beforehand {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    if !allowed.is_empty() {
        grant(headers, granted);
    }
    response
}

/// What the browser is told about an origin; none when it is not one of those allowed.
fn granted(allowed: &[String], origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    if allowed.iter().any(|one| one == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    origin.filter(|origin| allowed.iter().any(|one| one.as_bytes() == origin.as_bytes())).cloned()
}

fn grant(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    let all = origin.as_ref().is_some_and(|origin| origin.as_bytes() == b"*");
    if !all {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        let names = if all { HEADERS } else { HEADERS_WITH_TOKEN };
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(names));
    }
}
