//! Routes of contract §6.5, and of `/haulier/v1/replication/runs`: extract, call one verb, convert.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header as http};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use haulier_access::Caller;
use haulier_base::{Error, Result};
use haulier_http::body::read_body;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Module, Refusal, client, dressed, op_id_of, require_site};
use crate::api::json::read_object;
use crate::api::reconciliation::{ReconciliationRequest, RunList, RunStarted, RunView, SitesAction, SitesListing};
use crate::content;
use crate::header;
use crate::model::{BucketName, ClientId, SiteId};
use crate::run::{Asked, Run, RunId, RunKind, RunState};
use crate::service::Replication;
use crate::service::runs::RUNS_MAX;

/// Largest body, bytes.
const BODY_BYTES_MAX: usize = 256 << 10;
/// The type of a listing: one JSON object in each line.
const NDJSON: &str = "application/x-ndjson";

/// What a route answers.
type Answer = Result<Response, Refusal>;

pub(super) fn routes() -> OpenApiRouter<Replication> {
    let routes = OpenApiRouter::new()
        .routes(routes!(begin_central))
        .routes(routes!(central))
        .routes(routes!(central_listing))
        .routes(routes!(begin_local))
        .routes(routes!(local))
        .routes(routes!(local_listing))
        .routes(routes!(begin_purge))
        .routes(routes!(purge))
        .routes(routes!(begin_import))
        .routes(routes!(import))
        .routes(routes!(sync))
        .routes(routes!(list_runs))
        .routes(routes!(run))
        .routes(routes!(act));
    dressed(routes, Module::Reconciliator)
}

fn require_admin(parts: &Parts) -> Result<()> {
    Caller::from_parts(parts)?.require_admin()
}

/// The client of a request, where saying it is not needed.
fn given_client(parts: &Parts) -> Result<Option<ClientId>> {
    parts.headers.contains_key(header::CLIENT_ID).then(|| client(parts)).transpose()
}

/// 206 while it goes on, 200 when it is over (§6.5).
fn progress(replication: &Replication, run: &Run) -> Response {
    let status = if run.state.is_over() { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    (status, Json(ReconciliationRequest::new(run, replication.here()))).into_response()
}

fn started(run: &Run) -> Response {
    (StatusCode::ACCEPTED, Json(RunStarted { id: run.id.asked().to_owned() })).into_response()
}

async fn request_of(body: Body) -> Result<ReconciliationRequest> {
    read_object(&read_body(body, BODY_BYTES_MAX).await?)
}

/// A whole number in a header.
fn seconds(parts: &Parts) -> Result<Option<u64>> {
    let name = header::EXPIRED_SECONDS;
    let Some(text) = content::text(&parts.headers, &name)? else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds: &u64| *seconds <= u64::from(u32::MAX));
    seconds.map(Some).ok_or_else(|| Error::invalid(format!("{name}: {text:?} is no number of seconds")))
}

/// Where a listing is to go on.
fn after(query: Option<&str>) -> String {
    parameter(query, "after").unwrap_or_default()
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[utoipa::path(
    post, path = "/reconciliator/central/requests", tag = "reconciliation", request_body = ReconciliationRequest,
    responses(
        (status = 202, description = "Begun", body = ReconciliationRequest),
        (status = 400, description = "A member is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "No site knows the bucket"),
    )
)]
async fn begin_central(State(replication): State<Replication>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    require_admin(&parts)?;
    let client = given_client(&parts)?;
    let run = replication.begin_central(request_of(body).await?, client, &op_id_of(&parts)).await?;
    let told = ReconciliationRequest::new(&run, replication.here());
    Ok((StatusCode::ACCEPTED, Json(told)).into_response())
}

#[utoipa::path(
    get, path = "/reconciliator/central/requests/{id}", tag = "reconciliation",
    params(("id" = String, Path, description = "The id of the request")),
    responses(
        (status = 200, description = "It is over", body = ReconciliationRequest),
        (status = 206, description = "It goes on", body = ReconciliationRequest),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is none"),
    )
)]
async fn central(State(replication): State<Replication>, Path(id): Path<String>, request: Request) -> Answer {
    require_admin(&request.into_parts().0)?;
    Ok(progress(&replication, &replication.run(&RunId::new(id)?, Some(RunKind::Central)).await?))
}

