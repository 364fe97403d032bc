//! What the program knows about itself and no help text shows: read by `cargo xtask docs`.

use haulier_storage::{StorageConfig, Storages};
use serde_json::json;

use super::{Exit, Failure, Outcome, Output};
use crate::config::reference::settings;

/// Prints all settings, all kinds of events and what each kind of storage can do, as JSON.
pub(crate) fn run(output: &Output) -> Outcome {
    let events: Vec<_> = haulier_transfer::event_kinds()
        .into_iter()
        .chain(haulier_sync::event_kinds())
        .map(|(kind, meaning)| json!({ "kind": kind, "meaning": meaning }))
        .collect();
    let storages = Storages::new(StorageConfig { allow_any_path: true, ..StorageConfig::default() });
    let matrix = storages.and_then(|storages| storages.matrix());
    let matrix = matrix.map_err(|error| Failure::new("cannot list the storages", error))?;
    let connectors: Vec<_> = matrix
        .into_iter()
        .map(|(scheme, can, copies)| {
            json!({
                "scheme": scheme, "read": can.read, "write": can.write, "list": can.list, "delete": can.delete,
                "ranged_read": can.ranged_read, "parallel_reads": can.parallel_reads,
                "parallel_writes": can.parallel_writes, "resumable_write": can.resumable_write,
                "in_place": can.in_place, "read_back": can.read_back, "store_copy": copies,
                "guarded_write": can.guarded_write, "rename": can.rename, "attributes": can.attributes,
                "checksums": can.checksums,
            })
        })
        .collect();
    let text = json!({ "settings": settings(), "events": events, "connectors": connectors }).to_string();
    output.raw(text.as_bytes());
    Ok(Exit::Done)
}
