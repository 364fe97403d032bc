//! What a store says when it refuses, as an error of ours: what can be done about it, and no secret.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use haulier_base::{Clock, Error, ErrorKind, SystemClock, Timestamp};

/// We wait no longer than this, whatever the other side asks for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Marks the error of an upload that the store does not know (any more).
pub(super) const NO_SUCH_UPLOAD: &str = "no_such_upload";
/// Marks a range that the object does not have.
pub(super) const BAD_RANGE: &str = "bad_range";

/// Sorts what came of a request. The store's own words go into the log only.
pub(super) fn explain<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let Some(response) = error.raw_response() else { return unanswered(&error) };
    let (status, retry_after) = (response.status().as_u16(), retry_after(response));
    let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    let (code, words) = match error.as_service_error() {
        Some(service) => (service.code().unwrap_or_default(), service.message().unwrap_or_default()),
        None => ("", ""),
    };
    let found = sort(status, code, region.as_deref()).context("status", status).context("code", code);
    let found = if words.is_empty() { found } else { found.context("words", words) };
    match retry_after.filter(|_| found.is_temporary()) {
        Some(wait) => found.retry_after(wait),
        None => found,
    }
}

/// No answer came: the connection, the name or the address is the reason, or an answer that is none.
fn unanswered<E: StdError + 'static>(error: &SdkError<E, HttpResponse>) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut chain = Vec::new();
    while let Some(found) = cause {
        match found.downcast_ref::<NameTrouble>() {
            Some(trouble @ NameTrouble::NotAllowed(_)) => return Error::forbidden(trouble.to_string()),
            Some(trouble @ NameTrouble::Unknown(host)) => {
                return Error::unavailable(trouble.to_string()).context("unknown_host", host);
            }
            None => {}
        }
        chain.push(found.to_string());
        cause = found.source();
    }
    let said = chain.join(": ");
    let certificate = ["certificate", "UnknownIssuer", "NotValidForName"].iter().any(|word| said.contains(word));
    let error = match error {
        SdkError::ConstructionFailure(_) => Error::invalid("the request to the store cannot be made"),
        SdkError::TimeoutError(_) => Error::unavailable("the store does not answer"),
        _ if certificate => Error::unavailable(
            "the store's certificate is not trusted: check the endpoint, or name its authority in ca_file or ca_pem",
        ),
        SdkError::DispatchFailure(_) => Error::unavailable("the store cannot be reached"),
        _ => Error::unavailable("the store's answer cannot be understood"),
    };
    error.context("cause", said)
}

fn sort(status: u16, code: &str, region: Option<&str>) -> Error {
    match (status, code) {
        (_, "NoSuchBucket") => Error::not_found("the store has no such bucket"),
        (_, "NoSuchUpload") => {
            Error::conflict("the unfinished upload is not there any more").context(NO_SUCH_UPLOAD, true)
        }
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => {
            Error::forbidden("the store does not know these credentials: check access_key_id and secret_access_key")
        }
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            Error::unauthenticated("the store does not take the session_token any more: give a new one with its keys")
        }
        (_, "RequestTimeTooSkewed") => {
            Error::unavailable("the store refuses requests because the clocks differ: set this node's clock")
        }
        (301 | 307 | 400, "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed") | (301, _) => {
            Error::invalid(match region {
                Some(region) => format!("the bucket is in another region: set the option region to \"{region}\""),
                None => "the bucket is in another region or at another endpoint: check the options".to_owned(),
            })
        }
        (_, "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch") => {
            Error::corrupt("the store received other bytes than were sent")
        }
        (_, "EntityTooLarge") => Error::too_large("the object is larger than the store takes"),
        (_, "QuotaExceeded" | "XMinioStorageFull" | "ServiceQuotaExceeded" | "InsufficientCapacity") | (507, _) => {
            Error::no_space("no space left in the store, or its quota is used up")
        }
        (501, _) | (_, "NotImplemented") => Error::invalid("the store cannot do this"),
        (400, "InvalidArgument" | "InvalidRequest") => Error::invalid(
            "the store refuses the request: if it does not know the checksum, set checksum_algorithm to another one",
        ),
        (_, "KeyTooLongError") => Error::invalid("the key is longer than the store takes"),
        (416, _) => Error::invalid("the start is beyond the end of the object").context(BAD_RANGE, true),
        (304 | 412, _) => Error::conflict("the object is not the same version any more"),
        (_, "RequestTimeout" | "SlowDown" | "OperationAborted" | "ConditionalRequestConflict")
        | (408 | 425 | 429 | 500..=599, _) => Error::unavailable(match status {
            429 | 503 => "the store asks for fewer requests or is not ready".to_owned(),
            _ => format!("the store answered {status}"),
        }),
        (401, _) => Error::unauthenticated("the store wants to know who is asking: give keys"),
        (403, _) => Error::forbidden("the store does not allow this: check the keys and what they may do"),
        (404, _) => Error::not_found("there is no such object, or no such bucket"),
        (409, _) => Error::conflict("the store says that something else is in the way"),
        (200..=299, _) => Error::unavailable("the store's answer cannot be understood"),
        _ => Error::invalid(format!("the store refuses the request with {status}")),
    }
}

