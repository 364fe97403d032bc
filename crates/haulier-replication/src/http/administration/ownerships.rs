//! What clients may do with the objects of buckets.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures::{TryStreamExt, stream};
use haulier_base::{Error, Result};

use super::admin;
use crate::api::ClientBucketAccess;
use crate::http::accessor::answer;
use crate::http::{path, stream as pages};
use crate::model::{BucketName, ClientId, Rights};
use crate::service::Replication;

const MOUNT: &str = "/administration/ownerships/";
/// Buckets read at once.
const PAGE: i64 = 1000;

#[utoipa::path(
    get, path = "/administration/ownerships/{client}", tag = "administration", operation_id = "list_ownerships",
    params(
        ("client" = String, Path, description = "The client"),
        ("ownership" = Option<String>, Query, description = "Only buckets in which it has these rights; `UNKNOWN` or absent is all"),
    ),
    responses(
        (status = 200, description = "The buckets in which the client has rights, by name", body = [ClientBucketAccess]),
        (status = 400, description = "The client or the right is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
    )
)]
pub(super) async fn list(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let [client] = path::segments(&parts, MOUNT)?;
        let client = client_of(client)?;
        let asked = path::query(&parts, "ownership").filter(|text| !text.is_empty());
        let asked = asked.map_or(Ok(Rights::NONE), |text| rights_of(&text))?;
        let state = (room, client.clone(), Some(String::new()));
        let accesses = stream::try_unfold(state, move |(room, client, after)| async move {
            let Some(after) = after else { return Ok(None) };
            let page = room.accesses_of(&client, asked, &after, PAGE).await?;
            let after = page.last().filter(|_| page.len() as i64 == PAGE).map(|(last, _)| last.to_string());
            Ok(Some((page, (room, client, after))))
        });
        let views = accesses.map_ok(move |page: Vec<(BucketName, Rights)>| {
            page.iter().map(|(bucket, rights)| ClientBucketAccess::new(&client, bucket, *rights)).collect::<Vec<_>>()
        });
        Ok(pages::json_list(views).await?)
    })
    .await
}

#[utoipa::path(
    // The router wants one name for one place in a path.
    delete, path = "/administration/ownerships/{client}", tag = "administration", operation_id = "delete_ownerships",
    params(("client" = String, Path, description = "Here, the bucket")),
    responses(
        (status = 204, description = "Nobody has rights in it any more"),
        (status = 400, description = "The name is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "Nobody had any"),
    )
)]
pub(super) async fn take_all(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        room.revoke_all(&path::bucket(&parts, MOUNT)?).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/administration/ownerships/{client}/{bucket}", tag = "administration", operation_id = "get_ownership",
    params(("client" = String, Path, description = "The client"), ("bucket" = String, Path, description = "The bucket")),
    responses(
        (status = 200, description = "The client's rights in the bucket", body = String),
        (status = 400, description = "A name is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "It has none"),
    )
)]
pub(super) async fn rights(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let (client, bucket) = pair(&parts)?;
        Ok(Json(room.rights(&client, &bucket).await?.as_str()).into_response())
    })
    .await
}

#[utoipa::path(
    delete, path = "/administration/ownerships/{client}/{bucket}", tag = "administration", operation_id = "delete_ownership",
    params(("client" = String, Path, description = "The client"), ("bucket" = String, Path, description = "The bucket")),
    responses(
        (status = 204, description = "The client has no rights in the bucket any more"),
        (status = 400, description = "A name is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "It had none"),
    )
)]
pub(super) async fn take(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let (client, bucket) = pair(&parts)?;
        room.revoke(&client, &bucket).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/administration/ownerships/{client}/{bucket}/{ownership}", tag = "administration", operation_id = "add_ownership",
    params(
        ("client" = String, Path, description = "The client"),
        ("bucket" = String, Path, description = "The bucket"),
        ("ownership" = String, Path, description = "`READ`, `WRITE`, `READ_WRITE`, `DELETE`, `DELETE_READ`, `DELETE_WRITE` or `OWNER`"),
    ),
    responses(
        (status = 201, description = "The client's rights in the bucket", body = String),
        (status = 400, description = "A name or the right is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 409, description = "It has rights there already"),
    )
)]
pub(super) async fn give(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let (client, bucket, rights) = grant(&parts)?;
        room.grant(&client, &bucket, rights).await?;
        Ok((StatusCode::CREATED, Json(rights.as_str())).into_response())
    })
    .await
}

#[utoipa::path(
    put, path = "/administration/ownerships/{client}/{bucket}/{ownership}", tag = "administration", operation_id = "add_to_ownership",
    params(
        ("client" = String, Path, description = "The client"),
        ("bucket" = String, Path, description = "The bucket"),
        ("ownership" = String, Path, description = "As for POST"),
    ),
    responses(
        (status = 202, description = "All the rights that the client has in the bucket now", body = String),
        (status = 400, description = "A name or the right is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "It has none yet"),
    )
)]
pub(super) async fn give_more(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        admin(&parts)?;
        let (client, bucket, rights) = grant(&parts)?;
        let all = room.grant_more(&client, &bucket, rights).await?;
        Ok((StatusCode::ACCEPTED, Json(all.as_str())).into_response())
    })
    .await
}

fn pair(parts: &Parts) -> Result<(ClientId, BucketName)> {
    let [client, bucket] = path::segments(parts, MOUNT)?;
    Ok((client_of(client)?, BucketName::new(bucket)?))
}

fn grant(parts: &Parts) -> Result<(ClientId, BucketName, Rights)> {
    let [client, bucket, rights] = path::segments(parts, MOUNT)?;
    let rights = rights_of(&rights)?;
    if rights == Rights::NONE {
        return Err(Error::invalid("the ownership UNKNOWN gives nothing; DELETE takes rights away"));
    }
    Ok((client_of(client)?, BucketName::new(bucket)?, rights))
}

fn client_of(text: String) -> Result<ClientId> {
    ClientId::new(text).map_err(|_| Error::invalid("the client must be 3 to 63 characters of a-z, 0-9 and -"))
}

fn rights_of(text: &str) -> Result<Rights> {
    text.parse().map_err(|error| Error::invalid(format!("the ownership {error}")))
}
