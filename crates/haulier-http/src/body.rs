//! Reading request bodies within bounds, so that the client always sees the answer.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use haulier_base::{Error, Result};
use tokio::time::timeout;

/// A body must be here this long after its head.
const BODY_TIME: Duration = Duration::from_secs(30);
/// What is read and dropped of a refused body: without it the client sees a reset instead of the answer.
const DRAIN_BYTES: usize = 32 << 20;
/// How long a refused body is read and dropped.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Reads a whole body of at most `limit` bytes.
///
/// A longer one is `TooLarge`, after up to 32 MiB or 5 s of the rest were read and dropped.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes> {
    read_within(body, limit, BODY_TIME).await
}

/// Reads and drops up to 32 MiB or 5 s of a body nobody wants. Call it before answering an early refusal.
pub async fn discard_rest(body: Body) {
    let mut stream = body.into_data_stream();
    let drain = async {
        let mut dropped = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            dropped += chunk.len();
            if dropped > DRAIN_BYTES {
                break;
            }
        }
    };
    // Out of time is as good as done: the rest is the client's loss.
    let _ = timeout(DRAIN_TIME, drain).await;
}

async fn read_within(body: Body, limit: usize, time: Duration) -> Result<Bytes> {
    let too_large = || Error::too_large(format!("the request body is larger than {limit} bytes"));
    if body.size_hint().lower() > limit as u64 {
        discard_rest(body).await;
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let collect = async {
        let mut whole = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| Error::invalid("the request body ended early").caused_by(e))?;
            if whole.len() + chunk.len() > limit {
                return Ok::<_, Error>(None);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(Some(whole.freeze()))
    };
    let late = |_| Error::invalid(format!("the request body was not complete after {} s", time.as_secs()));
    match timeout(time, collect).await.map_err(late)?? {
        Some(whole) => Ok(whole),
        None => {
            discard_rest(Body::from_stream(stream)).await;
            Err(too_large())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;
    use haulier_base::ErrorKind;

    use super::*;

    /// A body of unknown length whose consumed chunks are counted.
    fn counted(chunks: usize, chunk: usize) -> (Body, Arc<AtomicUsize>) {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let stream = stream::iter(0..chunks).map(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from(vec![0; chunk]))
        });
        (Body::from_stream(stream), seen)
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_passes() {
        assert_eq!(read_body(Body::from("abcd"), 4).await.unwrap(), "abcd");
        let (body, _) = counted(4, 1);
        assert_eq!(read_body(body, 4).await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn a_longer_body_is_refused_after_its_rest_was_read() {
        for known_length in [true, false] {
            let (body, seen) = counted(10, 1 << 10);
            let body = if known_length { Body::from(vec![0; 10 << 10]) } else { body };
            let error = read_body(body, 2 << 10).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(error.message().contains("2048 bytes"), "{error}");
            assert!(known_length || seen.load(Ordering::SeqCst) == 10);
        }
    }

    #[tokio::test]
    async fn an_endless_body_is_not_read_to_the_end() {
        let (body, seen) = counted(usize::MAX, 1 << 20);
        assert!(read_body(body, 1).await.is_err());
        assert!(seen.load(Ordering::SeqCst) < 40, "32 MiB and little more");
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_given_up() {
        let body = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        let error = read_within(body, 1, Duration::from_millis(5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
