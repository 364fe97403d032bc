//! Walking a folder with one open handle per level, so that memory grows with depth only.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, Result};
use russh_sftp::protocol::File;

use super::errors::{is_end_of_file, missing_is_none, sftp_error};
use super::pool::Lease;
use super::session::{intact, meta_of};
use crate::connectors::temp_name::is_temp_name;
use crate::{ListedObject, ObjectKind, ObjectPath};

/// Levels of folders, each of which costs the server an open handle.
const DEPTH_MAX: usize = 100;

pub(super) async fn list(
    lease: Lease,
    key: String,
    prefix: ObjectPath,
) -> Result<BoxStream<'static, Result<ListedObject>>> {
    let Some(found) = missing_is_none(lease.run(lease.raw().stat(key.as_str())).await)? else {
        lease.give_back();
        return Ok(stream::empty().boxed());
    };
    let meta = meta_of(&found.attrs);
    if meta.kind != ObjectKind::Directory {
        lease.give_back();
        return Ok(stream::iter([Ok(ListedObject { path: prefix, meta })]).boxed());
    }
    let mut walk = Walk { lease, levels: Vec::new() };
    walk.enter(key, prefix).await?;
    Ok(stream::unfold(Some(walk), |state| async move {
        let mut walk = state?;
        match walk.next().await {
            Ok(Some(object)) => Some((Ok(object), Some(walk))),
            Ok(None) => {
                walk.lease.give_back();
                None
            }
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

struct Level {
    handle: String,
    path: ObjectPath,
    /// The names that the server gave last.
    batch: VecDeque<File>,
}

struct Walk {
    lease: Lease,
    levels: Vec<Level>,
}

impl Walk {
    /// Goes down. A folder that has gone meanwhile is left out.
    async fn enter(&mut self, key: String, path: ObjectPath) -> Result<()> {
        if self.levels.len() == DEPTH_MAX {
            return Err(Error::invalid(format!("folders are nested deeper than {DEPTH_MAX}")));
        }
        let opened = self.lease.run(self.lease.raw().opendir(key)).await;
        if let Some(opened) = missing_is_none(opened)? {
            self.levels.push(Level { handle: intact(opened.handle)?, path, batch: VecDeque::new() });
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<ListedObject>> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some(entry) = level.batch.pop_front() else {
                self.refill().await?;
                continue;
            };
            if let Some((path, found)) = sort(&level.path, entry)? {
                let meta = meta_of(&found.attrs);
                match meta.kind {
                    _ if found.attrs.is_symlink() => {}
                    ObjectKind::Directory => self.enter(path.as_str().to_owned(), path).await?,
                    ObjectKind::Regular | ObjectKind::Special => return Ok(Some(ListedObject { path, meta })),
                }
            }
        }
    }

    /// The next names of the deepest folder, or one level up at its end.
    async fn refill(&mut self) -> Result<()> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        match self.lease.try_run(self.lease.raw().readdir(level.handle.as_str())).await? {
            Ok(name) => level.batch = name.files.into(),
            Err(error) if is_end_of_file(&error) => {
                self.lease.run(self.lease.raw().close(level.handle.as_str())).await?;
                self.levels.pop();
            }
            Err(error) => return Err(sftp_error(error)),
        }
        Ok(())
    }
}

/// What an entry is called in the listing, unless it is left out.
fn sort(folder: &ObjectPath, entry: File) -> Result<Option<(ObjectPath, File)>> {
    let name = entry.filename.as_str();
    if name == "." || name == ".." || is_temp_name(name) {
        return Ok(None);
    }
    if name.contains(char::REPLACEMENT_CHARACTER) {
        tracing::warn!(%folder, name, "a file whose name is not UTF-8 is not listed");
        return Ok(None);
    }
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err(Error::unavailable("the server lists a name that no file can have"));
    }
    Ok(Some((folder.join(name), entry)))
}
