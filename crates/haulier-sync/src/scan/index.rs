//! What the index says is at an entry, in 24 bytes and one bit a file. Knows no storage.

use std::hash::{DefaultHasher, Hash, Hasher};

use haulier_base::{Error, Result};
use haulier_catalog::Catalog;
use uuid::Uuid;

use crate::model::{EntryName, FileName, Stamp};
use crate::store::seen;

/// Rows read at a time.
const PAGE: i64 = 10_000;

/// Identities in their order, beside what stands for their stamps.
#[derive(Debug, Default)]
pub(super) struct Index {
    fids: Vec<[u8; 16]>,
    stamps: Vec<u64>,
    /// A bit for each: whether it was met.
    met: Vec<u64>,
}

/// What the index says to a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Same,
    Other,
    Unknown,
}

impl Index {
    pub(super) async fn load(catalog: &Catalog, at: &EntryName) -> Result<Self> {
        let mut index = Self::default();
        let mut after = String::new();
        loop {
            let page = seen::page(&mut catalog.read().await?, at, &after, PAGE).await?;
            for file in &page {
                let fid = Uuid::try_parse(&file.fid)
                    .map_err(|error| Error::corrupt(format!("{:?} is no id of a file", file.fid)).caused_by(error))?;
                index.fids.push(fid.into_bytes());
                index.stamps.push(digest(file.size_bytes, &file.stamp));
            }
            match page.last() {
                Some(last) if page.len() as i64 == PAGE => after.clone_from(&last.fid),
                _ => break,
            }
        }
        index.met = vec![0; index.fids.len().div_ceil(64)];
        Ok(index)
    }

    pub(super) fn len(&self) -> usize {
        self.fids.len()
    }

    /// Notes that a file is there, and compares.
    pub(super) fn meet(&mut self, name: &FileName, stamp: &Stamp) -> Met {
        let Some(number) = self.number_of(name) else { return Met::Unknown };
        self.mark(number);
        match self.stamps[number] == digest(stamp.size_bytes, &stamp.version) {
            true => Met::Same,
            false => Met::Other,
        }
    }

    pub(super) fn mark(&mut self, number: usize) {
        self.met[number / 64] |= 1 << (number % 64);
    }

    /// Takes back that a file was met.
    pub(super) fn unmark(&mut self, name: &FileName) {
        if let Some(number) = self.number_of(name) {
            self.met[number / 64] &= !(1 << (number % 64));
        }
    }

    /// How many were not met.
    pub(super) fn unmet(&self) -> usize {
        self.len() - self.met.iter().map(|bits| bits.count_ones() as usize).sum::<usize>()
    }

    /// Up to `limit` that were not met, from a place on, which is moved behind them; none when there are no more.
    pub(super) fn unmet_after(&self, place: &mut usize, limit: usize) -> Option<(Vec<usize>, Vec<String>)> {
        let is_unmet = |number: &usize| self.met[number / 64] & (1 << (number % 64)) == 0;
        let numbers: Vec<_> = (*place..self.len()).filter(is_unmet).take(limit).collect();
        *place = numbers.last()? + 1;
        let fids = numbers.iter().map(|number| Uuid::from_bytes(self.fids[*number]).hyphenated().to_string()).collect();
        Some((numbers, fids))
    }

    fn number_of(&self, name: &FileName) -> Option<usize> {
        // The order of the text is that of the bytes.
        self.fids.binary_search(name.uuid().as_bytes()).ok()
    }
}

/// Stands for a stamp in memory: the same for equal ones, and hardly ever for others. Of this process only.
fn digest(size_bytes: u64, version: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (size_bytes, version).hash(&mut hasher);
    hasher.finish()
}
