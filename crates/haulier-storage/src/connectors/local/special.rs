//! Devices and FIFOs: read and written in order, in place; never renamed over, never removed.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use haulier_base::{Error, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;

use super::{blocking, is_fifo, meta_of};
use crate::connectors::cut;
use crate::{ByteStream, Flushed, ObjectMeta, ObjectRead, ObjectWriter, ReadRequest, Written};

const CHUNK_BYTES: usize = 256 * 1024;

/// Reads from front to back; the bytes before the start are dropped.
pub(super) fn read(file: File, fifo: bool, meta: ObjectMeta, request: &ReadRequest) -> Result<ObjectRead> {
    request.check_version(&meta)?;
    let all: ByteStream = if fifo {
        // Waits for the first writer, and ends when the last one has gone.
        ReaderStream::with_capacity(pipe::Receiver::from_file(file)?, CHUNK_BYTES).map_err(Error::from).boxed()
    } else {
        make_blocking(&file)?;
        device_chunks(Arc::new(file))
    };
    let stream = cut(all, request.start, request.end);
    Ok(ObjectRead { meta, start: request.start, end: None, stream, handle: None, crc64: None })
}

fn device_chunks(file: Arc<File>) -> ByteStream {
    stream::try_unfold(file, |file| async move {
        let reader = file.clone();
        let bytes = blocking(move || {
            let mut buffer = vec![0; CHUNK_BYTES];
            let count = (&*reader).read(&mut buffer)?;
            buffer.truncate(count);
            Ok(Bytes::from(buffer))
        })
        .await?;
        Ok((!bytes.is_empty()).then_some((bytes, file)))
    })
    .boxed()
}

fn make_blocking(file: &File) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(file).map_err(super::os_error)?;
    rustix::fs::fcntl_setfl(file, flags - OFlags::NONBLOCK).map_err(super::os_error)
}

enum Sink {
    Fifo(Mutex<pipe::Sender>),
    Device(Arc<File>),
}

/// Writes in order; cannot be resumed.
pub(super) struct SpecialWriter {
    sink: Sink,
    meta: ObjectMeta,
    position: AtomicU64,
}

impl SpecialWriter {
    /// Takes a device or FIFO that was opened for writing without blocking.
    pub(super) fn new(file: File) -> Result<Self> {
        let found = file.metadata()?;
        let sink = if is_fifo(&found) {
            Sink::Fifo(Mutex::new(pipe::Sender::from_file(file)?))
        } else {
            make_blocking(&file)?;
            Sink::Device(Arc::new(file))
        };
        Ok(Self { sink, meta: meta_of(&found), position: AtomicU64::new(0) })
    }
}

#[async_trait]
impl ObjectWriter for SpecialWriter {
    fn token(&self) -> Option<String> {
        None
    }

    fn resumed_size(&self) -> u64 {
        0
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        if offset != self.position.load(Ordering::SeqCst) {
            return Err(Error::invalid("a device can only be written in order"));
        }
        let len = bytes.len() as u64;
        match &self.sink {
            Sink::Fifo(sender) => sender.lock().await.write_all(&bytes).await?,
            Sink::Device(file) => {
                let file = file.clone();
                blocking(move || Ok((&*file).write_all(&bytes)?)).await?;
            }
        }
        self.position.fetch_add(len, Ordering::SeqCst);
        Ok(())
    }

    async fn flush(&self) -> Result<Flushed> {
        let Sink::Device(file) = &self.sink else { return Ok(Flushed::Everything) };
        let file = file.clone();
        blocking(move || match rustix::fs::fdatasync(&*file) {
            // Most character devices have nothing to flush, and say so.
            Ok(()) | Err(Errno::INVAL | Errno::ROFS | Errno::NOTSUP) => Ok(Flushed::Everything),
            Err(errno) => Err(super::os_error(errno)),
        })
        .await
    }

    async fn finish(self: Box<Self>, _size: u64) -> Result<Written> {
        self.flush().await?;
        Ok(self.meta.into())
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
