//! `/haulier/v1/replication/sites`: the topology with the tokens that the sites take, which go in and never out.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use haulier_access::Caller;
use haulier_base::{Error, Result, Secret};
use haulier_http::openapi::ErrorBody;
use haulier_http::{Problem, read_body};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::discard;
use super::path;
use crate::api::{Topology, json};
use crate::model::SiteId;
use crate::service::Replication;
use crate::store::sites::SiteRow;

/// Where sites are.
const MOUNT: &str = "/haulier/v1/replication/sites/";
/// Largest body, bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(super) fn routes() -> OpenApiRouter<Replication> {
    plain(OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(show, change, remove)))
}

/// Has a method that is not there refused in the shape of our own routes, to those who may know.
pub(super) fn plain(routes: OpenApiRouter<Replication>) -> OpenApiRouter<Replication> {
    let (router, described) = routes.split_for_parts();
    let mut routes = OpenApiRouter::from(router.method_not_allowed_fallback(wrong_method));
    *routes.get_openapi_mut() = described;
    routes
}

/// A site, and the token that it takes from us.
#[derive(Deserialize, ToSchema)]
struct SiteWithToken {
    #[serde(flatten)]
    site: Topology,
    /// Sent to the site with every request; kept sealed, and never shown.
    #[serde(default)]
    token: Option<String>,
}

/// A site, as it is shown.
#[derive(Serialize, ToSchema)]
struct SiteView {
    #[serde(flatten)]
    site: Topology,
    /// Whether a token is known.
    has_token: bool,
    /// Whether it is this site itself, which is never sent anything.
    is_here: bool,
}

impl SiteView {
    fn new(room: &Replication, row: &SiteRow) -> Self {
        let is_here = row.site.id == room.inner.site;
        Self { site: Topology::new(&row.site), has_token: row.token.is_some(), is_here }
    }
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/sites", tag = "replication", operation_id = "list_sites",
    responses(
        (status = 200, description = "The sites, by id", body = [SiteView]),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
    )
)]
async fn list(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let rows = room.sites(None).await?;
        Ok(Json(rows.iter().map(|row| SiteView::new(&room, row)).collect::<Vec<_>>()).into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/haulier/v1/replication/sites", tag = "replication", operation_id = "add_site",
    request_body = SiteWithToken,
    responses(
        (status = 201, description = "Orders are sent to it from now on, if it is UP or DOWN", body = SiteView),
        (status = 400, description = "A member is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 409, description = "There is a site of that id", body = ErrorBody),
    )
)]
async fn add(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let (site, token) = read(&body_of_admin(&parts, body).await?)?;
        let site = site.to_site()?;
        room.add_site(site.clone(), token).await?;
        let view = SiteView::new(&room, &room.site(&site.id).await?);
        Ok((StatusCode::CREATED, Json(view)).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/sites/{site}", tag = "replication", operation_id = "get_site",
    params(("site" = String, Path, description = "The site's id")),
    responses(
        (status = 200, description = "The site", body = SiteView),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 404, description = "There is no site of that id", body = ErrorBody),
    )
)]
async fn show(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        Ok(Json(SiteView::new(&room, &room.site(&named(&parts)?).await?)).into_response())
    })
    .await
}

#[utoipa::path(
    put, path = "/haulier/v1/replication/sites/{site}", tag = "replication", operation_id = "change_site",
    params(("site" = String, Path, description = "The site's id")), request_body = SiteWithToken,
    responses(
        (status = 200, description = "Changed; a token that was not given stays", body = SiteView),
        (status = 400, description = "A member is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 404, description = "There is no site of that id", body = ErrorBody),
    )
)]
async fn change(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    answer(async {
        let (mut site, token) = read(&body_of_admin(&parts, body).await?)?;
        let id = named(&parts)?;
        if site.id.get_or_insert_with(|| id.to_string()).as_str() != id.as_str() {
            return Err(Error::invalid("id: is not the one in the path; a site keeps its id"));
        }
        room.change_site(site.to_site()?, token).await?;
        Ok(Json(SiteView::new(&room, &room.site(&id).await?)).into_response())
    })
    .await
}

#[utoipa::path(
    delete, path = "/haulier/v1/replication/sites/{site}", tag = "replication", operation_id = "delete_site",
    params(("site" = String, Path, description = "The site's id")),
    responses(
        (status = 204, description = "Forgotten, with the orders that waited for it"),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 404, description = "There is no site of that id", body = ErrorBody),
    )
)]
async fn remove(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        room.remove_site(&named(&parts)?).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

async fn wrong_method(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    discard(&parts, body).await;
    answer(async {
        Caller::from_parts(&parts)?;
        let message = format!("{} is not done here; see /openapi.json", parts.method);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Ok(Problem { status, code: "invalid", message, retry_after: None }.into_response())
    })
    .await
}

async fn answer(work: impl Future<Output = Result<Response>>) -> Response {
    work.await.unwrap_or_else(|error| Problem::of(&error).into_response())
}

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

fn read(bytes: &[u8]) -> Result<(Topology, Option<Secret<String>>)> {
    let SiteWithToken { site, token } = json::read_object(bytes)?;
    let token = token.filter(|token| !token.is_empty());
    if token.as_deref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Error::invalid("token: has a character that fits no header"));
    }
    Ok((site, token.map(Secret::new)))
}

fn named(parts: &Parts) -> Result<SiteId> {
    let [id] = path::segments(parts, MOUNT)?;
    SiteId::new(id.as_str()).map_err(|_| Error::not_found(format!("the site {id:?} is not in the topology")))
}
