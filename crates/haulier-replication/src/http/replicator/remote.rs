//! `/replicator/remote`: what this site itself has, for the others (contract §4.1).

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use haulier_base::Error;
use haulier_http::media_weight;

use crate::api::AccessorBucket;
use crate::http::accessor::{answer, seen, there};
use crate::http::answer::{Refusal, client, is_absent};
use crate::http::content::send;
use crate::http::path;
use crate::service::Replication;
use crate::service::objects::{Own, no_object};

/// Where buckets are.
const MOUNT: &str = "/replicator/remote/buckets/";

#[utoipa::path(
    get, path = "/replicator/remote/buckets/{bucketName}", tag = "replicator", operation_id = "get_remote_bucket",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; anybody may"),
    ),
    responses(
        (status = 200, description = "The bucket as this site has it", body = AccessorBucket),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 404, description = "There is none"),
        (status = 410, description = "It was deleted"),
        (status = 500, description = "The catalogue failed"),
    )
)]
pub(super) async fn read_bucket(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        client(&parts)?;
        let bucket = room.own_bucket(&path::bucket(&parts, MOUNT)?).await?;
        Ok(Json(AccessorBucket::new(&bucket, &room.inner.site)).into_response())
    })
    .await
}

#[utoipa::path(
    head, path = "/replicator/remote/buckets/{bucketName}", tag = "replicator", operation_id = "head_remote_bucket",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; anybody may"),
        ("fullCheck" = Option<bool>, Query, description = "Look at the storage as well"),
    ),
    responses(
        (status = 204, description = "It is there"),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 404, description = "There is none, or it was deleted"),
        (status = 500, description = "The catalogue or the store failed"),
    )
)]
pub(super) async fn look_at_bucket(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        client(&parts)?;
        match room.own_bucket(&path::bucket(&parts, MOUNT)?).await {
            Ok(_) => Ok(there("BUCKET")),
            // HEAD knows no 410.
            Err(denial) if is_absent(&denial.error) => Err(Refusal::from(denial.error)),
            Err(denial) => Err(denial.into()),
        }
    })
    .await
}

#[utoipa::path(
    get, path = "/replicator/remote/buckets/{bucketName}/{*objectName}", tag = "replicator",
    operation_id = "get_remote_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
        ("Accept-Encoding" = Option<String>, Header, description = "`zstd` for a compressed body"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-Match" = Option<String>, Header, description = "The only hash that is of use, in quotes"),
    ),
    responses(
        (status = 200, description = "The content as this site has it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "A part of the content"),
        (status = 400, description = "A name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The client has rights in the bucket, but may not read"),
        (status = 404, description = "There is none here, or none for this client"),
        (status = 406, description = "`Accept` excludes contents"),
        (status = 412, description = "It is another content"),
        (status = 416, description = "The range lies outside"),
        (status = 500, description = "The catalogue or the store failed"),
    )
)]
pub(super) async fn read_object(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let client = client(&parts)?;
        let (bucket, name) = path::object(&parts, MOUNT)?;
        only_content(&parts.headers)?;
        let absent = || Refusal::from(no_object(&bucket, &name));
        let Own::Object(object) = room.own_object(&client, &bucket, &name).await? else { return Err(absent()) };
        if is_other(&parts.headers, object.sha256.as_deref().unwrap_or_default()) {
            let error = Error::conflict("the object has another content");
            return Err(Refusal::with(StatusCode::PRECONDITION_FAILED, error));
        }
        send(&room, &parts.headers, &object).await?.ok_or_else(absent)
    })
    .await
}

#[utoipa::path(
    head, path = "/replicator/remote/buckets/{bucketName}/{*objectName}", tag = "replicator",
    operation_id = "head_remote_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path: a name, or the beginning of names"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
        ("fullCheck" = Option<bool>, Query, description = "Look at the storage as well"),
    ),
    responses(
        (status = 204, description = "`x-clonecloudstore-type` says whether it is an OBJECT or a DIRECTORY"),
        (status = 400, description = "A name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The client has rights in the bucket, but may not read"),
        (status = 404, description = "There is neither, or nothing for this client"),
        (status = 500, description = "The catalogue or the store failed"),
    )
)]
pub(super) async fn look_at_object(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let client = client(&parts)?;
        let (bucket, prefix) = path::prefix(&parts, MOUNT)?;
        let own = room.own_path(&client, &bucket, &prefix, path::full_check(&parts)).await?;
        seen(&own, &prefix)
    })
    .await
}

/// These routes send contents and nothing else (§1.1).
pub(super) fn only_content(headers: &HeaderMap) -> Result<(), Refusal> {
    if media_weight(headers, "application/octet-stream") > 0 {
        return Ok(());
    }
    let error = Error::invalid("Accept excludes application/octet-stream, which is all there is");
    Err(Refusal::with(StatusCode::NOT_ACCEPTABLE, error))
}

/// Whether only other contents than this one are wanted.
fn is_other(headers: &HeaderMap, sha256: &str) -> bool {
    let Some(tags) = headers.get(IF_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    !tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_matches('"') == sha256)
}
