//! The writes of one file that are under way: sent without waiting, confirmed in order.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesOrdered, StreamExt};
use haulier_base::{Error, ErrorKind, Permit, Result};
use russh_sftp::client::rawsession::SftpResult;
use russh_sftp::protocol::Status;

use super::errors::{is_failure, sftp_error};
use super::write::FileWriter;

/// Bytes that the server has not confirmed; a put waits when there are more.
const UNCONFIRMED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A server with less room than this has none.
const ROOM_BYTES_MIN: u64 = 1024 * 1024;

/// Where a write ends, how long it is, and its answer.
type Write = BoxFuture<'static, (u64, usize, SftpResult<Status>)>;

/// What was sent and not yet answered, in order.
#[derive(Default)]
pub(super) struct Queue {
    waiting: FuturesOrdered<Write>,
    unconfirmed: usize,
    /// Where the next put has to begin.
    pub(super) next: Option<u64>,
    /// After a failed write no further one is sent: there would be a gap.
    broken: Option<(ErrorKind, String)>,
}

impl FileWriter {
    fn request(&self, offset: u64, bytes: Bytes) -> Write {
        let (raw, handle) = (self.lease.raw().clone(), self.handle.clone());
        let end = offset + bytes.len() as u64;
        Box::pin(async move { (end, bytes.len(), raw.write(handle, offset, bytes.to_vec()).await) })
    }

    /// Sends the next bytes, once there is room for them among those that are not confirmed.
    pub(super) async fn send(&self, queue: &mut Queue, piece: Bytes) -> Result<()> {
        self.wait_for(queue, UNCONFIRMED_BYTES_MAX - piece.len()).await?;
        Permit::current().check()?;
        let at = queue.next.unwrap_or_default();
        queue.unconfirmed += piece.len();
        queue.next = Some(at + piece.len() as u64);
        queue.waiting.push_back(self.request(at, piece));
        self.turn(queue).await
    }

    /// Takes in an answer.
    async fn confirm(&self, queue: &mut Queue, answer: (u64, usize, SftpResult<Status>)) -> Result<()> {
        let (end, len, outcome) = answer;
        queue.unconfirmed -= len;
        match outcome {
            Ok(_) => {
                self.confirmed.store(end, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                let full = is_failure(&error) && self.is_full().await;
                let error = if full { Error::no_space("no space left on the target") } else { sftp_error(error) };
                Err(self.fail(queue, error))
            }
        }
    }

    fn fail(&self, queue: &mut Queue, error: Error) -> Error {
        queue.broken = Some((error.kind(), error.message().to_owned()));
        queue.waiting.clear();
        queue.unconfirmed = 0;
        error
    }

    /// Waits until no more than so many bytes are unconfirmed.
    pub(super) async fn wait_for(&self, queue: &mut Queue, most: usize) -> Result<()> {
        if let Some((kind, message)) = &queue.broken {
            return Err(Error::new(*kind, message.clone()));
        }
        while queue.unconfirmed > most {
            let answer = match self.lease.try_run(queue.waiting.next()).await {
                Ok(answer) => answer.ok_or_else(|| Error::internal("no write is under way"))?,
                Err(error) => return Err(self.fail(queue, error)),
            };
            self.confirm(queue, answer).await?;
        }
        Ok(())
    }

    /// Sends what was queued and takes in what has been answered, without waiting.
    pub(super) async fn turn(&self, queue: &mut Queue) -> Result<()> {
        while let Some(Some(answer)) = queue.waiting.next().now_or_never() {
            self.confirm(queue, answer).await?;
        }
        Ok(())
    }

    /// Servers do not say why a write failed, but some say how much room there is.
    async fn is_full(&self) -> bool {
        if !self.lease.can.statvfs {
            return false;
        }
        let room = self.lease.run(self.lease.raw().statvfs(self.temp.as_str())).await;
        room.is_ok_and(|room| room.blocks_avail.saturating_mul(room.fragment_size) < ROOM_BYTES_MIN)
    }

    pub(super) async fn fsync(&self) -> Result<()> {
        if self.lease.can.fsync {
            self.lease.run(self.lease.raw().fsync(self.handle.as_str())).await?;
        }
        Ok(())
    }
}
