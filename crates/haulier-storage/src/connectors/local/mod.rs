//! Files under the configured roots, `file:///path`.
//!
//! A path is first resolved by name; then it is opened beneath a root's descriptor with links forbidden,
//! so a link that is swapped in between cannot lead out.

mod attributes;
mod buffers;
mod first_put;
mod guarded;
mod list;
mod read;
mod roots;
mod special;
mod sweep;
mod url;
mod writer;

#[cfg(test)]
mod guarded_tests;
#[cfg(test)]
mod tests;

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use haulier_base::{Error, Permit, Result, Timestamp};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

pub use roots::Roots;
pub(crate) use url::CONNECTOR;

use crate::{
    Attributes, Capabilities, Guard, ListedObject, ObjectKind, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter,
    ReadRequest, Storage, Version, WriteRequest, storage::NO_WAY,
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

    /// The files below one folder and nothing else: a link in the way to a file, or instead of one, is never followed.
    ///
    /// # Errors
    /// When there is no such folder.
    pub async fn confined(folder: &Path) -> Result<Self> {
        let folder = folder.to_owned();
        blocking(move || {
            let roots = Roots::confined(&folder)?;
            let base = roots.first().to_owned();
            Ok(Self { roots: Arc::new(roots), base })
        })
        .await
    }

    /// The folder, links resolved.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether the path of a confined folder still leads to the folder that was opened, and not to another one that
    /// was mounted over it or put in its place.
    pub async fn is_in_place(&self) -> Result<bool> {
        let roots = self.roots.clone();
        blocking(move || roots.is_in_place()).await
    }

    /// Removes what writers with a label left unfinished anywhere in the folder, and says how many files that were.
    /// None of them may be at work.
    pub async fn sweep(&self, label: &str) -> Result<u64> {
        let (roots, base, label) = (self.roots.clone(), self.base.clone(), label.to_owned());
        blocking(move || sweep::sweep(&roots, &base, &label)).await
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
            guarded_write: true,
            rename: true,
            attributes: true,
            checksums: false,
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
        let keep = request.keep_old.as_ref().map(|keep| self.object_path(keep)).transpose()?;
        writer::write(roots, full, keep, request).await
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

    async fn remove_guarded(&self, path: &ObjectPath, guard: &Guard, keep_as: Option<&ObjectPath>) -> Result<()> {
        let (roots, full, guard) = (self.roots.clone(), self.object_path(path)?, guard.clone());
        let keep = keep_as.map(|keep| self.object_path(keep)).transpose()?;
        blocking(move || {
            let Some(place) = missing_is_none(roots.place_of_entry(&full))? else { return guard.check(None) };
            let keep = keep.as_deref().map(|keep| (&*roots, keep));
            let aside = guarded::Aside::open(&place, keep, "removed")?;
            guarded::remove(&place, &aside, &guard)
        })
        .await
    }

    async fn rename(&self, from: &ObjectPath, guard: &Guard, to: &ObjectPath) -> Result<ObjectMeta> {
        let ends = guarded::Ends { from: self.object_path(from)?, to: self.object_path(to)? };
        let (roots, guard) = (self.roots.clone(), guard.clone());
        blocking(move || ends.rename(&roots, &guard)).await
    }

    async fn set_attributes(&self, path: &ObjectPath, guard: &Guard, to: &Attributes) -> Result<ObjectMeta> {
        let (roots, full, guard, to) = (self.roots.clone(), self.object_path(path)?, guard.clone(), *to);
        blocking(move || attributes::set_at(&roots, &full, &guard, &to)).await
    }

    async fn remove_folder(&self, path: &ObjectPath) -> Result<bool> {
        let (roots, full) = (self.roots.clone(), self.full_path(path)?);
        blocking(move || guarded::remove_folder(&roots, &full)).await
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
        Errno::NOTDIR => Error::from(std::io::Error::from(errno)).context(NO_WAY, true),
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

/// What the kernel says about a file, however it was asked.
struct Facts {
    size: u64,
    mode: u32,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

fn meta_of(found: &Metadata) -> ObjectMeta {
    Facts {
        size: found.len(),
        mode: found.mode(),
        inode: found.ino(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    }
    .meta()
}

#[expect(clippy::unnecessary_cast, reason = "the types of these fields differ between platforms")]
fn meta_of_stat(found: &rustix::fs::Stat) -> ObjectMeta {
    Facts {
        size: u64::try_from(found.st_size).unwrap_or(0),
        mode: found.st_mode as u32,
        inode: found.st_ino as u64,
        modified: (found.st_mtime as i64, found.st_mtime_nsec as i64),
        changed: (found.st_ctime as i64, found.st_ctime_nsec as i64),
    }
    .meta()
}

impl Facts {
    fn meta(&self) -> ObjectMeta {
        let kind = match FileType::from_raw_mode(self.mode) {
            FileType::Directory => ObjectKind::Directory,
            FileType::RegularFile => ObjectKind::Regular,
            _ => ObjectKind::Special,
        };
        let nanos = |(seconds, rest)| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        let (modified, changed): (i128, i128) = (nanos(self.modified), nanos(self.changed));
        let regular = kind == ObjectKind::Regular;
        ObjectMeta {
            size: regular.then_some(self.size),
            version: regular.then(|| Version::from(format!("{}-{modified}-{changed}-{}", self.size, self.inode))),
            modified: i64::try_from(modified.div_euclid(1000)).ok().map(Timestamp::from_micros),
            kind,
            mode: Some(self.mode & 0o777),
        }
    }
}

fn is_fifo(found: &Metadata) -> bool {
    found.file_type().is_fifo()
}

const NO_FOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
