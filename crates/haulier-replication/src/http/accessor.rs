//! `/cloudclonestore`: what clients do (contract §6.1, §7). Extract, call one verb, convert.

mod buckets;
mod objects;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Module, Refusal, dressed};
use crate::header;
use crate::service::Replication;

pub(super) use buckets::listing;
pub(super) use objects::{seen, unacceptable};

/// Where buckets are.
const MOUNT: &str = "/cloudclonestore/";

pub(super) fn routes() -> OpenApiRouter<Replication> {
    // A slash and nothing behind it is a name that is empty, and not a path that is unknown.
    let nameless = get(objects::read).head(objects::look).post(objects::create).delete(objects::delete);
    let routes = OpenApiRouter::new()
        .routes(routes!(buckets::show))
        .routes(routes!(buckets::create, buckets::read, buckets::look, buckets::delete, buckets::list))
        .routes(routes!(objects::create, objects::read, objects::look, objects::delete))
        .route("/cloudclonestore/{bucketName}/", nameless);
    dressed(routes, Module::Accessor)
}

/// The answer to `HEAD` for what is there (§1.2).
pub(super) fn there(what: &'static str) -> Response {
    (StatusCode::NO_CONTENT, [(header::TYPE, what)]).into_response()
}

/// What came of a request.
pub(super) async fn answer(work: impl Future<Output = Result<Response, Refusal>>) -> Response {
    work.await.unwrap_or_else(IntoResponse::into_response)
}
