//! Wire types of rules, and of what they do and would do (§3), and conversion.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::rules::Step;
use crate::service::{Effect, Explanation};

/// A list of rules (§3.1).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleList {
    /// In order; each `{"match": …, "sync": […], "ban": […]}`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) rules: Value,
}

/// The answer to a change of the rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// With `dry_run=true`: what would happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<EffectView>,
}

impl Done {
    pub(crate) fn new(tried: Option<Effect>) -> Self {
        Self { status: "ok", dry_run: tried.map(EffectView::from) }
    }
}

/// What rules would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EffectView {
    /// Copies that would be made.
    copies: u64,
    /// Bytes of them.
    bytes: u64,
    /// Copies that would be deleted: always 0, because a rule deletes nothing.
    deletes: u64,
    /// Copies that would stay where they are and not be updated any more.
    released: u64,
}

impl From<Effect> for EffectView {
    fn from(effect: Effect) -> Self {
        let Effect { copies, bytes, deletes, released } = effect;
        Self { copies, bytes, deletes, released }
    }
}

/// Why a file belongs where it does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationView {
    filename: String,
    /// The entry that the change is thought to come from; it is the first owner.
    from: String,
    mimetype: String,
    /// Whether these are the rules in force, and not those that are only stored.
    in_force: bool,
    /// Rule by rule, in order.
    steps: Vec<StepView>,
    /// Who owns it in the end.
    owners: Vec<String>,
}

/// What one rule does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    #[serde(flatten)]
    step: Step,
    /// The rule itself.
    #[schema(value_type = Object)]
    text: Value,
}

impl From<Explanation> for ExplanationView {
    fn from(why: Explanation) -> Self {
        let steps = why.steps.into_iter().zip(why.rules).map(|(step, text)| StepView { step, text });
        Self {
            filename: why.filename,
            from: why.from,
            mimetype: why.mimetype,
            in_force: why.in_force,
            steps: steps.collect(),
            owners: why.owners.iter().map(ToString::to_string).collect(),
        }
    }
}
