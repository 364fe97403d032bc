//! Old versions: where they are kept in an entry, which of them nobody knows of, and the end of their time.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use haulier_base::{Error, ErrorKind, Result, Timestamp, id};
use haulier_catalog::Tx;
use haulier_catalog::queue::{self, Settlement};
use haulier_storage::ObjectPath;
use haulier_work::{TaskContext, TaskHandler};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::act::Job;
use super::{Carrier, Hands};
use crate::driver::Driver;
use crate::model::{EntryName, FileName};
use crate::store::entries;
use crate::store::kept::{self, KeptReason, KeptRow};
use crate::tasks::{PRUNE, prune_task};

/// The folder of old versions, in our own folder.
const KEPT: &str = "kept";
/// Longer names are cut: what they were is in the catalogue.
const NAME_BYTES_MAX: usize = 200;
/// What cannot be in the name of a file, and what encodes it.
const ENCODED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');
/// Looked at by one prune before it lets others work.
const PAGE: i64 = 200;

impl Hands<'_> {
    /// The row of what is there, once it is kept; none when nothing is to be kept.
    pub(super) fn kept_row(&self, job: &Job<'_>, reason: KeptReason) -> Option<KeptRow> {
        let there = job.copy.state.as_ref().filter(|_| !self.carrier.keep_for.is_zero())?;
        let (id, now) = (id::ordered_uuid(), self.now());
        Some(KeptRow {
            place: place_of(&id, job.name(), now),
            id,
            entry: self.at.clone(),
            name: job.name().clone(),
            size_bytes: there.found.stamp.size_bytes,
            content: there.content.clone(),
            reason,
            kept_at: now,
        })
    }
}

impl Driver {
    /// Where an old version is, from what its row says.
    pub(crate) fn own_place(&self, place: &str) -> ObjectPath {
        self.own_path(place.strip_prefix(".haulier/").unwrap_or(place))
    }
}

/// `.haulier/kept/DATE/ID.NAME`, so that people find it too.
fn place_of(id: &str, name: &FileName, at: Timestamp) -> String {
    let mut shown = String::new();
    for piece in utf8_percent_encode(name.as_str(), ENCODED) {
        if shown.len() + piece.len() > NAME_BYTES_MAX {
            let room = (0..=NAME_BYTES_MAX.saturating_sub(shown.len()).min(piece.len())).rev();
            let cut = room.into_iter().find(|at| piece.is_char_boundary(*at) && !piece.starts_with('%')).unwrap_or(0);
            shown.push_str(&piece[..cut]);
            break;
        }
        shown.push_str(piece);
    }
    format!(".haulier/{KEPT}/{}/{id}.{shown}", day_of(at))
}

fn day_of(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// The id and the name that a place was made for.
fn read_place(place: &str) -> Option<(String, FileName)> {
    let (id, shown) = place.rsplit('/').next()?.split_once('.')?;
    let name = percent_decode_str(shown).decode_utf8().ok()?;
    id::is_canonical_uuid(id).then_some(())?;
    Some((id.to_owned(), FileName::new(name).ok()?))
}

/// What was kept in the last two days and has no row: somebody was cut off between keeping and recording.
pub(super) async fn find_unknown(carrier: &Carrier, at: &EntryName, driver: &Driver) -> Result<Vec<KeptRow>> {
    let now = carrier.catalog.now();
    let mut found = Vec::new();
    for day in [now, now.minus(Duration::from_secs(24 * 3600))].map(day_of) {
        let folder = driver.own_path(&format!("{KEPT}/{day}"));
        let mut listed = driver.storage().list(&folder).await?;
        while let Some(object) = listed.try_next().await? {
            let Some((id, name)) = read_place(object.path.as_str()) else { continue };
            if kept::find(&mut carrier.catalog.read().await?, &id).await?.is_some() {
                continue;
            }
            let file = object.path.as_str().rsplit('/').next().unwrap_or_default();
            let place = format!(".haulier/{KEPT}/{day}/{file}");
            let size_bytes = object.meta.size.unwrap_or(0);
            let (entry, reason) = (at.clone(), KeptReason::Replaced);
            found.push(KeptRow { id, entry, name, place, size_bytes, content: None, reason, kept_at: now });
        }
    }
    Ok(found)
}

/// How often old versions are looked through.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// The handler of [`PRUNE`].
#[derive(Clone, Debug)]
pub(crate) struct Prune(pub(crate) Carrier);

#[async_trait]
impl TaskHandler for Prune {
    fn kind(&self) -> &'static str {
        PRUNE
    }

    async fn run(&self, ctx: &TaskContext, _payload: Value) -> Result<()> {
        let stop = ctx.stop_signal();
        let (mut drivers, mut unreachable) = (super::Sources::new(&self.0), BTreeSet::new());
        loop {
            if stop.reason().is_some() {
                return Err(Error::canceled("stopped"));
            }
            if !self.prune_page(ctx, &mut drivers, &mut unreachable).await? {
                break;
            }
        }
        let mut tx = ctx.begin("sync.pruned").await?;
        let again = prune_task(tx.now().plus(PRUNE_EVERY));
        queue::enqueue(&mut tx, again).await?;
        ctx.finish(tx, Settlement::Done).await
    }

    async fn give_up(&self, _ctx: &TaskContext, _tx: &mut Tx, _payload: Value, _why: &Error) -> Result<()> {
        Ok(())
    }
}

