//! Routes of sync contract §1: extract, call one verb, convert. Those of our own are in `http/own.rs`.

mod cors;
mod own;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream;
use haulier_access::Caller;
use haulier_base::{Error, Result};
use haulier_http::{body, problem};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{
    ActionView, Done, EntryList, EntryView, Fault, FileList, FileView, Query, RuleList, StatsView, StatusView, id_of,
    read_rules,
};
use crate::service::{FileDocument, Listing, Syncs};

pub use own::{openapi as own_openapi, router as own_router};

/// Largest body, bytes: a thousand long rules.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How many files there are in all.
const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

#[derive(OpenApi)]
#[openapi(info(
    title = "Haulier sync API",
    description = "Onitu 1.0: entries that hold the same files, and the rules that say which."
))]
struct Doc;

/// The routes under `/api/v1.0`. Every request must already have passed the authenticator's layer.
pub fn router(syncs: Syncs) -> Router {
    let (router, _) = contract_routes().split_for_parts();
    let router = router.method_not_allowed_fallback(wrong_method).fallback(unknown_path).with_state(syncs.clone());
    router.layer(from_fn_with_state(syncs, cors::around))
}

/// The OpenAPI description of [`router`].
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut described = contract_routes().split_for_parts().1;
    // A name with slashes is the router's own way of saying it; OpenAPI has no word for that.
    let paths = std::mem::take(&mut described.paths.paths);
    described.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    described
}

fn contract_routes() -> OpenApiRouter<Syncs> {
    OpenApiRouter::with_openapi(Doc::openapi())
        .routes(routes!(files))
        .routes(routes!(metadata))
        .routes(routes!(file_id))
        .routes(routes!(entries))
        .routes(routes!(entry))
        .routes(routes!(stats))
        .routes(routes!(status))
        .routes(routes!(stop))
        .routes(routes!(start))
        .routes(routes!(restart))
        .routes(routes!(rules, put_rules))
        .routes(routes!(reload_rules))
}

#[utoipa::path(
    get, path = "/api/v1.0/files", tag = "sync",
    params(
        ("offset" = Option<u64>, Query, description = "How many are left out at the beginning; 0 when absent"),
        ("limit" = Option<u64>, Query, description = "At most so many; 20 when absent"),
    ),
    responses(
        (status = 200, description = "Files of all entries in the order of their ids; `X-Total-Count` says how many there are", body = FileList),
        (status = 400, description = "An option is wrong", body = Fault),
        (status = 401, description = "Nobody said who is asking", body = Fault),
    )
)]
async fn files(State(syncs): State<Syncs>, RawQuery(query): RawQuery, request: Request) -> Response {
    answer(async {
        let caller = caller(request)?;
        let (offset, limit) = Query::read(query.as_deref()).files()?;
        let mut listing = syncs.files(&caller, offset, limit).await?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TOTAL_COUNT, HeaderValue::from(listing.total));
        // Read before the status is sent, so that a failing catalogue is an error and not half a list.
        let first = syncs.next_files(&mut listing).await?;
        Ok((headers, Body::from_stream(file_list(syncs, listing, first))).into_response())
    })
    .await
}

/// Writes a list a chunk at a time, so that its length costs no memory.
fn file_list(syncs: Syncs, listing: Listing, first: Vec<FileDocument>) -> impl futures::Stream<Item = Result<Bytes>> {
    let state = Some((syncs, listing, Some(first)));
    stream::try_unfold(state, |state| async move {
        let Some((syncs, mut listing, first)) = state else { return Ok(None) };
        let opens = first.is_some();
        let page = match first {
            Some(page) => page,
            None => syncs.next_files(&mut listing).await?,
        };
        let mut text = if opens { b"{\"files\":[".to_vec() } else { Vec::new() };
        let ends = listing.is_over() || page.is_empty();
        for (index, file) in page.into_iter().enumerate() {
            if !opens || index > 0 {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &FileView::from(file))
                .map_err(|error| Error::internal("a file could not be written as JSON").caused_by(error))?;
        }
        if ends {
            text.extend_from_slice(b"]}");
        }
        Ok(Some((Bytes::from(text), (!ends).then_some((syncs, listing, None)))))
    })
}

#[utoipa::path(
    get, path = "/api/v1.0/files/{fid}/metadata", tag = "sync",
    params(("fid" = String, Path, description = "The file's id")),
    responses(
        (status = 200, description = "The file", body = FileView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 404, description = "Nobody has it", body = Fault),
    )
)]
async fn metadata(State(syncs): State<Syncs>, Path(fid): Path<String>, request: Request) -> Response {
    answer(async { Ok(Json(FileView::from(syncs.file(&caller(request)?, &fid).await?)).into_response()) }).await
}

