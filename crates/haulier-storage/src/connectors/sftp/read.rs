//! Reading a file: many requests under way, one stream in order.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesOrdered, StreamExt};
use haulier_base::{Error, Result};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::rawsession::SftpResult;
use russh_sftp::protocol::{Data, FileAttributes, OpenFlags};

use super::errors::{is_end_of_file, sftp_error};
use super::is_a_directory;
use super::pool::Lease;
use super::session::{intact, meta_of};
use crate::{ObjectKind, ObjectMeta, ObjectRead, ReadRequest};

/// Requests under way at a time; with the size of one, also the memory of a stream.
const REQUESTS_IN_FLIGHT: usize = 32;

pub(super) async fn read(lease: Lease, key: &str, request: &ReadRequest) -> Result<ObjectRead> {
    // Looked at before it is opened: opening a FIFO would never end.
    let looked = match lease.run(lease.raw().stat(key)).await {
        Ok(looked) => meta_of(&looked.attrs),
        Err(error) => {
            lease.give_back_unless(&error);
            return Err(error);
        }
    };
    match looked.kind {
        ObjectKind::Directory => return Err(is_a_directory()),
        ObjectKind::Special => return Err(Error::invalid("the path is no regular file")),
        ObjectKind::Regular => {}
    }
    let opened = lease.run(lease.raw().open(key, OpenFlags::READ, FileAttributes::empty())).await?;
    let handle = intact(opened.handle)?;
    let meta = meta_of(&lease.run(lease.raw().fstat(handle.as_str())).await?.attrs);
    let range = request.check_version(&meta).and_then(|()| {
        let size = meta.size.ok_or_else(|| Error::invalid("the server does not say how long the file is"))?;
        request.range_of(size)
    });
    let range = match range {
        Ok(range) => range,
        Err(error) => {
            lease.run(lease.raw().close(handle.as_str())).await?;
            lease.give_back();
            return Err(error);
        }
    };
    let pipeline = Pipeline {
        raw: lease.raw().clone(),
        piece: lease.read_bytes,
        asked: range.start,
        end: range.end,
        given: range.start,
        waiting: FuturesOrdered::new(),
        opened: meta.clone(),
        lease,
        handle,
    };
    let stream = stream::unfold(Some(pipeline), |state| async move {
        let mut pipeline = state?;
        match pipeline.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(pipeline))),
            Ok(None) => pipeline.close().await.err().map(|error| (Err(error), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(ObjectRead { meta, start: range.start, end: Some(range.end), stream: stream.boxed(), handle: None, crc64: None })
}

/// An answer and the place in the file that was asked for.
type Asked = BoxFuture<'static, (u64, u32, SftpResult<Data>)>;

struct Pipeline {
    raw: Arc<RawSftpSession>,
    handle: String,
    piece: u32,
    asked: u64,
    end: u64,
    given: u64,
    waiting: FuturesOrdered<Asked>,
    /// What the file was when it was opened.
    opened: ObjectMeta,
    lease: Lease,
}

impl Pipeline {
    fn ask(&self, offset: u64, len: u32) -> Asked {
        let (raw, handle) = (self.raw.clone(), self.handle.clone());
        Box::pin(async move { (offset, len, raw.read(handle, offset, len).await) })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.given >= self.end {
            return Ok(None);
        }
        while self.asked < self.end && self.waiting.len() < REQUESTS_IN_FLIGHT {
            let len = u64::from(self.piece).min(self.end - self.asked) as u32;
            self.waiting.push_back(self.ask(self.asked, len));
            self.asked += u64::from(len);
        }
        let answer = self.lease.try_run(self.waiting.next()).await?;
        let (offset, len, outcome) = answer.ok_or_else(|| Error::internal("nothing was asked for"))?;
        let bytes = match outcome {
            Ok(data) if data.data.len() as u64 > u64::from(len) => {
                return Err(Error::unavailable("the server sent more than was asked for"));
            }
            Ok(data) => data.data,
            Err(error) if is_end_of_file(&error) => Vec::new(),
            Err(error) => return Err(sftp_error(error)),
        };
        if bytes.is_empty() {
            return Err(Error::conflict("the source became shorter while it was read"));
        }
        let got = bytes.len() as u32;
        if got < len {
            // The rest comes next; requests after this one stay as they are.
            self.waiting.push_front(self.ask(offset + u64::from(got), len - got));
            self.piece = self.piece.min(got);
        }
        self.given += u64::from(got);
        Ok(Some(bytes.into()))
    }

    /// A file that somebody wrote to meanwhile may have given a mixture.
    async fn close(self) -> Result<()> {
        let now = self.lease.run(self.raw.fstat(self.handle.as_str())).await?;
        self.lease.run(self.raw.close(self.handle.as_str())).await?;
        self.lease.give_back();
        if meta_of(&now.attrs).version != self.opened.version {
            return Err(Error::conflict("the source changed while it was read"));
        }
        Ok(())
    }
}
