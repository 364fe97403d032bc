//! Looks at names closely: what is there, and what the bytes are where that has to be known.
//!
//! Decides nothing: it says what is so, as observations. What is being written meanwhile is looked at again later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use haulier_base::{Error, ErrorKind, Result, Timestamp};
use haulier_catalog::Catalog;
use tokio_util::sync::CancellationToken;

use crate::driver::{Contents, Driver};
use crate::model::{ContentHash, Copy, EntryName, Fid, FileName, Found, Observation, Pending, Seen};
use crate::store::files::{self, Hold};

/// A larger file that is new is not read: its first copy computes the hash.
pub(crate) const READ_BYTES_MAX: u64 = 8 << 20;
/// Files looked at, and read, at a time.
const AT_ONCE: usize = 16;
/// A file changed more recently than this may be in the middle of being written (§4.3 12).
const SETTLED: Duration = Duration::from_millis(100);

/// A name that is worth a look.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) name: FileName,
    /// What a listing said a moment ago, which saves asking again about a file that is new.
    pub(crate) found: Option<Found>,
    /// Whether the writer is known to be done.
    pub(crate) done: bool,
    /// Whether the bytes are to be read, however many they are.
    pub(crate) read: bool,
}

impl Look {
    /// A look at a name of which nothing more is known.
    pub(crate) fn at(name: FileName) -> Self {
        Self { name, found: None, done: true, read: false }
    }

    /// Whether it is about what is being fetched to where nothing is: it appears a moment before the index says so,
    /// and looking any sooner would tell nothing.
    fn is_of_arrival(&self, copy: Option<&Copy>) -> bool {
        let fetched = |copy: &Copy| copy.pending == Some(Pending::Fetch) && copy.state.is_none();
        self.done && !self.read && self.found.is_none() && copy.is_some_and(fetched)
    }
}

/// What looking gave.
#[derive(Debug, Default)]
pub(crate) struct Inspected {
    /// What is not as the index says.
    pub(crate) observations: Vec<Observation>,
    /// What should be looked at again in a moment, because somebody is at it.
    pub(crate) again: Vec<FileName>,
    /// What could not be looked at or read, and why.
    pub(crate) faults: Vec<(FileName, Error)>,
    /// Bytes that were read.
    pub(crate) bytes_read: u64,
}

/// Looks at names, and says what the index does not know yet.
///
/// # Errors
/// Those of the catalogue, and `Canceled` when `stop` comes. What is wrong with one file is a fault among the others.
pub(crate) async fn inspect(
    driver: &Driver,
    catalog: &Catalog,
    at: &EntryName,
    looks: Vec<Look>,
    stop: &CancellationToken,
) -> Result<Inspected> {
    let looks: BTreeMap<_, _> = looks.into_iter().map(|look| (look.name.clone(), look)).collect();
    let known = load_known(catalog, at, looks.keys().cloned().collect()).await?;
    let now = catalog.now();
    let mut inspected = Inspected::default();
    let (arriving, looks): (Vec<_>, Vec<_>) =
        looks.into_values().partition(|look| look.is_of_arrival(known.get(&look.name.fid())));
    inspected.again.extend(arriving.into_iter().map(|look| look.name));
    let mut there = Vec::new();
    let mut gone = BTreeSet::new();
    // What the index says was read first, so that what is seen after that is at least as young.
    let mut looking = stream::iter(looks)
        .map(|look| {
            let is_known = known.get(&look.name.fid()).is_some_and(|copy| copy.state.is_some());
            async move { (find(driver, &look, is_known).await, look) }
        })
        .buffered(AT_ONCE);
    while let Some((found, look)) = looking.next().await {
        if stop.is_cancelled() {
            return Err(Error::canceled("stopped"));
        }
        let copy = known.get(&look.name.fid());
        match found {
            Ok(Some(found)) => match Sight::of(&look, &found, copy, now) {
                Sight::Known => {}
                Sight::Moving => inspected.again.push(look.name),
                Sight::Content(content) => {
                    inspected.observations.push(present(look.name, found, content, None, copy));
                }
                Sight::Unread => there.push((look, found)),
            },
            Ok(None) => {
                if let Some(stamp) = copy.and_then(Copy::stamp) {
                    gone.insert(stamp.size_bytes);
                    let known = Some(stamp.clone());
                    inspected.observations.push(Observation { name: look.name, seen: Seen::Missing, known });
                }
            }
            Err(error) => inspected.faults.push((look.name, error)),
        }
    }
    drop(looking);
    // A file of the size of one that went may be that one, under another name: then its bytes need not travel.
    let worth = |look: &Look, found: &Found| {
        let size = found.stamp.size_bytes;
        let same_size = known.get(&look.name.fid()).and_then(Copy::stamp).is_some_and(|known| known.size_bytes == size);
        look.read || size <= READ_BYTES_MAX || same_size || gone.contains(&size)
    };
    let (reads, unread): (Vec<_>, Vec<_>) = there.into_iter().partition(|(look, found)| worth(look, found));
    for (look, found) in unread {
        let kind = driver.read_kind(&look.name, &found).await;
        let copy = known.get(&look.name.fid());
        inspected.observations.push(present(look.name, found, None, kind, copy));
    }
    read_all(driver, reads, &known, stop, &mut inspected).await?;
    Ok(inspected)
}

