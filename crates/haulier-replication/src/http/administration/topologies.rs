//! The sites.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use haulier_base::{Error, Result};

use super::{admin, body_of_admin};
use crate::api::{Topology, json};
use crate::http::accessor::answer;
use crate::http::path;
use crate::model::{SiteId, SiteStatus};
use crate::service::Replication;

const MOUNT: &str = "/administration/topologies/";

#[utoipa::path(
    get, path = "/administration/topologies", tag = "administration", operation_id = "list_topologies",
    params(("status" = Option<String>, Query, description = "`UP`, `DOWN` or `DELETED`; `UNKNOWN` or absent is all")),
    responses(
        (status = 200, description = "The sites, by id", body = [Topology]),
        (status = 400, description = "There is no such status"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
    )
)]
pub(super) async fn list(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let status = path::query(&parts, "status").filter(|text| !text.is_empty());
        let status: Option<SiteStatus> = status.map(|text| text.parse()).transpose().map_err(wrong_status)?;
        let sites = room.sites(status.filter(|status| *status != SiteStatus::Unknown)).await?;
        Ok(Json(sites.iter().map(|row| Topology::new(&row.site)).collect::<Vec<_>>()).into_response())
    })
    .await
}

fn wrong_status(error: Error) -> Error {
    Error::invalid(format!("status: {error}"))
}

#[utoipa::path(
    post, path = "/administration/topologies", tag = "administration", operation_id = "add_topology",
    request_body = Topology,
    responses(
        (status = 201, description = "Orders are sent to it from now on, if it is UP or DOWN", body = Topology),
        (status = 400, description = "A member is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 409, description = "There is a site of that id"),
    )
)]
pub(super) async fn add(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let site = json::read_object::<Topology>(&body_of_admin(&parts, body).await?)?.to_site()?;
        room.add_site(site.clone(), None).await?;
        Ok((StatusCode::CREATED, Json(Topology::new(&site))).into_response())
    })
    .await
}

#[utoipa::path(
    put, path = "/administration/topologies", tag = "administration", operation_id = "change_topology",
    request_body = Topology,
    responses(
        (status = 202, description = "Changed; the token stays", body = Topology),
        (status = 400, description = "A member is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is no site of that id"),
    )
)]
pub(super) async fn change(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let site = json::read_object::<Topology>(&body_of_admin(&parts, body).await?)?.to_site()?;
        room.change_site(site.clone(), None).await?;
        Ok((StatusCode::ACCEPTED, Json(Topology::new(&site))).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/administration/topologies/{site}", tag = "administration", operation_id = "get_topology",
    params(("site" = String, Path, description = "The site's id")),
    responses(
        (status = 200, description = "The site", body = Topology),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is no site of that id"),
    )
)]
pub(super) async fn show(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let row = room.site(&named(&parts)?).await?;
        Ok(Json(Topology::new(&row.site)).into_response())
    })
    .await
}

#[utoipa::path(
    delete, path = "/administration/topologies/{site}", tag = "administration", operation_id = "delete_topology",
    params(("site" = String, Path, description = "The site's id")),
    responses(
        (status = 204, description = "Forgotten, with the orders that waited for it"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is no site of that id"),
    )
)]
pub(super) async fn remove(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        room.remove_site(&named(&parts)?).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// The site in the path; what can be none is a site that is not there.
fn named(parts: &axum::http::request::Parts) -> Result<SiteId> {
    let [id] = path::segments(parts, MOUNT)?;
    SiteId::new(id.as_str()).map_err(|_| Error::not_found(format!("the site {id:?} is not in the topology")))
}
