//! Walking a folder with an open descriptor per level, so that memory grows with depth only.
//!
//! A folder that cannot be read is an error of the listing, which goes on behind it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, Result};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use tokio::sync::mpsc;

use super::roots::open_beneath;
use super::{NO_FOLLOW, Roots, blocking, meta_of, meta_of_stat, missing_is_none, os_error};
use crate::connectors::temp_name::is_temp_name;
use crate::{ListedObject, ObjectKind, ObjectPath};

/// Entries handed over at a time: waking the reader for each costs more than finding it.
const BATCH: usize = 128;
/// Batches that wait for a slow reader.
const BATCHES_WAITING: usize = 4;
/// Levels of folders, each of which costs a descriptor.
const DEPTH_MAX: usize = 512;

type Item = Result<ListedObject>;

pub(super) async fn list(roots: Arc<Roots>, full: PathBuf, prefix: ObjectPath) -> Result<BoxStream<'static, Item>> {
    let opened = blocking(move || {
        let canonical = roots.resolve(&full)?;
        let Some(found) = missing_is_none(roots.open_at(&canonical, OFlags::PATH))? else { return Ok(None) };
        let meta = meta_of(&File::from(found).metadata()?);
        if meta.kind != ObjectKind::Directory {
            return Ok(Some(Err(meta)));
        }
        Ok(Some(Ok(File::from(roots.open_at(&canonical, OFlags::RDONLY | OFlags::DIRECTORY)?))))
    })
    .await?;
    let folder = match opened {
        None => return Ok(stream::empty().boxed()),
        Some(Err(meta)) => return Ok(stream::iter([Ok(ListedObject { path: prefix, meta })]).boxed()),
        Some(Ok(folder)) => folder,
    };
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
    // Ends by itself when the reader has gone.
    tokio::task::spawn_blocking(move || {
        let mut outbox = Outbox { sender, items: Vec::with_capacity(BATCH), reader_gone: false };
        if let Err(error) = walk(folder, prefix, &mut outbox) {
            outbox.push(Err(error));
        }
        outbox.flush();
    });
    let batches = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|batch: Vec<Item>| (stream::iter(batch), receiver))
    });
    Ok(batches.flatten().boxed())
}

/// What was found and not handed over yet.
struct Outbox {
    sender: mpsc::Sender<Vec<Item>>,
    items: Vec<Item>,
    reader_gone: bool,
}

impl Outbox {
    fn push(&mut self, item: Item) {
        self.items.push(item);
        if self.items.len() == BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let batch = std::mem::replace(&mut self.items, Vec::with_capacity(BATCH));
        self.reader_gone |= self.sender.blocking_send(batch).is_err();
    }
}

struct Level {
    folder: File,
    entries: Dir,
    path: ObjectPath,
}

impl Level {
    fn open(folder: File, path: ObjectPath) -> Result<Self> {
        let entries = Dir::read_from(&folder).map_err(os_error)?;
        Ok(Self { folder, entries, path })
    }
}

fn walk(folder: File, prefix: ObjectPath, outbox: &mut Outbox) -> Result<()> {
    let mut levels = vec![Level::open(folder, prefix)?];
    while !outbox.reader_gone {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let Some(entry) = level.entries.read() else {
            levels.pop();
            continue;
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(errno) => {
                outbox.push(Err(unread(os_error(errno), &level.path)));
                levels.pop();
                continue;
            }
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let Some(text) = name.to_str() else {
            tracing::warn!(folder = %level.path, name = ?name, "a file whose name is not UTF-8 is not listed");
            continue;
        };
        if is_temp_name(text) {
            continue;
        }
        // An entry may go away, or become a link, at any moment: then it is not listed.
        let Ok(found) = rustix::fs::statat(&level.folder, name, NO_FOLLOW) else { continue };
        let path = level.path.join(text);
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => {}
            FileType::Directory if depth == DEPTH_MAX => {
                let deep = Error::invalid(format!("folders are nested deeper than {DEPTH_MAX}"));
                outbox.push(Err(unread(deep, &path)));
            }
            FileType::Directory => match open_folder(level, name, &path) {
                Ok(Some(below)) => levels.push(below),
                Ok(None) => {}
                Err(error) => outbox.push(Err(unread(error, &path))),
            },
            _ => outbox.push(Ok(ListedObject { path, meta: meta_of_stat(&found) })),
        }
    }
    Ok(())
}

/// Opens a folder in another one; none when it went, or became something else, since it was looked at.
fn open_folder(level: &Level, name: &OsStr, path: &ObjectPath) -> Result<Option<Level>> {
    let opened = open_beneath(&level.folder, Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    match opened {
        Err(_) if !is_folder(level, name) => Ok(None),
        opened => Level::open(opened?.into(), path.clone()).map(Some),
    }
}

fn is_folder(level: &Level, name: &OsStr) -> bool {
    let found = rustix::fs::statat(&level.folder, name, NO_FOLLOW);
    found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

fn unread(error: Error, folder: &ObjectPath) -> Error {
    Error::new(error.kind(), format!("the folder {folder} cannot be read: {}", error.message())).caused_by(error)
}
