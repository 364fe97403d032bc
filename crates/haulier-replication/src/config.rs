//! The `[replication]` section of the configuration.

use std::time::Duration;

use haulier_base::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::Site;

/// Settings of the replication room; every one has a default.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicationConfig {
    /// Where this site keeps the bytes of its objects: `file` is the folder `objects` in the node's data folder; else a
    /// location, such as `NAME:prefix` or `file:///srv/objects`. Must not change once there are objects.
    pub store: String,
    /// Whether an object that is not here is read from a site that has it.
    pub remote_read: bool,
    /// Whether what such a read finds is also brought here.
    pub fix_on_absent: bool,
    /// Whether sites send each other contents compressed with Zstandard.
    pub compression: bool,
    /// How many days it is remembered that an object or a bucket was deleted, and bytes that lost a conflict are kept,
    /// 1 to 3650. A site that is cut off for longer may bring back what was deleted.
    pub tombstone_days: u64,
    /// How many orders of other sites are applied at once, 1 to 1024.
    pub slots: usize,
}

impl Default for ReplicationConfig {
    fn default() -> Self {
        Self {
            store: "file".to_owned(),
            remote_read: true,
            fix_on_absent: true,
            compression: false,
            tombstone_days: 30,
            slots: 64,
        }
    }
}

impl ReplicationConfig {
    /// Every setting that is out of its range, as `key: what is wrong`.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(1..=3650).contains(&self.tombstone_days) {
            faults.push(format!("tombstone_days: {} is not between 1 and 3650", self.tombstone_days));
        }
        if !(1..=1024).contains(&self.slots) {
            faults.push(format!("slots: {} is not between 1 and 1024", self.slots));
        }
        if self.store.is_empty() {
            faults.push("store: is empty; write \"file\" or a location".to_owned());
        }
        faults
    }

    /// How long tombstones and losers of conflicts are kept.
    pub fn tombstones_for(&self) -> Duration {
        Duration::from_secs(self.tombstone_days * 24 * 3600)
    }
}

/// A site of the configuration's, which goes into the topology when the node starts for the first time.
#[derive(Clone, Debug)]
pub struct NewSite {
    /// The site.
    pub site: Site,
    /// The token that it takes from us.
    pub token: Option<Secret<String>>,
}
