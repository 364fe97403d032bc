//! An nginx with awkward corners, as `cargo xtask test` starts it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::TryStreamExt;
use haulier_base::{ErrorKind, Result};
use serde_json::{Value, json};

use crate::connectors::faulty_line::{FaultyLine, Then};
use crate::{Location, ReadRequest, StorageConfig, Storages, conformance};

const LONG: usize = 5 << 20;

/// What the variable says about the server.
struct Server {
    url: String,
    folder: PathBuf,
}

impl Server {
    fn get() -> Self {
        let variable = std::env::var_os("HAULIER_TEST_NGINX").expect("no nginx: run cargo xtask test");
        let said: Value = serde_json::from_str(variable.to_str().unwrap()).unwrap();
        let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{name} is missing")).to_owned();
        Self { url: text("url"), folder: text("folder").into() }
    }

    /// The address of a new file in one of the server's corners.
    fn file(&self, name: &str, bytes: &[u8], corner: &str) -> String {
        let name = format!("{name}-{}", std::process::id());
        fs::write(self.folder.join(&name), bytes).unwrap();
        format!("{}/{corner}{name}", self.url)
    }
}

fn open(url: &str, options: &Value) -> Location {
    let config = StorageConfig { allow_private: true, stall: Duration::from_secs(3), ..StorageConfig::default() };
    Storages::new(config).unwrap().open_source(url, options).unwrap()
}

async fn get(location: &Location) -> Result<Vec<u8>> {
    let read = location.storage.read(&location.path, ReadRequest::default()).await?;
    Ok(read.stream.try_collect::<Vec<Bytes>>().await?.concat())
}

async fn failure(url: &str) -> haulier_base::Error {
    get(&open(url, &Value::Null)).await.unwrap_err()
}

#[tokio::test]
async fn reading_from_nginx_conforms_in_every_corner() {
    let server = Server::get();
    for (n, corner) in ["", "norange/", "noetag/", "auth/", "redir/"].into_iter().enumerate() {
        let url = server.file(&format!("conforms{n}"), b"0123456789", corner);
        let options = if corner == "auth/" { json!({"username": "user", "password": "pass"}) } else { Value::Null };
        let location = open(&url, &options);
        conformance::check_reading(location.storage.clone(), &location.path).await;
    }
    let url = server.file("packed", b"0123456789", "gz/");
    assert_eq!(get(&open(&url, &Value::Null)).await.unwrap(), b"0123456789", "it is asked for unpacked");
}

#[tokio::test]
async fn errors_of_nginx_say_what_can_be_done() {
    let server = Server::get();
    let url = server.file("errors", b"0123456789", "auth/");
    assert_eq!(failure(&url).await.kind(), ErrorKind::Unauthenticated);
    let wrong = open(&url, &json!({"username": "user", "password": "hunter2"}));
    let error = get(&wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!format!("{error:?} {wrong:?}").contains("hunter2"), "{error:?}");
    assert_eq!(failure(&format!("{}/loop/x", server.url)).await.kind(), ErrorKind::Invalid);
    assert_eq!(failure(&format!("{}/no-such-file", server.url)).await.kind(), ErrorKind::NotFound);
    let busy = failure(&format!("{}/e503/x", server.url)).await;
    assert_eq!((busy.kind(), busy.wait_asked()), (ErrorKind::Unavailable, Some(Duration::from_secs(1))));
}

#[tokio::test]
async fn slow_is_not_silent_and_a_break_is_a_failed_attempt() {
    let server = Server::get();
    let bytes: Vec<u8> = (0..LONG).map(|n| (n % 251) as u8).collect();
    let slow = server.file("slow", &bytes, "slow/");
    assert!(get(&open(&slow, &Value::Null)).await.unwrap() == bytes, "longer than the stall limit");
    let long = server.file("long", &bytes, "");
    let (host, path) = long.strip_prefix("http://").unwrap().split_once('/').unwrap();
    for then in [Then::Cut, Then::Silence] {
        let line = FaultyLine::start(host, LONG as u64 / 2, then).await;
        let location = open(&format!("http://{}/{path}", line.address), &Value::Null);
        assert_eq!(get(&location).await.unwrap_err().kind(), ErrorKind::Unavailable);
        line.heal();
        assert!(get(&location).await.unwrap() == bytes);
    }
}
