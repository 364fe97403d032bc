//! The only place where an `ErrorKind` becomes a status, and where an error is made fit to be shown.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use haulier_base::{Error, ErrorKind};

use crate::openapi::{ErrorBody, ErrorDetail};

/// The status of each kind.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unavailable | ErrorKind::LostLease | ErrorKind::Canceled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a client may be told about an error. Rooms render it in their contract's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status to answer with.
    pub status: StatusCode,
    /// The kind's name.
    pub code: &'static str,
    /// One readable sentence without internals.
    pub message: String,
    /// What to put into `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// Sorts an error, hides what is ours, and logs faults once, here: call it where the error is answered.
    pub fn of(error: &Error) -> Self {
        let kind = error.kind();
        let status = status_of(kind);
        if status.is_server_error() {
            tracing::error!(error.kind = kind.as_str(), error.chain = ?error, "request failed: {error}");
        }
        let message = match kind {
            ErrorKind::Internal | ErrorKind::Corrupt => "the server failed; its log has the details".to_owned(),
            ErrorKind::LostLease => "the work moved to another process; try again".to_owned(),
            _ => error.message().to_owned(),
        };
        Self { status, code: kind.as_str(), message, retry_after: error.wait_asked() }
    }

    /// The value of a `Retry-After` header, in whole seconds, never rounded down to zero.
    pub fn retry_after_header(&self) -> Option<HeaderValue> {
        let wait = self.retry_after?;
        Some(HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
    }
}

impl IntoResponse for Problem {
    /// The shape used by routes that belong to no contract.
    fn into_response(self) -> Response {
        let retry_after = self.retry_after_header();
        let body = ErrorBody { error: ErrorDetail { code: self.code.to_owned(), message: self.message } };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(wait) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internals_are_hidden_and_the_rest_is_said() {
        let hidden = Problem::of(&Error::internal("table tasks is gone").context("path", "/var/lib"));
        assert_eq!((hidden.status.as_u16(), hidden.code), (500, "internal"));
        assert!(!hidden.message.contains("tasks"), "{}", hidden.message);

        let said = Problem::of(&Error::not_found("there is no transfer \"x\""));
        assert_eq!((said.status.as_u16(), said.message.as_str()), (404, "there is no transfer \"x\""));
    }

    #[test]
    fn a_wait_is_rounded_up() {
        let busy = Problem::of(&Error::unavailable("busy").retry_after(Duration::from_millis(1200)));
        assert_eq!(busy.into_response().headers()[header::RETRY_AFTER], "2");
    }
}
