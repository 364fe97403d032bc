//! The other entries, opened when something is to be had from them.

use std::collections::{BTreeMap, BTreeSet};

use haulier_base::Result;
use tokio::sync::Mutex;

use super::Carrier;
use crate::driver::Driver;
use crate::model::{EntryName, FileState};
use crate::store::entries;

/// Entries that can give what is wanted.
pub(super) struct Sources<'a> {
    carrier: &'a Carrier,
    open: Mutex<BTreeMap<EntryName, Driver>>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(carrier: &'a Carrier) -> Self {
        Self { carrier, open: Mutex::default() }
    }

    /// The active entries that hold the current version, the most willing first (§4.3 15).
    ///
    /// What is wrong with one of them is told by its own tasks, and does not keep the others from serving.
    pub(super) async fn of(
        &self,
        state: &FileState,
        at: &EntryName,
        active: &BTreeSet<EntryName>,
    ) -> Vec<(EntryName, Driver)> {
        let mut found = Vec::new();
        for holder in state.holders().filter(|holder| *holder != at && active.contains(*holder)) {
            if let Ok(Some(driver)) = self.driver(holder).await {
                found.push((holder.clone(), driver));
            }
        }
        found.sort_by(|(_, one), (_, other)| other.velocity().total_cmp(&one.velocity()));
        found
    }

    /// An entry, open; none when there is none any more.
    pub(super) async fn driver(&self, name: &EntryName) -> Result<Option<Driver>> {
        let mut open = self.open.lock().await;
        if let Some(driver) = open.get(name) {
            return Ok(Some(driver.clone()));
        }
        let entry = entries::find(&mut self.carrier.catalog.read().await?, name).await?;
        let Some(entry) = entry else { return Ok(None) };
        let driver = self.carrier.open(&entry).await?;
        open.insert(name.clone(), driver.clone());
        Ok(Some(driver))
    }
}
