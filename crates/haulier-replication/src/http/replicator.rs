//! `/replicator`: what sites ask each other (contract §4). Extract, call one verb, convert.

mod local;
mod orders;
mod remote;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Module, dressed};
use crate::service::Replication;

pub(super) fn routes() -> OpenApiRouter<Replication> {
    // A slash and nothing behind it is a name that is empty, and not a path that is unknown.
    let nameless = get(remote::read_object).head(remote::look_at_object);
    let nameless_elsewhere = get(local::read_object).head(local::look_at_object);
    let routes = OpenApiRouter::new()
        .routes(routes!(remote::read_bucket, remote::look_at_bucket))
        .routes(routes!(remote::read_object, remote::look_at_object))
        .routes(routes!(local::read_bucket, local::look_at_bucket))
        .routes(routes!(local::read_object, local::look_at_object))
        .routes(routes!(orders::take_one))
        .routes(routes!(orders::take_many))
        .route("/replicator/remote/buckets/{bucketName}/", nameless)
        .route("/replicator/local/buckets/{bucketName}/", nameless_elsewhere);
    dressed(routes, Module::Replicator)
}
