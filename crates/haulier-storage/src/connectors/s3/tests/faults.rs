//! Answers that get lost on their way back, and lines that stand still.

use std::time::Duration;

use haulier_base::ErrorKind;
use serde_json::json;

use super::{bucket, fill, flushed, get, open, options, pattern, proven, request, server, uploads, url};
use crate::connectors::faulty_web::{FaultyWeb, Spoilt, WebFault};
use crate::connectors::s3::plan::PART_MIN;
use crate::{ObjectPath, StorageConfig, Storages, WriteRequest};

/// Spoils every request whose first line contains a text; the proxy and its address as an endpoint.
async fn spoiling(text: &'static str, fault: WebFault) -> (FaultyWeb, String) {
    let upstream = server()["endpoint"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let proxy = FaultyWeb::start(&upstream, Spoilt { fault, text, after: 0, once: false }).await;
    let endpoint = format!("http://{}", proxy.address);
    (proxy, endpoint)
}

#[tokio::test]
async fn a_lost_answer_to_the_end_of_an_upload_is_looked_up() {
    let (proxy, endpoint) = spoiling("?uploadId=", WebFault::LoseAnswer).await;
    let (bytes, key) = (pattern(PART_MIN + 10), "faults/lost");
    let location = super::open_with(key, json!({ "endpoint": endpoint }));
    let writer = location.storage.write(&location.path, request("lost")).await.unwrap();
    fill(&*writer, &bytes, 0, bytes.len() as u64).await.unwrap();
    let written = writer.finish(bytes.len() as u64).await.unwrap();
    assert!(proxy.met() > 0, "the answer was lost");
    assert_eq!((written.meta.size, written.store_checksum), (Some(bytes.len() as u64), proven("crc64nvme")));
    assert!(get(&open(key)).await.unwrap() == bytes);
    assert_eq!(uploads(&bucket(json!({})), key).await, 0);
}

#[tokio::test]
async fn a_line_that_stands_still_ends_in_time_and_the_upload_goes_on() {
    let (_proxy, endpoint) = spoiling("partNumber=2", WebFault::SilentRequest).await;
    let (bytes, key) = (pattern(3 * PART_MIN + 10), "faults/silent");
    let stall = Duration::from_millis(1500);
    let config = StorageConfig { allow_private: true, stall, ..StorageConfig::default() };
    let options = options(json!({ "endpoint": endpoint }));
    let location = Storages::new(config).unwrap().open_target(&url(key), &options).unwrap();
    let writer = location.storage.write(&location.path, request("silent")).await.unwrap();
    let failed = async {
        fill(&*writer, &bytes, 0, bytes.len() as u64).await?;
        loop {
            writer.flush().await?;
            tokio::task::yield_now().await;
        }
    };
    let failed: haulier_base::Result<()> = failed.await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
    let token = writer.token();
    writer.suspend().await.unwrap();
    let location = open(key);
    let writer = location.storage.write(&location.path, WriteRequest { resume: token, ..request("silent") }).await;
    let writer = writer.unwrap();
    assert_eq!(writer.resumed_size(), PART_MIN, "the part before the one that was lost");
    fill(&*writer, &bytes, PART_MIN, bytes.len() as u64).await.unwrap();
    flushed(&*writer, 3 * PART_MIN).await;
    writer.finish(bytes.len() as u64).await.unwrap();
    assert_eq!(location.path, ObjectPath::new(key));
    assert!(get(&location).await.unwrap() == bytes);
}
