//! Goes through all that an entry has, beside all that the index says of it: 24 bytes a file, and a closer look only
//! where the two differ.
//!
//! Believes nothing to be missing that was not looked for by its name. Decides nothing.

mod index;

use std::collections::BTreeSet;

use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, Result};
use haulier_catalog::Catalog;
use tokio_util::sync::CancellationToken;

use index::Index;

use crate::driver::Driver;
use crate::hold::Tally;
use crate::inspect::Look;
use crate::model::{ContentHash, EntryName, FileName, Found};
use crate::store::seen::{self, Present};

/// Names given out at a time.
const BATCH: usize = 500;
/// After so many names without a difference the caller has its turn, to hear of changes.
const TURN: usize = 4_096;
/// Names looked for at a time.
const AT_ONCE: usize = 16;
/// When parts of the entry could not be listed, so many leftovers are looked for by their names, and no more.
const LEFT_BY_FAULTS_MAX: usize = 10_000;

/// A pass over an entry: first [`Scan::walk`] to its end, then [`Scan::look_for_leftovers`],
/// [`Scan::tally`] and, if what is missing is believed, [`Scan::missing`].
pub(crate) struct Scan {
    catalog: Catalog,
    at: EntryName,
    driver: Driver,
    index: Index,
    listing: BoxStream<'static, Result<(FileName, Found)>>,
    listed: u64,
    faults: Vec<Error>,
    /// Where looking for leftovers, or giving out what is missing, is.
    place: usize,
}

/// A file that the index knew, and that is not there.
pub(crate) type Missing = Present;

/// Names that differ from the index, in the order they were met.
#[derive(Debug, Default)]
pub(crate) struct Differing {
    /// The index has them, with another stamp.
    pub(crate) changed: Vec<Look>,
    /// The index does not have them.
    pub(crate) new: Vec<Look>,
    /// How many were looked at to find these.
    pub(crate) seen: u64,
}

impl Scan {
    /// Reads what the index says, and begins to list what is there.
    ///
    /// # Errors
    /// Those of the catalogue; also when the entry cannot be listed at all.
    pub(crate) async fn begin(catalog: &Catalog, at: &EntryName, driver: &Driver) -> Result<Self> {
        let index = Index::load(catalog, at).await?;
        // Asked once more after its end.
        let listing = driver.list().await?.fuse().boxed();
        let (catalog, at, driver) = (catalog.clone(), at.clone(), driver.clone());
        Ok(Self { catalog, at, driver, index, listing, listed: 0, faults: Vec::new(), place: 0 })
    }

    /// How many files the index knew.
    pub(crate) fn known(&self) -> u64 {
        self.index.len() as u64
    }

    /// What could not be listed, and why.
    pub(crate) fn faults(&self) -> &[Error] {
        &self.faults
    }

    /// Goes on; none at the end. May give back nothing new, to let others have their turn.
    pub(crate) async fn walk(&mut self) -> Option<Differing> {
        let mut differing = Differing::default();
        for _ in 0..TURN {
            if differing.new.len() + differing.changed.len() == BATCH {
                break;
            }
            let Some(item) = self.listing.next().await else {
                return (differing.seen > 0).then_some(differing);
            };
            let (name, found) = match item {
                Ok(item) => item,
                Err(error) => {
                    self.faults.push(error);
                    continue;
                }
            };
            differing.seen += 1;
            self.listed += 1;
            let look = |name, found| Look { name, found: Some(found), done: false, read: false };
            match self.index.meet(&name, &found.stamp) {
                index::Met::Same => {}
                index::Met::Other => differing.changed.push(look(name, found)),
                index::Met::Unknown => differing.new.push(look(name, found)),
            }
        }
        Some(differing)
    }

    /// Looks by its name for each file that the index knew and the listing did not show. Says of which sizes those are
    /// that are missing.
    ///
    /// # Errors
    /// Those of the catalogue; the first fault of the listing, when too much was left out of it; `Canceled`.
    pub(crate) async fn look_for_leftovers(&mut self, stop: &CancellationToken) -> Result<BTreeSet<u64>> {
        if self.index.unmet() > LEFT_BY_FAULTS_MAX && !self.faults.is_empty() {
            return Err(self.faults.swap_remove(0));
        }
        let (mut sizes, mut place) = (BTreeSet::new(), 0);
        while let Some((numbers, fids)) = self.index.unmet_after(&mut place, BATCH) {
            if stop.is_cancelled() {
                return Err(Error::canceled("stopped"));
            }
            let present = seen::present(&mut self.catalog.read().await?, &self.at, &fids).await?;
            numbers.into_iter().for_each(|number| self.index.mark(number));
            let driver = &self.driver;
            let mut looking = stream::iter(present)
                .map(|file| async move { (driver.look(&file.name).await, file) })
                .buffered(AT_ONCE);
            while let Some((found, file)) = looking.next().await {
                match found {
                    Ok(None) => {
                        self.index.unmark(&file.name);
                        sizes.insert(file.size_bytes);
                    }
                    // It came, or became something else: what happened to it is noticed, or met by the next pass.
                    Ok(Some(_)) => {}
                    Err(error) => self.faults.push(error.context("file", &file.name)),
                }
            }
        }
        Ok(sizes)
    }

    /// Counts what is missing, but for what has another name now: `is_there` knows the bytes that appeared.
    ///
    /// # Errors
    /// Those of the catalogue.
    pub(crate) async fn tally(&mut self, is_there: impl Fn(&ContentHash) -> bool) -> Result<Tally> {
        let (mut missing, mut place) = (0, 0);
        while let Some((_, fids)) = self.index.unmet_after(&mut place, BATCH) {
            let present = seen::present(&mut self.catalog.read().await?, &self.at, &fids).await?;
            missing += present.iter().filter(|file| !file.content.as_ref().is_some_and(&is_there)).count() as u64;
        }
        Ok(Tally { known: self.known(), missing, listed: self.listed })
    }

    /// Gives out what is missing, in pieces; none at the end.
    ///
    /// # Errors
    /// Those of the catalogue.
    pub(crate) async fn missing(&mut self) -> Result<Option<Vec<Missing>>> {
        let mut place = self.place;
        let Some((_, fids)) = self.index.unmet_after(&mut place, BATCH) else { return Ok(None) };
        self.place = place;
        Ok(Some(seen::present(&mut self.catalog.read().await?, &self.at, &fids).await?))
    }
}

#[cfg(test)]
mod tests;
