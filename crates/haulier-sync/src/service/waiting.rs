//! Waiting until what was asked for is so.

use std::collections::BTreeSet;
use std::time::Duration;

use haulier_base::{Error, Result};
use haulier_catalog::queue;
use tokio::time::{Instant, sleep};

use super::Inner;
use crate::model::EntryName;
use crate::store::entries::{self, Wanted};

/// How long a verb waits for its effect before it says that it is still under way.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);
/// All kinds of tasks of this room.
pub(super) const EVERY_KIND: &str = "sync.";

/// Tasks that somebody held when they were asked to stop, by the subject they are about.
pub(super) type Holders = Vec<(String, String)>;

impl Inner {
    /// Waits until nobody works on any of these tasks.
    ///
    /// # Errors
    /// `Unavailable` when it takes too long; it goes on by itself.
    pub(super) async fn wait_for_rest(&self, mut holders: Holders) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut tx = self.catalog.read().await?;
            let mut held = BTreeSet::new();
            for subject in holders.iter().map(|(subject, _)| subject).collect::<BTreeSet<_>>() {
                held.extend(queue::held(&mut tx, EVERY_KIND, subject).await?);
            }
            drop(tx);
            holders.retain(|(_, id)| held.contains(id));
            if holders.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Error::unavailable("work under way has not come to a safe point yet; it will: look again"));
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until an entry's changes are watched, or it said why they cannot be, or it was stopped again.
    ///
    /// # Errors
    /// `Unavailable` when it takes too long; it goes on by itself.
    pub(super) async fn wait_for_start(&self, name: &EntryName) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut tx = self.catalog.read().await?;
            let entry = entries::find(&mut tx, name).await?;
            drop(tx);
            let starting = entry.is_some_and(|entry| {
                entry.wanted == Wanted::Active && entry.attended_at.is_none() && entry.problem.is_none()
            });
            if !starting {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Error::unavailable(format!("entry {name} is still starting; look at its status")));
            }
            sleep(LOOK).await;
        }
    }
}
