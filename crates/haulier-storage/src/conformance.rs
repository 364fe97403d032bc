//! What every storage promises, as tests. Which of them run is decided by capabilities, never by name.

mod guards;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::TryStreamExt;
use haulier_base::ErrorKind;
use tokio::time::timeout;

use crate::{ObjectPath, ObjectRead, Placement, ReadRequest, Storage, WriteRequest};

/// Checks all promises of a storage that can be written; panics at the first broken one.
///
/// `folder` is an empty place inside the storage that the checks may fill.
pub async fn check(storage: Arc<dyn Storage>, folder: &ObjectPath) {
    let can = storage.capabilities();
    assert!(can.read && can.write, "only a storage that can be read and written can be checked");
    publishing(&*storage, &folder.join("published")).await;
    aborting(&*storage, &folder.join("aborted")).await;
    canceling(&*storage, &folder.join("canceled")).await;
    odd_names(&*storage, folder).await;
    sizes(&*storage, &folder.join("sizes")).await;
    if can.resumable_write {
        resuming(&*storage, &folder.join("resumed")).await;
        discarding(&*storage, &folder.join("discarded")).await;
    }
    if can.parallel_writes {
        parallel(&*storage, &folder.join("parallel")).await;
    }
    if can.in_place {
        in_place(&*storage, &folder.join("in-place")).await;
    }
    if can.list && can.delete {
        listing(&*storage, &folder.join("listed")).await;
    }
    guards::check(&*storage, &folder.join("guards")).await;
    put(&*storage, &folder.join("ranges"), b"0123456789").await;
    check_reading(storage, &folder.join("ranges")).await;
}