#[utoipa::path(
    get, path = "/reconciliator/central/requests/{id}/listing/{site}", tag = "reconciliation",
    params(
        ("id" = String, Path, description = "The id of the request"),
        ("site" = String, Path, description = "The site that something is to be done at"),
        ("after" = Option<String>, Query, description = "The listing starts after this name"),
    ),
    responses(
        (status = 200, description = "What is to be done there, a line each", body = SitesAction, content_type = "application/x-ndjson"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is none, or it is not about that site"),
        (status = 409, description = "It is not computed yet"),
    )
)]
async fn central_listing(
    State(replication): State<Replication>,
    Path((id, site)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    require_admin(&request.into_parts().0)?;
    let run = replication.run(&RunId::new(id)?, Some(RunKind::Central)).await?;
    let site = SiteId::new(site)?;
    if !run.sites().contains(&site) {
        return Err(Error::not_found(format!("the request is not about the site {site}")).into());
    }
    if !run.state.is_over() && run.point.get("phase").and_then(|phase| phase.as_str()) != Some("send") {
        return Err(Error::conflict("what is to be done is not computed yet").into());
    }
    Ok(lines(after(query.as_deref()), move |after| {
        let (replication, run, site) = (replication.clone(), run.clone(), site.clone());
        async move {
            let page = replication.actions(&run, &site, &after).await?;
            let last = page.items.last().map(|(name, _)| name.to_string());
            let lines = page.items.into_iter().map(|action| SitesAction::new(&run, action));
            Ok((ndjson(lines)?, last.filter(|_| page.more)))
        }
    }))
}

#[utoipa::path(
    post, path = "/reconciliator/local/requests", tag = "reconciliation", request_body = ReconciliationRequest,
    responses(
        (status = 202, description = "Begun, or begun before", body = ReconciliationRequest),
        (status = 400, description = "A member is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is neither a site nor an admin"),
    )
)]
async fn begin_local(State(replication): State<Replication>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    require_site(&parts)?;
    let run = replication.begin_local(request_of(body).await?).await?;
    let told = ReconciliationRequest::new(&run, replication.here());
    Ok((StatusCode::ACCEPTED, Json(told)).into_response())
}

#[utoipa::path(
    get, path = "/reconciliator/local/requests/{id}", tag = "reconciliation",
    params(("id" = String, Path, description = "The id of the central site's request")),
    responses(
        (status = 200, description = "It is over", body = ReconciliationRequest),
        (status = 206, description = "It goes on", body = ReconciliationRequest),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is neither a site nor an admin"),
        (status = 404, description = "There is none"),
    )
)]
async fn local(State(replication): State<Replication>, Path(id): Path<String>, request: Request) -> Answer {
    require_site(&request.into_parts().0)?;
    Ok(progress(&replication, &replication.run(&RunId::new(id)?.local(), Some(RunKind::Local)).await?))
}

#[utoipa::path(
    get, path = "/reconciliator/local/requests/{id}/listing", tag = "reconciliation",
    params(
        ("id" = String, Path, description = "The id of the central site's request"),
        ("after" = Option<String>, Query, description = "The listing starts after this name"),
    ),
    responses(
        (status = 200, description = "What this site has, a line each, in the order of names", body = SitesListing, content_type = "application/x-ndjson"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is neither a site nor an admin"),
        (status = 404, description = "There is none"),
        (status = 409, description = "It is not complete yet, or never will be"),
    )
)]
async fn local_listing(
    State(replication): State<Replication>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    require_site(&request.into_parts().0)?;
    let run = replication.run(&RunId::new(id)?.local(), Some(RunKind::Local)).await?;
    if run.state != RunState::Done {
        return Err(Error::conflict(format!("the listing is not complete: the run is {}", run.state)).into());
    }
    Ok(lines(after(query.as_deref()), move |after| {
        let (replication, run) = (replication.clone(), run.clone());
        async move {
            let page = replication.findings(&run, &after).await?;
            let last = page.items.last().map(|finding| finding.name.to_string());
            let lines = page.items.into_iter().map(|finding| SitesListing::new(&run, finding));
            Ok((ndjson(lines)?, last.filter(|_| page.more)))
        }
    }))
}

fn ndjson<T: Serialize>(lines: impl Iterator<Item = T>) -> Result<Bytes> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &line)
            .map_err(|error| Error::internal("a line could not be written as JSON").caused_by(error))?;
        text.push(b'\n');
    }
    Ok(Bytes::from(text))
}

