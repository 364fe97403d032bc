//! Old versions: listed, and put back in their place.

use haulier_access::Caller;
use haulier_base::{Error, Page, Result, Timestamp};
use serde_json::json;

use super::placing::in_own_folder;
use super::{Syncs, may_change};
use crate::events::{Happened, publish};
use crate::model::FileName;
use crate::store::kept::{self, KeptRow};

/// An old version as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionDocument {
    /// Sorts by the time at which it was kept.
    pub id: String,
    /// The file.
    pub filename: String,
    /// The entry that has it.
    pub entry: String,
    /// Where it is, from the root of the entry.
    pub place: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its SHA-256, if it was read.
    pub content: Option<String>,
    /// `replaced` or `deleted`.
    pub reason: &'static str,
    /// When it was.
    pub kept_at: Timestamp,
}

impl From<KeptRow> for VersionDocument {
    fn from(row: KeptRow) -> Self {
        Self {
            id: row.id,
            filename: row.name.to_string(),
            entry: row.entry.to_string(),
            place: row.place,
            size_bytes: row.size_bytes,
            content: row.content.map(|hash| hash.as_str().to_owned()),
            reason: row.reason.as_str(),
            kept_at: row.kept_at,
        }
    }
}

impl Syncs {
    /// Old versions, of one file or of all, in the order in which they were kept, after one of them.
    ///
    /// # Errors
    /// `Invalid` when it is no name of a file.
    pub async fn versions(
        &self,
        _caller: &Caller,
        name: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Page<VersionDocument>> {
        let name = name.map(|name| FileName::new(name.trim_start_matches('/'))).transpose()?;
        let mut tx = self.inner.catalog.read().await?;
        let page = kept::list(&mut tx, name.map(|name| name.fid()).as_ref(), after, limit).await?;
        Ok(Page { items: page.items.into_iter().map(VersionDocument::from).collect(), more: page.more })
    }

    /// Puts an old version back under its name, at the entry that has it; it spreads from there like any change.
    /// What was in its place is kept, and the old version stays too.
    ///
    /// # Errors
    /// `NotFound` when there is no such version; `Conflict` when its entry does not run, or the file changes just now.
    pub async fn restore(&self, caller: &Caller, id: &str) -> Result<VersionDocument> {
        may_change(caller)?;
        let inner = &self.inner;
        let mut tx = inner.catalog.read().await?;
        let row = kept::find(&mut tx, id).await?;
        drop(tx);
        let row = row.ok_or_else(|| Error::not_found(format!("version {id} not found")))?;
        let driver = inner.open_running(&row.entry).await?;
        let from = driver.own_path(&in_own_folder(&row.place));
        inner.put_in_place(&driver, &row.entry, from, &row.name).await?;
        let mut tx = inner.catalog.begin("sync.restore").await?;
        let body = json!({ "version": id, "entry": row.entry.as_str() });
        publish(&mut tx, Happened::VersionRestored, row.name.fid().as_str(), body).await?;
        tx.commit().await?;
        Ok(row.into())
    }
}
