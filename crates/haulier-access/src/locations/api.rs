//! Wire types of `/haulier/v1/locations`, and their conversion.

use haulier_base::{Error, Result};
use haulier_storage::Storages;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::model::{NamedLocation, Origin};
use super::service::NewLocation;
use super::trial::Trial;

/// A request for a location.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateLocation {
    /// 2 to 63 lower-case letters, digits or `-`, a letter first; no scheme of URLs.
    #[schema(example = "archive")]
    name: String,
    /// What `NAME:path` appends its path to.
    #[schema(example = "s3://bucket/prefix")]
    url: String,
    /// The connector's options. Secrets are stored sealed and shown as `***`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    options: Value,
}

impl CreateLocation {
    /// Reads a body; what is wrong is named.
    pub(super) fn read(body: &[u8]) -> Result<NewLocation> {
        let read: Self =
            serde_json::from_slice(body).map_err(|e| Error::invalid(format!("the body is not a location: {e}")))?;
        let options = match read.options {
            Value::Null => json!({}),
            Value::Object(_) => read.options,
            _ => return Err(Error::invalid("options: must be an object")),
        };
        Ok(NewLocation { name: read.name, url: read.url, options })
    }
}

/// How a location is tried.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TryLocation {
    /// Also write, read and delete a small object.
    #[serde(default)]
    pub(super) write: bool,
}

/// A location, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LocationView {
    /// Stands before the colon of `NAME:path`.
    name: String,
    /// What paths are appended to.
    url: String,
    /// The connector's options, secrets replaced by `***`.
    #[schema(value_type = Object)]
    options: Value,
    /// `api` or `configuration`.
    origin: &'static str,
    /// RFC 3339; null for a location of the configuration.
    created_at: Option<String>,
}

impl LocationView {
    pub(super) fn new(location: NamedLocation) -> Self {
        Self {
            options: Storages::redact_options(&location.url, &location.options),
            url: Storages::redact_url(&location.url),
            name: location.name,
            origin: match location.origin {
                Origin::Api => "api",
                Origin::Configuration => "configuration",
            },
            created_at: location.created_at.map(|at| at.to_string()),
        }
    }
}

/// Some locations, in the order of names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LocationList {
    /// The locations.
    pub(super) locations: Vec<LocationView>,
    /// Give it as `after` for the next page; null on the last one.
    pub(super) next: Option<String>,
}

/// What came of trying a location.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrialView {
    /// Whether every step worked.
    ok: bool,
    /// What was tried, in order, up to the first failure.
    steps: Vec<TrialStepView>,
}

/// One step of a trial.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrialStepView {
    /// `open`, `list`, `write`, `read` or `delete`.
    step: &'static str,
    /// Whether it worked.
    ok: bool,
    /// How long it took, milliseconds.
    took_ms: u64,
    /// Why it failed.
    error: Option<String>,
}

impl From<Trial> for TrialView {
    fn from(trial: Trial) -> Self {
        let ok = trial.worked();
        let steps = trial.steps.into_iter().map(|step| TrialStepView {
            step: step.step,
            ok: step.error.is_none(),
            took_ms: u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX),
            error: step.error,
        });
        Self { ok, steps: steps.collect() }
    }
}