/// An answer that is read piece by piece, as fast as it is taken.
fn lines<F, P>(from: String, piece: F) -> Response
where
    F: Fn(String) -> P + Send + 'static,
    P: Future<Output = Result<(Bytes, Option<String>)>> + Send + 'static,
{
    let pieces = pieces(from, piece);
    ([(http::CONTENT_TYPE, HeaderValue::from_static(NDJSON))], Body::from_stream(pieces)).into_response()
}

fn pieces<F, P>(from: String, piece: F) -> impl Stream<Item = Result<Bytes>> + Send
where
    F: Fn(String) -> P + Send + 'static,
    P: Future<Output = Result<(Bytes, Option<String>)>> + Send + 'static,
{
    stream::try_unfold((Some(from), piece), |(from, piece)| async move {
        let Some(from) = from else { return Ok(None) };
        let (bytes, next) = piece(from).await?;
        Ok(Some((bytes, (next, piece))))
    })
}

#[utoipa::path(
    post, path = "/reconciliator/purge", tag = "reconciliation",
    params(
        ("x-clonecloudstore-client-id" = String, Header, description = "Whose buckets are purged"),
        ("x-clonecloudstore-expired-seconds" = Option<u64>, Header, description = "How long it is remembered that an expired object was deleted; as configured when absent"),
        ("x-clonecloudstore-archive-bucket" = Option<String>, Header, description = "A bucket of the client's that expired objects are copied to first"),
    ),
    responses(
        (status = 202, description = "Begun", body = RunStarted),
        (status = 400, description = "A header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is no such bucket to archive to"),
    )
)]
async fn begin_purge(State(replication): State<Replication>, request: Request) -> Answer {
    let parts = request.into_parts().0;
    require_admin(&parts)?;
    let archive = content::text(&parts.headers, &header::ARCHIVE_BUCKET)?;
    Ok(started(&replication.begin_purge(client(&parts)?, seconds(&parts)?, archive).await?))
}

#[utoipa::path(
    get, path = "/reconciliator/purge/{id}", tag = "reconciliation",
    params(("id" = String, Path, description = "The id that the request was given")),
    responses(
        (status = 200, description = "It is over", body = ReconciliationRequest),
        (status = 206, description = "It goes on", body = ReconciliationRequest),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is none"),
    )
)]
async fn purge(State(replication): State<Replication>, Path(id): Path<String>, request: Request) -> Answer {
    require_admin(&request.into_parts().0)?;
    Ok(progress(&replication, &replication.run(&RunId::new(id)?, Some(RunKind::Purge)).await?))
}

#[utoipa::path(
    post, path = "/reconciliator/import/{bucket}", tag = "reconciliation",
    params(
        ("bucket" = String, Path, description = "The bucket; its files lie under `import/{bucket}/` of the store"),
        ("x-clonecloudstore-client-id" = String, Header, description = "The owner of the bucket"),
        ("x-clonecloudstore-expired-seconds" = Option<u64>, Header, description = "After how long the objects expire; never when absent or 0"),
        ("x-clonecloudstore-metadata" = Option<String>, Header, description = "Given to every object: a JSON object of texts"),
    ),
    responses(
        (status = 202, description = "Begun", body = RunStarted),
        (status = 400, description = "A header is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin, or the bucket is another client's"),
        (status = 404, description = "There is no such bucket"),
    )
)]
async fn begin_import(State(replication): State<Replication>, Path(bucket): Path<String>, request: Request) -> Answer {
    let parts = request.into_parts().0;
    require_admin(&parts)?;
    let client = client(&parts)?;
    let metadata = content::text(&parts.headers, &header::METADATA)?;
    let metadata = metadata.map(|text| content::read_metadata(&text)).transpose()?.unwrap_or_default();
    let asked = Asked { expired_seconds: seconds(&parts)?, metadata, ..Asked::default() };
    Ok(started(&replication.begin_import(client, BucketName::new(bucket)?, asked).await?))
}

