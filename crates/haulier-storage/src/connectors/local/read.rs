//! Reading files: regular ones by position with one chunk of read-ahead, others from front to back.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use haulier_base::{Error, Result};
use rustix::fs::OFlags;

use super::{Roots, blocking, is_fifo, meta_of, special};
use crate::{ByteStream, FileHandle, ObjectKind, ObjectMeta, ObjectRead, ReadRequest};

const CHUNK_BYTES: u64 = 1024 * 1024;
/// Chunks being read at the same time; also the memory of one stream.
const CHUNKS_IN_FLIGHT: usize = 2;

pub(super) async fn read(roots: Arc<Roots>, full: PathBuf, request: ReadRequest) -> Result<ObjectRead> {
    let (file, meta, fifo) = blocking(move || {
        // Not blocking, because opening a FIFO would wait for its other end.
        let opened = roots.open_at(&roots.resolve(&full)?, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let file = File::from(opened);
        let found = file.metadata()?;
        Ok((file, meta_of(&found), is_fifo(&found)))
    })
    .await?;
    match meta.kind {
        ObjectKind::Directory => Err(Error::invalid("the path is a directory")),
        ObjectKind::Special => special::read(file, fifo, meta, &request),
        ObjectKind::Regular => regular(Arc::new(file), meta, &request),
    }
}

fn regular(file: Arc<File>, meta: ObjectMeta, request: &ReadRequest) -> Result<ObjectRead> {
    request.check_version(&meta)?;
    let range = request.range_of(meta.size.unwrap_or(0))?;
    let handle = Some(FileHandle::new(file.clone()));
    let stream = chunks(file, range.start, range.end);
    Ok(ObjectRead { meta, start: range.start, end: Some(range.end), stream, handle })
}

fn chunks(file: Arc<File>, start: u64, end: u64) -> ByteStream {
    let starts = stream::iter(std::iter::successors((start < end).then_some(start), move |at| {
        Some(at.saturating_add(CHUNK_BYTES)).filter(|next| *next < end)
    }));
    let read = move |at: u64| {
        let file = file.clone();
        blocking(move || {
            let wanted = (end - at).min(CHUNK_BYTES) as usize;
            let bytes = read_at(&file, at, wanted)?;
            if bytes.len() < wanted {
                return Err(Error::conflict("the source became shorter while it was read"));
            }
            Ok(bytes)
        })
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

/// Reads until the wanted length or the end of the file.
pub(super) fn read_at(file: &File, offset: u64, wanted: usize) -> Result<Bytes> {
    let mut buffer = vec![0; wanted];
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}
