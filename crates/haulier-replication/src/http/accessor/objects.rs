//! Objects of clients.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use haulier_base::{Error, Result};

use super::{MOUNT, answer, there};
use crate::api::AccessorObject;
use crate::content::{Coding, Stated, Wanted, coding, read_stated, wanted};
use crate::http::answer::{Refusal, client, op_id_of};
use crate::http::content::{Incoming, send};
use crate::http::path;
use crate::model::ObjectName;
use crate::service::Replication;
use crate::service::objects::{Own, no_object};
use crate::service::read_through::Elsewhere;
use crate::service::upload::NewObject;

#[utoipa::path(
    post, path = "/cloudclonestore/{bucketName}/{*objectName}", tag = "accessor", operation_id = "create_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path; kept exactly"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
        ("x-clonecloudstore-size" = Option<u64>, Header, description = "Length of the content; checked when above 0"),
        ("x-clonecloudstore-hash" = Option<String>, Header, description = "SHA-256 of the content; checked"),
        ("x-clonecloudstore-metadata" = Option<String>, Header, description = "A JSON object of texts, at most 2048 bytes"),
        ("x-clonecloudstore-expires" = Option<String>, Header, description = "When it is purged"),
        ("Content-Encoding" = Option<String>, Header, description = "`zstd` when the body is compressed"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The content"),
    responses(
        (status = 201, description = "Durable, hashed, and announced to the other sites", body = AccessorObject),
        (status = 400, description = "A name or a header is wrong, or the content is not what was stated"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The client may not write in the bucket"),
        (status = 404, description = "There is no such bucket"),
        (status = 406, description = "The name is being uploaded"),
        (status = 409, description = "There is one of that name"),
    )
)]
pub(super) async fn create(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let incoming = Incoming::new(body);
    match take(&room, &parts, &incoming).await {
        Ok(response) => response,
        Err(refusal) => {
            incoming.discard(&parts).await;
            refusal.into_response()
        }
    }
}

async fn take(room: &Replication, parts: &Parts, incoming: &Incoming) -> Result<Response, Refusal> {
    let client = client(parts)?;
    let (bucket, name) = path::object(parts, MOUNT)?;
    let (stated, coding) = (read_stated(&parts.headers)?, coding(&parts.headers)?);
    agree(parts, &stated, coding)?;
    let new = NewObject { client, bucket, name, stated, op_id: op_id_of(parts) };
    let object = room.create_object(&new, incoming.content(coding)).await?;
    Ok((StatusCode::CREATED, Json(AccessorObject::new(object, &room.inner.site))).into_response())
}

/// Refuses at once a content whose two lengths differ.
fn agree(parts: &Parts, stated: &Stated, coding: Coding) -> Result<()> {
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match (stated.size_bytes, length) {
        (Some(size), Some(length)) if coding == Coding::Identity && size != length => {
            Err(Error::invalid(format!("the content has {length} bytes, not the {size} that were announced")))
        }
        _ => Ok(()),
    }
}

#[utoipa::path(
    get, path = "/cloudclonestore/{bucketName}/{*objectName}", tag = "accessor", operation_id = "get_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
        ("Accept" = Option<String>, Header, description = "`application/json` for the record, in whatever state; else the content"),
        ("Accept-Encoding" = Option<String>, Header, description = "`zstd` for a compressed body"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The content, or the record", content((Vec<u8> = "application/octet-stream"), (AccessorObject = "application/json"))),
        (status = 206, description = "A part of the content"),
        (status = 400, description = "A name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The client has rights in the bucket, but may not read"),
        (status = 404, description = "There is none, or none for this client"),
        (status = 406, description = "Neither content nor record is accepted"),
        (status = 416, description = "The range lies outside"),
    )
)]
pub(super) async fn read(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let client = client(&parts)?;
        let (bucket, name) = path::object(&parts, MOUNT)?;
        match wanted(&parts.headers) {
            Wanted::Content => {}
            Wanted::Metadata => {
                let object = room.own_record(&client, &bucket, &name).await?;
                return Ok(Json(AccessorObject::new(object, &room.inner.site)).into_response());
            }
            Wanted::Nothing => return Err(unacceptable()),
        }
        let absent = || Refusal::from(no_object(&bucket, &name));
        match room.own_object(&client, &bucket, &name).await? {
            Own::Object(object) => {
                if let Some(response) = send(&room, &parts.headers, &object).await? {
                    return Ok(response);
                }
            }
            Own::Buried => return Err(absent()),
            Own::Absent | Own::Directory => {}
        }
        let asked = Elsewhere { client: &client, bucket: &bucket, op_id: &op_id_of(&parts), full_check: false };
        room.object_elsewhere(asked, &name, &parts.headers).await?.ok_or_else(absent)
    })
    .await
}

/// Nothing that is there can be accepted.
pub(in crate::http) fn unacceptable() -> Refusal {
    let error = Error::invalid("Accept takes neither application/octet-stream nor application/json");
    Refusal::with(StatusCode::NOT_ACCEPTABLE, error)
}

#[utoipa::path(
    head, path = "/cloudclonestore/{bucketName}/{*objectName}", tag = "accessor", operation_id = "head_object",
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
    )
)]
pub(super) async fn look(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let client = client(&parts)?;
        let (bucket, prefix) = path::prefix(&parts, MOUNT)?;
        let full_check = path::full_check(&parts);
        let own = room.own_path(&client, &bucket, &prefix, full_check).await?;
        if let (Own::Absent, Ok(name)) = (&own, ObjectName::new(prefix.as_str())) {
            let asked = Elsewhere { client: &client, bucket: &bucket, op_id: &op_id_of(&parts), full_check };
            if room.has_object_elsewhere(asked, &name).await? {
                return Ok(there("OBJECT"));
            }
        }
        seen(&own, &prefix)
    })
    .await
}

/// The answer to `HEAD` for what this site has.
pub(in crate::http) fn seen(own: &Own, prefix: &str) -> Result<Response, Refusal> {
    match own {
        Own::Object(_) => Ok(there("OBJECT")),
        Own::Directory => Ok(there("DIRECTORY")),
        Own::Absent | Own::Buried => Err(Error::not_found(format!("nothing is or begins with {prefix}")).into()),
    }
}

#[utoipa::path(
    delete, path = "/cloudclonestore/{bucketName}/{*objectName}", tag = "accessor", operation_id = "delete_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
    ),
    responses(
        (status = 204, description = "Deleted now or before, and announced to the other sites"),
        (status = 400, description = "A name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The client may not delete in the bucket"),
        (status = 404, description = "There was never one"),
        (status = 409, description = "It is being uploaded"),
    )
)]
pub(super) async fn delete(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let client = client(&parts)?;
        let (bucket, name) = path::object(&parts, MOUNT)?;
        room.delete_object(&client, &bucket, &name, &op_id_of(&parts)).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
