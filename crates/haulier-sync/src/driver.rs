//! An open entry: what it has under a name, what the bytes are, all that it has, and whose root it is.
//!
//! The only place of this room that knows what kind of storage an entry is. Knows no SQL.

mod open;
mod root;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use haulier_base::{Error, ErrorKind, Result};
use haulier_storage::connectors::local::LocalStorage;
use haulier_storage::{Location, ObjectKind, ObjectMeta, ObjectPath, ReadRequest, Storage, Version};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

pub(crate) use open::{DriverConfig, Drivers};
pub(crate) use root::RootClaim;

use crate::mime;
use crate::model::{Attributes, ContentHash, FileName, Found, OWN_FOLDER, Stamp};

/// Hashed right where they are read; more go to a thread that may block.
const INLINE_BYTES: usize = 64 << 10;

/// An open entry. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Driver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    /// What stands before every name in the storage.
    base: ObjectPath,
    /// The same storage and the folder that is its root, if it is a local one.
    local: Option<(LocalStorage, PathBuf)>,
    velocity: f32,
    changes_timer: Option<Duration>,
}

impl Driver {
    /// The storage.
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        self.0.storage.clone()
    }

    /// Where a file is in it.
    pub(crate) fn path(&self, name: &FileName) -> ObjectPath {
        self.0.base.join(name.as_str())
    }

    /// Where something of our own is, given from the root; no file has such a name.
    pub(crate) fn own_path(&self, rest: &str) -> ObjectPath {
        self.0.base.join(OWN_FOLDER).join(rest)
    }

    /// One file, as a mover takes it.
    pub(crate) fn location(&self, name: &FileName) -> Location {
        Location { storage: self.storage(), path: self.path(name) }
    }

    /// The root of a local entry, to be watched.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.0.local.as_ref().map(|(_, folder)| folder.as_path())
    }

    /// How willingly it serves as a source, 0 to 1 (§4.3, 15).
    pub(crate) fn velocity(&self) -> f32 {
        self.0.velocity
    }

    /// How often an entry that cannot be watched is looked through.
    pub(crate) fn changes_timer(&self) -> Option<Duration> {
        self.0.changes_timer
    }

    /// What is there under a name: regular files only; links, folders and devices are none.
    pub(crate) async fn look(&self, name: &FileName) -> Result<Option<Found>> {
        match self.0.storage.stat(&self.path(name)).await {
            Ok(meta) => Ok(found_of(&meta)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // A file where a folder was, or a link in the way: the name leads to no file of this entry.
            Err(error) if error.detail(haulier_storage::NO_WAY).is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads exactly the version that was found; none when it is another one by now, or became one meanwhile.
    pub(crate) async fn read_whole(
        &self,
        name: &FileName,
        found: &Found,
        stop: &CancellationToken,
    ) -> Result<Option<Contents>> {
        let request = ReadRequest { version: version_of(&found.stamp), ..ReadRequest::default() };
        let beginning = Beginning::wanted_of(name);
        let hashed = match self.0.storage.read(&self.path(name), request).await {
            Ok(read) => hash(read.stream, beginning, stop).await,
            Err(error) => Err(error),
        };
        let (contents, size) = match hashed {
            Ok(hashed) => hashed,
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        // A file may change behind an open handle.
        let same = size == found.stamp.size_bytes && self.look(name).await?.is_some_and(|now| now.stamp == found.stamp);
        Ok(same.then_some(contents))
    }

    /// The type that the beginning of the version that was found tells, where the name tells nothing. What cannot be
    /// read tells nothing either: whoever needs its bytes will say why.
    pub(crate) async fn read_kind(&self, name: &FileName, found: &Found) -> Option<&'static str> {
        let mut beginning = Beginning::wanted_of(name);
        if beginning.is_enough() {
            return None;
        }
        let end = Some(found.stamp.size_bytes.min(mime::TELLING_BYTES as u64));
        let request = ReadRequest { version: version_of(&found.stamp), end, ..ReadRequest::default() };
        let mut stream = self.0.storage.read(&self.path(name), request).await.ok()?.stream;
        while let Some(bytes) = stream.try_next().await.ok()? {
            beginning.add(&bytes);
        }
        beginning.kind()
    }

    /// Everything there is, in any order and in bounded memory. Names that no other entry could hold are reported and
    /// left out; so is what is ours.
    pub(crate) async fn list(&self) -> Result<BoxStream<'static, Result<(FileName, Found)>>> {
        let listed = self.0.storage.list(&self.0.base).await?;
        let before = match self.0.base.as_str() {
            "" => String::new(),
            base => format!("{}/", base.trim_end_matches('/')),
        };
        let named = listed.try_filter_map(move |object| {
            let item = name_of(object.path.as_str(), &before).zip(found_of(&object.meta));
            async move { Ok(item) }
        });
        Ok(named.boxed())
    }

    /// Removes what writers with a label left unfinished, when none of them is at work. Remote storages are not looked
    /// through: what is left there is found by the next writer of the same file.
    pub(crate) async fn sweep(&self, label: &str) -> Result<()> {
        match &self.0.local {
            Some((local, _)) => local.sweep(label).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Removes a folder that a file was in, and those above it, as far as they are empty; the root stays.
    pub(crate) async fn remove_empty_folders(&self, name: &FileName) -> Result<()> {
        let mut folder = name.as_str();
        while let Some((above, _)) = folder.rsplit_once('/') {
            if !self.0.storage.remove_folder(&self.0.base.join(above)).await? {
                break;
            }
            folder = above;
        }
        Ok(())
    }
}

/// What a storage says about a file, in the words of this room; none when it is no regular file.
pub(crate) fn found_of(meta: &ObjectMeta) -> Option<Found> {
    if meta.kind != ObjectKind::Regular {
        return None;
    }
    let size_bytes = meta.size?;
    let version = match &meta.version {
        Some(version) => version.as_str().to_owned(),
        None => format!("{NO_VERSION}{}", meta.modified?.as_micros()),
    };
    let attributes = Attributes { modified_at: meta.modified, mode: meta.mode };
    Some(Found { stamp: Stamp { size_bytes, version }, attributes })
}

/// Stands before a time where the storage gives no version.
const NO_VERSION: &str = "modified ";

/// The version that a storage can be asked for.
pub(crate) fn version_of(stamp: &Stamp) -> Option<Version> {
    (!stamp.version.starts_with(NO_VERSION)).then(|| Version::from(stamp.version.as_str()))
}

fn name_of(key: &str, before: &str) -> Option<FileName> {
    let name = key.strip_prefix(before)?;
    if name.split('/').next() == Some(OWN_FOLDER) {
        return None;
    }
    match FileName::new(name) {
        Ok(name) if name.is_temporary() => None,
        Ok(name) => Some(name),
        Err(error) => {
            tracing::warn!(name, "a file is left out, because no other entry could hold it: {error}");
            None
        }
    }
}

/// What reading a file told.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) hash: ContentHash,
    /// The type that the bytes tell, where the name tells nothing.
    pub(crate) kind: Option<&'static str>,
}

/// The first bytes of a file, as far as they are wanted.
struct Beginning {
    bytes: Vec<u8>,
    wanted: usize,
}

impl Beginning {
    fn wanted_of(name: &FileName) -> Self {
        let wanted = if mime::tells_nothing(name.as_str()) { mime::TELLING_BYTES } else { 0 };
        Self { bytes: Vec::new(), wanted }
    }

    fn is_enough(&self) -> bool {
        self.bytes.len() >= self.wanted
    }

    fn add(&mut self, more: &[u8]) {
        let missing = self.wanted.saturating_sub(self.bytes.len());
        self.bytes.extend(more.iter().take(missing));
    }

    fn kind(&self) -> Option<&'static str> {
        mime::sniff(&self.bytes)
    }
}

async fn hash(
    mut stream: haulier_storage::ByteStream,
    mut beginning: Beginning,
    stop: &CancellationToken,
) -> Result<(Contents, u64)> {
    let (mut sha, mut size) = (Sha256::new(), 0u64);
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Error::canceled("stopped")),
            next = stream.try_next() => next?,
        };
        let Some(bytes) = next else { break };
        size += bytes.len() as u64;
        beginning.add(&bytes);
        if bytes.len() <= INLINE_BYTES {
            sha.update(&bytes);
            continue;
        }
        let hashing = tokio::task::spawn_blocking(move || {
            sha.update(&bytes);
            sha
        });
        sha = hashing.await.map_err(|error| Error::internal("the hashing thread failed").caused_by(error))?;
    }
    let hash = ContentHash::from_hex(hex::encode(sha.finalize()));
    Ok((Contents { hash, kind: beginning.kind() }, size))
}
