//! Finding out what is wrong, for people, for metrics, and from the polls of clients.

use haulier_access::Caller;
use haulier_base::Result;

use super::Backups;
use crate::health::{self, Alarm, BackupHealth, Limits};
use crate::search::Query;
use crate::store::watch;

impl Backups {
    /// What is wrong with the caller's jobs, clients and backups; of each sort at most `most` are shown.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn health(&self, caller: &Caller, most: i64) -> Result<BackupHealth> {
        self.write_sightings(self.sightings.take()).await;
        let now = self.catalog.now();
        let limits = Limits::new(&self.config, now);
        let mut tx = self.catalog.read().await?;
        let (mut counted, mut all) = (Vec::new(), Vec::new());
        for alarm in Alarm::ALL {
            let count = watch::count(&mut tx, alarm, &limits, Some(&caller.user)).await?;
            counted.push((alarm, count));
            if count > 0 {
                let found = watch::find(&mut tx, alarm, &limits, &caller.user, most).await?;
                all.extend(found.into_iter().map(|found| (alarm, found)));
            }
        }
        Ok(health::report(&self.config, now, &counted, all))
    }

    /// Counts for the metrics what is wrong with everybody's, unless that was done a moment ago.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub async fn observe(&self) -> Result<()> {
        if !self.metrics.is_due(self.catalog.now()) {
            return Ok(());
        }
        self.write_sightings(self.sightings.take()).await;
        let limits = Limits::new(&self.config, self.catalog.now());
        let mut tx = self.catalog.read().await?;
        for alarm in Alarm::ALL {
            self.metrics.found(alarm, watch::count(&mut tx, alarm, &limits, None).await?);
        }
        Ok(())
    }

    /// Notes that a client was heard of.
    pub(super) async fn seen(&self, caller: &Caller, client: &str) {
        let due = self.sightings.note(&caller.user, client, self.catalog.now());
        self.write_sightings(due).await;
    }

    /// A poll of a client: who asks for the jobs of one client that are not completed (backup contract §12).
    pub(super) async fn seen_by_poll(&self, caller: &Caller, query: &Query) {
        if let Some(client) = query.polled_client() {
            self.seen(caller, client).await;
        }
    }

    /// Writes sightings. When that fails, the client is answered all the same, and seen again with its next poll.
    async fn write_sightings(&self, seen: std::collections::HashMap<crate::seen::Name, haulier_base::Timestamp>) {
        if seen.is_empty() {
            return;
        }
        let write = async {
            let mut tx = self.catalog.begin("backup.seen").await?;
            watch::note_seen(&mut tx, &seen).await?;
            tx.commit().await
        };
        if let Err(error) = write.await {
            tracing::warn!(?error, clients = seen.len(), "when clients were last seen could not be written");
        }
    }
}
