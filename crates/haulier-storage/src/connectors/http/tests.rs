//! The web, as a tiny server in the test plays it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::TryStreamExt;
use haulier_base::{Error, ErrorKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{Location, ReadRequest, StorageConfig, Storages, conformance};

const BODY: &str = "0123456789";

/// Answers every request, one per connection, with what a function of it says; keeps the requests.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
    _running: JoinSet<()>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut running, log) = (JoinSet::new(), seen.clone());
        running.spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                log.lock().unwrap().push(head.clone());
                let text = answer(&head);
                let _ = stream.write_all(text.trim_end_matches(HOLD).as_bytes()).await;
                if text.ends_with(HOLD) {
                    kept.push(stream);
                }
            }
        });
        Self { address, seen, _running: running }
    }

    fn url(&self) -> String {
        format!("http://{}/x", self.address)
    }

    fn open(&self) -> Location {
        open(&self.url(), json!({})).unwrap()
    }

    fn last(&self) -> String {
        self.seen.lock().unwrap().last().unwrap().to_lowercase()
    }
}

/// At the end of an answer: the connection stays open.
const HOLD: &str = "<hold>";

fn open(url: &str, options: Value) -> haulier_base::Result<Location> {
    let stall = Duration::from_millis(200);
    let config = StorageConfig { allow_private: true, stall, ..StorageConfig::default() };
    Storages::new(config).unwrap().open_source(url, &options)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}")
}

/// A server that keeps the rules: ranges, strong tags, `If-Range`.
fn good(head: &str) -> String {
    let lower = head.to_lowercase();
    let whole = || reply("200 OK", "Content-Length: 10\r\nETag: \"v1\"\r\n", BODY);
    if lower.starts_with("head") {
        return reply("200 OK", "Content-Length: 10\r\nETag: \"v1\"\r\n", "");
    }
    let Some((_, rest)) = lower.split_once("range: bytes=") else { return whole() };
    if lower.contains("if-range: ") && !lower.contains("if-range: \"v1\"") {
        return whole();
    }
    let (start, end) = rest.split_once("\r\n").unwrap().0.split_once('-').unwrap();
    let start: usize = start.parse().unwrap_or(usize::MAX);
    if start >= BODY.len() {
        return reply("416 Range Not Satisfiable", "Content-Range: bytes */10\r\nContent-Length: 0\r\n", "");
    }
    let end = end.parse().map_or(BODY.len(), |last: usize| (last + 1).min(BODY.len()));
    let headers =
        format!("Content-Range: bytes {start}-{}/10\r\nContent-Length: {}\r\nETag: \"v1\"\r\n", end - 1, end - start);
    reply("206 Partial Content", &headers, &BODY[start..end])
}

async fn read(location: &Location, start: u64, end: Option<u64>) -> haulier_base::Result<String> {
    let request = ReadRequest { start, end, version: None };
    let chunks: Vec<bytes::Bytes> = location.storage.read(&location.path, request).await?.stream.try_collect().await?;
    Ok(String::from_utf8(chunks.concat()).unwrap())
}

async fn failure(answer: String) -> Error {
    let server = Server::start(move |_| answer.clone()).await;
    read(&server.open(), 0, None).await.unwrap_err()
}

#[tokio::test]
async fn reading_the_web_conforms() {
    let server = Server::start(good).await;
    let location = server.open();
    conformance::check_reading(location.storage.clone(), &location.path).await;
    read(&location, 0, None).await.unwrap();
    assert!(!server.last().contains("range:"), "a whole object is asked for without a range");
    read(&location, 2, Some(5)).await.unwrap();
    assert!(server.last().contains("range: bytes=2-4\r\n"), "the last byte is inclusive on the wire");
}

