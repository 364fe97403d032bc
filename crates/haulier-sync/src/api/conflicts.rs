//! Wire types of conflicts, and conversion.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::service::ConflictDocument;

/// A conflict.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConflictView {
    pub(crate) id: String,
    filename: String,
    fid: String,
    /// Whose version is in place.
    winner: String,
    /// Whose version lost.
    loser: String,
    /// Under which name that one is kept; null when the policy dropped it.
    aside: Option<String>,
    /// RFC 3339.
    happened_at: String,
    /// RFC 3339; null until it is decided.
    resolved_at: Option<String>,
    /// `winner`, `loser`, `both`, or `newest` when the policy decided.
    resolution: Option<String>,
}

impl From<ConflictDocument> for ConflictView {
    fn from(conflict: ConflictDocument) -> Self {
        Self {
            id: conflict.id,
            filename: conflict.filename,
            fid: conflict.fid,
            winner: conflict.winner,
            loser: conflict.loser,
            aside: conflict.aside,
            happened_at: conflict.happened_at.to_string(),
            resolved_at: conflict.resolved_at.map(|at| at.to_string()),
            resolution: conflict.resolution,
        }
    }
}

/// A page of conflicts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConflictList {
    pub(crate) conflicts: Vec<ConflictView>,
    /// What to give as `after` for the next page; null when this is the last.
    pub(crate) next: Option<String>,
}

/// How a conflict is decided.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveConflict {
    /// `winner` keeps what is in place and removes the other version; `loser` puts the other version in place; `both`
    /// leaves both as they are.
    #[schema(example = "winner")]
    pub(crate) keep: String,
}
