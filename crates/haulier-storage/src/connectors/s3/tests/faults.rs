//! Answers that get lost on their way back, and lines that stand still.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use haulier_base::ErrorKind;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{bucket, fill, flushed, get, open, options, pattern, proven, request, server, uploads, url};
use crate::{ObjectPath, StorageConfig, Storages, WriteRequest, connectors::s3::plan::PART_MIN};

/// What happens to the answer of a request whose first line contains a text.
#[derive(Clone, Copy)]
enum Fault {
    /// The server does its work; its answer is thrown away.
    Lost,
    /// Nothing is passed on, and nothing comes back.
    Silent,
}

/// Stands between a client and the server; one request per connection.
struct Proxy {
    endpoint: String,
    met: Arc<AtomicUsize>,
    _running: JoinSet<()>,
}

impl Proxy {
    async fn start(text: &'static str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream = server()["endpoint"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let (mut running, met) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        let count = met.clone();
        running.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&upstream).await.unwrap();
                lines.spawn(pass(client, upstream, text, fault, count.clone()));
            }
        });
        Self { endpoint, met, _running: running }
    }
}

async fn pass(mut client: TcpStream, mut upstream: TcpStream, text: &str, fault: Fault, met: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let is_met = head.lines().next().unwrap().contains(text);
    // The connection ends with its first answer, so that every request is looked at.
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    if !is_met {
        if upstream.write_all(head.as_bytes()).await.is_ok() {
            let _ended = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
        }
        return;
    }
    met.fetch_add(1, Ordering::Relaxed);
    match fault {
        Fault::Silent => std::future::pending().await,
        Fault::Lost => {
            upstream.write_all(head.as_bytes()).await.unwrap();
            let (mut from_client, mut answer) = (client.split(), upstream.split());
            let sending = tokio::io::copy(&mut from_client.0, &mut answer.1);
            let waiting = async { answer.0.read_u8().await };
            tokio::select! {
                _ = sending => {}
                _ = waiting => {}
            }
        }
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_end_of_an_upload_is_looked_up() {
    let proxy = Proxy::start("?uploadId=", Fault::Lost).await;
    let (bytes, key) = (pattern(PART_MIN + 10), "faults/lost");
    let location = super::open_with(key, json!({ "endpoint": proxy.endpoint }));
    let writer = location.storage.write(&location.path, request("lost")).await.unwrap();
    fill(&*writer, &bytes, 0, bytes.len() as u64).await.unwrap();
    let written = writer.finish(bytes.len() as u64).await.unwrap();
    assert!(proxy.met.load(Ordering::Relaxed) > 0, "the answer was lost");
    assert_eq!((written.meta.size, written.store_checksum), (Some(bytes.len() as u64), proven("crc64nvme")));
    assert!(get(&open(key)).await.unwrap() == bytes);
    assert_eq!(uploads(&bucket(json!({})), key).await, 0);
}

#[tokio::test]
async fn a_line_that_stands_still_ends_in_time_and_the_upload_goes_on() {
    let proxy = Proxy::start("partNumber=2", Fault::Silent).await;
    let (bytes, key) = (pattern(3 * PART_MIN + 10), "faults/silent");
    let stall = Duration::from_millis(1500);
    let config = StorageConfig { allow_private: true, stall, ..StorageConfig::default() };
    let options = options(json!({ "endpoint": proxy.endpoint }));
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