/// What is to be made of a file that is there.
enum Sight {
    /// It is as the index says.
    Known,
    /// Somebody may be at it.
    Moving,
    /// The bytes are known already.
    Content(Option<ContentHash>),
    /// The bytes are not known.
    Unread,
}

impl Sight {
    fn of(look: &Look, found: &Found, copy: Option<&Copy>, now: Timestamp) -> Self {
        let known = copy.and_then(|copy| copy.state.as_ref());
        if let Some(known) = known.filter(|known| known.found.stamp == found.stamp) {
            let same = known.found.attributes == found.attributes;
            return match (&known.content, look.read) {
                (None, true) => Self::Unread,
                _ if same => Self::Known,
                (content, _) => Self::Content(content.clone()),
            };
        }
        // What is fetched to here appears a moment before the index says so.
        let ours = look.done && copy.is_some_and(|copy| copy.pending == Some(Pending::Fetch));
        let fresh = found.attributes.modified_at.is_some_and(|at| at <= now && now.since(at) < SETTLED);
        match ours || (fresh && !look.done) {
            true if !look.read => Self::Moving,
            _ => Self::Unread,
        }
    }
}

async fn load_known(catalog: &Catalog, at: &EntryName, names: BTreeSet<FileName>) -> Result<BTreeMap<Fid, Copy>> {
    let mut tx = catalog.read().await?;
    let states = files::load(&mut tx, &names, Hold::No).await?;
    Ok(states.into_iter().filter_map(|(fid, mut state)| Some((fid, state.copies.remove(at)?))).collect())
}

async fn find(driver: &Driver, look: &Look, is_known: bool) -> Result<Option<Found>> {
    match &look.found {
        Some(found) if !is_known => Ok(Some(found.clone())),
        _ => driver.look(&look.name).await,
    }
}

/// Reads many at a time, and adds what it is.
async fn read_all(
    driver: &Driver,
    reads: Vec<(Look, Found)>,
    known: &BTreeMap<Fid, Copy>,
    stop: &CancellationToken,
    inspected: &mut Inspected,
) -> Result<()> {
    let mut reading = stream::iter(reads.into_iter().map(Ok))
        .map_ok(|(look, found)| async move {
            let read = driver.read_whole(&look.name, &found, stop).await;
            match read {
                Err(error) if error.kind() == ErrorKind::Canceled || error.kind() == ErrorKind::LostLease => Err(error),
                read => Ok((look.name, found, read)),
            }
        })
        .try_buffered(AT_ONCE);
    while let Some((name, found, read)) = reading.try_next().await? {
        match read {
            Ok(Some(Contents { hash, kind })) => {
                inspected.bytes_read += found.stamp.size_bytes;
                let copy = known.get(&name.fid());
                inspected.observations.push(present(name, found, Some(hash), kind, copy));
            }
            Ok(None) => inspected.again.push(name),
            Err(error) => inspected.faults.push((name, error)),
        }
    }
    Ok(())
}

fn present(
    name: FileName,
    found: Found,
    content: Option<ContentHash>,
    kind: Option<&str>,
    copy: Option<&Copy>,
) -> Observation {
    let seen = Seen::Present { found, content, kind: kind.map(str::to_owned) };
    Observation { name, seen, known: copy.and_then(Copy::stamp).cloned() }
}
