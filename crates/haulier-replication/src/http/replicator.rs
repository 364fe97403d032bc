//! `/replicator`: what sites ask each other (contract §4). Extract, call one verb, convert.

mod local;
mod orders;
mod remote;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Module, dressed};
use crate::service::Replication;

pub(super) fn routes() -> OpenApiRouter<Replication> {
    let routes = OpenApiRouter::new()
        .routes(routes!(remote::read_bucket, remote::look_at_bucket))
        .routes(routes!(remote::read_object, remote::look_at_object))
        .routes(routes!(local::read_bucket, local::look_at_bucket))
        .routes(routes!(local::read_object, local::look_at_object))
        .routes(routes!(orders::take_one))
        .routes(routes!(orders::take_many));
    dressed(routes, Module::Replicator)
}