/// How long the store asks to be left alone.
pub(super) fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Timestamp::from_micros(i64::try_from(date.as_micros()).ok()?).since(SystemClock.now())
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The same error once more, for each of those who ask what became of a part.
pub(super) fn again(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message());
    for name in ["status", "code", "words", "cause", NO_SUCH_UPLOAD] {
        if let Some(value) = error.detail(name) {
            copy = copy.context(name, value);
        }
    }
    match error.wait_asked() {
        Some(wait) => copy.retry_after(wait),
        None => copy,
    }
}

/// Whether the store may have done what was asked although it said otherwise, or nothing.
pub(super) fn is_ambiguous(error: &Error) -> bool {
    error.is_temporary() || error.detail(NO_SUCH_UPLOAD).is_some() || error.kind() == ErrorKind::Forbidden
}

/// Why an address is not connected to.
#[derive(Debug)]
pub(super) enum NameTrouble {
    Unknown(String),
    NotAllowed(String),
}

impl fmt::Display for NameTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(host) => write!(f, "the host {host} is unknown"),
            Self::NotAllowed(host) => {
                write!(f, "the address of {host} is not public, and its network is not allowed")
            }
        }
    }
}

impl StdError for NameTrouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_can_be_done() {
        for (status, code, kind) in [
            (404, "NoSuchKey", ErrorKind::NotFound),
            (404, "NoSuchBucket", ErrorKind::NotFound),
            (404, "NoSuchUpload", ErrorKind::Conflict),
            (403, "AccessDenied", ErrorKind::Forbidden),
            (403, "SignatureDoesNotMatch", ErrorKind::Forbidden),
            (400, "ExpiredToken", ErrorKind::Unauthenticated),
            (401, "", ErrorKind::Unauthenticated),
            (412, "PreconditionFailed", ErrorKind::Conflict),
            (400, "BadDigest", ErrorKind::Corrupt),
            (400, "EntityTooLarge", ErrorKind::TooLarge),
            (403, "QuotaExceeded", ErrorKind::NoSpace),
            (507, "", ErrorKind::NoSpace),
            (503, "SlowDown", ErrorKind::Unavailable),
            (429, "", ErrorKind::Unavailable),
            (500, "InternalError", ErrorKind::Unavailable),
            (501, "NotImplemented", ErrorKind::Invalid),
            (400, "InvalidArgument", ErrorKind::Invalid),
            (301, "PermanentRedirect", ErrorKind::Invalid),
        ] {
            assert_eq!(sort(status, code, None).kind(), kind, "{status} {code}");
        }
        assert!(sort(301, "", Some("eu-west-1")).message().contains("eu-west-1"));
    }
}