#[utoipa::path(
    get, path = "/api/v1.0/files/id/{*name}", tag = "sync",
    params(("name" = String, Path, description = "The name of a file, which need not exist")),
    responses(
        (status = 200, description = "One member, named like the file; its value is the id", body = Object),
        (status = 401, description = "Nobody said who is asking", body = Fault),
    )
)]
async fn file_id(Path(name): Path<String>, request: Request) -> Response {
    answer(async {
        caller(request)?;
        Ok(Json(id_of(&name)).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/api/v1.0/entries", tag = "sync",
    responses(
        (status = 200, description = "All entries, in the order of the configuration", body = EntryList),
        (status = 401, description = "Nobody said who is asking", body = Fault),
    )
)]
async fn entries(State(syncs): State<Syncs>, request: Request) -> Response {
    answer(async {
        let entries = syncs.entries(&caller(request)?).await?;
        Ok(Json(EntryList { entries: entries.into_iter().map(EntryView::from).collect() }).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/api/v1.0/entries/{name}", tag = "sync",
    params(("name" = String, Path, description = "The entry's name")),
    responses(
        (status = 200, description = "The entry, running or not", body = EntryView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 404, description = "There is none of that name", body = Fault),
    )
)]
async fn entry(State(syncs): State<Syncs>, Path(name): Path<String>, request: Request) -> Response {
    answer(async { Ok(Json(EntryView::from(syncs.entry(&caller(request)?, &name).await?)).into_response()) }).await
}

#[utoipa::path(
    get, path = "/api/v1.0/entries/{name}/stats", tag = "sync",
    params(("name" = String, Path, description = "The entry's name")),
    responses(
        (status = 200, description = "What its work costs", body = StatsView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 404, description = "There is none of that name", body = Fault),
        (status = 409, description = "It is stopped", body = Fault),
    )
)]
async fn stats(State(syncs): State<Syncs>, Path(name): Path<String>, request: Request) -> Response {
    answer(async { Ok(Json(StatsView::from(syncs.stats(&caller(request)?, &name).await?)).into_response()) }).await
}

#[utoipa::path(
    get, path = "/api/v1.0/entries/{name}/status", tag = "sync",
    params(("name" = String, Path, description = "The entry's name")),
    responses(
        (status = 200, description = "What it is doing", body = StatusView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 404, description = "There is none of that name", body = Fault),
    )
)]
async fn status(State(syncs): State<Syncs>, Path(name): Path<String>, request: Request) -> Response {
    answer(async { Ok(Json(StatusView::from(syncs.status(&caller(request)?, &name).await?)).into_response()) }).await
}

#[utoipa::path(
    put, path = "/api/v1.0/entries/{name}/stop", tag = "sync",
    params(("name" = String, Path, description = "The entry's name")),
    responses(
        (status = 200, description = "It is stopped: its root is neither read nor written any more", body = ActionView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 403, description = "The caller is no admin", body = Fault),
        (status = 404, description = "There is none of that name", body = Fault),
        (status = 409, description = "It is stopped already", body = Fault),
    )
)]
async fn stop(State(syncs): State<Syncs>, Path(name): Path<String>, request: Request) -> Response {
    answer(async {
        let caller = caller_of(request).await?;
        let at = syncs.stop(&caller, &name).await?;
        Ok(Json(ActionView::new(name, at)).into_response())
    })
    .await
}

#[utoipa::path(
    put, path = "/api/v1.0/entries/{name}/start", tag = "sync",
    params(("name" = String, Path, description = "The entry's name")),
    responses(
        (status = 200, description = "It takes part; its first scan may still be going on", body = ActionView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 403, description = "The caller is no admin", body = Fault),
        (status = 404, description = "There is none of that name", body = Fault),
        (status = 409, description = "It runs already", body = Fault),
    )
)]
async fn start(State(syncs): State<Syncs>, Path(name): Path<String>, request: Request) -> Response {
    answer(async {
        let caller = caller_of(request).await?;
        let at = syncs.start(&caller, &name).await?;
        Ok(Json(ActionView::new(name, at)).into_response())
    })
    .await
}

