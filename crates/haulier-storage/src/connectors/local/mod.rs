//! Files under the configured roots, `file:///path`.
//!
//! A path is first resolved by name; then it is opened beneath a root's descriptor with links forbidden,
//! so a link that is swapped in between cannot lead out.

mod first_put;
mod list;
mod read;
mod roots;
mod special;
mod url;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use haulier_base::{Error, Permit, Result, Timestamp};
use rustix::fs::AtFlags;
use rustix::io::Errno;

pub use roots::Roots;
pub(crate) use url::CONNECTOR;

use crate::{
    Capabilities, ListedObject, ObjectKind, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter, ReadRequest, Storage,
    Version, WriteRequest,
};

/// Always allowed as a target, whatever the roots are.
const NULL_DEVICE: &str = "/dev/null";

/// The files below one folder, confined to the roots.
#[derive(Clone, Debug)]
pub struct LocalStorage {
    roots: Arc<Roots>,
    base: PathBuf,
}

impl LocalStorage {
    /// Keys are paths below `base`, which lies in one of the roots.
    pub fn new(roots: Arc<Roots>, base: impl Into<PathBuf>) -> Self {
        Self { roots, base: base.into() }
    }

    /// Where a key lies, without looking at the disk.
    fn full_path(&self, path: &ObjectPath) -> Result<PathBuf> {
        let key = path.as_str();
        if key.contains('\0') {
            return Err(Error::invalid("the path contains a zero byte"));
        }
        let full = normalize(&self.base.join(key.trim_start_matches('/')));
        if !full.starts_with(&self.base) {
            return Err(Error::invalid("the path leaves its folder"));
        }
        Ok(full)
    }

    fn object_path(&self, path: &ObjectPath) -> Result<PathBuf> {
        if path.as_str().ends_with('/') || path.as_str().is_empty() {
            return Err(Error::invalid("the path is a directory"));
        }
        self.full_path(path)
    }
}

#[async_trait]
impl Storage for LocalStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            write: true,
            list: true,
            delete: true,
            any_key: false,
            ranged_read: true,
            one_version: false,
            parallel_reads: true,
            parallel_writes: true,
            resumable_write: true,
            read_back: true,
            cheap_read_back: true,
            kernel_copy: true,
            in_place: true,
        }
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        let (roots, full) = (self.roots.clone(), self.full_path(path)?);
        blocking(move || roots.look_at(&full)).await
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let (roots, full) = (self.roots.clone(), self.object_path(path)?);
        read::read(roots, full, request).await
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        let (roots, full) = (self.roots.clone(), self.object_path(path)?);
        writer::write(roots, full, request).await
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        let (roots, full) = (self.roots.clone(), self.full_path(prefix)?);
        list::list(roots, full, prefix.clone()).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let (roots, full) = (self.roots.clone(), self.object_path(path)?);
        blocking(move || {
            let Some(place) = missing_is_none(roots.place_of_entry(&full))? else { return Ok(()) };
            match place.kind()? {
                None => Ok(()),
                Some(ObjectKind::Directory) => Err(Error::invalid("the path is a directory")),
                Some(ObjectKind::Special) if !place.is_link()? => Err(Error::invalid("devices are never removed")),
                Some(_) => place.unlink(&place.name),
            }
        })
        .await
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        let (roots, full) = (self.roots.clone(), self.object_path(path)?);
        let (label, token) = (label.to_owned(), token.map(str::to_owned));
        blocking(move || writer::discard(&roots, &full, &label, token.as_deref())).await
    }
}

/// Removes `.` and `..` by their text, as URLs demand (RFC 3986 §5.2.4).
fn normalize(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Runs file work where it may block, unless it is somebody else's by the time it gets there.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let permit = Permit::current();
    let work = move || permit.check().and_then(|()| work());
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(stopped) => Err(Error::internal("file work was broken off").caused_by(stopped)),
    }
}

/// Sorts the system errors that need a word of their own.
fn os_error(errno: Errno) -> Error {
    match errno {
        Errno::ISDIR => Error::invalid("the path is a directory"),
        // Links were resolved before, so this one was put there in the meantime.
        Errno::LOOP | Errno::XDEV => Error::unavailable("the path changed while it was being opened"),
        Errno::NAMETOOLONG => Error::invalid("the path is too long"),
        Errno::NXIO => Error::unavailable("nobody is at the other end of the path"),
        other => std::io::Error::from(other).into(),
    }
}

fn missing_is_none<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == haulier_base::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn meta_of(found: &Metadata) -> ObjectMeta {
    let kind = kind_of(found);
    let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let modified = nanos(found.mtime(), found.mtime_nsec());
    let changed = nanos(found.ctime(), found.ctime_nsec());
    let regular = kind == ObjectKind::Regular;
    ObjectMeta {
        size: regular.then_some(found.len()),
        version: regular.then(|| Version::from(format!("{}-{modified}-{changed}-{}", found.len(), found.ino()))),
        modified: i64::try_from(modified / 1000).ok().map(Timestamp::from_micros),
        kind,
    }
}

fn kind_of(found: &Metadata) -> ObjectKind {
    let file_type = found.file_type();
    if file_type.is_dir() {
        ObjectKind::Directory
    } else if file_type.is_file() {
        ObjectKind::Regular
    } else {
        ObjectKind::Special
    }
}

fn is_fifo(found: &Metadata) -> bool {
    found.file_type().is_fifo()
}

const NO_FOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
