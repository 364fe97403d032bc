//! Writing files: into a temporary name beside the target, published by a rename; or in place.

use std::fs::{File, Permissions};
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use haulier_base::{Error, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::buffers::Buffers;
use super::first_put::FirstPut;
use super::roots::Place;
use super::{
    NULL_DEVICE, Roots, attributes, blocking, guarded, meta_of, meta_of_stat, missing_is_none, read,
    special::SpecialWriter,
};
use crate::connectors::temp_name::{is_temp_name, temp_name};
use crate::{
    Attributes, FileHandle, Flushed, Guard, ObjectKind, ObjectMeta, ObjectWriter, Placement, WriteRequest, Written,
};

/// One call to the kernel; longer ones could not be stopped for a while.
const KERNEL_COPY_BYTES_MAX: u64 = 16 * 1024 * 1024;
const READ_BACK_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The kernel takes 1,024 slices at once.
const SLICES_MAX: usize = 1024;
/// Files are addressed with signed numbers.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;
const IN_PLACE_TOKEN: &str = "in-place";

pub(super) async fn write(
    roots: Arc<Roots>,
    full: PathBuf,
    keep: Option<PathBuf>,
    request: WriteRequest,
) -> Result<Box<dyn ObjectWriter>> {
    let opened = blocking(move || open(&roots, &full, keep, &request)).await?;
    Ok(match opened {
        // Made here, because a FIFO is driven by the runtime.
        Opened::Special(file) => Box::new(SpecialWriter::new(file)?),
        Opened::File(writer) => Box::new(writer),
    })
}

enum Opened {
    Special(File),
    File(FileWriter),
}

fn open(roots: &Arc<Roots>, full: &Path, keep: Option<PathBuf>, request: &WriteRequest) -> Result<Opened> {
    if full == Path::new(NULL_DEVICE) {
        return Ok(Opened::Special(File::options().write(true).open(NULL_DEVICE)?));
    }
    let place = if request.create_parents { roots.place_with_parents(full) } else { roots.place_of(full) }?;
    match place.kind()? {
        Some(ObjectKind::Directory) => return Err(Error::invalid("the path is a directory")),
        Some(ObjectKind::Special) if !request.guard.is_any() => {
            return Err(Error::invalid("something that is no regular file is in the way"));
        }
        // A FIFO without a reader is refused at once instead of waited for.
        Some(ObjectKind::Special) => {
            return place.open(&place.name, OFlags::WRONLY | OFlags::NONBLOCK).map(Opened::Special);
        }
        // A copy that would be refused in the end is not begun.
        Some(ObjectKind::Regular) | None => {
            request.guard.check(place.stat(&place.name)?.as_ref().map(meta_of_stat).as_ref())?;
        }
    }
    let writer = match request.placement {
        Placement::Replace => FileWriter::replacing(place, request, roots.clone(), keep),
        Placement::InPlace { offset } => FileWriter::in_place(place, offset),
    };
    writer.map(Opened::File)
}

/// Removes the temporary file of a label, and another one that a token names.
pub(super) fn discard(roots: &Roots, full: &Path, label: &str, token: Option<&str>) -> Result<()> {
    if full == Path::new(NULL_DEVICE) {
        return Ok(());
    }
    let Some(place) = missing_is_none(roots.place_of(full))? else { return Ok(()) };
    let temp = temp_name(label, &place.name.to_string_lossy());
    if let Some(token) = token.filter(|token| is_temp_name(token) && *token != temp) {
        place.unlink(token.as_ref())?;
    }
    place.unlink(temp.as_ref())
}

struct FileWriter {
    file: Arc<File>,
    first: Arc<FirstPut>,
    buffers: Buffers,
    place: Arc<Place>,
    /// The temporary name; none when writing in place.
    temp: Option<String>,
    /// Where byte 0 of the writer lies in the file.
    base: u64,
    resumed: u64,
    publication: Publication,
}

/// How a finished file is to be published.
#[derive(Default)]
struct Publication {
    /// The allowed folders and where the old version goes among them.
    keep: Option<(Arc<Roots>, PathBuf)>,
    guard: Guard,
    attributes: Attributes,
    label: String,
}

impl FileWriter {
    fn replacing(place: Place, request: &WriteRequest, roots: Arc<Roots>, keep: Option<PathBuf>) -> Result<Self> {
        let resumed = request.resume.as_deref().and_then(|token| reopen(&place, token));
        let (file, temp, resumed) = match resumed {
            Some((file, token, size)) => (file, token, size),
            None => {
                let temp = temp_name(&request.label, &place.name.to_string_lossy());
                // A leftover may still be open in a writer that lost its lease: leave that file to it.
                place.unlink(temp.as_ref())?;
                (place.open(temp.as_ref(), OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?, temp, 0)
            }
        };
        keep_mode(&place, &file)?;
        let publication = Publication {
            keep: keep.map(|keep| (roots, keep)),
            guard: request.guard.clone(),
            attributes: request.attributes,
            label: request.label.clone(),
        };
        Ok(Self { publication, ..Self::new(file, place, Some(temp), 0, resumed) })
    }

    fn in_place(place: Place, base: u64) -> Result<Self> {
        let file = place.open(&place.name, OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(Error::conflict("the target became something else"));
        }
        let resumed = found.len().saturating_sub(base);
        Ok(Self::new(file, place, None, base, resumed))
    }

    fn new(file: File, place: Place, temp: Option<String>, base: u64, resumed: u64) -> Self {
        let publication = Publication::default();
        Self {
            file: Arc::new(file),
            first: Arc::default(),
            buffers: Buffers::default(),
            place: Arc::new(place),
            temp,
            base,
            resumed,
            publication,
        }
    }

    /// Does something with the file, once all puts are in it.
    async fn with_file<T: Send + 'static>(&self, work: impl FnOnce(&File) -> Result<T> + Send + 'static) -> Result<T> {
        let (file, first) = (self.file.clone(), self.first.clone());
        blocking(move || {
            first.write_to(&file)?;
            work(&file)
        })
        .await
    }

    /// An offset in the file, if a file can have one so far out.
    fn offset_of(&self, offset: u64, len: u64) -> Result<u64> {
        let start = self.base.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(len)).filter(|end| *end <= FILE_BYTES_MAX);
        start.filter(|_| end.is_some()).ok_or_else(|| Error::invalid("the offset is larger than any file"))
    }
}

