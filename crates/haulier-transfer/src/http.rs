//! Routes of transfer contract §1: extract, call one verb, convert.

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use haulier_access::Caller;
use haulier_base::{Error, ErrorKind, Result};
use haulier_http::{body, media, problem};
use haulier_storage::Storages;
use serde_json::json;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{self, ActOnTransfer, Fault, SubmitTransfer, TransferView};
use crate::model::TransferId;
use crate::service::{ListTransfers, Listing, Outcome, Transfers};

/// Largest body, in bytes (transfer contract §2.2).
const BODY_BYTES_MAX: usize = 114_688;
/// Longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 255;

#[derive(OpenApi)]
#[openapi(info(
    title = "Haulier transfer API",
    description = "Staccato v1: post two URLs, go away, come back to a finished, verified copy."
))]
struct Doc;

/// The routes under `/v1`. Every request must already have passed the authenticator's layer.
pub fn router(transfers: Transfers) -> Router {
    let (router, _) = routes().split_for_parts();
    router.method_not_allowed_fallback(wrong_method).fallback(unknown_path).with_state(transfers)
}

/// The OpenAPI description of [`router`].
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

fn routes() -> OpenApiRouter<Transfers> {
    OpenApiRouter::with_openapi(Doc::openapi())
        .routes(routes!(list, submit))
        .routes(routes!(get, delete))
        .routes(routes!(act))
}

/// `GET /` of a listener that serves this API alone: the versions document (transfer contract §2.4).
pub fn versions_router(transfers: Transfers) -> Router {
    Router::new().fallback(versions).with_state(transfers)
}

async fn versions(State(transfers): State<Transfers>) -> Response {
    let document = json!({ "versions": { "v1": {
        "id": transfers.config().service_id,
        "version": env!("CARGO_PKG_VERSION"),
        "status": "active",
        "protocols": Storages::schemes(),
    }}});
    (StatusCode::MULTIPLE_CHOICES, Json(document)).into_response()
}

#[utoipa::path(
    get, path = "/v1/transfers", tag = "transfer",
    params(
        ("limit" = Option<u64>, Query, description = "At most so many; absent means all"),
        ("next" = Option<String>, Query, description = "The page starts after the transfer with this id"),
        ("filter" = Option<String>, Query, description = "JSON text such as {\"state\": \"STATE_ERROR\"}"),
    ),
    responses(
        (status = 200, description = "The caller's transfers in the order of creation; `Link` names the next page", body = [TransferView]),
        (status = 400, description = "An option is wrong", body = Fault),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 413, description = "The body is too large", body = Fault),
    )
)]
async fn list(State(transfers): State<Transfers>, RawQuery(query): RawQuery, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let caller = caller(&parts)?;
        let bytes = body::read_body(body, BODY_BYTES_MAX).await?;
        let list = api::read_list(query.as_deref(), &bytes)?;
        let mut listing = transfers.list(&caller, list.clone()).await?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(link) = listing.next.as_ref().and_then(|next| next_link(&list, next)) {
            headers.insert(header::LINK, link);
        }
        // The first rows are read before the status is sent, so that a failing catalogue is an error and not half a list.
        let first = transfers.list_chunk(&mut listing).await?;
        Ok((headers, Body::from_stream(array(transfers, listing, first))).into_response())
    };
    answer.await.unwrap_or_else(|error: Refusal| refuse(&parts.headers, error))
}

/// Writes a list as a JSON array, a chunk of rows at a time, so that its length costs no memory.
fn array(
    transfers: Transfers,
    listing: Listing,
    first: haulier_base::Page<crate::model::Transfer>,
) -> impl futures::Stream<Item = Result<Bytes>> {
    let render =
        |transfers: &Transfers, page: Vec<crate::model::Transfer>, opened: bool, more: bool| -> Result<Bytes> {
            let mut text = Vec::with_capacity(512 * page.len() + 2);
            for (index, transfer) in page.into_iter().enumerate() {
                text.push(if opened || index > 0 { b',' } else { b'[' });
                serde_json::to_writer(&mut text, &TransferView::new(transfer, &transfers.inner.locations))
                    .map_err(|e| Error::internal("a transfer could not be written as JSON").caused_by(e))?;
            }
            if !opened && text.is_empty() {
                text.push(b'[');
            }
            if !more {
                text.push(b']');
            }
            Ok(Bytes::from(text))
        };
    stream::try_unfold(Some((transfers, listing, Some(first))), move |state| async move {
        let Some((transfers, mut listing, first)) = state else { return Ok(None) };
        let opened = first.is_none();
        let page = match first {
            Some(page) => page,
            None => transfers.list_chunk(&mut listing).await?,
        };
        let text = render(&transfers, page.items, opened, page.more)?;
        Ok(Some((text, page.more.then_some((transfers, listing, None)))))
    })
}

fn next_link(list: &ListTransfers, next: &TransferId) -> Option<HeaderValue> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(limit) = list.limit {
        query.append_pair("limit", &limit.to_string());
    }
    query.append_pair("next", next.as_str());
    if !list.filter.states.is_empty() {
        let names: Vec<_> = list.filter.states.iter().map(|state| state.as_str()).collect();
        query.append_pair("filter", &json!({ "state": names }).to_string());
    }
    HeaderValue::from_str(&format!("</v1/transfers?{}>; rel=\"next\"", query.finish())).ok()
}

