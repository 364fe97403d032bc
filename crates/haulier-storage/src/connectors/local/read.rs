//! Reading files: regular ones by position with one chunk of read-ahead, others from front to back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use haulier_base::{Error, Result};
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::buffers::Buffers;
use super::{Roots, blocking, is_fifo, meta_of, special};
use crate::{ByteStream, FileHandle, ObjectKind, ObjectMeta, ObjectRead, ReadRequest};

const CHUNK_BYTES: u64 = 1024 * 1024;
/// Chunks being read at the same time; also the memory of one stream.
const CHUNKS_IN_FLIGHT: usize = 2;

/// A range of at most this many bytes is read along with opening the file.
const SMALL_BYTES: u64 = 256 * 1024;

/// What opening a file gave.
struct Opened {
    file: File,
    meta: ObjectMeta,
    fifo: bool,
    /// All bytes of a small range.
    small: Option<Result<Bytes>>,
}

pub(super) async fn read(roots: Arc<Roots>, full: PathBuf, request: ReadRequest) -> Result<ObjectRead> {
    let asked = request.clone();
    let Opened { file, meta, fifo, small } = blocking(move || open(&roots, &full, &asked)).await?;
    match meta.kind {
        ObjectKind::Directory => Err(Error::invalid("the path is a directory")),
        ObjectKind::Special => special::read(file, fifo, meta, &request),
        ObjectKind::Regular => regular(Arc::new(file), meta, &request, small),
    }
}

fn open(roots: &Roots, full: &Path, request: &ReadRequest) -> Result<Opened> {
    // Not blocking, because opening a FIFO would wait for its other end.
    let file = File::from(roots.open_at(&roots.resolve(full)?, OFlags::RDONLY | OFlags::NONBLOCK)?);
    let found = file.metadata()?;
    let meta = meta_of(&found);
    let mut small = None;
    if meta.kind == ObjectKind::Regular {
        request.check_version(&meta)?;
        let range = request.range_of(found.len())?;
        small = (range.end - range.start <= SMALL_BYTES)
            .then(|| read_all(&file, range.start, range.end, &Buffers::default()));
    }
    Ok(Opened { fifo: is_fifo(&found), file, meta, small })
}

fn regular(
    file: Arc<File>,
    meta: ObjectMeta,
    request: &ReadRequest,
    small: Option<Result<Bytes>>,
) -> Result<ObjectRead> {
    let range = request.range_of(meta.size.unwrap_or(0))?;
    let handle = Some(FileHandle::new(file.clone()));
    let stream = match small {
        Some(bytes) => stream::iter([bytes]).boxed(),
        None => chunks(file, range.start, range.end),
    };
    Ok(ObjectRead { meta, start: range.start, end: Some(range.end), stream, handle, crc64: None })
}

fn chunks(file: Arc<File>, start: u64, end: u64) -> ByteStream {
    let starts = stream::iter(std::iter::successors((start < end).then_some(start), move |at| {
        Some(at.saturating_add(CHUNK_BYTES)).filter(|next| *next < end)
    }));
    let buffers = Buffers::default();
    let read = move |at: u64| {
        let (file, buffers) = (file.clone(), buffers.clone());
        blocking(move || read_all(&file, at, end.min(at.saturating_add(CHUNK_BYTES)), &buffers))
    };
    let mut failed = false;
    let all = starts.map(read).buffered(CHUNKS_IN_FLIGHT);
    all.take_while(move |item| {
        let go_on = !failed;
        failed |= item.is_err();
        std::future::ready(go_on)
    })
    .boxed()
}

/// Reads a whole range.
fn read_all(file: &File, start: u64, end: u64, buffers: &Buffers) -> Result<Bytes> {
    let wanted = (end - start) as usize;
    let bytes = read_at(file, start, wanted, buffers)?;
    if bytes.len() < wanted {
        return Err(Error::conflict("the source became shorter while it was read"));
    }
    Ok(bytes)
}

/// Reads until the wanted length or the end of the file.
pub(super) fn read_at(file: &File, offset: u64, wanted: usize, buffers: &Buffers) -> Result<Bytes> {
    // Read into memory that nobody fills with zeros before.
    let mut buffer = buffers.take(wanted);
    while buffer.len() < wanted {
        let at = offset + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    buffer.truncate(wanted);
    Ok(buffers.lend(buffer))
}