/// Checks the promises of reading on an object whose bytes are `0123456789`.
pub async fn check_reading(storage: Arc<dyn Storage>, path: &ObjectPath) {
    let can = storage.capabilities();
    assert!(can.read);
    let meta = storage.stat(path).await.expect("stat finds the object");
    assert_eq!(meta.size, Some(10));
    let wanted: &[(u64, Option<u64>, &[u8])] = &[
        (0, None, b"0123456789"),
        (0, Some(4), b"0123"),
        (3, Some(5), b"34"),
        (8, None, b"89"),
        (8, Some(99), b"89"),
        (10, None, b""),
        (10, Some(10), b""),
        (4, Some(4), b""),
        (0, Some(0), b""),
    ];
    for (start, end, bytes) in wanted {
        let read = storage.read(path, range(*start, *end)).await.expect("the range can be read");
        assert_eq!(read.start, *start);
        assert!(read.end.is_none_or(|end| end == start + bytes.len() as u64), "{start}-{end:?}: {:?}", read.end);
        assert_eq!(collect(read).await, *bytes, "{start}-{end:?}");
    }
    for start in [11, i64::MAX as u64, u64::MAX] {
        let error = storage.read(path, range(start, None)).await.expect_err("a start beyond the end is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{start}");
    }
    if meta.version.is_some() {
        let same = ReadRequest { version: meta.version, ..range(2, None) };
        assert_eq!(collect(storage.read(path, same).await.expect("the same version can be read")).await, *b"23456789");
        let other = ReadRequest { version: Some("another".into()), ..range(2, None) };
        let error = storage.read(path, other).await.expect_err("another version is refused");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}

async fn publishing(storage: &dyn Storage, path: &ObjectPath) {
    assert_eq!(storage.stat(path).await.expect_err("nothing is there yet").kind(), ErrorKind::NotFound);
    let missing = storage.read(path, ReadRequest::default()).await.expect_err("nothing is there yet");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let writer = storage.write(path, request("publish")).await.expect("a writer opens");
    writer.put_at(0, Bytes::from_static(b"a longer first version")).await.expect("bytes are put");
    writer.flush().await.expect("bytes are flushed");
    assert!(storage.stat(path).await.is_err(), "nothing is visible before finish");
    let meta = writer.finish(22).await.expect("the writer finishes").meta;
    assert_eq!(meta.size, Some(22));
    let first = storage.stat(path).await.expect("the object is visible after finish");
    assert_eq!(first.size, Some(22));
    put(storage, path, b"short").await;
    assert_eq!(bytes_of(storage, path).await, *b"short", "nothing of the old object survives");
    assert_ne!(storage.stat(path).await.expect("is there").version, first.version, "versions tell them apart");
    put(storage, path, b"").await;
    assert_eq!(bytes_of(storage, path).await, *b"");
}

async fn aborting(storage: &dyn Storage, path: &ObjectPath) {
    put(storage, path, b"kept").await;
    let writer = storage.write(path, request("abort")).await.expect("a writer opens");
    writer.put_at(0, Bytes::from_static(b"dropped")).await.expect("bytes are put");
    writer.abort().await.expect("the writer aborts");
    assert_eq!(bytes_of(storage, path).await, *b"kept");
}

/// Cut off in the middle of a put: what was there stays, and what was begun can be discarded.
async fn canceling(storage: &dyn Storage, path: &ObjectPath) {
    put(storage, path, b"kept").await;
    for after in [0, 3, 30] {
        let writer = storage.write(path, request("cancel")).await.expect("a writer opens");
        let size = writer.part_end(0).map_or(3 << 20, |end| end + end / 2);
        let bytes = parts::pattern(size);
        // It may as well come to its end: what counts is that nothing was published.
        let _cut = timeout(Duration::from_millis(after), parts::fill(&*writer, &bytes, 0)).await;
        let token = writer.token();
        drop(writer);
        assert_eq!(bytes_of(storage, path).await, *b"kept", "after {after} ms");
        storage.discard(path, "cancel", token.as_deref()).await.expect("leftovers are discarded");
        assert_eq!(bytes_of(storage, path).await, *b"kept", "after {after} ms");
    }
    put(storage, path, b"whole").await;
    assert_eq!(bytes_of(storage, path).await, *b"whole");
}

async fn resuming(storage: &dyn Storage, path: &ObjectPath) {
    let writer = storage.write(path, request("resume")).await.expect("a writer opens");
    if let Some(end) = writer.part_end(0) {
        return parts::resuming(storage, path, writer, end).await;
    }
    writer.put_at(0, Bytes::from_static(b"01234")).await.expect("bytes are put");
    writer.flush().await.expect("bytes are flushed");
    let token = writer.token().expect("a resumable writer has a token");
    // Dropped as in a crash.
    drop(writer);
    let again = || WriteRequest { resume: Some(token.clone()), ..request("resume") };
    let writer = storage.write(path, again()).await.expect("the writer opens again");
    assert_eq!(writer.resumed_size(), 5);
    writer.suspend().await.expect("the writer is suspended");
    let writer = storage.write(path, again()).await.expect("the writer opens a third time");
    writer.put_at(5, Bytes::from_static(b"56789 and too much")).await.expect("bytes are put");
    if storage.capabilities().read_back {
        let back = writer.read_back(3, 4).await.expect("bytes can be read back").expect("as promised");
        assert_eq!(&back[..], b"3456");
    }
    writer.finish(10).await.expect("the writer finishes");
    assert_eq!(bytes_of(storage, path).await, *b"0123456789", "what is beyond the size is cut");
    let writer = storage.write(path, again()).await.expect("an unknown token starts afresh");
    assert_eq!(writer.resumed_size(), 0);
    let token = writer.token().expect("a resumable writer has a token");
    drop(writer);
    storage.discard(path, "resume", Some(&token)).await.expect("leftovers are discarded");
    storage.discard(path, "resume", Some(&token)).await.expect("and discarding twice is fine");
    let afresh = storage.write(path, WriteRequest { resume: Some(token), ..request("resume") }).await;
    afresh.expect("a discarded writer starts afresh").abort().await.expect("the writer aborts");
    assert_eq!(bytes_of(storage, path).await, *b"0123456789");
}

/// A writer that died before anybody knew its token, beside one with another label.
async fn discarding(storage: &dyn Storage, path: &ObjectPath) {
    let mut tokens = Vec::new();
    for label in ["dead", "dead-1", "alive"] {
        let writer = storage.write(path, request(label)).await.expect("a writer opens");
        if writer.part_end(0).is_some() {
            // Such a store makes up the names of its uploads, and only a token leads to one.
            return writer.abort().await.expect("the writer aborts");
        }
        writer.put_at(0, Bytes::from_static(b"01234")).await.expect("bytes are put");
        writer.flush().await.expect("bytes are flushed");
        tokens.push((label, writer.token().expect("a resumable writer has a token")));
    }
    storage.discard(path, "dead", None).await.expect("a label is enough to discard");
    storage.discard(path, "dead", None).await.expect("and discarding twice is fine");
    storage.discard(&path.join("nothing"), "dead", None).await.expect("nothing there is fine");
    for (label, token) in tokens {
        let again = WriteRequest { resume: Some(token), ..request(label) };
        let writer = storage.write(path, again).await.expect("the writer opens again");
        assert_eq!(writer.resumed_size(), if label == "dead" { 0 } else { 5 }, "{label}");
        writer.abort().await.expect("the writer aborts");
    }
}

/// No byte, one, and around the end of a part where there are parts; with the size announced or not.
async fn sizes(storage: &dyn Storage, path: &ObjectPath) {
    let writer = storage.write(path, request("sizes")).await.expect("a writer opens");
    let part = writer.part_end(0);
    writer.abort().await.expect("the writer aborts");
    let around = part.map_or(vec![65_535, 65_537], |part| vec![part - 1, part, part + 1, 2 * part + 1]);
    for size in [0, 1].into_iter().chain(around) {
        let bytes = parts::pattern(size);
        for announced in [None, Some(size)] {
            let writer = storage.write(path, WriteRequest { size: announced, ..request("sizes") }).await;
            let writer = writer.expect("a writer opens");
            parts::fill(&*writer, &bytes, 0).await;
            let written = writer.finish(size).await.expect("the writer finishes");
            assert_eq!(written.meta.size, Some(size));
            assert_eq!(storage.stat(path).await.expect("is there").size, Some(size));
            assert!(bytes_of(storage, path).await == bytes, "{size} bytes, announced as {announced:?}");
        }
    }
}

async fn parallel(storage: &dyn Storage, path: &ObjectPath) {
    let writer = storage.write(path, request("parallel")).await.expect("a writer opens");
    let puts = (0..10u64).rev().map(|n| writer.put_at(n * 3, Bytes::from(vec![b'a' + n as u8; 3])));
    futures::future::try_join_all(puts).await.expect("puts at any offsets");
    writer.finish(30).await.expect("the writer finishes");
    assert_eq!(bytes_of(storage, path).await, *b"aaabbbcccdddeeefffggghhhiiijjj");
    let writer = storage.write(path, request("far")).await.expect("a writer opens");
    for far in [i64::MAX as u64, u64::MAX] {
        assert!(writer.put_at(far, Bytes::from_static(b"xx")).await.is_err(), "{far} is refused, without a panic");
    }
    writer.abort().await.expect("the writer aborts");
}

async fn in_place(storage: &dyn Storage, path: &ObjectPath) {
    put(storage, path, b"0123456789").await;
    let request = WriteRequest { placement: Placement::InPlace { offset: 4 }, ..request("in-place") };
    let writer = storage.write(path, request.clone()).await.expect("a writer opens");
    writer.put_at(0, Bytes::from_static(b"ab")).await.expect("bytes are put");
    writer.finish(2).await.expect("the writer finishes");
    assert_eq!(bytes_of(storage, path).await, *b"0123ab6789");
    let writer = storage.write(path, request).await.expect("a writer opens");
    writer.abort().await.expect("the writer aborts");
    assert_eq!(bytes_of(storage, path).await, *b"0123ab6789", "the object stays");
}

async fn odd_names(storage: &dyn Storage, folder: &ObjectPath) {
    for name in ["a b", "é☃", "100%41", "new\nline", "-x", "q?#&=+", ".hidden", "quote\"'", "a+b", "%", "%2F", "..."]
    {
        let path = folder.join(name);
        put(storage, &path, name.as_bytes()).await;
        assert_eq!(bytes_of(storage, &path).await, *name.as_bytes(), "{name:?}");
    }
    let long = folder.join(&"long name ".repeat(20));
    put(storage, &long, b"long").await;
    assert_eq!(bytes_of(storage, &long).await, *b"long");
}

async fn listing(storage: &dyn Storage, folder: &ObjectPath) {
    let missing: Vec<_> = storage.list(folder).await.expect("a listing").try_collect().await.expect("entries");
    assert_eq!(missing, [], "a missing folder lists nothing");
    let mut wanted: Vec<_> = (0..600).map(|n| folder.join(&format!("{}/{n}", n % 7))).collect();
    for path in &wanted {
        put(storage, path, b"x").await;
    }
    put(storage, &ObjectPath::new(format!("{folder}-not")), b"x").await;
    let listed: Vec<_> = storage.list(folder).await.expect("a listing").try_collect().await.expect("entries");
    let mut found: Vec<_> = listed.into_iter().map(|object| object.path).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    for path in &wanted[..2] {
        storage.delete(path).await.expect("an object is deleted");
        storage.delete(path).await.expect("a missing object is fine");
    }
    let left: Vec<_> = storage.list(folder).await.expect("a listing").try_collect().await.expect("entries");
    assert_eq!(left.len(), wanted.len() - 2);
}

fn request(label: &str) -> WriteRequest {
    WriteRequest { label: label.to_owned(), create_parents: true, ..WriteRequest::default() }
}

fn range(start: u64, end: Option<u64>) -> ReadRequest {
    ReadRequest { start, end, version: None }
}

async fn put(storage: &dyn Storage, path: &ObjectPath, bytes: &[u8]) {
    let writer = storage.write(path, request("put")).await.expect("a writer opens");
    writer.put_at(0, Bytes::copy_from_slice(bytes)).await.expect("bytes are put");
    writer.finish(bytes.len() as u64).await.expect("the writer finishes");
}

async fn bytes_of(storage: &dyn Storage, path: &ObjectPath) -> Vec<u8> {
    collect(storage.read(path, ReadRequest::default()).await.expect("the object can be read")).await
}

async fn collect(read: ObjectRead) -> Vec<u8> {
    let chunks: Vec<Bytes> = read.stream.try_collect().await.expect("the stream comes to its end");
    chunks.concat()
}
