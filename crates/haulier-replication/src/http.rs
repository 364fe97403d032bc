//! Routes of the replication contract: extract, call one verb, convert. One file below for each part of it.

mod accessor;
mod administration;
mod answer;
mod content;
mod internal;
mod own;
mod path;
mod reconciliator;
pub(crate) mod relay;
mod replicator;
mod status;
mod stream;

use axum::Router;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::service::Replication;

#[derive(OpenApi)]
#[openapi(info(
    title = "Haulier replication API",
    description = "Clone Cloud Store: write an object at any site, find it, proven by hash, at every site."
))]
struct Doc;

/// Every route of this room. Every request must already have passed the authenticator's layer.
pub fn router(replication: Replication) -> Router {
    let (router, _) = routes().split_for_parts();
    router.with_state(replication)
}

/// The OpenAPI description of [`router`].
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut described = routes().split_for_parts().1;
    // A name with slashes is the router's own way of saying it; OpenAPI has no word for that.
    let paths = std::mem::take(&mut described.paths.paths);
    described.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    described
}

fn routes() -> OpenApiRouter<Replication> {
    OpenApiRouter::with_openapi(Doc::openapi())
        .merge(accessor::routes())
        .merge(internal::routes())
        .merge(administration::routes())
        .merge(own::routes())
        .merge(reconciliator::routes())
        .merge(replicator::routes())
        .merge(status::routes())
}
