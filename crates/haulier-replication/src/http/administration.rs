//! `/administration`: the sites, and what clients may do in buckets (contract §6.3, §6.4). For admins.

mod ownerships;
mod topologies;

use axum::body::Body;
use axum::http::request::Parts;
use haulier_access::Caller;
use haulier_base::Result;
use haulier_http::read_body;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Module, discard, dressed};
use crate::service::Replication;

/// Largest body, bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(super) fn routes() -> OpenApiRouter<Replication> {
    let routes = OpenApiRouter::new()
        .routes(routes!(topologies::list, topologies::add, topologies::change))
        .routes(routes!(topologies::show, topologies::remove))
        .routes(routes!(ownerships::list, ownerships::take_all))
        .routes(routes!(ownerships::rights, ownerships::take))
        .routes(routes!(ownerships::give, ownerships::give_more));
    dressed(routes, Module::Administration)
}

/// An admin's body, which others are not listened to for.
async fn body_of_admin(parts: &Parts, body: Body) -> Result<bytes::Bytes> {
    match admin(parts) {
        Ok(()) => read_body(body, BODY_BYTES_MAX).await,
        Err(error) => {
            discard(parts, body).await;
            Err(error)
        }
    }
}

fn admin(parts: &Parts) -> Result<()> {
    Caller::from_parts(parts)?.require_admin()
}
