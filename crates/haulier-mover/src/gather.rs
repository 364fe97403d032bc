//! Turns a stream of small chunks into few large ones, and notices when it stalls.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use haulier_base::{Error, Result};
use haulier_storage::ByteStream;
use tokio::time::{Instant, timeout_at};

/// A chunk of this size is written as it comes.
const ENOUGH: usize = 512 << 10;
/// Most bytes gathered before they are written.
pub(crate) const CHUNK: usize = 1 << 20;
/// How long bytes may wait for company.
const LINGER: Duration = Duration::from_millis(50);

/// Reads a stream in chunks that are worth a system call each.
pub(crate) struct Gather {
    stream: ByteStream,
    stall: Duration,
    // What came after the bytes already given: an error, or the end.
    tail: Option<Result<()>>,
}

impl Gather {
    pub(crate) fn new(stream: ByteStream, stall: Duration) -> Self {
        Self { stream, stall, tail: None }
    }

    /// The next bytes, never empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(tail) = self.tail.take() {
            self.tail = Some(Ok(()));
            return tail.map(|()| None);
        }
        let stalled_at = Instant::now() + self.stall;
        let first = loop {
            match timeout_at(stalled_at, self.stream.next()).await.map_err(|_| no_byte_for(self.stall))? {
                None => return Ok(None),
                Some(chunk) => match chunk? {
                    empty if empty.is_empty() => {}
                    chunk => break chunk,
                },
            }
        };
        if first.len() >= ENOUGH {
            return Ok(Some(first));
        }
        self.fill(first).await.map(Some)
    }

    async fn fill(&mut self, first: Bytes) -> Result<Bytes> {
        let (deadline, mut gathered) = (Instant::now() + LINGER, BytesMut::new());
        while first.len().max(gathered.len()) < CHUNK {
            match timeout_at(deadline, self.stream.next()).await {
                Err(_) => break,
                Ok(None) => {
                    self.tail = Some(Ok(()));
                    break;
                }
                Ok(Some(Err(error))) => {
                    self.tail = Some(Err(error));
                    break;
                }
                Ok(Some(Ok(chunk))) => {
                    if gathered.is_empty() {
                        gathered.reserve(CHUNK + first.len());
                        gathered.extend_from_slice(&first);
                    }
                    gathered.extend_from_slice(&chunk);
                }
            }
        }
        Ok(if gathered.is_empty() { first } else { gathered.freeze() })
    }
}

/// The error of a source that went silent.
pub(crate) fn no_byte_for(stall: Duration) -> Error {
    Error::unavailable(format!("no byte for {} s", stall.as_secs_f64()))
}