#[tokio::test]
async fn a_server_without_ranges_is_skipped_forward() {
    let server = Server::start(|_| reply("200 OK", "Content-Length: 10\r\n", BODY)).await;
    let location = server.open();
    conformance::check_reading(location.storage.clone(), &location.path).await;
    let server = Server::start(|_| reply("200 OK", "", BODY)).await;
    assert_eq!(read(&server.open(), 4, Some(7)).await.unwrap(), "456");
    assert_eq!(read(&server.open(), 11, None).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn wrong_ranges_and_short_or_stalled_bodies_are_failed_attempts() {
    let server = Server::start(|_| reply("206 Partial Content", "Content-Range: bytes 0-9/10\r\n", BODY)).await;
    assert_eq!(read(&server.open(), 4, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let part = |_: &str| reply("206 Partial Content", "Content-Range: bytes 4-5/10\r\nContent-Length: 2\r\n", "45");
    let server = Server::start(part).await;
    assert_eq!(read(&server.open(), 4, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    for answer in [
        reply("200 OK", "Content-Length: 1000\r\n", BODY),
        reply("200 OK", "Content-Length: 1000\r\n", BODY) + HOLD,
        HOLD.to_owned(),
        String::new(),
    ] {
        assert_eq!(failure(answer.clone()).await.kind(), ErrorKind::Unavailable, "{answer}");
    }
    let server = Server::start(|_| reply("200 OK", "Content-Length: 4\r\n", BODY)).await;
    assert_eq!(read(&server.open(), 0, None).await.unwrap(), "0123", "bytes beyond the length are cut");
}

#[tokio::test]
async fn statuses_say_what_can_be_done() {
    for (status, kind) in [
        ("400 Bad", ErrorKind::Invalid),
        ("401 Who", ErrorKind::Unauthenticated),
        ("403 No", ErrorKind::Forbidden),
        ("404 Gone", ErrorKind::NotFound),
        ("410 Gone", ErrorKind::NotFound),
        ("408 Slow", ErrorKind::Unavailable),
        ("429 Many", ErrorKind::Unavailable),
        ("500 Oh", ErrorKind::Unavailable),
    ] {
        let error = failure(reply(status, "Retry-After: 3\r\nContent-Length: 0\r\n", "")).await;
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(error.wait_asked().is_some(), kind == ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn redirects_are_followed_without_the_credentials() {
    let target = Server::start(good).await;
    let to = target.url();
    let server =
        Server::start(move |_| reply("302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n"), "")).await;
    let location = open(&server.url(), json!({"token": "s3cret", "headers": {"X-Key": "k"}})).unwrap();
    assert_eq!(read(&location, 0, None).await.unwrap(), BODY);
    assert!(server.last().contains("authorization: bearer s3cret") && server.last().contains("x-key: k"));
    assert!(!target.last().contains("s3cret") && !target.last().contains("x-key"));
    for to in ["/x", "file:///etc/passwd", "ftp://a/b", ""] {
        let error = failure(reply("302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n"), "")).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{to}");
    }
}

#[tokio::test]
async fn a_lookup_falls_back_to_get() {
    let server = Server::start(|head| match head.starts_with("HEAD") {
        true => reply("501 No", "Content-Length: 0\r\n", ""),
        false => good(head),
    })
    .await;
    let location = server.open();
    assert_eq!(location.storage.stat(&location.path).await.unwrap().size, Some(10));
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused() {
    let server = Server::start(good).await;
    let port = server.address.rsplit(':').next().unwrap();
    let strict = Storages::new(StorageConfig::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let location = strict.open_source(&format!("http://{host}:{port}/x"), &Value::Null).unwrap();
        assert_eq!(read(&location, 0, None).await.unwrap_err().kind(), ErrorKind::Forbidden, "{host}");
    }
    assert!(server.seen.lock().unwrap().is_empty(), "no connection was made");
    let allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let some = Storages::new(StorageConfig { allow_networks, ..StorageConfig::default() }).unwrap();
    let location = some.open_source(&server.url(), &Value::Null).unwrap();
    assert_eq!(read(&location, 0, None).await.unwrap(), BODY);
    let to = server.url().replace("127.0.0.1", "[::1]");
    let hop = Server::start(move |_| reply("302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n"), "")).await;
    let location = some.open_source(&hop.url(), &Value::Null).unwrap();
    assert_eq!(read(&location, 0, None).await.unwrap_err().kind(), ErrorKind::Forbidden, "also behind a redirect");
}

#[tokio::test]
async fn unknown_hosts_and_closed_ports_are_unavailable() {
    let error = read(&open("http://no-such-host.invalid/x", json!({})).unwrap(), 0, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(format!("{error:?}").contains("unknown_host=no-such-host.invalid"), "{error:?}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = open(&format!("http://ann:pw@{free}/x"), json!({})).unwrap();
    let error = read(&closed, 0, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error:?} {closed:?}").contains("pw"), "{error:?} {closed:?}");
}

#[test]
fn options_are_checked_and_redacted() {
    let storages = Storages::new(StorageConfig::default()).unwrap();
    let url = "HTTPS://a.example/x";
    let options = json!({"password": "p", "username": "u", "headers": {"X": "y"}});
    storages.check_source(url, &options).unwrap();
    assert_eq!(Storages::redact_options(url, &options), json!({"password": "***", "username": "u", "headers": "***"}));
    assert!(storages.check_source(url, &json!({"pasword": "p"})).unwrap_err().message().contains("pasword"));
    for (bad, side) in [("http:", "source"), ("nope://x", "source"), ("bad_form", "source"), (url, "target")] {
        let outcome = match side {
            "source" => storages.check_source(bad, &Value::Null),
            _ => storages.check_target(bad, &Value::Null),
        };
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
    }
    storages.check_source("memory://b/k", &Value::Null).unwrap_err();
    assert_eq!(Storages::schemes(), ["file", "http", "https", "s3", "sftp", "webdav", "webdavs"]);
}
