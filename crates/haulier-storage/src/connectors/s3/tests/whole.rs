//! Large objects, copies inside the store, long listings, odd keys.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use haulier_base::{Error, ErrorKind};

use super::{PART, fill, flushed, get, lacks, open, open_empty, pattern, proven, put, request};
use crate::{Location, ObjectPath, ReadRequest, WriteRequest};

#[tokio::test]
async fn large_objects_go_up_and_come_down_in_parts() {
    let bytes = pattern(64 << 20);
    for key in ["large/known", "large/unknown"] {
        let location = open(key);
        let size = bytes.len() as u64;
        let known = key.ends_with("/known").then_some(size);
        let writer =
            location.storage.write(&location.path, WriteRequest { size: known, ..request("l") }).await.unwrap();
        fill(&*writer, &bytes, 0, size).await.unwrap();
        let written = writer.finish(size).await.unwrap();
        assert_eq!((written.meta.size, written.store_checksum), (Some(size), proven("crc64nvme")));
        let range = ReadRequest { start: 20 << 20, end: Some(30 << 20), version: written.meta.version };
        let read = location.storage.read(&location.path, range).await.unwrap();
        let part: Vec<Bytes> = read.stream.try_collect().await.unwrap();
        assert!(part.concat() == bytes[20 << 20..30 << 20]);
        assert!(get(&location).await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn objects_are_copied_inside_the_store() {
    let bytes = pattern(2 * PART + 123);
    // A store may copy by parts what has a plain key, and nothing else.
    let from = open(if lacks("encoded_sources") { "copy/from" } else { "copy/from a+b%é" });
    put(&from, &bytes).await.unwrap();
    let source = from.storage.store_source(&from.path).await.unwrap().unwrap();
    assert_eq!(source.size, bytes.len() as u64);
    let kind = source.checksum.as_deref().and_then(|sum| sum.split_once(':')).map(|(kind, _)| kind);
    assert_eq!(kind, proven("crc64nvme"), "{source:?}");
    let whole = open("copy/whole");
    assert_eq!(whole.storage.store(), Some(source.store.clone()));
    let writer = whole.storage.write(&whole.path, request("copy")).await.unwrap();
    assert_eq!(writer.copy_within(&source, 0, 0, source.size).await.unwrap(), Some(source.size));
    let written = writer.finish(source.size).await.unwrap();
    assert_eq!(written.store_checksum, proven("crc64nvme"));
    assert!(get(&whole).await.unwrap() == bytes);
    // A bound below the size makes the copy go part by part.
    let parts = open("copy/parts");
    let writer = parts.storage.write(&parts.path, request("copy")).await.unwrap();
    let mut at = 0;
    while at < source.size {
        at += writer.copy_within(&source, at, at, PART).await.unwrap().unwrap();
    }
    assert_eq!(flushed(&*writer, at).await, source.size);
    let written = writer.finish(source.size).await.unwrap();
    assert_eq!(written.meta.size, Some(source.size));
    assert!(get(&parts).await.unwrap() == bytes);
    put(&from, &bytes.slice(..9)).await.unwrap();
    let writer = parts.storage.write(&parts.path, request("copy")).await.unwrap();
    writer.copy_within(&source, 0, 0, source.size).await.unwrap();
    assert_eq!(writer.finish(source.size).await.unwrap_err().kind(), ErrorKind::Unavailable, "the source changed");
    // A store that copies whatever is there has lost the old object by then; the wrong one is not left.
    match get(&parts).await {
        Err(error) if lacks("checksums") => assert_eq!(error.kind(), ErrorKind::NotFound),
        kept => assert!(kept.unwrap() == bytes),
    }
}

/// `cargo xtask soak` asks for more than fits into one request.
#[tokio::test]
async fn a_copy_by_parts_inside_the_store_is_gone_on_with() {
    const BLOCK: u64 = PART;
    #[expect(clippy::disallowed_methods, reason = "the soak says how much it wants")]
    let size = std::env::var("HAULIER_COPY_BYTES").map_or(20 * BLOCK + 7, |text| text.parse().unwrap());
    let block = pattern(BLOCK);
    let from = open("by-parts/from");
    let wanted = |label| WriteRequest { size: Some(size), ..request(label) };
    let writer = from.storage.write(&from.path, wanted("from")).await.unwrap();
    for at in (0..size).step_by(BLOCK as usize) {
        writer.put_at(at, block.slice(..BLOCK.min(size - at) as usize)).await.unwrap();
    }
    writer.finish(size).await.unwrap();
    let source = from.storage.store_source(&from.path).await.unwrap().unwrap();
    assert_eq!(source.checksum.is_some(), !lacks("checksums"), "the copy can be proven: {source:?}");
    let to = open("by-parts/to");
    let writer = to.storage.write(&to.path, wanted("to")).await.unwrap();
    let mut at = 0;
    while at < size / 2 {
        at += writer.copy_within(&source, at, at, 9 * BLOCK).await.unwrap().expect("it is the same store");
    }
    assert_eq!((at % BLOCK, flushed(&*writer, at).await), (0, at));
    let resume = writer.token();
    drop(writer);
    let to = open("by-parts/to");
    let writer = to.storage.write(&to.path, WriteRequest { resume, ..wanted("to") }).await.unwrap();
    assert_eq!(writer.resumed_size(), at, "no part is copied twice");
    while at < size {
        at += writer.copy_within(&source, at, at, 9 * BLOCK).await.unwrap().expect("it is the same store");
    }
    let written = writer.finish(size).await.unwrap();
    assert_eq!(written.meta.size, Some(size));
    let mut stream = to.storage.read(&to.path, ReadRequest::default()).await.unwrap().stream;
    let mut read = 0;
    while let Some(mut bytes) = stream.try_next().await.unwrap() {
        while !bytes.is_empty() {
            let inside = (read % BLOCK) as usize;
            let piece = bytes.split_to(bytes.len().min(BLOCK as usize - inside));
            assert!(piece == block.slice(inside..inside + piece.len()), "at {read}");
            read += piece.len() as u64;
        }
    }
    assert_eq!(read, size);
    for location in [from, to] {
        location.storage.delete(&location.path).await.unwrap();
    }
}

#[tokio::test]
async fn listings_go_on_over_pages_while_others_write() {
    let location = open_empty("pages").await;
    let wanted: BTreeSet<String> = (0..1100).map(|n| format!("pages/{:02}/{n} +%é", n % 40)).collect();
    let one = |key: &str| {
        let location = Location { path: ObjectPath::new(key), ..location.clone() };
        async move { put(&location, &Bytes::from_static(b"x")).await.map(|_| ()) }
    };
    let puts = stream::iter(wanted.iter().map(|key| one(key))).buffer_unordered(16);
    puts.try_collect::<()>().await.unwrap();
    let listing = async {
        let listed: Vec<_> = location.storage.list(&location.path).await?.try_collect().await?;
        Ok::<_, Error>(listed.into_iter().map(|object| object.path.to_string()).collect::<Vec<_>>())
    };
    let late = (0..100).map(|n| format!("pages/99/late-{n}")).collect::<Vec<_>>();
    let writing = stream::iter(late.iter().map(|key| one(key))).buffer_unordered(4).try_collect::<()>();
    let (listed, written) = tokio::join!(listing, writing);
    written.unwrap();
    let listed = listed.unwrap();
    let found: BTreeSet<_> = listed.iter().filter(|key| !key.contains("late")).cloned().collect();
    assert_eq!(found, wanted);
    let all: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(all.len(), listed.len(), "nothing is listed twice");
}

#[tokio::test]
async fn keys_are_taken_as_they_are_written() {
    let plain = ["100%41", "a b", "a+b", "q?x=1#y", "é☃", "%2F", "&<>\"'", "~!*()", "trailing ", "tab\tnew\nline"];
    let odd = ["a//b", "//", "../x", "a/../b", "./x", "a/./b", "..", ".", "folder/", "a/ /b", "\u{7f}\u{1}"];
    let mut keys: Vec<String> = plain.iter().map(|key| format!("odd/{key}")).collect();
    if !lacks("odd_keys") {
        keys.extend(odd.iter().map(|key| format!("odd/{key}")));
        // The longest: 1024 bytes of one and of three bytes a character.
        keys.push(format!("odd/{}", "k".repeat(1020)));
        keys.push(format!("odd/{}", "☃".repeat(340)));
    }
    open_empty("odd").await;
    for key in &keys {
        let location = open(key);
        assert_eq!(location.path.as_str(), key);
        put(&location, &Bytes::from(key.to_owned())).await.unwrap_or_else(|error| panic!("{key:?}: {error:?}"));
    }
    for key in &keys {
        let location = open(key);
        assert_eq!(get(&location).await.unwrap(), *key.as_bytes(), "{key:?}");
        if !key.ends_with('/') {
            let listed: Vec<_> = location.storage.list(&location.path).await.unwrap().try_collect().await.unwrap();
            assert!(listed.iter().any(|object| object.path.as_str() == key), "{key:?}");
        }
    }
    let listed: Vec<_> = open("odd").storage.list(&ObjectPath::new("odd/")).await.unwrap().try_collect().await.unwrap();
    let listed: BTreeSet<String> = listed.into_iter().map(|object| object.path.to_string()).collect();
    assert_eq!(listed, keys.iter().cloned().collect());
    for key in &keys {
        let location = open(key);
        location.storage.delete(&location.path).await.unwrap();
        assert_eq!(get(&location).await.unwrap_err().kind(), ErrorKind::NotFound, "{key:?}");
    }
}

/// A copy inside the store names its source in a header, and a part its object in a query.
#[tokio::test]
async fn odd_keys_are_copied_inside_the_store_and_uploaded_in_parts() {
    let bytes = pattern(PART + 9);
    let keys: &[&str] = if lacks("odd_keys") { &["a b+%"] } else { &["a b+%", "a//b", "../x", "folder/", "end "] };
    for key in keys {
        let from = open(&format!("odd-parts/{key}"));
        put(&from, &bytes).await.unwrap();
        let source = from.storage.store_source(&from.path).await.unwrap().unwrap();
        for (name, most) in [("whole", source.size), ("parts", PART)] {
            let copy = open(&format!("odd-parts/{name}/{key}"));
            let writer = copy.storage.write(&copy.path, request("copy")).await.unwrap();
            let mut at = 0;
            while at < source.size {
                match writer.copy_within(&source, at, at, most).await {
                    Ok(copied) => at += copied.unwrap(),
                    Err(error) if lacks("encoded_sources") => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{key:?}: {error:?}");
                        return writer.abort().await.unwrap();
                    }
                    Err(error) => panic!("{key:?} {name}: {error:?}"),
                }
            }
            writer.finish(source.size).await.unwrap();
            assert!(get(&copy).await.unwrap() == bytes, "{key:?} {name}");
        }
    }
}
