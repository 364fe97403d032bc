//! What an entry's work costs (§1.5).

use std::time::Duration;

use haulier_access::Caller;
use haulier_base::{Error, Result, Timestamp};

use super::{Syncs, entries};
use crate::meter::ProcessFigures;
use crate::store::entries::Wanted;

/// Measured figures of an entry that runs; those of memory are the server process's.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Its name.
    pub name: String,
    /// Since it was started.
    pub age: Duration,
    /// Percent of one processor since the last call.
    pub cpu: f64,
    /// When this process began to serve sync.
    pub created_at: Timestamp,
    /// When it was started.
    pub started_at: Timestamp,
    /// Time of processors that its tasks have used since it was started, in this process.
    pub cpu_time: Duration,
    /// Percent of the machine's memory.
    pub memory_share: f64,
    /// Bytes in memory.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// When this was so.
    pub time: Timestamp,
}

impl Syncs {
    /// What the work of an entry costs.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is stopped.
    pub async fn stats(&self, _caller: &Caller, name: &str) -> Result<Stats> {
        let mut tx = self.inner.catalog.read().await?;
        let entry = entries::find(&mut tx, name).await?;
        if entry.wanted == Wanted::Stopped {
            return Err(Error::conflict(format!("entry {name} is not running")));
        }
        let time = tx.now();
        drop(tx);
        let started_at = entry.started_at.unwrap_or(time);
        let meter = self.inner.meters.of(&entry.name);
        let process = ProcessFigures::read();
        Ok(Stats {
            name: name.to_owned(),
            age: time.since(started_at),
            cpu: meter.share(started_at, time),
            // The entry cannot have begun before what runs it.
            created_at: self.inner.created_at.min(started_at),
            started_at,
            cpu_time: meter.used(),
            memory_share: process.memory_share(),
            resident_bytes: process.resident_bytes,
            virtual_bytes: process.virtual_bytes,
            time,
        })
    }
}