impl Prune {
    /// Removes some versions whose time is over, and says whether there were any.
    async fn prune_page(
        &self,
        ctx: &TaskContext,
        drivers: &mut super::Sources<'_>,
        unreachable: &mut BTreeSet<EntryName>,
    ) -> Result<bool> {
        let catalog = &self.0.catalog;
        let before = catalog.now().minus(self.0.keep_for);
        let mut tx = catalog.read().await?;
        // What is stopped is not touched, not even by this (§4.6 34).
        let stopped = entries::list(&mut tx).await?.into_iter().filter(|entry| !entry.is_ready());
        unreachable.extend(stopped.map(|entry| entry.name));
        let rows = kept::page_before(&mut tx, before, unreachable, PAGE).await?;
        drop(tx);
        if rows.is_empty() {
            return Ok(false);
        }
        let mut gone = Vec::new();
        for row in &rows {
            if unreachable.contains(&row.entry) {
                continue;
            }
            match remove(drivers, row).await {
                Ok(()) => gone.push(row),
                Err(error) if error.kind() == ErrorKind::LostLease => return Err(error),
                Err(error) => {
                    tracing::warn!(entry = %row.entry, ?error, "old versions of entry {} stay: {error}", row.entry);
                    unreachable.insert(row.entry.clone());
                }
            }
        }
        let mut tx = ctx.begin("sync.prune").await?;
        for row in &gone {
            kept::delete(&mut tx, &row.id).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

async fn remove(drivers: &super::Sources<'_>, row: &KeptRow) -> Result<()> {
    // The entry is gone, and with it our right to touch its root.
    let Some(driver) = drivers.driver(&row.entry).await? else { return Ok(()) };
    let place = driver.own_place(&row.place);
    driver.storage().delete(&place).await?;
    match place.as_str().rsplit_once('/') {
        Some((folder, _)) => driver.storage().remove_folder(&ObjectPath::new(folder)).await.map(|_| ()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_tell_what_they_hold() {
        let at = Timestamp::from_micros(1_795_262_400_000_000);
        let id = id::ordered_uuid();
        for name in ["a", "photos/2026/é \u{1F600}:\n.jpg", "100%/x%2Fy"] {
            let place = place_of(&id, &FileName::new(name).unwrap(), at);
            assert!(place.starts_with(".haulier/kept/2026-11-21/"), "{place}");
            assert_eq!(read_place(&place), Some((id.clone(), FileName::new(name).unwrap())), "{place}");
        }
        let long = FileName::new(format!("{}é", "long/".repeat(300))).unwrap();
        let place = place_of(&id, &long, at);
        assert!(place.rsplit('/').next().unwrap().len() <= 255, "{place}");
        assert_eq!(read_place("kept/x/notes.txt"), None);
    }
}
