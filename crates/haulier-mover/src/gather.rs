//! Turns a stream of small chunks into few large ones, and notices when it stalls.

use std::time::Duration;

use bytes::Bytes;
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
        Ok(self.next_pieces().await?.map(|pieces| match <[Bytes; 1]>::try_from(pieces) {
            Ok([only]) => only,
            Err(pieces) => pieces.concat().into(),
        }))
    }

    /// The same, as the pieces in which they came.
    pub(crate) async fn next_pieces(&mut self) -> Result<Option<Vec<Bytes>>> {
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
            return Ok(Some(vec![first]));
        }
        self.fill(first).await.map(Some)
    }

    async fn fill(&mut self, first: Bytes) -> Result<Vec<Bytes>> {
        let (deadline, mut length, mut pieces) = (Instant::now() + LINGER, first.len(), vec![first]);
        while length < CHUNK {
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
                    length += chunk.len();
                    pieces.push(chunk);
                }
            }
        }
        Ok(pieces)
    }
}

/// Takes the first so many bytes off some pieces.
pub(crate) fn split_pieces(pieces: &mut Vec<Bytes>, count: u64) -> Vec<Bytes> {
    let (mut left, mut whole) = (count, 0);
    while let Some(piece) = pieces.get(whole).filter(|piece| piece.len() as u64 <= left) {
        left -= piece.len() as u64;
        whole += 1;
    }
    let rest = pieces.split_off(whole);
    let mut taken = std::mem::replace(pieces, rest);
    if let Some(piece) = pieces.first_mut().filter(|_| left > 0) {
        taken.push(piece.split_to(usize::try_from(left).unwrap_or(piece.len())));
    }
    taken
}

/// How many bytes some pieces have.
pub(crate) fn length_of_pieces(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// The error of a source that went silent.
pub(crate) fn no_byte_for(stall: Duration) -> Error {
    Error::unavailable(format!("no byte for {} s", stall.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_split_anywhere() {
        let whole = b"aabbbc";
        for count in 0..=7 {
            let mut rest: Vec<Bytes> = [&b"aa"[..], b"bbb", b"c"].map(Bytes::from_static).into();
            let taken = split_pieces(&mut rest, count);
            let cut = usize::try_from(count).unwrap().min(whole.len());
            assert_eq!((taken.concat(), rest.concat()), (whole[..cut].to_vec(), whole[cut..].to_vec()), "{count}");
            assert!(taken.iter().chain(&rest).all(|piece| !piece.is_empty()));
            assert_eq!(length_of_pieces(&taken), cut as u64);
        }
    }
}