#[utoipa::path(
    post, path = "/v1/transfers", tag = "transfer", request_body = SubmitTransfer,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key within 24 hours returns the first transfer")),
    responses(
        (status = 201, description = "Accepted, durably", body = TransferView),
        (status = 400, description = "The request can never work", body = Fault),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 413, description = "The body is larger than 114,688 bytes", body = Fault),
        (status = 415, description = "The body is not declared as JSON", body = Fault),
    )
)]
async fn submit(State(transfers): State<Transfers>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let (caller, bytes) = json_request(&parts, body).await?;
        let new = api::read_new_transfer(&bytes)?;
        let key = idempotency_key(&parts.headers)?;
        let transfer = transfers.submit(&caller, new, key).await?;
        let location = HeaderValue::from_str(&format!("/v1/transfers/{}", transfer.id))
            .map_err(|e| Error::internal("an identifier is not a header value").caused_by(e))?;
        let view = TransferView::new(transfer, &transfers.inner.locations);
        Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
    };
    answer.await.unwrap_or_else(|error: Refusal| refuse(&parts.headers, error))
}

#[utoipa::path(
    get, path = "/v1/transfers/{id}", tag = "transfer",
    params(("id" = String, Path, description = "The transfer's id")),
    responses(
        (status = 200, description = "The transfer", body = TransferView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 404, description = "The caller has no such transfer", body = Fault),
    )
)]
async fn get(State(transfers): State<Transfers>, Path(id): Path<String>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let answer = async {
        let caller = caller(&parts)?;
        let transfer = transfers.get(&caller, &TransferId::parse(&id)?).await?;
        Ok(Json(TransferView::new(transfer, &transfers.inner.locations)).into_response())
    };
    answer.await.unwrap_or_else(|error: Refusal| refuse(&parts.headers, error))
}

#[utoipa::path(
    delete, path = "/v1/transfers/{id}", tag = "transfer",
    params(("id" = String, Path, description = "The transfer's id")),
    responses(
        (status = 202, description = "The record is gone; temporary data is being removed"),
        (status = 204, description = "The record and all temporary data are gone"),
        (status = 400, description = "The transfer is being worked on", body = Fault),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 404, description = "The caller has no such transfer", body = Fault),
    )
)]
async fn delete(State(transfers): State<Transfers>, Path(id): Path<String>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let answer = async {
        let caller = caller(&parts)?;
        Ok(status_of(transfers.delete(&caller, &TransferId::parse(&id)?).await?).into_response())
    };
    answer.await.unwrap_or_else(|error: Refusal| refuse(&parts.headers, error))
}

#[utoipa::path(
    post, path = "/v1/transfers/{id}/action", tag = "transfer", request_body = ActOnTransfer,
    params(("id" = String, Path, description = "The transfer's id")),
    responses(
        (status = 202, description = "Accepted; it completes by itself"),
        (status = 204, description = "Done"),
        (status = 400, description = "The body is wrong, or the state does not allow it", body = Fault),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 404, description = "The caller has no such transfer", body = Fault),
        (status = 413, description = "The body is larger than 114,688 bytes", body = Fault),
        (status = 415, description = "The body is not declared as JSON", body = Fault),
    )
)]
async fn act(State(transfers): State<Transfers>, Path(id): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let (caller, bytes) = json_request(&parts, body).await?;
        let action = api::read_action(&bytes)?;
        Ok(status_of(transfers.act(&caller, &TransferId::parse(&id)?, action).await?).into_response())
    };
    answer.await.unwrap_or_else(|error: Refusal| refuse(&parts.headers, error))
}

async fn unknown_path(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let error = match caller(&parts) {
        Ok(_) => Error::not_found(format!("there is no {}", parts.uri.path())).into(),
        Err(refusal) => refusal,
    };
    body::discard_rest(body).await;
    refuse(&parts.headers, error)
}

async fn wrong_method(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let error = match caller(&parts) {
        Ok(_) => Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: format!("{} is not possible on {}", parts.method, parts.uri.path()),
        },
        Err(refusal) => refusal,
    };
    body::discard_rest(body).await;
    refuse(&parts.headers, error)
}

fn status_of(outcome: Outcome) -> StatusCode {
    match outcome {
        Outcome::Done => StatusCode::NO_CONTENT,
        Outcome::UnderWay => StatusCode::ACCEPTED,
    }
}

fn caller(parts: &Parts) -> Result<Caller, Refusal> {
    Ok(Caller::from_parts(parts)?)
}

/// Who is asking, and the bytes of a body that is declared as JSON.
async fn json_request(parts: &Parts, body: Body) -> Result<(Caller, Bytes), Refusal> {
    let checked = caller(parts).and_then(|caller| match media::content_type_is_json(&parts.headers) {
        media::JsonContentType::Json => Ok(caller),
        media::JsonContentType::Missing => Err(Error::invalid("Content-Type is missing; send application/json").into()),
        media::JsonContentType::Other => Err(Refusal {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message: "Content-Type is not application/json".to_owned(),
        }),
    });
    match checked {
        Ok(caller) => Ok((caller, body::read_body(body, BODY_BYTES_MAX).await?)),
        Err(refusal) => {
            body::discard_rest(body).await;
            Err(refusal)
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Error::invalid(format!("Idempotency-Key: must be 1 to {KEY_BYTES_MAX} printable characters"))),
    }
}

/// A request that is not carried out: status and sentence.
struct Refusal {
    status: StatusCode,
    message: String,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        // This API answers 400 to what a state does not allow (transfer contract §4.1).
        let status = match error.kind() {
            ErrorKind::Conflict => StatusCode::BAD_REQUEST,
            kind => problem::status_of(kind),
        };
        Self { status, message: problem::Problem::of(&error).message }
    }
}

/// Renders an error as transfer contract §2.5 says.
fn refuse(headers: &HeaderMap, refusal: impl Into<Refusal>) -> Response {
    let Refusal { status, message } = refusal.into();
    if media::prefers_text(headers) {
        return (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], message + "\n").into_response();
    }
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    (status, Json(Fault { code: format!("{} {title}", status.as_u16()), title, message })).into_response()
}
