//! What every route of this room does alike: who is asking, the operation id, and how a refusal looks (contract §1).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use haulier_access::Caller;
use haulier_base::{Error, ErrorKind, Result, id};
use haulier_http::problem::Problem;
use utoipa_axum::router::OpenApiRouter;

use crate::header;
use crate::model::ClientId;
use crate::service::Replication;
use crate::service::denial::{Denial, Why};

/// Longest error header, bytes (§1.2).
const ERROR_BYTES_MAX: usize = 512;
/// Longest operation id that is echoed, bytes.
const OP_ID_BYTES_MAX: usize = 128;
/// The role of other sites.
const SITE: &str = "site";
const ADMIN: &str = "admin";

/// Which part answers (§1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    Replicator,
    Accessor,
    Administration,
    Reconciliator,
}

impl Module {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Replicator => "REPLICATOR",
            Self::Accessor => "ACCESSOR",
            Self::Administration => "ADMINISTRATION",
            Self::Reconciliator => "RECONCILIATOR",
        }
    }
}

/// The operation id of a request; a request extension, put there by [`around`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpId(pub(crate) String);

/// An error on its way to the client, with the status where the contract wants another one than the kind's.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) status: Option<StatusCode>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, status: None }
    }
}

impl Refusal {
    /// An error with a status of the contract's.
    pub(crate) fn with(status: StatusCode, error: Error) -> Self {
        Self { error, status: Some(status) }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let status = match denial.why {
            Why::Kind => None,
            Why::Gone => Some(StatusCode::GONE),
            Why::Occupied => Some(StatusCode::NOT_ACCEPTABLE),
        };
        Self { error: denial.error, status }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem::of(&self.error);
        // §4: the routes of this contract know no 503 and no 507.
        let status = self.status.unwrap_or(match problem.status {
            status if status.is_server_error() => StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::PAYLOAD_TOO_LARGE => StatusCode::BAD_REQUEST,
            status => status,
        });
        let said = one_line(&problem.message);
        let mut response = Problem { status, ..problem }.into_response();
        response.headers_mut().insert(header::ERROR, said);
        response
    }
}

/// Lays the conventions around the routes of one part; see [`around`].
pub(crate) fn dressed(routes: OpenApiRouter<Replication>, module: Module) -> OpenApiRouter<Replication> {
    let (router, described) = routes.split_for_parts();
    let router = router.method_not_allowed_fallback(wrong_method).layer(from_fn_with_state(module, around));
    let mut dressed = OpenApiRouter::from(router);
    *dressed.get_openapi_mut() = described;
    dressed
}

async fn wrong_method(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    discard(&parts, body).await;
    let error = Error::invalid(format!("{} is not possible on {}", parts.method, parts.uri.path()));
    Refusal::with(StatusCode::METHOD_NOT_ALLOWED, error).into_response()
}

/// Reads and drops the body of a request that is refused, so that its sender sees the answer. One that waits for
/// leave to send gets the answer instead of the leave.
pub(crate) async fn discard(parts: &Parts, body: Body) {
    if !parts.headers.contains_key(axum::http::header::EXPECT) {
        haulier_http::discard_rest(body).await;
    }
}

/// The conventions: nobody unknown comes further, the operation id, the module, and the error header on every answer
/// of 400 or more, those of the router included.
async fn around(State(module): State<Module>, request: Request, next: Next) -> Response {
    let op_id = op_id(request.headers());
    let head = request.method() == Method::HEAD;
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(OpId(op_id.clone()));
    let mut response = match Caller::from_parts(&parts) {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(unknown) => {
            discard(&parts, body).await;
            Refusal::from(unknown).into_response()
        }
    };
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::MODULE, HeaderValue::from_static(module.as_str()));
    if let Ok(value) = HeaderValue::from_str(&op_id) {
        // A route may know a better one.
        headers.entry(header::OP_ID).or_insert(value);
    }
    if status.is_client_error() || status.is_server_error() {
        let said = headers.remove(header::ERROR);
        let text = said.as_ref().and_then(|value| value.to_str().ok());
        let text = text.unwrap_or_else(|| status.canonical_reason().unwrap_or("refused"));
        let text = format!("{} - {text}", module.as_str());
        headers.insert(header::ERROR, one_line(&text));
        if head && status == StatusCode::NOT_FOUND {
            headers.insert(header::TYPE, HeaderValue::from_static("NONE"));
        }
    }
    response
}

/// One line of printable ASCII.
fn one_line(text: &str) -> HeaderValue {
    let ascii: String = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    let cut = &ascii[..ascii.len().min(ERROR_BYTES_MAX)];
    HeaderValue::from_str(cut).unwrap_or(HeaderValue::from_static("refused"))
}

/// The sender's, if it has one that can be echoed (§1.1).
fn op_id(headers: &HeaderMap) -> String {
    let given = headers.get(header::OP_ID).and_then(|value| value.to_str().ok()).map(str::trim);
    match given {
        Some(text) if !text.is_empty() && text.len() <= OP_ID_BYTES_MAX => text.to_owned(),
        _ => id::ordered_uuid(),
    }
}

/// The operation id of a request.
pub(crate) fn op_id_of(parts: &Parts) -> String {
    parts.extensions.get::<OpId>().map_or_else(id::ordered_uuid, |op| op.0.clone())
}

/// Who is asking, as which client (§1.1, §1.5 3).
///
/// # Errors
/// `Unauthenticated`; `Invalid` without a proper client id; `Forbidden` when the token is another client's.
pub(crate) fn client(parts: &Parts) -> Result<ClientId> {
    let caller = Caller::from_parts(parts)?;
    let given = parts.headers.get(header::CLIENT_ID).and_then(|value| value.to_str().ok());
    let given = given.ok_or_else(|| Error::invalid("the header x-clonecloudstore-client-id is missing"))?;
    let client = ClientId::new(given)?;
    match &caller.client_id {
        Some(bound) if bound != client.as_str() => {
            Err(Error::forbidden(format!("this token is for the client {bound} alone")))
        }
        _ => Ok(client),
    }
}

/// Refuses whoever is neither another site nor an admin (§1.5 4).
///
/// # Errors
/// `Unauthenticated`, `Forbidden`.
pub(crate) fn require_site(parts: &Parts) -> Result<Caller> {
    let caller = Caller::from_parts(parts)?;
    if caller.roles.iter().any(|role| role == SITE || role == ADMIN) {
        return Ok(caller);
    }
    Err(Error::forbidden("this needs the role site or admin"))
}

/// Whether an error says that something is not there.
pub(crate) fn is_absent(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}
