//! One request that brings an object, fed piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use haulier_base::{Error, Result};
use reqwest::Body;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

use super::server::{Server, silent};

/// What one piece of a body is cut to, so that waits are for little.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for the network.
const PIECES_WAITING: usize = 32;
/// A server may take longer to store what it has got than to take a piece of it.
const ANSWER_STALLS: u32 = 4;

/// An upload under way; dropping it breaks the request off.
pub(super) struct Upload {
    /// None after the last byte, or after a failure.
    sender: Option<mpsc::Sender<Bytes>>,
    request: JoinSet<Result<()>>,
    taken: Arc<AtomicU64>,
    stall: Duration,
}

impl Upload {
    pub(super) fn start(server: Arc<Server>, url: Url, size: Option<u64>) -> Self {
        let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_WAITING);
        let taken = Arc::new(AtomicU64::new(0));
        let counted = taken.clone();
        let pieces = stream::unfold((receiver, counted), |(mut receiver, counted)| async move {
            let bytes = receiver.recv().await?;
            counted.fetch_add(1, Ordering::Relaxed);
            Some((Ok::<_, std::io::Error>(bytes), (receiver, counted)))
        });
        let stall = server.client.stall();
        let mut request = JoinSet::new();
        request.spawn(async move { server.put(&url, size, Body::wrap_stream(pieces)).await });
        Self { sender: Some(sender), request, taken, stall }
    }

    /// Queues bytes; waits for the network when much is queued already.
    pub(super) async fn send(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let Some(sender) = &self.sender else { return Err(Error::unavailable("the upload has failed already")) };
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            match tokio::time::timeout(self.stall, sender.send(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.why_it_ended().await),
                Err(_) => {
                    self.stop().await;
                    return Err(silent());
                }
            }
        }
        Ok(())
    }

    /// The request is over although there was more to send.
    async fn why_it_ended(&mut self) -> Error {
        self.sender = None;
        match self.answer().await {
            Err(error) => error,
            Ok(()) => Error::unavailable("the server called the object complete before it was"),
        }
    }

    /// Says that this was all, and waits for what the server says to it.
    pub(super) async fn end(&mut self) -> Result<()> {
        if self.sender.take().is_none() {
            return Err(Error::unavailable("the upload has failed already"));
        }
        self.answer().await
    }

    async fn answer(&mut self) -> Result<()> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(self.stall * ANSWER_STALLS, self.request.join_next()).await {
                Ok(Some(Ok(outcome))) => return outcome,
                Ok(Some(Err(stopped))) => return Err(Error::internal("an upload was broken off").caused_by(stopped)),
                Ok(None) => return Err(Error::unavailable("the upload has failed already")),
                Err(_) => {
                    let now = self.taken.load(Ordering::Relaxed);
                    if now == taken {
                        self.stop().await;
                        return Err(silent());
                    }
                    taken = now;
                }
            }
        }
    }

    /// Breaks the request off.
    pub(super) async fn stop(&mut self) {
        self.sender = None;
        self.request.shutdown().await;
    }
}