/// A temporary file of an earlier writer, unless it is missing or somebody tampered with it.
fn reopen(place: &Place, token: &str) -> Option<(File, String, u64)> {
    let file = is_temp_name(token).then(|| place.open(token.as_ref(), OFlags::RDWR | OFlags::NONBLOCK).ok())??;
    let found = file.metadata().ok().filter(|found| found.is_file() && found.nlink() == 1)?;
    Some((file, token.to_owned(), found.len()))
}

/// A file that takes the place of another is no more open to others than that one was.
fn keep_mode(place: &Place, file: &File) -> Result<()> {
    match place.stat(&place.name)? {
        Some(found) if place.kind()? == Some(ObjectKind::Regular) => {
            Ok(file.set_permissions(Permissions::from_mode(found.st_mode & 0o777))?)
        }
        _ => Ok(()),
    }
}

/// Whether a temporary name still leads to this file: another writer may have taken over the name after
/// this one lost its lease.
fn is_own(file: &File, place: &Place, temp: &str) -> Result<bool> {
    let own = file.metadata()?.ino();
    Ok(place.stat(temp.as_ref())?.is_some_and(|found| found.st_ino == own))
}

impl Publication {
    /// Gives the temporary file its final name. The one place where a batch of renames could share its flushes.
    fn publish(&self, file: &File, place: &Place, temp: &str, size: u64) -> Result<ObjectMeta> {
        file.set_len(size)?;
        if self.attributes.mode.is_none() {
            keep_mode(place, file)?;
        }
        attributes::set(file, &self.attributes)?;
        file.sync_all()?;
        if !is_own(file, place, temp)? {
            return Err(Error::unavailable("the temporary file was taken over by another writer"));
        }
        let given = meta_of(&file.metadata()?);
        let renamed = match self.guard {
            Guard::Any => match place.kind()? {
                Some(ObjectKind::Directory) => Err(Error::invalid("the path is a directory")),
                Some(ObjectKind::Special) => Err(Error::conflict("the target became something else")),
                _ => place.rename(temp.as_ref()),
            },
            Guard::Absent => guarded::publish_new(place, &beside(place, temp)?),
            Guard::Version(_) => self.swap(place, temp),
        };
        let refused = |error: &Error| Guard::is_refusal(error) || Guard::is_keep_taken(error);
        if renamed.as_ref().is_err_and(refused) && is_own(file, place, temp)? {
            place.unlink(temp.as_ref())?;
        }
        renamed?;
        let now = meta_of(&file.metadata()?);
        // Somebody may have written into it already: that is not the version that was published, and must never be
        // taken for it. What is told instead is no version of anything, so that the next look is a close one.
        Ok(if (now.size, now.modified) == (given.size, given.modified) { now } else { given })
    }