#[utoipa::path(
    get, path = "/reconciliator/import/{bucket}/{id}", tag = "reconciliation",
    params(
        ("bucket" = String, Path, description = "The bucket"),
        ("id" = String, Path, description = "The id that the request was given"),
    ),
    responses(
        (status = 200, description = "It is over", body = ReconciliationRequest),
        (status = 206, description = "It goes on", body = ReconciliationRequest),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is none"),
    )
)]
async fn import(
    State(replication): State<Replication>,
    Path((bucket, id)): Path<(String, String)>,
    request: Request,
) -> Answer {
    require_admin(&request.into_parts().0)?;
    let bucket = BucketName::new(bucket)?;
    let run = replication.run(&RunId::new(id)?, Some(RunKind::Import)).await?;
    if run.bucket.as_ref() != Some(&bucket) {
        return Err(Error::not_found(format!("there is no such import into the bucket {bucket}")).into());
    }
    Ok(progress(&replication, &run))
}

#[utoipa::path(
    post, path = "/reconciliator/sync/{bucket}", tag = "reconciliation",
    params(
        ("bucket" = String, Path, description = "The bucket"),
        ("x-clonecloudstore-target-id" = String, Header, description = "The site that gets every object of it"),
    ),
    responses(
        (status = 202, description = "Begun", body = RunStarted),
        (status = 400, description = "The site is missing or this one"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is no such bucket or site"),
    )
)]
async fn sync(State(replication): State<Replication>, Path(bucket): Path<String>, request: Request) -> Answer {
    let parts = request.into_parts().0;
    require_admin(&parts)?;
    let bucket = BucketName::new(bucket)?;
    let target = content::text(&parts.headers, &header::TARGET_ID)?;
    let target = target.ok_or_else(|| Error::invalid("the header x-clonecloudstore-target-id is missing"))?;
    Ok(started(&replication.begin_push(bucket, SiteId::new(target)?).await?))
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/runs", tag = "replication",
    params(
        ("before" = Option<String>, Query, description = "The page starts after this run"),
        ("limit" = Option<u64>, Query, description = "At most so many; at most 1000, and 100 when absent"),
    ),
    responses(
        (status = 200, description = "Runs of this site, the newest first", body = RunList),
        (status = 400, description = "An option is wrong"),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
    )
)]
async fn list_runs(State(replication): State<Replication>, RawQuery(query): RawQuery, request: Request) -> Answer {
    require_admin(&request.into_parts().0)?;
    let before = parameter(query.as_deref(), "before").unwrap_or_default();
    let limit = match parameter(query.as_deref(), "limit") {
        None => 100,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=RUNS_MAX).contains(limit))
            .ok_or_else(|| Error::invalid(format!("limit: {text:?} is no number from 1 to {RUNS_MAX}")))?,
    };
    let page = replication.runs(&before, limit).await?;
    let runs: Vec<_> = page.items.iter().map(|run| RunView::new(run, replication.here())).collect();
    let next = runs.last().filter(|_| page.more).map(|run| run.run.clone());
    Ok(Json(RunList { runs, next }).into_response())
}

#[utoipa::path(
    get, path = "/haulier/v1/replication/runs/{run}", tag = "replication",
    params(("run" = String, Path, description = "The run, as the list has it")),
    responses(
        (status = 200, description = "How far it is", body = RunView),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is none"),
    )
)]
async fn run(State(replication): State<Replication>, Path(id): Path<String>, request: Request) -> Answer {
    require_admin(&request.into_parts().0)?;
    let run = replication.run(&RunId::stored(id), None).await?;
    Ok(Json(RunView::new(&run, replication.here())).into_response())
}

#[utoipa::path(
    post, path = "/haulier/v1/replication/runs/{run}/{verb}", tag = "replication",
    params(
        ("run" = String, Path, description = "The run, as the list has it"),
        ("verb" = String, Path, description = "`pause`, `resume` or `cancel`"),
    ),
    responses(
        (status = 200, description = "It is so now", body = RunView),
        (status = 401, description = "Nobody said who is asking"),
        (status = 403, description = "The caller is no admin"),
        (status = 404, description = "There is no such run or verb"),
        (status = 409, description = "It is over"),
    )
)]
async fn act(
    State(replication): State<Replication>,
    Path((id, verb)): Path<(String, String)>,
    request: Request,
) -> Answer {
    require_admin(&request.into_parts().0)?;
    let to = match verb.as_str() {
        "pause" => RunState::Paused,
        "resume" => RunState::Running,
        "cancel" => RunState::Canceled,
        _ => return Err(Error::not_found(format!("{verb:?} is none of pause, resume, cancel")).into()),
    };
    let run = replication.turn_run(&RunId::stored(id), to).await?;
    Ok(Json(RunView::new(&run, replication.here())).into_response())
}
