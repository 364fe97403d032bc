//! Conflicts: which files two entries had changed, and what a person decides (§4.5).

use haulier_access::Caller;
use haulier_base::{Error, Page, Result, Timestamp};
use serde_json::json;

use super::{Syncs, may_change};
use crate::events::{Happened, publish};
use crate::model::{CopyState, EntryName, FileName};
use crate::store::conflicts::{self, ConflictRow};
use crate::store::entries;
use crate::store::files;

/// What is kept of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// What is in place; the other version is removed.
    Winner,
    /// The other version, which is put in place.
    Loser,
    /// Both, as they are.
    Both,
}

impl Keep {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Winner => "winner",
            Self::Loser => "loser",
            Self::Both => "both",
        }
    }

    /// Reads the word.
    ///
    /// # Errors
    /// `Invalid` for any other.
    pub fn parse(text: &str) -> Result<Self> {
        let all = [Self::Winner, Self::Loser, Self::Both];
        let found = all.into_iter().find(|keep| keep.as_str() == text);
        found.ok_or_else(|| Error::invalid(format!("keep: {text:?} is not one of winner, loser, both")))
    }
}

/// A conflict as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ConflictDocument {
    /// Sorts by creation.
    pub id: String,
    /// The file.
    pub filename: String,
    /// Its id.
    pub fid: String,
    /// Whose version is in place.
    pub winner: String,
    /// Whose version lost.
    pub loser: String,
    /// Under which name that one is kept; none when it was dropped.
    pub aside: Option<String>,
    /// When it was found.
    pub happened_at: Timestamp,
    /// When it was decided.
    pub resolved_at: Option<Timestamp>,
    /// How.
    pub resolution: Option<String>,
}

impl From<ConflictRow> for ConflictDocument {
    fn from(row: ConflictRow) -> Self {
        Self {
            id: row.id,
            filename: row.name.to_string(),
            fid: row.fid.to_string(),
            winner: row.winner.to_string(),
            loser: row.loser.to_string(),
            aside: row.aside.map(|name| name.to_string()),
            happened_at: row.happened_at,
            resolved_at: row.resolved_at,
            resolution: row.resolution,
        }
    }
}

impl Syncs {
    /// Conflicts in the order in which they happened, after one of them; only undecided ones unless `all`.
    ///
    /// # Errors
    /// As the catalogue says.
    pub async fn conflicts(
        &self,
        _caller: &Caller,
        all: bool,
        after: &str,
        limit: usize,
    ) -> Result<Page<ConflictDocument>> {
        let mut tx = self.inner.catalog.read().await?;
        let page = conflicts::list(&mut tx, all, after, limit).await?;
        Ok(Page { items: page.items.into_iter().map(ConflictDocument::from).collect(), more: page.more })
    }

    /// One conflict.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn conflict(&self, _caller: &Caller, id: &str) -> Result<ConflictDocument> {
        self.find_conflict(id).await.map(ConflictDocument::from)
    }

    /// Decides a conflict. What is replaced or removed by it is kept as an old version.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is decided already, or no running entry has the version that lost.
    pub async fn resolve(&self, caller: &Caller, id: &str, keep: Keep) -> Result<ConflictDocument> {
        may_change(caller)?;
        let row = self.find_conflict(id).await?;
        if let Some(resolution) = &row.resolution {
            return Err(Error::conflict(format!("conflict {id} is resolved already: {resolution}")));
        }
        if keep != Keep::Both {
            self.settle(&row, keep).await?;
        }
        let mut tx = self.inner.catalog.begin("sync.resolve").await?;
        conflicts::resolve(&mut tx, id, keep.as_str()).await?;
        let body = json!({ "conflict": id, "keep": keep.as_str() });
        publish(&mut tx, Happened::ConflictResolved, row.fid.as_str(), body).await?;
        tx.commit().await?;
        self.conflict(caller, id).await
    }

    async fn settle(&self, row: &ConflictRow, keep: Keep) -> Result<()> {
        let inner = &self.inner;
        let found = match &row.aside {
            Some(aside) => self.find_holder(aside, &row.loser).await?.map(|holder| (aside, holder)),
            None => None,
        };
        let Some((aside, (at, state))) = found else {
            return match keep {
                // Somebody has removed it by hand: that is what is asked for.
                Keep::Winner => Ok(()),
                _ => Err(Error::conflict("no running entry has the version that lost any more")),
            };
        };
        let driver = inner.open_running(&at).await?;
        if keep == Keep::Loser {
            inner.put_in_place(&driver, &at, driver.path(aside), &row.name).await?;
        }
        inner.take_away(&driver, &at, aside, &state).await
    }

    /// A running entry that has a file, the preferred one if it does.
    async fn find_holder(&self, name: &FileName, preferred: &EntryName) -> Result<Option<(EntryName, CopyState)>> {
        let mut tx = self.inner.catalog.read().await?;
        let Some(state) = files::find(&mut tx, &name.fid()).await? else { return Ok(None) };
        let active = entries::active(&mut tx).await?;
        let holds = |entry: &&EntryName| active.contains(*entry);
        let holder = state.holders().find(|entry| *entry == preferred && holds(entry));
        let holder = holder.or_else(|| state.holders().find(holds));
        let copy = |entry: &EntryName| Some((entry.clone(), state.copies.get(entry)?.state.clone()?));
        Ok(holder.and_then(copy))
    }

    async fn find_conflict(&self, id: &str) -> Result<ConflictRow> {
        let mut tx = self.inner.catalog.read().await?;
        conflicts::find(&mut tx, id).await?.ok_or_else(|| Error::not_found(format!("conflict {id} not found")))
    }
}