#[utoipa::path(
    put, path = "/api/v1.0/entries/{name}/restart", tag = "sync",
    params(
        ("name" = String, Path, description = "The entry's name"),
        ("force" = Option<String>, Query, description = "`1` believes deletions that were held back"),
    ),
    responses(
        (status = 200, description = "It takes part anew; its first scan may still be going on", body = ActionView),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 403, description = "The caller is no admin", body = Fault),
        (status = 404, description = "There is none of that name", body = Fault),
        (status = 409, description = "It does not run, and stays stopped", body = Fault),
    )
)]
async fn restart(
    State(syncs): State<Syncs>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    answer(async {
        let caller = caller_of(request).await?;
        let force = Query::read(query.as_deref()).flag("force")?;
        let at = syncs.restart(&caller, &name, force).await?;
        Ok(Json(ActionView::new(name, at)).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/api/v1.0/rules", tag = "sync",
    responses(
        (status = 200, description = "The rules as they were put; they need not be in force", body = RuleList),
        (status = 401, description = "Nobody said who is asking", body = Fault),
    )
)]
async fn rules(State(syncs): State<Syncs>, request: Request) -> Response {
    answer(async { Ok(Json(RuleList { rules: syncs.rules(&caller(request)?).await? }).into_response()) }).await
}

#[utoipa::path(
    put, path = "/api/v1.0/rules", tag = "sync", request_body = RuleList,
    params(("dry_run" = Option<bool>, Query, description = "`true` stores nothing and says what would happen")),
    responses(
        (status = 200, description = "Stored; in force after a reload", body = Done),
        (status = 400, description = "A rule is wrong, and nothing has changed; the reason names the place", body = Fault),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 403, description = "The caller is no admin", body = Fault),
        (status = 413, description = "The body is larger than 1 MiB", body = Fault),
    )
)]
async fn put_rules(State(syncs): State<Syncs>, RawQuery(query): RawQuery, request: Request) -> Response {
    answer(async {
        let (parts, body) = request.into_parts();
        let (caller, body) = known(&parts, body).await?;
        let list = read_rules(&body::read_body(body, BODY_BYTES_MAX).await?)?;
        let tried = match Query::read(query.as_deref()).flag("dry_run")? {
            true => Some(syncs.try_rules(&caller, Some(list)).await?),
            false => {
                syncs.put_rules(&caller, list).await?;
                None
            }
        };
        Ok(Json(Done::new(tried)).into_response())
    })
    .await
}

#[utoipa::path(
    put, path = "/api/v1.0/rules/reload", tag = "sync",
    params(("dry_run" = Option<bool>, Query, description = "`true` changes nothing and says what would happen")),
    responses(
        (status = 200, description = "The stored rules are in force", body = Done),
        (status = 401, description = "Nobody said who is asking", body = Fault),
        (status = 403, description = "The caller is no admin", body = Fault),
    )
)]
async fn reload_rules(State(syncs): State<Syncs>, RawQuery(query): RawQuery, request: Request) -> Response {
    answer(async {
        let caller = caller_of(request).await?;
        let tried = match Query::read(query.as_deref()).flag("dry_run")? {
            true => Some(syncs.try_rules(&caller, None).await?),
            false => {
                syncs.reload_rules(&caller).await?;
                None
            }
        };
        Ok(Json(Done::new(tried)).into_response())
    })
    .await
}

async fn unknown_path(request: Request) -> Response {
    answer(async {
        let path = request.uri().path().to_owned();
        caller_of(request).await?;
        Err(Error::not_found(format!("there is no {path}")))
    })
    .await
}

async fn wrong_method(request: Request) -> Response {
    let what = format!("{} is not possible on {}", request.method(), request.uri().path());
    match caller_of(request).await {
        Ok(_) => fault(StatusCode::METHOD_NOT_ALLOWED, what),
        Err(error) => refuse(&error),
    }
}

/// Who is asking, of a request without a body.
fn caller(request: Request) -> Result<Caller> {
    Caller::from_parts(&request.into_parts().0)
}

/// Who is asking, of a request whose body is ignored.
async fn caller_of(request: Request) -> Result<Caller> {
    let (parts, body) = request.into_parts();
    body::discard_rest(body).await;
    Caller::from_parts(&parts)
}

/// Who is asking, with the body that is to be read; of nobody it is thrown away.
async fn known(parts: &Parts, body: Body) -> Result<(Caller, Body)> {
    match Caller::from_parts(parts) {
        Ok(caller) => Ok((caller, body)),
        Err(error) => {
            body::discard_rest(body).await;
            Err(error)
        }
    }
}

async fn answer(work: impl Future<Output = Result<Response>>) -> Response {
    work.await.unwrap_or_else(|error| refuse(&error))
}

/// Renders an error as §1.1 says.
fn refuse(error: &Error) -> Response {
    let shown = problem::Problem::of(error);
    let reason = match shown.status {
        StatusCode::INTERNAL_SERVER_ERROR => "internal server error".to_owned(),
        _ => shown.message,
    };
    fault(shown.status, reason)
}

fn fault(status: StatusCode, reason: String) -> Response {
    (status, Json(Fault { status: "error", reason })).into_response()
}
