//! What the program knows about itself and no help text shows: read by `cargo xtask docs`.

use serde_json::json;

use super::{Exit, Outcome, Output};
use crate::config::reference::settings;

/// Prints all settings and all kinds of events as JSON.
pub(crate) fn run(output: &Output) -> Outcome {
    let events: Vec<_> = haulier_transfer::event_kinds()
        .into_iter()
        .map(|(kind, meaning)| json!({ "kind": kind, "meaning": meaning }))
        .collect();
    let text = json!({ "settings": settings(), "events": events }).to_string();
    output.raw(text.as_bytes());
    Ok(Exit::Done)
}
