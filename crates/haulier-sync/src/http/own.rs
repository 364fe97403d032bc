//! Routes of `/haulier/v1/sync`: what the contract allows beside its own. Extract, call one verb, convert.

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use haulier_base::{Error, Result};
use haulier_http::openapi::ErrorBody;
use haulier_http::{Problem, body};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{BODY_BYTES_MAX, caller, caller_of, known};
use crate::api::{
    AddEntry, ConflictList, ConflictView, EffectView, EntryView, ExplanationView, ProgressView, Query, ResolveConflict,
    RuleList, VersionList, VersionView, json_body, read_rules,
};
use crate::service::{Keep, Syncs};

#[derive(OpenApi)]
struct Doc;

/// The routes. Every request must already have passed the authenticator's layer.
pub fn router(syncs: Syncs) -> Router {
    own_routes().split_for_parts().0.method_not_allowed_fallback(wrong_method).with_state(syncs)
}

/// The OpenAPI description of [`router`].
pub fn openapi() -> utoipa::openapi::OpenApi {
    own_routes().split_for_parts().1
}

fn own_routes() -> OpenApiRouter<Syncs> {
    OpenApiRouter::with_openapi(Doc::openapi())
        .routes(routes!(add_entry))
        .routes(routes!(remove_entry))
        .routes(routes!(progress))
        .routes(routes!(explain))
        .routes(routes!(try_rules))
        .routes(routes!(conflicts))
        .routes(routes!(conflict))
        .routes(routes!(resolve))
        .routes(routes!(versions))
        .routes(routes!(restore))
}

async fn wrong_method(request: Request) -> Response {
    let message = format!("{} is not done here; see /openapi.json", request.method());
    answer(async {
        caller_of(request).await?;
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Ok(Problem { status, code: "invalid", message, retry_after: None }.into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/haulier/v1/sync/entries", tag = "sync", request_body = AddEntry,
    responses(
        (status = 201, description = "Added and started; `Location` names it", body = EntryView),
        (status = 400, description = "It could never start, or its root lies in another one's", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 409, description = "The name is taken", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
    )
)]
async fn add_entry(State(syncs): State<Syncs>, request: Request) -> Response {
    answer(async {
        let (parts, body) = request.into_parts();
        let (caller, body) = known(&parts, body).await?;
        let new = AddEntry::read(&body::read_body(body, BODY_BYTES_MAX).await?)?;
        let mut place = url::Url::parse("http://here/api/v1.0/entries").map_err(|_| Error::internal("no URL"))?;
        if let Ok(mut segments) = place.path_segments_mut() {
            segments.push(new.name.as_str());
        }
        let added = syncs.add_entry(&caller, new).await?;
        let mut response = (StatusCode::CREATED, Json(EntryView::from(added))).into_response();
        if let Ok(place) = HeaderValue::from_str(place.path()) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        Ok(response)
    })
    .await
}

#[utoipa::path(
    delete, path = "/haulier/v1/sync/entries/{name}", tag = "sync",
    params(
        ("name" = String, Path, description = "The entry's name"),
        ("force" = Option<String>, Query, description = "`1` also forgets versions that only this entry has"),
    ),
    responses(
        (status = 204, description = "Forgotten; its files stay"),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 404, description = "There is none of that name", body = ErrorBody),
        (status = 409, description = "A configuration brought it, or others wait for its versions", body = ErrorBody),
    )
)]
async fn remove_entry(
    State(syncs): State<Syncs>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    answer(async {
        let caller = caller_of(request).await?;
        let force = Query::read(query.as_deref()).flag("force")?;
        syncs.remove_entry(&caller, &name, force).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/sync/entries/{name}/progress", tag = "sync",
    params(("name" = String, Path, description = "The entry's name")),
    responses(
        (status = 200, description = "How far the work at it is", body = ProgressView),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 404, description = "There is none of that name", body = ErrorBody),
    )
)]
async fn progress(State(syncs): State<Syncs>, Path(name): Path<String>, request: Request) -> Response {
    answer(async { Ok(Json(ProgressView::from(syncs.progress(&caller(request)?, &name).await?)).into_response()) })
        .await
}

