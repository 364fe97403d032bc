//! Routes of backup contract §1: extract, call one verb, convert. Those of our own are in `http/own.rs`.

mod identity;
mod own;

use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use axum::{Json, Router};
use futures::stream;
use haulier_access::Caller;
use haulier_base::{Error, ErrorKind, Page, Result};
use haulier_http::{body, media, problem};
use serde_json::json;

use crate::api::{self, Fault};
use crate::job::Event;
use crate::model::{Document, Kind};
use crate::service::{Backups, List, Listing};
use crate::session::Action;

pub use identity::identity_router;
pub use own::{own_openapi, own_router};

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
const HOME: HeaderValue = HeaderValue::from_static("application/json-home");

/// What a route does.
#[derive(Clone, Copy, Debug)]
enum Verb {
    List,
    Create,
    Get,
    Put,
    Patch,
    Delete,
    Event,
    Act,
    AddJob,
    RemoveJob,
}

/// The routes below `/v1`, and nothing for other paths. Requests must already have passed the authenticator's layer.
pub fn router(backups: Backups) -> Router {
    routes().method_not_allowed_fallback(wrong_method).with_state(backups)
}

/// The same with an answer to every other path: for requests whose path is not known to be one of them.
pub fn below_v1(backups: Backups) -> Router {
    router(backups).fallback(unknown_path)
}

/// `GET /`: the versions of the API (backup contract §4).
pub fn versions_router() -> Router {
    let versions = async || (StatusCode::MULTIPLE_CHOICES, Json(api::versions()));
    // Nobody is asked who he is here.
    let wrong_method = async || Refusal::of(StatusCode::METHOD_NOT_ALLOWED, "the list of versions can only be read");
    Router::new().route("/", get(versions)).method_not_allowed_fallback(wrong_method)
}

/// The OpenAPI description of [`router`].
pub fn openapi() -> utoipa::openapi::OpenApi {
    api::description::openapi()
}

fn routes() -> Router<Backups> {
    let home = async || ([(header::CONTENT_TYPE, HOME)], api::home().to_string());
    let mut routes = Router::new();
    routes = both(routes, "/v1", get(home));
    routes = both(routes, "/v1/health", get(async || StatusCode::OK));
    for kind in Kind::ALL {
        let all = at(MethodFilter::GET, kind, Verb::List).merge(at(MethodFilter::POST, kind, Verb::Create));
        let mut one = at(MethodFilter::GET, kind, Verb::Get).merge(at(MethodFilter::DELETE, kind, Verb::Delete));
        if !matches!(kind, Kind::Backup | Kind::Client) {
            one = one.merge(at(MethodFilter::POST, kind, Verb::Put)).merge(at(MethodFilter::PATCH, kind, Verb::Patch));
        }
        routes = both(routes, &format!("/v1/{}", kind.plural()), all);
        routes = both(routes, &format!("/v1/{}/{{id}}", kind.plural()), one);
    }
    routes = both(routes, "/v1/jobs/{id}/event", at(MethodFilter::POST, Kind::Job, Verb::Event));
    routes = both(routes, "/v1/sessions/{id}/action", at(MethodFilter::POST, Kind::Session, Verb::Act));
    let member = at(MethodFilter::PUT, Kind::Session, Verb::AddJob);
    let member = member.merge(at(MethodFilter::DELETE, Kind::Session, Verb::RemoveJob));
    both(routes, "/v1/sessions/{id}/jobs/{job_id}", member)
}

/// A trailing slash means the same resource.
fn both(routes: Router<Backups>, path: &str, methods: MethodRouter<Backups>) -> Router<Backups> {
    routes.route(path, methods.clone()).route(&format!("{path}/"), methods)
}

type Ids = Result<RawPathParams, RawPathParamsRejection>;
fn at(method: MethodFilter, kind: Kind, verb: Verb) -> MethodRouter<Backups> {
    on(method, move |State(backups): State<Backups>, ids: Ids, request: Request| {
        serve(backups, kind, verb, ids, request)
    })
}

/// Finds out who asks, reads the body within bounds, and does what the route says.
async fn serve(backups: Backups, kind: Kind, verb: Verb, ids: Ids, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let checked =
        Caller::from_parts(&parts).map_err(Refusal::from).and_then(|caller| match media::admits_json(&parts.headers) {
            true => Ok(caller),
            false => Err(Refusal::of(StatusCode::NOT_ACCEPTABLE, "this API answers application/json")),
        });
    let caller = match checked {
        Ok(caller) => caller,
        Err(refusal) => {
            body::discard_rest(body).await;
            return refusal.into_response();
        }
    };
    let answer = async {
        let bytes = body::read_body(body, BODY_BYTES_MAX).await?;
        // Only a path that is not UTF-8 is rejected; no document has such an identifier.
        let ids: Vec<String> = match &ids {
            Ok(ids) => ids.iter().map(|(_, value)| value.to_owned()).collect(),
            Err(_) => vec!["\u{FFFD}".to_owned(); 2],
        };
        let id = |place: usize| ids.get(place).map_or("", String::as_str);
        let text = api::read_text(&bytes);
        carry_out(&backups, &caller, kind, verb, (id(0), id(1)), parts.uri.query(), text).await
    };
    answer.await.unwrap_or_else(|error: Error| Refusal::from(error).into_response())
}

