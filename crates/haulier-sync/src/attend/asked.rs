//! Reads contents that have to be known before the referee can judge, at this entry or at another one.

use std::collections::{BTreeMap, BTreeSet};

use haulier_base::{Error, Result};
use tokio::time::Instant;

use super::session::Session;
use crate::inspect::{Look, inspect};
use crate::model::{EntryName, FileName, Observation};
use crate::store::entries;

/// Knowing one content may show that another has to be known: no file needs more rounds, and a scan finds the rest.
const ROUNDS: usize = 4;

impl Session<'_> {
    /// Reads the copies asked for, tells what they are, and what that leads to.
    pub(super) async fn read_asked(&mut self, mut asked: Vec<(EntryName, FileName)>) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut by_entry = BTreeMap::<EntryName, Vec<FileName>>::new();
            for (entry, name) in asked.drain(..) {
                by_entry.entry(entry).or_default().push(name);
            }
            for (entry, names) in by_entry {
                if entry == self.at {
                    let (observations, _) = self.inspect(names.iter().map(read).collect()).await?;
                    asked.extend(self.tell_referee(&entry, &observations).await?);
                    continue;
                }
                let (observations, unknown) = self.inspect_elsewhere(&entry, &names).await?;
                asked.extend(self.tell_referee(&entry, &observations).await?);
                // Now that it is known, what was seen here can be judged.
                let now = Instant::now();
                let known = names.into_iter().filter(|name| !unknown.contains(name));
                known.for_each(|name| self.later.done(name, now));
            }
            if asked.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads copies of another entry, which is active, or it would not have been asked for. Says which could not be
    /// read: those wait for the next scan, or for quiet.
    async fn inspect_elsewhere(
        &mut self,
        entry: &EntryName,
        names: &[FileName],
    ) -> Result<(Vec<Observation>, BTreeSet<FileName>)> {
        let row = entries::find(&mut self.room.catalog.read().await?, entry).await?;
        let row = row.ok_or_else(|| Error::not_found(format!("entry {entry} not found")))?;
        let opened = self.room.opener.open(&row).await;
        let looks = names.iter().map(read).collect();
        let inspected = match opened {
            Ok(driver) => inspect(&driver, &self.room.catalog, entry, looks, &self.stop).await?,
            Err(error) => {
                names.iter().for_each(|name| self.note_unreadable(name.clone(), &format!("entry {entry}: {error}")));
                return Ok((Vec::new(), names.iter().cloned().collect()));
            }
        };
        let (mut unknown, now) = (BTreeSet::new(), Instant::now());
        for name in inspected.again {
            unknown.insert(name.clone());
            self.later.stirred(name, now);
        }
        for (name, error) in inspected.faults {
            unknown.insert(name.clone());
            self.note_unreadable(name, &format!("entry {entry}: {error}"));
        }
        Ok((inspected.observations, unknown))
    }
}

fn read(name: &FileName) -> Look {
    Look { read: true, ..Look::at(name.clone()) }
}
