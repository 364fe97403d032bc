//! S3 against real servers, one at a time, which the test command starts and names in `HAULIER_TEST_S3`.
//!
//! What a server does otherwise than S3 stands in `HAULIER_TEST_S3_LACKS`: `odd_keys` when it does not keep every key,
//! `checksums` when it computes none, `encoded_sources` when its copies by parts find plain keys only.

mod faults;
mod refusals;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::TryStreamExt;
use haulier_base::ErrorKind;
use serde_json::{Value, json};

use super::checksum::Kind;
use super::plan::{Cut, PART_MIN};
use super::upload::{Upload, discard_abandoned};
use super::*;
use crate::{Flushed, StorageConfig, Storages, Written, conformance};

const PART: u64 = PART_MIN;

#[expect(clippy::disallowed_methods, reason = "the test command hands the server over in the environment")]
fn server() -> Value {
    let text = std::env::var("HAULIER_TEST_S3").expect("HAULIER_TEST_S3 is not set: run cargo xtask test");
    serde_json::from_str(&text).expect("HAULIER_TEST_S3 is JSON")
}

#[expect(clippy::disallowed_methods, reason = "the test command hands the server over in the environment")]
fn lacks(what: &str) -> bool {
    std::env::var("HAULIER_TEST_S3_LACKS").is_ok_and(|lacks| lacks.split(',').any(|lack| lack == what))
}

