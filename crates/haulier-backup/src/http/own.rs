//! Routes of `/haulier/v1/backup`: what Freezer has no words for. Extract, call one verb, convert.

use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use haulier_access::Caller;
use haulier_base::{Error, Result};
use haulier_http::openapi::ErrorBody;
use haulier_http::{Problem, body};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::health::BackupHealth;
use crate::service::Backups;

/// How many alarms of each sort are shown, when nothing is said and at most.
const ALARMS_DEFAULT: i64 = 1000;
const ALARMS_MAX: i64 = 100_000;

#[derive(OpenApi)]
struct Doc;

/// The routes. Every request must already have passed the authenticator's layer.
pub fn own_router(backups: Backups) -> Router {
    routes().split_for_parts().0.method_not_allowed_fallback(wrong_method).with_state(backups)
}

/// The OpenAPI description of [`own_router`].
pub fn own_openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

fn routes() -> OpenApiRouter<Backups> {
    OpenApiRouter::with_openapi(Doc::openapi()).routes(routes!(health))
}

#[utoipa::path(
    get, path = "/haulier/v1/backup/health", tag = "backup",
    params(("limit" = Option<i64>, Query, description = "Show at most so many of each sort, 1 to 100000; 1000 when absent")),
    responses(
        (status = 200, description = "What is wrong with the caller's jobs, clients and backups; also when nothing is", body = BackupHealth),
        (status = 400, description = "The limit is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
    )
)]
async fn health(State(backups): State<Backups>, RawQuery(query): RawQuery, request: Request) -> Response {
    let answer = async {
        let caller = caller_of(request).await?;
        Ok(Json(backups.health(&caller, limit(query.as_deref())?).await?).into_response())
    };
    answer.await.unwrap_or_else(|error: Error| Problem::of(&error).into_response())
}

fn limit(query: Option<&str>) -> Result<i64> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    match pairs.find(|(name, _)| name == "limit") {
        None => Ok(ALARMS_DEFAULT),
        Some((_, text)) => match text.parse() {
            Ok(limit) if (1..=ALARMS_MAX).contains(&limit) => Ok(limit),
            _ => Err(Error::invalid(format!("limit: must be a whole number from 1 to {ALARMS_MAX}"))),
        },
    }
}

async fn caller_of(request: Request) -> Result<Caller> {
    let (parts, body) = request.into_parts();
    body::discard_rest(body).await;
    Caller::from_parts(&parts)
}

async fn wrong_method(request: Request) -> Response {
    let message = format!("{} is not done here; see /openapi.json", request.method());
    match caller_of(request).await {
        Ok(_) => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Problem { status, code: "invalid", message, retry_after: None }.into_response()
        }
        Err(error) => Problem::of(&error).into_response(),
    }
}
