//! Buckets of clients, and listings of what is in them.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::{MOUNT, answer, there};
use crate::api::{AccessorBucket, AccessorObject};
use crate::filter::Filter;
use crate::http::answer::{Refusal, client, discard, is_absent, op_id_of};
use crate::http::{path, stream as pages};
use crate::model::Bucket;
use crate::service::Replication;
use crate::service::denial::Why;
use crate::service::read_through::Elsewhere;

/// Buckets read at once.
const PAGE: i64 = 500;

#[utoipa::path(
    get, path = "/cloudclonestore", tag = "accessor", operation_id = "list_buckets",
    params(("x-clonecloudstore-client-id" = String, Header, description = "Who is asking")),
    responses(
        (status = 200, description = "The buckets that the client owns, by name", body = [AccessorBucket]),
        (status = 400, description = "A header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The token is another client's"),
    )
)]
pub(super) async fn show(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    discard(&parts, body).await;
    answer(async {
        let client = client(&parts)?;
        let site = room.inner.site.clone();
        let buckets = stream::try_unfold((room, client, Some(String::new())), |(room, client, after)| async move {
            let Some(after) = after else { return Ok(None) };
            let page = room.buckets_of(&client, &after, PAGE).await?;
            let after = page.last().filter(|_| page.len() as i64 == PAGE).map(|last| last.name.to_string());
            Ok(Some((page, (room, client, after))))
        });
        let views = futures::TryStreamExt::map_ok(buckets, move |page: Vec<Bucket>| {
            page.iter().map(|bucket| AccessorBucket::new(bucket, &site)).collect::<Vec<_>>()
        });
        Ok(pages::json_list(views).await?)
    })
    .await
}

#[utoipa::path(
    post, path = "/cloudclonestore/{bucketName}", tag = "accessor", operation_id = "create_bucket",
    params(
        ("bucketName" = String, Path, description = "3 to 63 of a-z, 0-9 and -"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; becomes the owner"),
    ),
    responses(
        (status = 201, description = "Created, and announced to the other sites", body = AccessorBucket),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The token is another client's"),
        (status = 409, description = "There is one of that name"),
    )
)]
pub(super) async fn create(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    discard(&parts, body).await;
    answer(async {
        let (client, name) = (client(&parts)?, path::bucket(&parts, MOUNT)?);
        let bucket = room.create_bucket(&client, &name, &op_id_of(&parts)).await?;
        Ok((StatusCode::CREATED, Json(AccessorBucket::new(&bucket, &room.inner.site))).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/cloudclonestore/{bucketName}", tag = "accessor", operation_id = "get_bucket",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; anybody may"),
    ),
    responses(
        (status = 200, description = "The bucket", body = AccessorBucket),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The token is another client's"),
        (status = 404, description = "There is none"),
        (status = 410, description = "It was deleted"),
    )
)]
pub(super) async fn read(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let view = find(&room, &parts, false).await?;
        Ok(Json(view).into_response())
    })
    .await
}

#[utoipa::path(
    head, path = "/cloudclonestore/{bucketName}", tag = "accessor", operation_id = "head_bucket",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; anybody may"),
        ("fullCheck" = Option<bool>, Query, description = "Look at the storage as well"),
    ),
    responses(
        (status = 204, description = "It is there"),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The token is another client's"),
        (status = 404, description = "There is none"),
    )
)]
pub(super) async fn look(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        match find(&room, &parts, path::full_check(&parts)).await {
            Ok(_) => Ok(there("BUCKET")),
            Err(refusal) if is_absent(&refusal.error) => Err(Refusal::from(refusal.error)),
            Err(refusal) => Err(refusal),
        }
    })
    .await
}

/// The bucket here, or at another site when there was never one here.
async fn find(
    room: &Replication,
    parts: &axum::http::request::Parts,
    full_check: bool,
) -> Result<AccessorBucket, Refusal> {
    let (client, name) = (client(parts)?, path::bucket(parts, MOUNT)?);
    let denial = match room.own_bucket(&name).await {
        Ok(bucket) => return Ok(AccessorBucket::new(&bucket, &room.inner.site)),
        Err(denial) => denial,
    };
    if denial.why == Why::Kind && is_absent(&denial.error) {
        let asked = Elsewhere { client: &client, bucket: &name, op_id: &op_id_of(parts), full_check };
        if let Some((bucket, site)) = room.bucket_elsewhere(asked).await? {
            return Ok(AccessorBucket::new(&bucket, &site));
        }
    }
    Err(denial.into())
}

#[utoipa::path(
    delete, path = "/cloudclonestore/{bucketName}", tag = "accessor", operation_id = "delete_bucket",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; only the owner may"),
    ),
    responses(
        (status = 204, description = "Deleted, with everybody's rights in it, and announced to the other sites"),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The client is not its owner"),
        (status = 404, description = "There is none"),
        (status = 406, description = "It holds objects"),
        (status = 410, description = "It was deleted before"),
    )
)]
pub(super) async fn delete(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let (client, name) = (client(&parts)?, path::bucket(&parts, MOUNT)?);
        room.delete_bucket(&client, &name, &op_id_of(&parts)).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

#[utoipa::path(
    put, path = "/cloudclonestore/{bucketName}", tag = "accessor", operation_id = "list_objects",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
        ("x-clonecloudstore-namePrefix" = Option<String>, Header, description = "The name starts with it"),
        ("x-clonecloudstore-statuses" = Option<String>, Header, description = "A JSON list of states; absent is any, deleted ones included"),
        ("x-clonecloudstore-creationBefore" = Option<String>, Header, description = "Created then or before"),
        ("x-clonecloudstore-creationAfter" = Option<String>, Header, description = "Created then or after"),
        ("x-clonecloudstore-expiresBefore" = Option<String>, Header, description = "Expires then or before"),
        ("x-clonecloudstore-expiresAfter" = Option<String>, Header, description = "Expires then or after"),
        ("x-clonecloudstore-sizeLT" = Option<u64>, Header, description = "At most so many bytes; 0 is no bound"),
        ("x-clonecloudstore-sizeGT" = Option<u64>, Header, description = "At least so many bytes; 0 is no bound"),
        ("x-clonecloudstore-metadataEq" = Option<String>, Header, description = "A JSON object; every pair must be the object's"),
    ),
    responses(
        (status = 200, description = "One object a line, by name; zstd on request", body = AccessorObject, content_type = "application/octet-stream"),
        (status = 400, description = "The name, a header or the filter is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The client may not read in the bucket"),
        (status = 404, description = "There is no such bucket"),
    )
)]
pub(super) async fn list(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    discard(&parts, body).await;
    answer(listing(room, &parts, MOUNT)).await
}

/// The listing of a bucket whose path lies below `mount`.
pub(in crate::http) async fn listing(
    room: Replication,
    parts: &axum::http::request::Parts,
    mount: &str,
) -> Result<Response, Refusal> {
    let (client, name) = (client(parts)?, path::bucket(parts, mount)?);
    let filter = Filter::from_headers(&parts.headers)?;
    let listing = room.list_objects(&client, &name, filter).await?;
    let objects = stream::try_unfold((room, listing), |(room, mut listing)| async move {
        let Some(page) = room.next_objects(&mut listing).await? else { return Ok(None) };
        let site = &room.inner.site;
        let views: Vec<_> = page.into_iter().map(|object| AccessorObject::new(object, site)).collect();
        Ok(Some((views, (room, listing))))
    });
    Ok(pages::lines(&parts.headers, objects).await?)
}
