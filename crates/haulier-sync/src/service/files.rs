//! Files as all entries together have them (§1.2).

use haulier_access::Caller;
use haulier_base::{Error, Result};

use super::Syncs;
use crate::mime;
use crate::model::{Fid, FileState};
use crate::store::files::{self, Hold};

/// How many files one read of a list fetches.
pub(crate) const LIST_CHUNK: usize = 500;

/// A file as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct FileDocument {
    /// Its identity.
    pub fid: Fid,
    /// Its name, from the root of its entries.
    pub filename: String,
    /// Bytes of the current version.
    pub size_bytes: u64,
    /// Entries that should hold it, in the order of names.
    pub owners: Vec<String>,
    /// Those of them that hold the current version.
    pub uptodate: Vec<String>,
    /// By its name, or by its bytes where the name tells nothing.
    pub mimetype: String,
    /// When it was last changed.
    pub modified_at: Option<haulier_base::Timestamp>,
    /// SHA-256 of the current version; none until it was read for the first time.
    pub content: Option<String>,
    /// The entry that the current version came from.
    pub origin: String,
}

/// A list that has been begun.
#[derive(Clone, Debug)]
pub struct Listing {
    /// How many files there are in all.
    pub total: u64,
    left: u64,
    skip: u64,
    after: Option<Fid>,
}

impl Listing {
    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }
}

impl FileDocument {
    /// None for a name that is not known, or deleted.
    fn of(fid: Fid, state: &FileState) -> Option<Self> {
        let record = state.record.as_ref().filter(|record| !record.deleted)?;
        let owners = || state.copies.iter().filter(|(_, copy)| copy.owner).map(|(entry, _)| entry);
        Some(Self {
            fid,
            filename: record.name.to_string(),
            size_bytes: record.size_bytes,
            owners: owners().map(ToString::to_string).collect(),
            uptodate: owners().filter(|entry| state.is_up_to_date(entry)).map(ToString::to_string).collect(),
            mimetype: mime::kind_of(record.name.as_str(), record.kind.as_deref()).to_owned(),
            modified_at: record.attributes.modified_at,
            content: record.content.as_ref().map(|hash| hash.as_str().to_owned()),
            origin: record.origin.to_string(),
        })
    }
}

impl Syncs {
    /// Begins a list of the files that exist, in the order of their ids.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn files(&self, _caller: &Caller, offset: u64, limit: u64) -> Result<Listing> {
        let mut tx = self.inner.catalog.read().await?;
        let total = u64::try_from(files::count(&mut tx).await?).unwrap_or(0);
        Ok(Listing { total, left: limit.min(total.saturating_sub(offset)), skip: offset, after: None })
    }

    /// The next files of a list that has been begun, none at its end; moves the list on.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn next_files(&self, listing: &mut Listing) -> Result<Vec<FileDocument>> {
        let take = listing.left.min(LIST_CHUNK as u64);
        if take == 0 {
            return Ok(Vec::new());
        }
        let mut tx = self.inner.catalog.read().await?;
        let limit = i64::try_from(take).unwrap_or(i64::MAX);
        // Only the first page skips: later ones go on behind the last id, however far that is.
        let page = match &listing.after {
            None => files::list(&mut tx, i64::try_from(listing.skip).unwrap_or(i64::MAX), limit).await?,
            Some(after) => files::page_after(&mut tx, Some(after), limit, Hold::No).await?,
        };
        match page.last() {
            Some((fid, _)) => listing.after = Some(fid.clone()),
            None => listing.left = 0,
        }
        let found: Vec<_> = page.into_iter().filter_map(|(fid, state)| FileDocument::of(fid, &state)).collect();
        listing.left = listing.left.saturating_sub(found.len() as u64);
        Ok(found)
    }

    /// One file.
    ///
    /// # Errors
    /// `NotFound` when nobody has it.
    pub async fn file(&self, _caller: &Caller, fid: &str) -> Result<FileDocument> {
        let mut tx = self.inner.catalog.read().await?;
        let id = Fid::from_text(fid);
        let found = files::find(&mut tx, &id).await?.and_then(|state| FileDocument::of(id, &state));
        found.ok_or_else(|| Error::not_found(format!("file {fid} not found")))
    }
}