    fn swap(&self, place: &Place, temp: &str) -> Result<()> {
        let keep = self.keep.as_ref().map(|(roots, keep)| (&**roots, &**keep));
        let aside = guarded::Aside::open(place, keep, &self.label)?;
        let swap = guarded::Swap::stage(place, &beside(place, temp)?, &aside, &self.guard)?;
        swap.exchange()?;
        swap.settle()
    }
}

/// Writes pieces that follow each other, without putting them together before.
fn write_all(file: &File, pieces: &[Bytes], mut at: u64) -> Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match rustix::io::pwritev(file, &left[..left.len().min(SLICES_MAX)], at) {
            Ok(0) => return Err(Error::unavailable("the file takes no more bytes")),
            Ok(count) => {
                IoSlice::advance_slices(&mut left, count);
                at += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
    }
    Ok(())
}

fn beside(place: &Place, name: &str) -> Result<Place> {
    Ok(Place { folder: place.folder.try_clone()?, name: name.into() })
}

#[async_trait]
impl ObjectWriter for FileWriter {
    fn token(&self) -> Option<String> {
        Some(self.temp.clone().unwrap_or_else(|| IN_PLACE_TOKEN.to_owned()))
    }

    fn resumed_size(&self) -> u64 {
        self.resumed
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let at = self.offset_of(offset, bytes.len() as u64)?;
        if self.first.keep(at, &bytes) {
            return Ok(());
        }
        self.with_file(move |file| Ok(file.write_all_at(&bytes, at)?)).await
    }

    async fn put_all_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<()> {
        if let [only] = &*pieces {
            return self.put_at(offset, only.clone()).await;
        }
        let at = self.offset_of(offset, pieces.iter().map(|piece| piece.len() as u64).sum())?;
        self.with_file(move |file| write_all(file, &pieces, at)).await
    }

    async fn copy_range(&self, source: &FileHandle, source_offset: u64, offset: u64, len: u64) -> Result<Option<u64>> {
        let len = len.min(KERNEL_COPY_BYTES_MAX);
        let mut at = self.offset_of(offset, len)?;
        let mut from = source_offset;
        if from.checked_add(len).is_none_or(|end| end > FILE_BYTES_MAX) {
            return Err(Error::invalid("the offset is larger than any file"));
        }
        let source = source.clone();
        self.with_file(move |file| {
            let outcome =
                rustix::fs::copy_file_range(source.file(), Some(&mut from), file, Some(&mut at), len as usize);
            match outcome {
                Ok(count) => Ok(Some(count as u64)),
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::PERM) => Ok(None),
                Err(errno) => Err(super::os_error(errno)),
            }
        })
        .await
    }

    async fn clone_from(&self, source: &FileHandle, source_offset: u64, len: u64) -> Result<bool> {
        if source_offset != 0 || self.base != 0 || self.temp.is_none() {
            return Ok(false);
        }
        let source = source.clone();
        self.with_file(move |file| {
            let whole = source.file().metadata()?.len() == len;
            // Any refusal is fine: the bytes are copied instead.
            Ok(whole && len > 0 && rustix::fs::ioctl_ficlone(file, source.file()).is_ok())
        })
        .await
    }

    async fn read_back(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        let len = len.min(READ_BACK_BYTES_MAX);
        let at = self.offset_of(offset, len)?;
        let buffers = self.buffers.clone();
        self.with_file(move |file| read::read_at(file, at, len as usize, &buffers).map(Some)).await
    }

    async fn forget_cached(&self) -> Result<()> {
        // Advice: a file system that keeps its cache anyway is not an error.
        self.with_file(|file| {
            let _kept = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
            Ok(())
        })
        .await
    }

    async fn flush(&self) -> Result<Flushed> {
        self.with_file(|file| Ok(file.sync_data()?)).await?;
        Ok(Flushed::Everything)
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        self.offset_of(size, 0)?;
        blocking(move || {
            self.first.write_to(&self.file)?;
            match &self.temp {
                Some(temp) => self.publication.publish(&self.file, &self.place, temp, size).map(Written::from),
                None => {
                    self.file.sync_all()?;
                    self.place.sync()?;
                    Ok(meta_of(&self.file.metadata()?).into())
                }
            }
        })
        .await
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        self.flush().await.map(|_| ())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        blocking(move || match &self.temp {
            Some(temp) if is_own(&self.file, &self.place, temp)? => self.place.unlink(temp.as_ref()),
            _ => Ok(()),
        })
        .await
    }
}