async fn carry_out(
    backups: &Backups,
    caller: &Caller,
    kind: Kind,
    verb: Verb,
    (id, job_id): (&str, &str),
    query: Option<&str>,
    text: Result<&str>,
) -> Result<Response> {
    let object = |text: Result<&str>| api::read_object(text?);
    let changed = |status: StatusCode, version: i64| {
        (status, Json(json!({ kind.id_member(): id, "version": version }))).into_response()
    };
    Ok(match verb {
        Verb::List => return list(backups, caller, api::read_list(kind, query, text?)?).await,
        Verb::Create => {
            let text = text?;
            let id = backups.create(caller, kind, api::read_object(text)?, text).await?;
            (StatusCode::CREATED, Json(json!({ kind.id_member(): id }))).into_response()
        }
        Verb::Get => one(&backups.get(caller, kind, id).await?),
        Verb::Put => changed(StatusCode::CREATED, backups.put(caller, kind, id, object(text)?).await?),
        Verb::Patch => changed(StatusCode::OK, backups.patch(caller, kind, id, object(text)?).await?),
        Verb::Delete => {
            backups.delete(caller, kind, id).await?;
            StatusCode::NO_CONTENT.into_response()
        }
        Verb::Event => {
            let event = Event::read(api::read_first(text?)?.as_ref().map(|(name, _)| name.as_str()))?;
            (StatusCode::ACCEPTED, Json(json!({ "result": backups.event(caller, id, event).await? }))).into_response()
        }
        Verb::Act => {
            let first = api::read_first(text?)?;
            let action = Action::read(first.as_ref().map(|(name, value)| (name.as_str(), value)))?;
            let outcome = backups.act(caller, id, &action).await?;
            let answer = json!({ "result": outcome.result, "session_tag": outcome.tag });
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        Verb::AddJob => {
            backups.add_job(caller, id, job_id).await?;
            StatusCode::NO_CONTENT.into_response()
        }
        Verb::RemoveJob => {
            backups.remove_job(caller, id, job_id).await?;
            StatusCode::NO_CONTENT.into_response()
        }
    })
}

fn one(document: &Document) -> Response {
    json_text(document.with_version())
}

fn json_text(text: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text.into()).into_response()
}

/// Answers a list: at once when it is short, otherwise a chunk at a time, so that its length costs no memory.
async fn list(backups: &Backups, caller: &Caller, list: List) -> Result<Response> {
    let kind = list.kind;
    let mut listing = backups.list(caller, list).await;
    let first = backups.list_chunk(&mut listing).await?;
    let more = first.more;
    let mut text = format!("{{\"{}\":[", kind.plural());
    append(&mut text, first, false);
    if !more {
        return Ok(json_text(text));
    }
    let state = Some((backups.clone(), listing));
    let rest = stream::try_unfold(state, async |state: Option<(Backups, Listing)>| {
        let Some((backups, mut listing)) = state else { return Ok::<_, Error>(None) };
        let page = backups.list_chunk(&mut listing).await?;
        let more = page.more;
        let mut text = String::new();
        append(&mut text, page, true);
        Ok(Some((Bytes::from(text), more.then_some((backups, listing)))))
    });
    let first = stream::once(std::future::ready(Ok(Bytes::from(text))));
    Ok(json_text(Body::from_stream(futures::StreamExt::chain(first, rest))))
}

/// Writes documents that are JSON already, and the end of the list after the last one.
fn append(text: &mut String, page: Page<String>, opened: bool) {
    for (index, body) in page.items.iter().enumerate() {
        if opened || index > 0 {
            text.push(',');
        }
        text.push_str(body);
    }
    if !page.more {
        text.push_str("]}");
    }
}

async fn unknown_path(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    body::discard_rest(body).await;
    let error = Caller::from_parts(&parts).err();
    Refusal::from(error.unwrap_or_else(|| Error::not_found(format!("there is no {}", parts.uri.path()))))
        .into_response()
}

async fn wrong_method(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    body::discard_rest(body).await;
    let refusal = match Caller::from_parts(&parts) {
        Err(error) => error.into(),
        Ok(_) => Refusal::of(
            StatusCode::METHOD_NOT_ALLOWED,
            &format!("{} is not possible on {}", parts.method, parts.uri.path()),
        ),
    };
    refusal.into_response()
}

/// A request that is not carried out.
struct Refusal {
    status: StatusCode,
    fault: Fault,
    retry_after: Option<HeaderValue>,
}

impl Refusal {
    fn of(status: StatusCode, description: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { status, fault: Fault { title, description: description.to_owned() }, retry_after: None }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let problem = problem::Problem::of(&error);
        let named = error.detail("title");
        let status = match named {
            // An action that a session does not have (backup contract §2).
            Some("Bad Method") => StatusCode::METHOD_NOT_ALLOWED,
            _ => problem.status,
        };
        let title = named.unwrap_or(match error.kind() {
            ErrorKind::Invalid => "Bad request format",
            ErrorKind::Forbidden => "Access Forbidden",
            ErrorKind::NotFound => "Not Found",
            ErrorKind::Conflict => "Document already existing",
            _ if status.is_server_error() => "Internal Storage Error",
            _ => status.canonical_reason().unwrap_or("Error"),
        });
        let retry_after = problem.retry_after_header();
        Self { status, fault: Fault { title: title.to_owned(), description: problem.message }, retry_after }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.fault)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, wait);
        }
        response
    }
}
