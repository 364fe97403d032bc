//! Two more ways to move: parts of the source fetched ahead of an ordered target, and copies that the store makes.
//!
//! Both run inside the move's own future, as everything in `run` does.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use haulier_base::{Error, Result};
use haulier_storage::{ByteStream, StoreSource};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::gather::{Gather, length_of_pieces, split_pieces};
use crate::plan::{self, Method};
use crate::run::{Copied, Pieces, Run, conflict_is_change};

/// Asked of the store at once; longer copies could not be stopped for a while.
const WITHIN: u64 = 1 << 30;

impl Run<'_> {
    /// Reads several parts of the source at once and writes them in order.
    pub(crate) async fn copy_ahead(&self, first: ByteStream, buffers: Option<mpsc::Sender<Pieces>>) -> Result<u64> {
        let length = self.length.unwrap_or(self.safe);
        let (chunks, mut queue) = mpsc::channel::<Result<Bytes>>(1);
        let fetching = self.fetch_ahead(first, plan::parts(self.safe, length, self.mv.options.part_size), chunks);
        let stream = futures::stream::poll_fn(move |context| queue.poll_recv(context)).boxed();
        let copying = self.copy_ordered(stream, Some(length), buffers);
        let (fetched, copied) = tokio::join!(fetching, copying);
        copied.map(|()| fetched)
    }

    /// Keeps fetching while the reader of `chunks` is busy; ends when that one is gone, or with the first error.
    async fn fetch_ahead(
        &self,
        first: ByteStream,
        mut parts: impl Iterator<Item = Range<u64>>,
        chunks: mpsc::Sender<Result<Bytes>>,
    ) -> u64 {
        let (mut first, mut fetched) = (Some(first), 0);
        let (mut fetches, mut ready) = (FuturesOrdered::new(), VecDeque::<VecDeque<Bytes>>::new());
        loop {
            // A part that waits to be written counts as one in flight, so that memory stays bounded.
            while fetches.len() + ready.len() < self.mv.options.parts_in_flight.max(1)
                && let Some(part) = parts.next()
            {
                fetches.push_back(self.fetch(part, first.take()));
            }
            tokio::select! {
                permit = chunks.reserve(), if !ready.is_empty() => {
                    let Ok(permit) = permit else { return fetched };
                    if let Some(chunk) = ready.front_mut().and_then(VecDeque::pop_front) {
                        permit.send(Ok(chunk));
                    }
                    if ready.front().is_some_and(VecDeque::is_empty) {
                        ready.pop_front();
                    }
                }
                Some(part) = fetches.next(), if !fetches.is_empty() => {
                    match part {
                        Ok(part) => ready.push_back(part),
                        Err(error) => {
                            give(&chunks, ready, error).await;
                            return fetched;
                        }
                    }
                    fetched += 1;
                }
                else => return fetched,
            }
        }
    }

    async fn fetch(&self, part: Range<u64>, stream: Option<ByteStream>) -> Result<VecDeque<Bytes>> {
        let stream = match stream {
            Some(stream) => stream,
            None => self.read_part(&part).await?,
        };
        let mut source = Gather::new(stream, self.mv.options.stall);
        let (mut at, mut chunks) = (part.start, VecDeque::new());
        while at < part.end {
            let Some(mut bytes) = source.next_pieces().await.map_err(conflict_is_change)? else {
                return Err(self.ended_early(at));
            };
            let bytes = split_pieces(&mut bytes, part.end - at);
            at += length_of_pieces(&bytes);
            chunks.extend(bytes);
        }
        Ok(chunks)
    }

    /// Lets the store copy, and saves points meanwhile. Nothing passes through here, so nothing is hashed here.
    pub(crate) async fn carry_out_within(&self, source: &StoreSource) -> Result<Copied> {
        let moved = CancellationToken::new();
        let copying = async {
            let (mut at, mut calls) = (self.safe, 0);
            while at < source.size || calls == 0 {
                let wanted = (source.size - at).min(WITHIN);
                match self.writer.copy_within(source, at, at, wanted).await? {
                    Some(copied) => {
                        self.wrote(at, copied);
                        (at, calls) = (at + copied, calls + 1);
                    }
                    None => return Err(Error::internal("the store cannot copy what it offered to copy")),
                }
            }
            moved.cancel();
            Ok(Copied { method: Method::Within, parts: calls })
        };
        let (copied, ()) = tokio::try_join!(copying, self.save_regularly(&moved))?;
        Ok(copied)
    }
}

/// What arrived before an error is still written. A reader that is gone tells its own reason.
async fn give(chunks: &mpsc::Sender<Result<Bytes>>, ready: VecDeque<VecDeque<Bytes>>, error: Error) {
    for chunk in ready.into_iter().flatten().map(Ok).chain([Err(error)]) {
        if chunks.send(chunk).await.is_err() {
            return;
        }
    }
}
