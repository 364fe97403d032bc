//! Routes of `/haulier/v1/locations`: extract, call one verb, convert.

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use haulier_base::{Error, Result};
use haulier_http::openapi::ErrorBody;
use haulier_http::{JsonContentType, Problem, body, content_type_is_json};
use serde::Deserialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{CreateLocation, LocationList, LocationView, TrialView, TryLocation};
use super::service::{Locations, PAGE_MAX};
use crate::Caller;

/// Largest body, bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(OpenApi)]
struct Doc;

/// The routes. Every request must already have passed the authenticator's layer.
pub fn router(locations: Locations) -> Router {
    routes().split_for_parts().0.method_not_allowed_fallback(wrong_method).with_state(locations)
}

async fn wrong_method(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    body::discard_rest(body).await;
    answer(async {
        Caller::from_parts(&parts)?;
        let message = format!("{} is not done here; see /openapi.json", parts.method);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Ok(Problem { status, code: "invalid", message, retry_after: None }.into_response())
    })
    .await
}

/// The OpenAPI description of [`router`].
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

fn routes() -> OpenApiRouter<Locations> {
    OpenApiRouter::with_openapi(Doc::openapi())
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
        .routes(routes!(try_out))
}

#[derive(Debug, Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

#[utoipa::path(
    get, path = "/haulier/v1/locations", tag = "locations",
    params(
        ("after" = Option<String>, Query, description = "The page starts after this name"),
        ("limit" = Option<u64>, Query, description = "At most so many; at most and by default 1000"),
    ),
    responses(
        (status = 200, description = "The locations the caller may use, in the order of names", body = LocationList),
        (status = 400, description = "An option is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
    )
)]
async fn list(
    State(locations): State<Locations>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Response {
    answer(async {
        let caller = Caller::from_parts(&request.into_parts().0)?;
        let Query(page) = page.map_err(|e| Error::invalid(e.body_text()))?;
        let found = locations.list(&caller, page.after.as_deref(), page.limit.unwrap_or(PAGE_MAX)).await?;
        let list =
            LocationList { locations: found.items.into_iter().map(LocationView::new).collect(), next: found.next };
        Ok(Json(list).into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/haulier/v1/locations", tag = "locations",
    request_body = CreateLocation,
    responses(
        (status = 201, description = "Created; `Location` names it", body = LocationView),
        (status = 400, description = "It could never be opened", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 409, description = "The name is taken", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not application/json", body = ErrorBody),
    )
)]
async fn create(State(locations): State<Locations>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let caller = Caller::from_parts(&parts)?;
        if content_type_is_json(&parts.headers) != JsonContentType::Json {
            body::discard_rest(body).await;
            return Ok(unsupported());
        }
        let bytes = body::read_body(body, BODY_BYTES_MAX).await?;
        let created = locations.create(&caller, CreateLocation::read(&bytes)?).await?;
        let place = HeaderValue::from_str(&format!("/haulier/v1/locations/{}", created.name));
        let mut response = (StatusCode::CREATED, Json(LocationView::new(created))).into_response();
        if let Ok(place) = place {
            response.headers_mut().insert(header::LOCATION, place);
        }
        Ok(response)
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/locations/{name}", tag = "locations",
    params(("name" = String, Path, description = "The location's name")),
    responses(
        (status = 200, description = "The location, without its secrets", body = LocationView),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 404, description = "There is none of that name", body = ErrorBody),
    )
)]
async fn show(State(locations): State<Locations>, Path(name): Path<String>, request: Request) -> Response {
    answer(async {
        let caller = Caller::from_parts(&request.into_parts().0)?;
        Ok(Json(LocationView::new(locations.get(&caller, &name).await?)).into_response())
    })
    .await
}

#[utoipa::path(
    delete, path = "/haulier/v1/locations/{name}", tag = "locations",
    params(("name" = String, Path, description = "The location's name")),
    responses(
        (status = 204, description = "Deleted; what it names stays"),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 404, description = "There is none of that name", body = ErrorBody),
        (status = 409, description = "It is in the node's configuration", body = ErrorBody),
    )
)]
async fn delete(State(locations): State<Locations>, Path(name): Path<String>, request: Request) -> Response {
    answer(async {
        let caller = Caller::from_parts(&request.into_parts().0)?;
        locations.delete(&caller, &name).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/haulier/v1/locations/{name}/test", tag = "locations",
    params(("name" = String, Path, description = "The location's name")),
    request_body = Option<TryLocation>,
    responses(
        (status = 200, description = "What worked and what did not", body = TrialView),
        (status = 400, description = "The body is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 404, description = "There is none of that name", body = ErrorBody),
    )
)]
async fn try_out(State(locations): State<Locations>, Path(name): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let caller = Caller::from_parts(&parts)?;
        let bytes = body::read_body(body, BODY_BYTES_MAX).await?;
        let how: TryLocation = match bytes.is_empty() {
            true => TryLocation::default(),
            false => serde_json::from_slice(&bytes)
                .map_err(|e| Error::invalid(format!("the body is not a way to try a location: {e}")))?,
        };
        let trial = locations.try_out(&caller, &name, how.write).await?;
        Ok(Json(TrialView::from(trial)).into_response())
    })
    .await
}

async fn answer(work: impl Future<Output = Result<Response>>) -> Response {
    work.await.unwrap_or_else(|error| Problem::of(&error).into_response())
}

fn unsupported() -> Response {
    let message = "the body must be application/json".to_owned();
    Problem { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, code: "invalid", message, retry_after: None }.into_response()
}
