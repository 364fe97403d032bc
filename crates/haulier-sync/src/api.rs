//! Wire types of sync contract §1 and of `/haulier/v1/sync`, one file for each noun.

mod conflicts;
mod entries;
mod files;
mod reading;
mod rules;

use haulier_base::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use conflicts::*;
pub(crate) use entries::*;
pub(crate) use files::*;
pub(crate) use reading::*;
pub(crate) use rules::*;

/// Seconds since 1970 (§1).
fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// An error (§1.1).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// `error`.
    #[schema(example = "error")]
    pub(crate) status: &'static str,
    /// Why.
    #[schema(example = "entry A not found")]
    pub(crate) reason: String,
}