#[utoipa::path(
    get, path = "/haulier/v1/sync/rules/explain", tag = "sync",
    params(
        ("name" = String, Query, description = "The name of a file, which need not exist"),
        ("entry" = Option<String>, Query, description = "Where its change comes from; the file's own origin when absent, else the first entry"),
        ("size" = Option<u64>, Query, description = "Its size in bytes; that of the file when absent"),
        ("stored" = Option<bool>, Query, description = "`true` asks the stored rules, also when they are not in force"),
    ),
    responses(
        (status = 200, description = "Which rules match, and who owns it in the end", body = ExplanationView),
        (status = 400, description = "It is no name of a file", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 404, description = "There is no such entry", body = ErrorBody),
    )
)]
async fn explain(State(syncs): State<Syncs>, RawQuery(query): RawQuery, request: Request) -> Response {
    answer(async {
        let caller = caller(request)?;
        let query = Query::read(query.as_deref());
        let name = query.text("name").ok_or_else(|| Error::invalid("name: is missing"))?;
        let (size, stored) = (query.number("size")?, query.flag("stored")?);
        let why = syncs.explain(&caller, name, query.text("entry"), size, !stored).await?;
        Ok(Json(ExplanationView::from(why)).into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/haulier/v1/sync/rules/try", tag = "sync", request_body = Option<RuleList>,
    responses(
        (status = 200, description = "What these rules, or the stored ones, would do", body = EffectView),
        (status = 400, description = "A rule is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
    )
)]
async fn try_rules(State(syncs): State<Syncs>, request: Request) -> Response {
    answer(async {
        let (parts, body) = request.into_parts();
        let (caller, body) = known(&parts, body).await?;
        let bytes = body::read_body(body, BODY_BYTES_MAX).await?;
        let list = if bytes.is_empty() { None } else { Some(read_rules(&bytes)?) };
        Ok(Json(EffectView::from(syncs.try_rules(&caller, list).await?)).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/sync/conflicts", tag = "sync",
    params(
        ("all" = Option<bool>, Query, description = "`true` lists decided ones too"),
        ("after" = Option<String>, Query, description = "The page starts after this id"),
        ("limit" = Option<u64>, Query, description = "At most so many; at most and by default 1000"),
    ),
    responses(
        (status = 200, description = "Conflicts, oldest first", body = ConflictList),
        (status = 400, description = "An option is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
    )
)]
async fn conflicts(State(syncs): State<Syncs>, RawQuery(query): RawQuery, request: Request) -> Response {
    answer(async {
        let caller = caller(request)?;
        let query = Query::read(query.as_deref());
        let (after, limit) = query.page()?;
        let page = syncs.conflicts(&caller, query.flag("all")?, after, limit).await?;
        let conflicts: Vec<_> = page.items.into_iter().map(ConflictView::from).collect();
        let next = conflicts.last().filter(|_| page.more).map(|last| last.id.clone());
        Ok(Json(ConflictList { conflicts, next }).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/sync/conflicts/{id}", tag = "sync",
    params(("id" = String, Path, description = "The conflict")),
    responses(
        (status = 200, description = "The conflict", body = ConflictView),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 404, description = "There is no such conflict", body = ErrorBody),
    )
)]
async fn conflict(State(syncs): State<Syncs>, Path(id): Path<String>, request: Request) -> Response {
    answer(async { Ok(Json(ConflictView::from(syncs.conflict(&caller(request)?, &id).await?)).into_response()) }).await
}

#[utoipa::path(
    post, path = "/haulier/v1/sync/conflicts/{id}/resolve", tag = "sync", request_body = ResolveConflict,
    params(("id" = String, Path, description = "The conflict")),
    responses(
        (status = 200, description = "Decided; what was replaced or removed is kept as an old version", body = ConflictView),
        (status = 400, description = "The body is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 404, description = "There is no such conflict", body = ErrorBody),
        (status = 409, description = "It is decided already, or no running entry has the version that lost", body = ErrorBody),
    )
)]
async fn resolve(State(syncs): State<Syncs>, Path(id): Path<String>, request: Request) -> Response {
    answer(async {
        let (parts, body) = request.into_parts();
        let (caller, body) = known(&parts, body).await?;
        let wanted: ResolveConflict = json_body(&body::read_body(body, BODY_BYTES_MAX).await?)?;
        let resolved = syncs.resolve(&caller, &id, Keep::parse(&wanted.keep)?).await?;
        Ok(Json(ConflictView::from(resolved)).into_response())
    })
    .await
}

#[utoipa::path(
    get, path = "/haulier/v1/sync/versions", tag = "sync",
    params(
        ("name" = Option<String>, Query, description = "Only those of this file"),
        ("after" = Option<String>, Query, description = "The page starts after this id"),
        ("limit" = Option<u64>, Query, description = "At most so many; at most and by default 1000"),
    ),
    responses(
        (status = 200, description = "Old versions, oldest first", body = VersionList),
        (status = 400, description = "An option is wrong", body = ErrorBody),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
    )
)]
async fn versions(State(syncs): State<Syncs>, RawQuery(query): RawQuery, request: Request) -> Response {
    answer(async {
        let caller = caller(request)?;
        let query = Query::read(query.as_deref());
        let (after, limit) = query.page()?;
        let page = syncs.versions(&caller, query.text("name"), after, limit).await?;
        let versions: Vec<_> = page.items.into_iter().map(VersionView::from).collect();
        let next = versions.last().filter(|_| page.more).map(|last| last.id.clone());
        Ok(Json(VersionList { versions, next }).into_response())
    })
    .await
}

#[utoipa::path(
    post, path = "/haulier/v1/sync/versions/{id}/restore", tag = "sync",
    params(("id" = String, Path, description = "The old version")),
    responses(
        (status = 200, description = "It is in its place again; what was there is kept", body = VersionView),
        (status = 401, description = "Nobody said who is asking", body = ErrorBody),
        (status = 403, description = "The caller is no admin", body = ErrorBody),
        (status = 404, description = "There is no such version", body = ErrorBody),
        (status = 409, description = "Its entry does not run, or the file changes just now", body = ErrorBody),
    )
)]
async fn restore(State(syncs): State<Syncs>, Path(id): Path<String>, request: Request) -> Response {
    answer(async {
        let caller = caller_of(request).await?;
        Ok(Json(VersionView::from(syncs.restore(&caller, &id).await?)).into_response())
    })
    .await
}

async fn answer(work: impl Future<Output = Result<Response>>) -> Response {
    work.await.unwrap_or_else(|error| Problem::of(&error).into_response())
}
