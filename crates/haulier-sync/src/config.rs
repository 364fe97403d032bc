//! The `[sync]` section of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::plan::ConflictPolicy;

/// What becomes of the version that loses a conflict (§4.5 33).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictChoice {
    /// It is kept beside the winner, under a name of its own.
    #[default]
    KeepBoth,
    /// It is dropped; it can be had back from the kept versions for a while.
    Newest,
}

impl From<ConflictChoice> for ConflictPolicy {
    fn from(choice: ConflictChoice) -> Self {
        match choice {
            ConflictChoice::KeepBoth => Self::KeepBoth,
            ConflictChoice::Newest => Self::Newest,
        }
    }
}

/// Settings of the sync room; every one has a default.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyncConfig {
    /// What becomes of the older version when a file was changed at two entries: `keep-both` keeps it beside the newer
    /// one, as `NAME.sync-conflict-DATE-TIME-ENTRY`; `newest` drops it.
    #[schema(inline)]
    pub conflict: ConflictChoice,
    /// How many days versions that were replaced or deleted can be had back, 0 to 3650. They lie in `.haulier/kept/` of
    /// each entry.
    pub kept_days: u64,
    /// Web pages of these origins may call the sync API from a browser; `*` is all of them, which lets every page that
    /// anybody opens on this machine change what is synced.
    pub allow_origins: Vec<String>,
    /// How many entries this process carries to at once, 1 to 1024.
    pub slots: usize,
    /// The byte rate that all copies of sync in this process share, in bytes per second; none is unlimited.
    pub rate_bytes_per_second: Option<u64>,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            conflict: ConflictChoice::default(),
            kept_days: 30,
            allow_origins: Vec::new(),
            slots: 64,
            rate_bytes_per_second: None,
        }
    }
}

impl SyncConfig {
    /// Every setting that is out of its range, as `key: what is wrong`.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.kept_days > 3650 {
            faults.push(format!("kept_days: {} is more than 3650", self.kept_days));
        }
        if !(1..=1024).contains(&self.slots) {
            faults.push(format!("slots: {} is not between 1 and 1024", self.slots));
        }
        if self.rate_bytes_per_second == Some(0) {
            faults.push("rate_bytes_per_second: 0 would move nothing; leave it out for no limit".to_owned());
        }
        let origin = |text: &String| text == "*" || text.split_once("://").is_some_and(|(_, host)| !host.contains('/'));
        if let Some(wrong) = self.allow_origins.iter().find(|text| !origin(text)) {
            faults.push(format!("allow_origins: {wrong:?} is not an origin such as https://host:8443, nor *"));
        }
        faults
    }

    /// How long old versions are kept.
    pub fn kept_for(&self) -> Duration {
        Duration::from_secs(self.kept_days * 24 * 3600)
    }
}
