//! Orders that other sites send (contract §4.1).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use haulier_base::{Error, Result};
use haulier_http::{JsonContentType, content_type_is_json, read_body};

use crate::api::{ReplicatorOrder, json};
use crate::header;
use crate::http::answer::{Refusal, discard, op_id_of, require_site};
use crate::model::Order;
use crate::service::Replication;

/// Most bytes of a request (§4.1).
const BODY_BYTES_MAX: usize = 16 << 20;
/// Most orders in a request (§4.1).
const ORDERS_MAX: usize = 10_000;

#[utoipa::path(
    post, path = "/replicator/remote/orders", tag = "replicator", operation_id = "post_order",
    request_body = ReplicatorOrder,
    responses(
        (status = 201, description = "Recorded, durably; it is applied afterwards"),
        (status = 400, description = "It can never be applied as it is"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is neither a site nor an admin"),
        (status = 409, description = "The bucket exists and belongs to another client"),
        (status = 415, description = "The body is not declared as JSON"),
        (status = 500, description = "It could not be recorded"),
    )
)]
pub(super) async fn take_one(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    take(&room, &parts, body, |bytes| Ok(vec![json::read_object(bytes)?])).await
}

#[utoipa::path(
    post, path = "/replicator/remote/orders/multiple", tag = "replicator", operation_id = "post_orders",
    request_body = [ReplicatorOrder],
    responses(
        (status = 201, description = "Recorded, durably; they are applied afterwards"),
        (status = 400, description = "One of them can never be applied as it is; none is recorded"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is neither a site nor an admin"),
        (status = 409, description = "The bucket of each exists and belongs to another client"),
        (status = 415, description = "The body is not declared as JSON"),
        (status = 500, description = "They could not be recorded"),
    )
)]
pub(super) async fn take_many(State(room): State<Replication>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    take(&room, &parts, body, json::read_list).await
}

async fn take(
    room: &Replication,
    parts: &Parts,
    body: Body,
    read: impl FnOnce(&[u8]) -> Result<Vec<ReplicatorOrder>> + Send,
) -> Response {
    let answered = async {
        let bytes = json_body(parts, body).await?;
        let read = read(&bytes)?;
        if read.len() > ORDERS_MAX {
            return Err(Error::invalid(format!("{} orders at once; {ORDERS_MAX} are the most", read.len())).into());
        }
        let op_id = op_id_of(parts);
        let told = told_op_id(parts, &read);
        let orders = numbered(&read, &op_id)?;
        room.receive_orders(orders).await?;
        let mut response = StatusCode::CREATED.into_response();
        response.headers_mut().extend(told.map(|id| (header::OP_ID, id)));
        Ok(response)
    };
    answered.await.unwrap_or_else(|refusal: Refusal| refusal.into_response())
}

/// What came, once it is clear that it is wanted.
async fn json_body(parts: &Parts, body: Body) -> Result<Bytes, Refusal> {
    let checked = require_site(parts).map_err(Refusal::from).and_then(|_| match content_type_is_json(&parts.headers) {
        JsonContentType::Json => Ok(()),
        JsonContentType::Missing | JsonContentType::Other => {
            let error = Error::invalid("the body is not declared as JSON; send Content-Type: application/json");
            Err(Refusal::with(StatusCode::UNSUPPORTED_MEDIA_TYPE, error))
        }
    });
    if let Err(refusal) = checked {
        discard(parts, body).await;
        return Err(refusal);
    }
    Ok(read_body(body, BODY_BYTES_MAX).await?)
}

/// All of them, or the first that is wrong with its place.
fn numbered(read: &[ReplicatorOrder], op_id: &str) -> Result<Vec<Order>> {
    let many = read.len() > 1;
    let one = |(index, order): (usize, &ReplicatorOrder)| {
        order.to_order(op_id).map_err(|error| match many {
            true => Error::invalid(format!("[{index}].{error}")),
            false => error,
        })
    };
    read.iter().enumerate().map(one).collect()
}

/// The operation id to answer with: the request's, else that of its first order (§4.1).
fn told_op_id(parts: &Parts, read: &[ReplicatorOrder]) -> Option<HeaderValue> {
    if parts.headers.get(header::OP_ID).is_some_and(|value| !value.as_bytes().trim_ascii().is_empty()) {
        return None;
    }
    let of_order = read.first().and_then(ReplicatorOrder::usable_op_id);
    of_order.and_then(|id| HeaderValue::from_str(id).ok())
}
