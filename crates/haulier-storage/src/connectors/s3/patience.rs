//! `Retry-After` inside the client library, which of itself knows another header only.

use std::time::Duration;

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason,
};
use aws_smithy_types::retry::ErrorKind;

use super::trouble::retry_after;

/// Waits as long as the store asks, or leaves a wait that is longer than the library's to the caller.
#[derive(Debug)]
pub(super) struct Patience(pub(super) Duration);

impl ClassifyRetry for Patience {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let response = context.response().filter(|response| matches!(response.status().as_u16(), 429 | 500..=599));
        match response.and_then(retry_after) {
            None => RetryAction::NoActionIndicated,
            Some(wait) if wait > self.0 => RetryAction::RetryForbidden,
            Some(wait) => RetryAction::RetryIndicated(RetryReason::RetryableError {
                kind: ErrorKind::ThrottlingError,
                retry_after: Some(wait),
            }),
        }
    }

    fn name(&self) -> &'static str {
        "Retry-After"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
