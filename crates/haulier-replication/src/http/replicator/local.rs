//! `/replicator/local`: what the other sites have, asked one after the other; never what this one has (contract §4.2).

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use haulier_base::Error;

use super::remote::only_content;
use crate::api::AccessorBucket;
use crate::header;
use crate::http::accessor::{answer, there};
use crate::http::answer::{Refusal, client, op_id_of};
use crate::http::{path, relay};
use crate::model::{BucketName, ObjectName, SiteId};
use crate::peer::Asked;
use crate::service::Replication;
use crate::service::elsewhere::{Nowhere, unreachable};

/// Where buckets are.
const MOUNT: &str = "/replicator/local/buckets/";

#[utoipa::path(
    get, path = "/replicator/local/buckets/{bucketName}", tag = "replicator", operation_id = "get_local_bucket",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; anybody may"),
        ("x-clonecloudstore-target-id" = Option<String>, Header, description = "The only site to ask"),
    ),
    responses(
        (status = 200, description = "The bucket as the first site that has it tells it", body = AccessorBucket),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 404, description = "Every site said that it has none"),
        (status = 410, description = "The same, and one that it was deleted"),
        (status = 500, description = "None was found, and not every site answered"),
    )
)]
pub(super) async fn read_bucket(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let asked = asked(&parts, path::bucket(&parts, MOUNT)?)?;
        let found = room.ask_sites(target(&parts), |peer| {
            let asked = asked.clone();
            async move { peer.bucket(&asked).await }
        });
        match found.await? {
            Ok((bucket, peer)) => Ok(from(&peer.site.id, Json(bucket).into_response())),
            Err(Nowhere::Deleted) => {
                let error = Error::not_found(format!("the bucket {} was deleted", asked.bucket));
                Err(Refusal::with(StatusCode::GONE, error))
            }
            Err(nowhere) => Err(refusal(&nowhere, format!("no other site has a bucket {}", asked.bucket))),
        }
    })
    .await
}

#[utoipa::path(
    head, path = "/replicator/local/buckets/{bucketName}", tag = "replicator", operation_id = "head_local_bucket",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking; anybody may"),
        ("x-clonecloudstore-target-id" = Option<String>, Header, description = "The only site to ask"),
        ("fullCheck" = Option<bool>, Query, description = "Look at the storage as well"),
    ),
    responses(
        (status = 204, description = "A site has it: `x-clonecloudstore-target-id`"),
        (status = 400, description = "The name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 404, description = "Every site said that it has none"),
        (status = 500, description = "None was found, and not every site answered"),
    )
)]
pub(super) async fn look_at_bucket(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let asked = asked(&parts, path::bucket(&parts, MOUNT)?)?;
        let full_check = path::full_check(&parts);
        let found = room.ask_sites(target(&parts), |peer| {
            let asked = asked.clone();
            async move { peer.has_bucket(&asked, full_check).await }
        });
        match found.await? {
            Ok(((), peer)) => Ok(from(&peer.site.id, there("BUCKET"))),
            Err(nowhere) => Err(refusal(&nowhere, format!("no other site has a bucket {}", asked.bucket))),
        }
    })
    .await
}

#[utoipa::path(
    get, path = "/replicator/local/buckets/{bucketName}/{*objectName}", tag = "replicator",
    operation_id = "get_local_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
        ("x-clonecloudstore-target-id" = Option<String>, Header, description = "The only site to ask"),
        ("Accept-Encoding" = Option<String>, Header, description = "`zstd` for a compressed body"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The content as the first site that has it sends it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "A part of the content"),
        (status = 400, description = "A name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 404, description = "Every site said that it has none"),
        (status = 406, description = "`Accept` excludes contents"),
        (status = 500, description = "None was found, and not every site answered"),
    )
)]
pub(super) async fn read_object(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let (bucket, name) = path::object(&parts, MOUNT)?;
        let asked = asked(&parts, bucket)?;
        only_content(&parts.headers)?;
        let zstd = room.inner.config.compression;
        let found = room.ask_sites(target(&parts), |peer| {
            let (asked, name, headers) = (asked.clone(), name.clone(), parts.headers.clone());
            async move { relay::begin(&peer, &asked, &name, &headers, zstd).await }
        });
        match found.await? {
            Ok((relayed, peer)) => Ok(from(&peer.site.id, relayed.answer(&parts.headers)?)),
            Err(nowhere) => Err(nobody_has(&nowhere, &asked.bucket, name.as_str())),
        }
    })
    .await
}

#[utoipa::path(
    head, path = "/replicator/local/buckets/{bucketName}/{*objectName}", tag = "replicator",
    operation_id = "head_local_object",
    params(
        ("bucketName" = String, Path, description = "The bucket"),
        ("objectName" = String, Path, description = "The rest of the path; a mere beginning of names is nothing"),
        ("x-clonecloudstore-client-id" = String, Header, description = "Who is asking"),
        ("x-clonecloudstore-target-id" = Option<String>, Header, description = "The only site to ask"),
        ("fullCheck" = Option<bool>, Query, description = "Look at the storage as well"),
    ),
    responses(
        (status = 204, description = "A site has it: `x-clonecloudstore-target-id`"),
        (status = 400, description = "A name or a header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 404, description = "Every site said that it has none"),
        (status = 500, description = "None was found, and not every site answered"),
    )
)]
pub(super) async fn look_at_object(State(room): State<Replication>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(async {
        let (bucket, prefix) = path::prefix(&parts, MOUNT)?;
        let asked = asked(&parts, bucket)?;
        let full_check = path::full_check(&parts);
        // What ends in a slash is the beginning of names at most, which counts as not found.
        let Ok(name) = ObjectName::new(prefix.as_str()) else {
            return Err(nobody_has(&Nowhere::Absent, &asked.bucket, &prefix));
        };
        let found = room.ask_sites(target(&parts), |peer| {
            let (asked, name) = (asked.clone(), name.clone());
            async move { peer.has_object(&asked, &name, full_check).await }
        });
        match found.await? {
            Ok(((), peer)) => Ok(from(&peer.site.id, there("OBJECT"))),
            Err(nowhere) => Err(nobody_has(&nowhere, &asked.bucket, name.as_str())),
        }
    })
    .await
}

fn asked(parts: &Parts, bucket: BucketName) -> Result<Asked, Refusal> {
    Ok(Asked { bucket, client: client(parts)?, op_id: op_id_of(parts) })
}

/// The only site to ask.
fn target(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::TARGET_ID).map(|value| value.to_str().unwrap_or("?").trim()).filter(|id| !id.is_empty())
}

/// An answer with the site that it comes from.
fn from(site: &SiteId, mut response: Response) -> Response {
    // An id is made of characters that a header takes.
    response.headers_mut().extend(HeaderValue::from_str(site.as_str()).ok().map(|id| (header::TARGET_ID, id)));
    response
}

fn nobody_has(nowhere: &Nowhere, bucket: &BucketName, name: &str) -> Refusal {
    refusal(nowhere, format!("no other site has an object {name} in a bucket {bucket}"))
}

fn refusal(nowhere: &Nowhere, absent: String) -> Refusal {
    unreachable(nowhere).unwrap_or_else(|| Error::not_found(absent)).into()
}
