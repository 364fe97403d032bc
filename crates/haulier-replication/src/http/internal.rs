//! `/ccs/internal`: what this site itself holds, read-only, for other sites and admins (contract §6.2).

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::accessor::{answer, listing, seen, there, unacceptable};
use super::answer::{Module, Refusal, client, discard, dressed, is_absent, require_site};
use super::content::send;
use super::path;
use crate::api::{AccessorBucket, AccessorObject};
use crate::content::{Wanted, wanted};
use crate::service::Replication;
use crate::service::objects::{Own, no_object};

/// Where buckets are.
const MOUNT: &str = "/ccs/internal/";

pub(super) fn routes() -> OpenApiRouter<Replication> {
    let routes = OpenApiRouter::new()
        .routes(routes!(read_bucket, look_at_bucket, list))
        .routes(routes!(read_object, look_at_object));
    dressed(routes, Module::Accessor)
}

#[utoipa::path(
    get, path = "/ccs/internal/{bucketName}", tag = "internal", operation_id = "get_own_bucket",
    params(("bucketName" = String, Path, description = "The bucket")),
    responses(
        (status = 200, description = "The bucket as this site has it", body = AccessorBucket),
        (status = 403, description = "The caller is neither a site nor an admin"),
        (status = 404, description = "There is none"),
        (status = 410, description = "It was deleted"),
    )
)]
async fn read_bucket(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        require_site(&parts)?;
        client(&parts)?;
        let bucket = room.own_bucket(&path::bucket(&parts, MOUNT)?).await?;
        Ok(Json(AccessorBucket::new(&bucket, &room.inner.site)).into_response())
    })
    .await
}

#[utoipa::path(
    head, path = "/ccs/internal/{bucketName}", tag = "internal", operation_id = "head_own_bucket",
    params(("bucketName" = String, Path, description = "The bucket")),
    responses(
        (status = 204, description = "It is there"),
        (status = 403, description = "The caller is neither a site nor an admin"),
        (status = 404, description = "There is none"),
    )
)]
async fn look_at_bucket(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        require_site(&parts)?;
        client(&parts)?;
        match room.own_bucket(&path::bucket(&parts, MOUNT)?).await {
            Ok(_) => Ok(there("BUCKET")),
            Err(denial) if is_absent(&denial.error) => Err(Refusal::from(denial.error)),
            Err(denial) => Err(denial.into()),
        }
    })
    .await
}

#[utoipa::path(
    put, path = "/ccs/internal/{bucketName}", tag = "internal", operation_id = "list_own_objects",
    params(("bucketName" = String, Path, description = "The bucket; filters as for `PUT /cloudclonestore/{bucketName}`")),
    responses(
        (status = 200, description = "One object a line, by name", body = AccessorObject, content_type = "application/octet-stream"),
        (status = 403, description = "The caller is neither a site nor an admin, or the client may not read"),
        (status = 404, description = "There is no such bucket"),
    )
)]
async fn list(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    discard(&parts, body).await;
    answer(async {
        require_site(&parts)?;
        listing(room, &parts, MOUNT).await
    })
    .await
}

#[utoipa::path(
    get, path = "/ccs/internal/{bucketName}/{*objectName}", tag = "internal", operation_id = "get_own_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path"),
    ),
    responses(
        (status = 200, description = "The content or the record as this site has it", content((Vec<u8> = "application/octet-stream"), (AccessorObject = "application/json"))),
        (status = 403, description = "The caller is neither a site nor an admin, or the client may not read"),
        (status = 404, description = "There is none here"),
        (status = 406, description = "Neither content nor record is accepted"),
    )
)]
async fn read_object(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        require_site(&parts)?;
        let client = client(&parts)?;
        let (bucket, name) = path::object(&parts, MOUNT)?;
        match wanted(&parts.headers) {
            Wanted::Nothing => return Err(unacceptable()),
            Wanted::Metadata => {
                let object = room.own_record(&client, &bucket, &name).await?;
                return Ok(Json(AccessorObject::new(object, &room.inner.site)).into_response());
            }
            Wanted::Content => {}
        }
        let sent = match room.own_object(&client, &bucket, &name).await? {
            Own::Object(object) => send(&room, &parts.headers, &object).await?,
            _ => None,
        };
        sent.ok_or_else(|| no_object(&bucket, &name).into())
    })
    .await
}

#[utoipa::path(
    head, path = "/ccs/internal/{bucketName}/{*objectName}", tag = "internal", operation_id = "head_own_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path: a name, or the beginning of names"),
        ("fullCheck" = Option<bool>, Query, description = "Look at the storage as well"),
    ),
    responses(
        (status = 204, description = "`x-clonecloudstore-type` says whether it is an OBJECT or a DIRECTORY"),
        (status = 403, description = "The caller is neither a site nor an admin, or the client may not read"),
        (status = 404, description = "There is neither here"),
    )
)]
async fn look_at_object(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        require_site(&parts)?;
        let client = client(&parts)?;
        let (bucket, prefix) = path::prefix(&parts, MOUNT)?;
        seen(&room.own_path(&client, &bucket, &prefix, path::full_check(&parts)).await?, &prefix)
    })
    .await
}
