//! The `[transfer]` section of the configuration.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Settings of the transfer room; every one has a default.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransferConfig {
    /// How many transfers run at once in one process, 1 to 1024.
    pub slots: usize,
    /// Whether new transfers start by themselves; otherwise they wait for a `start` action
    /// or for an executor process that runs elsewhere.
    pub autostart: bool,
    /// The byte rate that all transfers of this process share, in bytes per second; none is unlimited.
    pub rate_bytes_per_second: Option<u64>,
    /// Size of one part of a parallel read, in bytes, 64 KiB to 1 GiB.
    pub part_size_bytes: u64,
    /// How many parts of one transfer are in flight at once, 1 to 64.
    pub parts_in_flight: usize,
    /// The `id` in the document of versions that `GET /` answers.
    pub service_id: String,
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self {
            slots: 16,
            autostart: true,
            rate_bytes_per_second: None,
            part_size_bytes: 16 << 20,
            parts_in_flight: 4,
            service_id: "haulier".to_owned(),
        }
    }
}

impl TransferConfig {
    /// Every setting that is out of its range, as `key: what is wrong`.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(1..=1024).contains(&self.slots) {
            faults.push(format!("slots: {} is not between 1 and 1024", self.slots));
        }
        if self.rate_bytes_per_second == Some(0) {
            faults.push("rate_bytes_per_second: 0 would move nothing; leave it out for no limit".to_owned());
        }
        if !((64 << 10)..=(1 << 30)).contains(&self.part_size_bytes) {
            faults.push(format!("part_size_bytes: {} is not between 64 KiB and 1 GiB", self.part_size_bytes));
        }
        if !(1..=64).contains(&self.parts_in_flight) {
            faults.push(format!("parts_in_flight: {} is not between 1 and 64", self.parts_in_flight));
        }
        faults
    }
}
