//! What stores promise that take whole parts: where an upload goes on, and what is kept of it.

use bytes::Bytes;

use super::{bytes_of, request};
use crate::{Flushed, ObjectPath, ObjectWriter, Storage, WriteRequest};

/// Bytes that differ from place to place.
pub(super) fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

/// Puts everything from an offset on, in pieces that cross no end of a part.
pub(super) async fn fill(writer: &dyn ObjectWriter, bytes: &[u8], from: u64) {
    let (mut at, size) = (from, bytes.len() as u64);
    while at < size {
        let end = writer.part_end(at).unwrap_or(u64::MAX).min(at + (1 << 20)).min(size);
        let piece = Bytes::copy_from_slice(&bytes[at as usize..end as usize]);
        writer.put_at(at, piece).await.expect("bytes are put");
        at = end;
    }
}

/// A writer that was opened at a path goes on in another one, whose `resumed_size` is the end of a part.
pub(super) async fn resuming(storage: &dyn Storage, path: &ObjectPath, writer: Box<dyn ObjectWriter>, end: u64) {
    let bytes = pattern(2 * end + end / 2);
    fill(&*writer, &bytes[..(end + end / 4) as usize], 0).await;
    let kept = wait_until_kept(&*writer, end).await;
    assert_eq!(kept, end, "what is no whole part is not kept");
    assert!(writer.must_remember(), "a token that is needed has to be kept");
    let token = writer.token().expect("a resumable writer has a token");
    // Dropped as in a crash.
    drop(writer);
    let again = || WriteRequest { resume: Some(token.clone()), ..request("resume") };
    let writer = storage.write(path, again()).await.expect("the writer opens again");
    assert_eq!(writer.resumed_size(), end);
    writer.suspend().await.expect("the writer is suspended");
    let writer = storage.write(path, again()).await.expect("the writer opens a third time");
    assert_eq!((writer.resumed_size(), writer.token().as_ref()), (end, Some(&token)));
    fill(&*writer, &bytes, end).await;
    let size = bytes.len() as u64 - 7;
    writer.finish(size).await.expect("the writer finishes");
    assert!(bytes_of(storage, path).await == bytes[..size as usize], "what is beyond the size is cut");
    let finished = storage.stat(path).await.expect("it is there");
    let writer = storage.write(path, again()).await.expect("what was finished is recognized");
    assert_eq!(writer.resumed_size(), size);
    fill(&*writer, &bytes[..size as usize], end).await;
    writer.finish(size).await.expect("it is finished already");
    assert_eq!(storage.stat(path).await.expect("it is there"), finished, "nothing was written again");
    let writer = storage.write(path, request("resume")).await.expect("a writer without a token starts afresh");
    assert_eq!(writer.resumed_size(), 0);
    fill(&*writer, &bytes[..(end + 1) as usize], 0).await;
    let token = writer.token().expect("a resumable writer has a token");
    drop(writer);
    storage.discard(path, "resume", Some(&token)).await.expect("leftovers are discarded");
    storage.discard(path, "resume", Some(&token)).await.expect("and discarding twice is fine");
    let afresh = storage.write(path, WriteRequest { resume: Some(token), ..request("resume") }).await;
    let afresh = afresh.expect("a discarded writer starts afresh");
    assert_eq!(afresh.resumed_size(), 0);
    afresh.abort().await.expect("the writer aborts");
    assert!(bytes_of(storage, path).await == bytes[..size as usize]);
}

async fn wait_until_kept(writer: &dyn ObjectWriter, wanted: u64) -> u64 {
    loop {
        match writer.flush().await.expect("bytes are flushed") {
            Flushed::First(kept) if kept < wanted => tokio::task::yield_now().await,
            Flushed::First(kept) => return kept,
            Flushed::Everything => panic!("a store that takes whole parts cannot keep everything"),
        }
    }
}
