//! The little of an OpenStack identity service that Freezer's programs insist on (backup contract §3): whoever shows a
//! token of the configuration as a password is given it back, and told where the backup API is. Off by default.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use haulier_access::{Authenticator, Caller};
use haulier_base::{Clock, Error, Result};
use haulier_http::body;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::model::is_id;

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// When a token is to be asked for again. The tokens themselves last as long as the configuration.
const LIFE: Duration = Duration::from_hours(24);
/// The project of whoever names none.
const PROJECT: &str = "default";
/// Where nobody has to say who he is, a password may be left out, and a token is any text.
const ANY_TOKEN: &str = "open";

#[derive(Clone)]
struct Identity {
    authenticator: Authenticator,
    clock: Arc<dyn Clock>,
}

/// The routes below `/v3`. They ask for passwords themselves, so they stand before the authenticator's layer.
pub fn identity_router(authenticator: Authenticator, clock: Arc<dyn Clock>) -> Router {
    let mut router = Router::new();
    for path in ["/v3", "/v3/"] {
        router = router.route(path, get(version));
    }
    router.route("/v3/auth/tokens", post(tokens)).with_state(Identity { authenticator, clock })
}

async fn version(headers: HeaderMap) -> Response {
    let links = json!([{ "rel": "self", "href": format!("{}/v3/", base(&headers)) }]);
    let media = json!([{ "base": "application/json", "type": "application/vnd.openstack.identity-v3+json" }]);
    Json(json!({ "version": { "id": "v3.14", "status": "stable", "links": links, "media-types": media } }))
        .into_response()
}

async fn tokens(State(identity): State<Identity>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let bytes = body::read_body(body, BODY_BYTES_MAX).await?;
        identity.token(&parts.headers, &bytes)
    };
    answer.await.unwrap_or_else(|error: Error| refusal(&error))
}

impl Identity {
    fn token(&self, headers: &HeaderMap, bytes: &Bytes) -> Result<Response> {
        let request: Value = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid(format!("the body is not JSON: {error}")).caused_by(error))?;
        let asked = &request["auth"]["identity"];
        let user = &asked["password"]["user"];
        let given = [&user["password"], &asked["token"]["id"]].into_iter().find_map(Value::as_str).unwrap_or_default();
        let is_open = self.authenticator.authenticate(&HeaderMap::new(), None).is_ok();
        let token = if is_open { ANY_TOKEN } else { given };
        let wrong = || Error::unauthenticated("the user or the password is wrong; the password is a token of [auth]");
        let value = HeaderValue::from_str(token).map_err(|_| wrong())?;
        let known = HeaderMap::from_iter([(header::HeaderName::from_static("x-auth-token"), value.clone())]);
        let caller = self.authenticator.authenticate(&known, None).map_err(|_| wrong())?;
        let named = [&user["name"], &user["id"]].into_iter().find_map(Value::as_str);
        if !is_open && named.is_some_and(|name| name != caller.user) {
            return Err(wrong());
        }
        let document = self.document(&caller, &request["auth"]["scope"]["project"], &base(headers));
        let mut response = (StatusCode::CREATED, Json(document)).into_response();
        response.headers_mut().insert("x-subject-token", value);
        Ok(response)
    }

    fn document(&self, caller: &Caller, scope: &Value, base: &str) -> Value {
        let domain = json!({ "id": "default", "name": "Default" });
        let asked = [&scope["id"], &scope["name"]].into_iter().find_map(Value::as_str).filter(|name| is_id(name));
        let project = caller.project.as_deref().or(asked).unwrap_or(PROJECT);
        let endpoint = |interface: &str| json!({ "id": interface, "interface": interface, "region": "RegionOne", "region_id": "RegionOne", "url": base });
        let endpoints = ["public", "internal", "admin"].map(endpoint);
        let roles: Vec<_> = caller.roles.iter().map(|role| json!({ "id": role, "name": role })).collect();
        let now = self.clock.now();
        json!({ "token": {
            "methods": ["password"],
            "user": { "id": caller.user, "name": caller.user_name.as_ref().unwrap_or(&caller.user), "domain": domain },
            "project": { "id": project, "name": project, "domain": domain },
            "roles": roles,
            "issued_at": now.to_string(),
            "expires_at": now.plus(LIFE).to_string(),
            "catalog": [{ "id": "backup", "type": "backup", "name": "haulier", "endpoints": endpoints }],
        }})
    }
}

/// Where the one who asks has found us.
fn base(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    format!("{scheme}://{}", text("host").unwrap_or("localhost"))
}

fn refusal(error: &Error) -> Response {
    let problem = haulier_http::problem::Problem::of(error);
    let title = problem.status.canonical_reason().unwrap_or("Error");
    let body = json!({ "error": { "code": problem.status.as_u16(), "title": title, "message": problem.message } });
    (problem.status, Json(body)).into_response()
}
