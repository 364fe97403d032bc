//! The place of a file that is written: its folder, its real name behind links, its temporary name.

use haulier_base::{Error, Result};
use russh_sftp::protocol::FileAttributes;

use super::errors::missing_is_none;
use super::is_a_directory;
use super::pool::Lease;
use super::session::meta_of;
use crate::connectors::temp_name::{is_temp_name, temp_name};
use crate::{Attributes, Guard, ObjectKind};

/// Folders that are made for one file.
const PARENTS_MAX: usize = 256;

/// Where a file goes, and how.
pub(super) struct Target {
    /// The file itself, links resolved.
    pub(super) path: String,
    /// The permissions of the file that is there.
    pub(super) mode: Option<u32>,
}

impl Target {
    pub(super) fn beside(&self, name: &str) -> String {
        beside(&self.path, name)
    }

    pub(super) fn temp_name(&self, label: &str) -> String {
        temp_name(label, name_of(&self.path))
    }
}

/// Finds the place of a file, and makes its folders if it may.
pub(super) async fn find(lease: &Lease, key: &str, create_parents: bool) -> Result<Target> {
    if let Some(target) = look(lease, key).await? {
        return Ok(target);
    }
    if create_parents && let Some((folder, _)) = key.rsplit_once('/') {
        make_folders(lease, folder).await?;
    }
    Ok(Target { path: key.to_owned(), mode: None })
}

/// The file that is there now, if there is one.
async fn look(lease: &Lease, key: &str) -> Result<Option<Target>> {
    let Some(found) = missing_is_none(lease.run(lease.raw().lstat(key)).await)? else { return Ok(None) };
    let (path, attrs) = match found.attrs.is_symlink() {
        false => (key.to_owned(), found.attrs),
        true => follow(lease, key).await?,
    };
    match meta_of(&attrs).kind {
        ObjectKind::Directory => Err(is_a_directory()),
        ObjectKind::Special => Err(Error::invalid("the path is no regular file, and only such ones are replaced")),
        ObjectKind::Regular => Ok(Some(Target { path, mode: attrs.permissions.map(|mode| mode & 0o777) })),
    }
}

/// A file is replaced where it lies, and links to it go on leading there.
async fn follow(lease: &Lease, key: &str) -> Result<(String, FileAttributes)> {
    let Some(found) = missing_is_none(lease.run(lease.raw().stat(key)).await)? else {
        return Err(Error::invalid("the path is a link that leads nowhere"));
    };
    let real = lease.run(lease.raw().realpath(key)).await?;
    let real = real.files.into_iter().next().map(|file| file.filename);
    let real = real.ok_or_else(|| Error::unavailable("the server does not say where a link leads"))?;
    Ok((real, found.attrs))
}

/// Looks at a file, and refuses what is not what the guard wants.
pub(super) async fn expect(lease: &Lease, path: &str, guard: &Guard) -> Result<()> {
    if guard.is_any() {
        return Ok(());
    }
    let found = missing_is_none(lease.run(lease.raw().stat(path)).await)?.map(|found| meta_of(&found.attrs));
    match found.as_ref().map(|meta| meta.kind) {
        Some(ObjectKind::Directory) => Err(is_a_directory()),
        Some(ObjectKind::Special) => Err(Error::invalid("something that is no regular file is in the way")),
        Some(ObjectKind::Regular) | None => guard.check(found.as_ref()),
    }
}

/// Gives a file a name that nobody has; makes folders. A plain rename replaces nothing.
pub(super) async fn rename_new(lease: &Lease, from: &str, to: &str) -> Result<()> {
    expect(lease, to, &Guard::Absent).await?;
    if let Some((folder, _)) = to.rsplit_once('/') {
        make_folders(lease, folder).await?;
    }
    match lease.run(lease.raw().rename(from, to)).await {
        Ok(_) => Ok(()),
        Err(error) => expect(lease, to, &Guard::Absent).await.and(Err(error)),
    }
}

/// Time and mode in the words of the protocol, which has whole seconds and takes both times or none.
pub(super) fn attributes_of(attributes: &Attributes) -> FileAttributes {
    let seconds = attributes.modified.map(|at| at.as_micros().div_euclid(1_000_000));
    let seconds = seconds.map(|seconds| u32::try_from(seconds.max(0)).unwrap_or(u32::MAX));
    let permissions = attributes.mode.map(|mode| mode & 0o777);
    FileAttributes { permissions, atime: seconds, mtime: seconds, ..FileAttributes::empty() }
}

async fn make_folders(lease: &Lease, folder: &str) -> Result<()> {
    let mut missing = Vec::new();
    let mut next = folder;
    while !next.is_empty() {
        if let Some(found) = missing_is_none(lease.run(lease.raw().stat(next)).await)? {
            if meta_of(&found.attrs).kind != ObjectKind::Directory {
                return Err(Error::invalid("a folder of the path is a file"));
            }
            break;
        }
        if missing.len() == PARENTS_MAX {
            return Err(Error::invalid(format!("more than {PARENTS_MAX} folders of the path are missing")));
        }
        missing.push(next);
        next = next.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    for folder in missing.into_iter().rev() {
        if let Err(error) = lease.run(lease.raw().mkdir(folder, FileAttributes::empty())).await {
            // Somebody else may have made it in the meantime.
            let made = missing_is_none(lease.run(lease.raw().stat(folder)).await)?;
            if made.is_none_or(|made| meta_of(&made.attrs).kind != ObjectKind::Directory) {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Removes the temporary file of a label, and another one that a token names.
pub(super) async fn discard(lease: &Lease, key: &str, label: &str, token: Option<&str>) -> Result<()> {
    let path = match missing_is_none(lease.run(lease.raw().lstat(key)).await)? {
        Some(found)
            if found.attrs.is_symlink() && missing_is_none(lease.run(lease.raw().stat(key)).await)?.is_some() =>
        {
            follow(lease, key).await?.0
        }
        _ => key.to_owned(),
    };
    let temp = temp_name(label, name_of(&path));
    if let Some(token) = token.filter(|token| is_temp_name(token) && *token != temp) {
        missing_is_none(lease.run(lease.raw().remove(beside(&path, token))).await)?;
    }
    missing_is_none(lease.run(lease.raw().remove(beside(&path, &temp))).await)?;
    Ok(())
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn beside(path: &str, name: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name.to_owned(),
    }
}
