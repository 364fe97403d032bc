//! Walking a folder with an open descriptor per level, so that memory grows with depth only.

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

/// Entries that wait for a slow reader.
const ENTRIES_WAITING: usize = 256;
/// Levels of folders, each of which costs a descriptor.
const DEPTH_MAX: usize = 512;

type Sender = mpsc::Sender<Result<ListedObject>>;

pub(super) async fn list(
    roots: Arc<Roots>,
    full: PathBuf,
    prefix: ObjectPath,
) -> Result<BoxStream<'static, Result<ListedObject>>> {
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
    let (sender, receiver) = mpsc::channel(ENTRIES_WAITING);
    // Ends by itself when the reader has gone.
    tokio::task::spawn_blocking(move || {
        if let Err(error) = walk(folder, prefix, &sender) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
        .boxed())
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

fn walk(folder: File, prefix: ObjectPath, sender: &Sender) -> Result<()> {
    let mut levels = vec![Level::open(folder, prefix)?];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let Some(entry) = level.entries.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.map_err(os_error)?;
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
                return Err(Error::invalid(format!("folders are nested deeper than {DEPTH_MAX}")));
            }
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let opened = open_beneath(&level.folder, Path::new(name), flags, Mode::empty());
                if let Some(folder) = missing_is_none(opened)? {
                    levels.push(Level::open(folder.into(), path)?);
                }
            }
            _ => {
                let meta = meta_of_stat(&found);
                if sender.blocking_send(Ok(ListedObject { path, meta })).is_err() {
                    return Ok(());
                }
            }
        }
    }
}