/// What a store reports that was asked for this checksum.
fn proven(kind: &'static str) -> Option<&'static str> {
    (!lacks("checksums")).then_some(kind)
}

fn storages() -> Storages {
    Storages::new(StorageConfig { allow_private: true, ..StorageConfig::default() }).unwrap()
}

fn options(more: Value) -> Value {
    let mut options = server();
    options.as_object_mut().unwrap().remove("bucket");
    options["part_size"] = json!(PART);
    for (name, value) in more.as_object().unwrap() {
        options[name] = value.clone();
    }
    options
}

fn url(key: &str) -> String {
    format!("s3://{}/{key}", server()["bucket"].as_str().unwrap())
}

fn open_with(key: &str, more: Value) -> Location {
    storages().open_target(&url(key), &options(more)).unwrap()
}

fn open(key: &str) -> Location {
    open_with(key, json!({}))
}

fn bucket(more: Value) -> Arc<Bucket> {
    let storages = storages();
    let Options { settings, part_size, checksum } = Options::parse(&environment(), &options(more)).unwrap();
    drop(storages);
    let clients = Clients::new(&StorageConfig { allow_private: true, ..StorageConfig::default() });
    let name = server()["bucket"].as_str().unwrap().to_owned();
    Arc::new(Bucket { store: clients.store(&settings).unwrap(), name, part_size, checksum })
}

fn environment() -> Environment {
    let config = StorageConfig { allow_private: true, ..StorageConfig::default() };
    Environment {
        roots: Arc::new(crate::connectors::local::Roots::open(&[], false).unwrap()),
        web: crate::connectors::http::Client::new(&config).unwrap(),
        s3: Clients::new(&config),
        sftp: crate::connectors::sftp::Pool::new(&config),
        config,
    }
}

fn pattern(len: u64) -> Bytes {
    (0..len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect::<Vec<_>>().into()
}

fn request(label: &str) -> WriteRequest {
    WriteRequest { label: label.to_owned(), ..WriteRequest::default() }
}

/// Puts `bytes[from..to]` in pieces that cross no end of a part.
async fn fill(writer: &dyn ObjectWriter, bytes: &Bytes, from: u64, to: u64) -> Result<()> {
    let mut at = from;
    while at < to {
        let end = writer.part_end(at).unwrap().min(at + (1 << 20)).min(to);
        writer.put_at(at, bytes.slice(at as usize..end as usize)).await?;
        at = end;
    }
    Ok(())
}

async fn put(location: &Location, bytes: &Bytes) -> Result<Written> {
    let size = bytes.len() as u64;
    let request = WriteRequest { size: Some(size), ..request("put") };
    let writer = location.storage.write(&location.path, request).await?;
    fill(&*writer, bytes, 0, size).await?;
    writer.finish(size).await
}

async fn get(location: &Location) -> Result<Bytes> {
    let read = location.storage.read(&location.path, ReadRequest::default()).await?;
    let chunks: Vec<Bytes> = read.stream.try_collect().await?;
    Ok(chunks.concat().into())
}

/// Waits for real parts to arrive at the server.
async fn flushed(writer: &dyn ObjectWriter, at_least: u64) -> u64 {
    loop {
        match writer.flush().await.unwrap() {
            Flushed::First(kept) if kept >= at_least => return kept,
            _ => tokio::task::yield_now().await,
        }
    }
}

async fn uploads(bucket: &Bucket, prefix: &str) -> usize {
    let list = bucket.store.client.list_multipart_uploads().bucket(&bucket.name).prefix(prefix).send().await;
    list.unwrap().uploads().len()
}

/// The unfinished uploads of just one key that hold something. Empty ones are what a lost answer to the beginning of
/// an upload leaves; they are found when they are an hour old.
pub(in crate::connectors) async fn uploads_with_parts(key: String) -> Vec<String> {
    let bucket = bucket(json!({}));
    let list = bucket.store.client.list_multipart_uploads().bucket(&bucket.name).prefix(&key).send().await.unwrap();
    let mut left = Vec::new();
    for upload in list.uploads() {
        let id = upload.upload_id().unwrap();
        let parts = bucket.store.client.list_parts().bucket(&bucket.name).key(&key).upload_id(id).send().await;
        if parts.is_ok_and(|parts| !parts.parts().is_empty()) {
            left.push(id.to_owned());
        }
    }
    left
}

/// A place in which earlier runs against the same server left nothing.
async fn open_empty(key: &str) -> Location {
    let location = open(key);
    let listed = location.storage.list(&location.path).await.unwrap();
    let deleting = listed.try_for_each_concurrent(16, |object| {
        let storage = location.storage.clone();
        async move { storage.delete(&object.path).await }
    });
    deleting.await.unwrap();
    location
}

#[tokio::test]
async fn s3_conforms() {
    let location = open_empty("conformance").await;
    conformance::check(location.storage, &location.path).await;
}

#[tokio::test]
async fn every_checksum_goes_along_and_is_compared() {
    let bytes = pattern(PART + 1000);
    for (kind, wanted) in [
        ("auto", proven("crc64nvme")),
        ("crc32c", proven("crc32c")),
        ("sha256", proven("sha256")),
        ("md5", None),
        ("none", None),
    ] {
        let location = open_with(&format!("checksums/{kind}"), json!({ "checksum_algorithm": kind }));
        let written = put(&location, &bytes.slice(..1000)).await.unwrap();
        assert_eq!((written.store_checksum, written.meta.size), (wanted, Some(1000)), "{kind}");
        let written = put(&location, &bytes).await.unwrap();
        assert_eq!((written.store_checksum, written.meta.size), (wanted, Some(bytes.len() as u64)), "{kind}");
        assert!(get(&location).await.unwrap() == bytes, "{kind}");
        assert_eq!(location.storage.stat(&location.path).await.unwrap().version, written.meta.version);
    }
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process() {
    let (bytes, key) = (pattern(3 * PART + 77), "resume/other-process");
    let first = open(key);
    let request = WriteRequest { size: Some(bytes.len() as u64), ..request("resume") };
    let writer = first.storage.write(&first.path, request.clone()).await.unwrap();
    assert!(!writer.must_remember(), "nothing is at the store yet");
    fill(&*writer, &bytes, 0, 2 * PART + 5).await.unwrap();
    assert!(writer.must_remember());
    let kept = flushed(&*writer, 2 * PART).await;
    let token = writer.token().unwrap();
    drop(writer);
    drop(first);
    let second = open(key);
    let again = || WriteRequest { resume: Some(token.clone()), ..request.clone() };
    let writer = second.storage.write(&second.path, again()).await.unwrap();
    assert_eq!((writer.resumed_size(), kept), (2 * PART, 2 * PART));
    assert_eq!(writer.flush().await.unwrap(), Flushed::First(2 * PART));
    writer.put_at(5, bytes.slice(..5)).await.expect_err("it goes on where a part ends only");
    // The second part is put again, as after a checkpoint that did not know it yet.
    fill(&*writer, &bytes, PART, bytes.len() as u64).await.unwrap();
    let written = writer.finish(bytes.len() as u64).await.unwrap();
    assert_eq!(written.store_checksum, proven("crc64nvme"));
    assert!(get(&second).await.unwrap() == bytes);
    put(&second, &bytes).await.unwrap();
    let writer = second.storage.write(&second.path, again()).await.unwrap();
    assert_eq!((writer.resumed_size(), writer.token()), (0, None), "an upload whose object was replaced leads nowhere");
    assert_eq!(uploads(&bucket(json!({})), key).await, 0);
}

/// What is at the store after a crash between the end of an upload and the news of it, and the token before that.
async fn completed_in_silence(key: &str, bytes: &Bytes) -> Option<String> {
    let location = open(key);
    let size = bytes.len() as u64;
    let writer = location.storage.write(&location.path, WriteRequest { size: Some(size), ..request("news") }).await;
    let writer = writer.unwrap();
    fill(&*writer, bytes, 0, 2 * PART + 5).await.unwrap();
    flushed(&*writer, 2 * PART).await;
    let token = writer.token();
    fill(&*writer, bytes, 2 * PART + 5, size).await.unwrap();
    writer.finish(size).await.unwrap();
    token
}

#[tokio::test]
async fn an_upload_that_was_completed_in_silence_is_recognized_and_not_sent_again() {
    let (bytes, key) = (pattern(3 * PART + 77), "resume/silence");
    let size = bytes.len() as u64;
    let resume = completed_in_silence(key, &bytes).await;
    let location = open(key);
    let before = location.storage.stat(&location.path).await.unwrap();
    let again = || WriteRequest { resume: resume.clone(), size: Some(size), ..request("news") };
    for from in [2 * PART, PART] {
        let writer = location.storage.write(&location.path, again()).await.unwrap();
        assert_eq!((writer.resumed_size(), writer.must_remember()), (size, true));
        assert_eq!(writer.flush().await.unwrap(), Flushed::First(size));
        fill(&*writer, &bytes, from, size).await.unwrap();
        let written = writer.finish(size).await.unwrap();
        // The checksums of the first parts are known up to the last checkpoint.
        assert_eq!((written.meta.size, written.store_checksum), (Some(size), proven("crc64nvme")), "from {from}");
        assert_eq!(written.meta.version, before.version);
    }
    let now = location.storage.stat(&location.path).await.unwrap();
    assert_eq!(now, before, "nothing was written again");
    assert_eq!(uploads(&bucket(json!({})), key).await, 0);

    let writer = location.storage.write(&location.path, again()).await.unwrap();
    writer.abort().await.unwrap();
    location.storage.discard(&location.path, "news", resume.as_deref()).await.unwrap();
    assert_eq!(location.storage.stat(&location.path).await.unwrap(), before, "a finished object is no leftover");

    if lacks("checksums") {
        return;
    }
    let writer = location.storage.write(&location.path, again()).await.unwrap();
    let other = Bytes::from(vec![7; bytes.len()]);
    fill(&*writer, &other, 2 * PART, size).await.unwrap();
    assert_eq!(writer.finish(size).await.unwrap_err().kind(), ErrorKind::Corrupt, "these are not the source's bytes");
}

#[tokio::test]
async fn parts_that_differ_from_what_was_held_are_sent_again() {
    let (old, new) = (pattern(2 * PART + 9), Bytes::from(vec![7; 2 * PART as usize + 9]));
    let location = open("resume/other-bytes");
    let writer = location.storage.write(&location.path, request("other")).await.unwrap();
    fill(&*writer, &old, 0, old.len() as u64).await.unwrap();
    flushed(&*writer, 2 * PART).await;
    let token = writer.token();
    writer.suspend().await.unwrap();
    let resume = WriteRequest { resume: token, ..request("other") };
    let writer = location.storage.write(&location.path, resume).await.unwrap();
    assert_eq!(writer.resumed_size(), 2 * PART);
    fill(&*writer, &new, 0, new.len() as u64).await.unwrap();
    writer.finish(new.len() as u64).await.unwrap();
    assert!(get(&location).await.unwrap() == new);
}

#[tokio::test]
async fn an_aborted_or_discarded_upload_leaves_nothing() {
    let (bytes, key, bucket) = (pattern(3 * PART), "abort/object", bucket(json!({})));
    let location = open(key);
    let writer = location.storage.write(&location.path, request("abort")).await.unwrap();
    fill(&*writer, &bytes, 0, 2 * PART + 1).await.unwrap();
    assert_eq!(uploads(&bucket, key).await, 1);
    writer.abort().await.unwrap();
    assert_eq!(uploads(&bucket, key).await, 0, "also with parts on their way");
    let writer = location.storage.write(&location.path, request("discard")).await.unwrap();
    fill(&*writer, &bytes, 0, PART + 1).await.unwrap();
    let token = writer.token();
    location.storage.discard(&location.path, "discard", None).await.unwrap();
    assert_eq!(uploads(&bucket, key).await, 1, "what is young or not empty stays without its token");
    location.storage.discard(&location.path, "discard", token.as_deref()).await.unwrap();
    location.storage.discard(&location.path, "discard", token.as_deref()).await.unwrap();
    assert_eq!(uploads(&bucket, key).await, 0);
    let failed = async {
        fill(&*writer, &bytes, PART + 1, 3 * PART).await?;
        writer.finish(3 * PART).await.map(|_| ())
    };
    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::Conflict, "an open writer finds its place gone");
    location.storage.stat(&location.path).await.unwrap_err();
}

#[tokio::test]
async fn an_upload_whose_name_nobody_kept_is_found_when_it_is_old_and_empty() {
    let (bucket, key) = (bucket(json!({})), "abandoned/object");
    let (mut uploads, longer) = (Vec::new(), format!("{key}-not"));
    for key in [key, key, &longer] {
        let upload = Upload::begin(&bucket, key, Kind::None, Cut::new(PART, None)).await.unwrap();
        uploads.push((key, upload));
    }
    uploads[1].1.put(&bucket, key, 0, [pattern(9)].into()).await.unwrap();
    for (age, kept) in [(Duration::from_secs(3600), [true, true, true]), (Duration::ZERO, [false, true, true])] {
        discard_abandoned(&bucket, key, age).await.unwrap();
        for ((key, upload), kept) in uploads.iter().zip(kept) {
            assert_eq!(upload.parts(&bucket, key).await.unwrap().is_some(), kept, "{key} {age:?}");
        }
    }
    for (key, upload) in uploads {
        upload.abort(&bucket, key).await.unwrap();
    }
}

#[tokio::test]
async fn a_part_with_a_wrong_checksum_is_refused() {
    let (bucket, bytes) = (bucket(json!({})), pattern(PART));
    // What every store compares, also one that knows no other checksum.
    let (kind, length) = if lacks("checksums") { (Kind::Md5, 16) } else { (Kind::Crc64Nvme, 8) };
    let upload = Upload::begin(&bucket, "corrupt", kind, Cut::new(PART, None)).await.unwrap();
    let wrong = aws_smithy_types::base64::encode(vec![1; length]);
    let error = upload.put_once(&bucket, "corrupt", 0, [bytes].into(), Some(wrong)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(upload.parts(&bucket, "corrupt").await.unwrap().unwrap().is_empty());
    upload.abort(&bucket, "corrupt").await.unwrap();
    assert_eq!(upload.parts(&bucket, "corrupt").await.unwrap(), None);
}
