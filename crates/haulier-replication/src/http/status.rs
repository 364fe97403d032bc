//! `/haulier/v1/replication`: how far behind the sites are, the orders behind that, and what lost a conflict.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use haulier_base::{Error, Result};
use haulier_http::Problem;
use haulier_http::openapi::ErrorBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{discard, require_site};
use super::own::plain;
use super::path::query;
use crate::api::lag::{KeptPage, OrderPage, ReceivedReport, ReplicationStatus};
use crate::model::{BucketName, RecordId, SiteId};
use crate::service::Replication;

/// Most items of a page.
const PAGE_MAX: usize = 1000;
/// How many, when nobody says.
const PAGE: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Replication> {
    let routes = OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(received))
        .routes(routes!(orders))
        .routes(routes!(drop_order))
        .routes(routes!(retry_order))
        .routes(routes!(conflicts))
        .routes(routes!(conflict));
    plain(routes)
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/status", tag = "replication", operation_id = "replication_status",
    responses(
        (status = 200, description = "How far behind every site is, and whether all confirmed everything", body = ReplicationStatus),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is neither a site nor an admin", body = ErrorBody),
    )
)]
async fn status(State(room): State<Replication>, request: Request) -> Response {
    answer(async {
        entitled(request).await?;
        Ok(Json(room.status().await?).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/received/{site}", tag = "replication", operation_id = "replication_received",
    params(("site" = String, Path, description = "The site that sent orders")),
    responses(
        (status = 200, description = "What is not carried out of what the site sent", body = ReceivedReport),
        (status = 400, description = "It can be no site's id", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is neither a site nor an admin", body = ErrorBody),
    )
)]
async fn received(State(room): State<Replication>, Path(site): Path<String>, request: Request) -> Response {
    answer(async {
        entitled(request).await?;
        Ok(Json(room.report_to(&SiteId::new(site)?).await?).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/orders", tag = "replication", operation_id = "replication_orders",
    params(
        ("state" = Option<String>, Query, description = "QUEUED, RUNNING, WAIT, IGNORED, CONFLICT, FAILED, or DEAD for what other sites refused; absent is every received one"),
        ("after" = Option<String>, Query, description = "The page starts after this order"),
        ("limit" = Option<usize>, Query, description = "At most so many, up to 1000; 100 if absent"),
    ),
    responses(
        (status = 200, description = "Orders that are not carried out", body = OrderPage),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is neither a site nor an admin", body = ErrorBody),
    )
)]
async fn orders(State(room): State<Replication>, request: Request) -> Response {
    answer(async {
        let parts = entitled(request).await?;
        let (state, after) = (query(&parts, "state"), query(&parts, "after"));
        let page = room.orders(state.as_deref(), after.as_deref(), limit(&parts)?).await?;
        Ok(Json(page).into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/haulier/v1/replication/orders/{id}/retry", tag = "replication", operation_id = "retry_order",
    params(("id" = String, Path, description = "The order's id")),
    responses(
        (status = 204, description = "It is tried again"),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is neither a site nor an admin", body = ErrorBody),
        (status = 404, description = "There is no such order that waits or has ended", body = ErrorBody),
    )
)]
async fn retry_order(State(room): State<Replication>, Path(id): Path<String>, request: Request) -> Response {
    answer(async {
        entitled(request).await?;
        room.retry_order(&id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

#[utoipa::path(
    delete, path = "/haulier/v1/replication/orders/{id}", tag = "replication", operation_id = "drop_order",
    params(("id" = String, Path, description = "The order's id")),
    responses(
        (status = 204, description = "It is forgotten; what it asked for is left to reconciliation"),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is neither a site nor an admin", body = ErrorBody),
        (status = 404, description = "There is no such order that waits or has ended", body = ErrorBody),
    )
)]
async fn drop_order(State(room): State<Replication>, Path(id): Path<String>, request: Request) -> Response {
    answer(async {
        entitled(request).await?;
        room.drop_order(&id).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/conflicts", tag = "replication", operation_id = "replication_conflicts",
    params(
        ("bucket" = Option<String>, Query, description = "Only of this bucket"),
        ("after" = Option<String>, Query, description = "The page starts after this id"),
        ("limit" = Option<usize>, Query, description = "At most so many, up to 1000; 100 if absent"),
    ),
    responses(
        (status = 200, description = "Versions that lost against others of their name, and are kept for a while", body = KeptPage),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is neither a site nor an admin", body = ErrorBody),
    )
)]
async fn conflicts(State(room): State<Replication>, request: Request) -> Response {
    answer(async {
        let parts = entitled(request).await?;
        let bucket = query(&parts, "bucket").map(BucketName::new).transpose()?;
        let after = query(&parts, "after").unwrap_or_default();
        Ok(Json(room.conflicts(bucket.as_ref(), &after, limit(&parts)?).await?).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/conflicts/{id}", tag = "replication", operation_id = "get_conflict",
    params(("id" = String, Path, description = "The id of the version")),
    responses(
        (status = 200, description = "Its content", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is neither a site nor an admin", body = ErrorBody),
        (status = 404, description = "None of that id is kept", body = ErrorBody),
    )
)]
async fn conflict(State(room): State<Replication>, Path(id): Path<String>, request: Request) -> Response {
    answer(async {
        entitled(request).await?;
        let kept = room.conflict(&RecordId::from_text(id)).await?;
        let read = room.inner.vault.read(&kept.id, 0, None).await?;
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
            (CONTENT_LENGTH, HeaderValue::from(kept.size_bytes)),
        ];
        Ok((headers, Body::from_stream(read.stream)).into_response())
    })
    .await
}

/// The head of a request of a site's or an admin's; its body is of no interest.
async fn entitled(request: Request) -> Result<Parts> {
    let (parts, body) = request.into_parts();
    discard(&parts, body).await;
    require_site(&parts).map(|_| parts)
}

fn limit(parts: &Parts) -> Result<usize> {
    let Some(text) = query(parts, "limit") else { return Ok(PAGE) };
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| Error::invalid(format!("limit: must be 1 to {PAGE_MAX}")))
}

async fn answer(work: impl Future<Output = Result<Response>>) -> Response {
    work.await.unwrap_or_else(|error| Problem::of(&error).into_response())
}
