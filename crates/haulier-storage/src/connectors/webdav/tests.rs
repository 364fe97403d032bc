//! An Apache with mod_dav, as `cargo xtask test` starts it, and a tiny server for what Apache does not do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::FutureExt;
use futures::stream::TryStreamExt;
use haulier_base::{ErrorKind, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::connectors::faulty_line::{FaultyLine, Then};
use crate::{
    Flushed, Location, ObjectKind, ObjectWriter, ReadRequest, StorageConfig, Storages, WriteRequest, conformance,
};

const MIB: usize = 1 << 20;

/// What the variable says about the server.
struct Server {
    address: String,
    user: String,
    password: String,
    /// The server's files, on this machine.
    folder: PathBuf,
}

impl Server {
    fn get() -> Self {
        let variable = std::env::var_os("HAULIER_TEST_WEBDAV").expect("no WebDAV server: run cargo xtask test");
        let said: Value = serde_json::from_str(variable.to_str().unwrap()).unwrap();
        let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{name} is missing")).to_owned();
        Self { address: text("address"), user: text("user"), password: text("password"), folder: text("folder").into() }
    }

    /// A folder of the server, made by it, and where it lies here.
    async fn empty_folder(&self, name: &str) -> (String, PathBuf) {
        let name = format!("{name}-{}", std::process::id());
        let keeper = self.open(&format!("{name}/x"));
        let request = WriteRequest { create_parents: true, ..labelled("t") };
        write(&keeper, request).await.unwrap().finish(0).await.unwrap();
        keeper.storage.delete(&keeper.path).await.unwrap();
        let folder = self.folder.join(&name);
        assert_eq!(names(&folder), Vec::<String>::new());
        (name, folder)
    }

    fn open(&self, path: &str) -> Location {
        self.open_at(&self.address, path)
    }

    fn open_at(&self, address: &str, path: &str) -> Location {
        let options = json!({"user": self.user, "password": self.password});
        storages().open_target(&format!("webdav://{address}/{path}"), &options).unwrap()
    }
}

fn storages() -> Storages {
    let stall = Duration::from_secs(1);
    Storages::new(StorageConfig { allow_private: true, stall, ..StorageConfig::default() }).unwrap()
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n % 251) as u8 ^ (n >> 16) as u8).collect::<Vec<_>>().into()
}

async fn write(location: &Location, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
    location.storage.write(&location.path, request).await
}

fn labelled(label: &str) -> WriteRequest {
    WriteRequest { label: label.to_owned(), ..WriteRequest::default() }
}

async fn put_all(writer: &dyn ObjectWriter, bytes: &Bytes) -> Result<()> {
    for start in (0..bytes.len()).step_by(MIB) {
        writer.put_at(start as u64, bytes.slice(start..bytes.len().min(start + MIB))).await?;
    }
    Ok(())
}

async fn copy(location: &Location, request: WriteRequest, bytes: &Bytes) -> Result<()> {
    let writer = write(location, request).await?;
    put_all(&*writer, bytes).await?;
    writer.finish(bytes.len() as u64).await.map(|_| ())
}

async fn get(location: &Location, start: u64, end: Option<u64>) -> Result<Vec<u8>> {
    let request = ReadRequest { start, end, version: None };
    let chunks: Vec<Bytes> = location.storage.read(&location.path, request).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

/// Without what Apache itself has not tidied away yet.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with(".davfs")).collect()
}

#[tokio::test]
async fn webdav_conforms() {
    let server = Server::get();
    let (name, _) = server.empty_folder("conformance").await;
    let location = server.open(&name);
    conformance::check(location.storage.clone(), &location.path).await;
}

#[tokio::test]
async fn long_objects_arrive_whole_and_are_read_from_anywhere() {
    let server = Server::get();
    let (name, folder) = server.empty_folder("long").await;
    let location = server.open(&format!("{name}/a%20b"));
    let bytes = pattern(9 * MIB + 12_345);
    let sized = WriteRequest { size: Some(bytes.len() as u64), ..labelled("t") };
    for request in [labelled("t"), sized.clone()] {
        copy(&location, request, &bytes).await.unwrap();
        assert_eq!(names(&folder), ["a b"]);
        assert!(fs::read(folder.join("a b")).unwrap() == bytes);
    }
    assert!(get(&location, 777, Some(5_999_999)).await.unwrap() == bytes[777..5_999_999]);
    let long = write(&location, sized.clone()).await.unwrap();
    let error = put_all(&*long, &pattern(10 * MIB)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "longer than it was said to be");
    long.abort().await.unwrap();
    let short = write(&location, sized).await.unwrap();
    short.put_at(0, "short".into()).await.unwrap();
    assert_eq!(short.flush().await.unwrap(), Flushed::First(0));
    assert_eq!(short.finish(5).await.unwrap_err().kind(), ErrorKind::Conflict);
    location.storage.discard(&location.path, "t", None).await.unwrap();
    assert_eq!(names(&folder), ["a b"]);
}

#[tokio::test]
async fn versions_hold_when_the_tag_comes_late() {
    let server = Server::get();
    let (name, folder) = server.empty_folder("versions").await;
    let location = server.open(&format!("{name}/x"));
    copy(&location, labelled("t"), &"0123456789".into()).await.unwrap();
    let fresh = location.storage.stat(&location.path).await.unwrap().version;
    // Apache gives no strong tag for what changed within the last second; back-dating would change the date.
    let changed = fs::metadata(folder.join("x")).unwrap().modified().unwrap();
    while changed.elapsed().unwrap() < Duration::from_millis(2100) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let settled = location.storage.stat(&location.path).await.unwrap().version;
    assert!(settled.as_ref().unwrap().as_str().starts_with("etag:"), "{settled:?}");
    for version in [fresh, settled.clone()] {
        let request = ReadRequest { start: 4, end: None, version };
        let read = location.storage.read(&location.path, request).await.unwrap();
        assert_eq!(read.stream.try_collect::<Vec<_>>().await.unwrap().concat(), b"456789");
    }
    copy(&location, labelled("t"), &"9876543210".into()).await.unwrap();
    let request = ReadRequest { start: 4, end: None, version: settled };
    assert_eq!(location.storage.read(&location.path, request).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn folders_are_told_apart_and_never_removed() {
    let server = Server::get();
    let (name, folder) = server.empty_folder("kinds").await;
    let at = |path: &str| server.open(&format!("{name}/{path}"));
    let error = copy(&at("missing/x"), labelled("t"), &"x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("create_parents"), "{error:?}");
    let request = WriteRequest { create_parents: true, ..labelled("t") };
    copy(&at("a/b/c"), request, &"x".into()).await.unwrap();
    assert_eq!(at("a").storage.stat(&at("a").path).await.unwrap().kind, ObjectKind::Directory);
    for path in ["a", "a/"] {
        assert_eq!(copy(&at(path), labelled("t"), &"x".into()).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(get(&at(path), 0, None).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(at(path).storage.delete(&at(path).path).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    // A folder that appears while an object is on its way is not replaced either.
    let late = write(&at("late"), labelled("t")).await.unwrap();
    copy(&at("late/x"), WriteRequest { create_parents: true, ..labelled("t") }, &"x".into()).await.unwrap();
    assert_eq!(late.finish(0).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(folder.join("late/x").is_file() && folder.join("a/b/c").is_file());
}

#[tokio::test]
async fn broken_and_silent_lines_are_failed_attempts() {
    let server = Server::get();
    let (name, folder) = server.empty_folder("lines").await;
    let bytes = pattern(9 * MIB);
    for then in [Then::Cut, Then::Silence] {
        let line = FaultyLine::start(&server.address, u64::MAX, then).await;
        let location = server.open_at(&line.address, &format!("{name}/x"));
        let started = Instant::now();
        line.allow(3 * MIB as u64);
        let error = copy(&location, labelled("t"), &bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(!folder.join("x").exists());
        line.heal();
        copy(&location, labelled("t"), &bytes).await.unwrap();
        line.allow(3 * MIB as u64);
        assert_eq!(get(&location, 0, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        line.heal();
        assert!(get(&location, 0, None).await.unwrap() == bytes);
        location.storage.delete(&location.path).await.unwrap();
    }
}

#[tokio::test]
async fn a_put_can_be_cancelled_and_what_is_left_discarded() {
    let server = Server::get();
    let (name, folder) = server.empty_folder("cancelled").await;
    let line = FaultyLine::start(&server.address, u64::MAX, Then::Silence).await;
    let location = server.open_at(&line.address, &format!("{name}/x"));
    let writer = write(&location, labelled("t")).await.unwrap();
    line.allow(MIB as u64);
    assert!(put_all(&*writer, &pattern(9 * MIB)).now_or_never().is_none(), "it waits for the server, and is dropped");
    let error = writer.put_at(0, "x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "after a dropped put there may be a gap");
    drop(writer);
    line.heal();
    // As if a server had kept the first part.
    copy(&server.open(&format!("{name}/.haulier-t-x.part")), labelled("u"), &"part".into()).await.unwrap();
    let location = server.open(&format!("{name}/x"));
    location.storage.discard(&location.path, "other", None).await.unwrap();
    assert!(folder.join(".haulier-t-x.part").exists());
    location.storage.discard(&location.path, "t", None).await.unwrap();
    assert!(!folder.join(".haulier-t-x.part").exists() && !folder.join("x").exists());
}

#[tokio::test]
async fn logins_are_checked_and_their_secrets_kept() {
    let server = Server::get();
    for options in [json!({"user": server.user, "password": "hunter2"}), json!({"token": "hunter2"}), json!({})] {
        let url = format!("webdav://{}/x", server.address);
        let location = storages().open_target(&url, &options).unwrap();
        let error = write(&location, labelled("t")).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(!format!("{error:?} {location:?}").contains("hunter2"), "{error:?} {location:?}");
    }
    let strict = Storages::new(StorageConfig::default()).unwrap();
    let location = strict.open_source(&format!("webdav://{}/x", server.address), &Value::Null).unwrap();
    assert_eq!(location.storage.stat(&location.path).await.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn encrypted_servers_are_trusted_by_their_authority_only() {
    let said = std::env::var_os("HAULIER_TEST_WEBDAV").expect("no WebDAV server: run cargo xtask test");
    let said: Value = serde_json::from_str(said.to_str().unwrap()).unwrap();
    let text = |name: &str| said[name].as_str().unwrap();
    let url = format!("webdavs://{}/tls-{}", text("tls_address"), std::process::id());
    let ca = fs::read_to_string(text("ca_file")).unwrap();
    let bytes = pattern(3 * MIB + 7);
    let by_password = json!({"user": text("user"), "password": text("password"), "ca_pem": ca});
    for options in [by_password, json!({"token": text("token"), "ca_pem": ca})] {
        let location = storages().open_target(&url, &options).unwrap();
        copy(&location, labelled("tls"), &bytes).await.unwrap();
        assert!(get(&location, 0, None).await.unwrap() == bytes);
        location.storage.delete(&location.path).await.unwrap();
    }
    let wrong = storages().open_target(&url, &json!({"token": "hunter2", "ca_pem": ca})).unwrap();
    let error = wrong.storage.stat(&wrong.path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    let untrusted = storages().open_target(&url, &json!({"token": text("token")})).unwrap();
    let error = untrusted.storage.stat(&untrusted.path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("certificate") && error.message().contains("ca_pem"), "{error:?}");
}

/// Answers each request, one per connection, with what a function of its first line says; keeps those lines.
async fn odd_server(
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (Location, Arc<Mutex<Vec<String>>>, JoinSet<()>) {
    odd_server_with(answer, json!({})).await
}

async fn odd_server_with(
    answer: impl Fn(&str) -> String + Send + 'static,
    options: Value,
) -> (Location, Arc<Mutex<Vec<String>>>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("webdav://{}/x", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (mut running, log) = (JoinSet::new(), seen.clone());
    running.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            // What ends a request: a question its body, an upload its empty last chunk, the others their headers.
            let ended = |head: &[u8]| match head.first() {
                Some(b'P') if head.starts_with(b"PROPFIND") => head.ends_with(b"</propfind>"),
                Some(b'P') => head.ends_with(b"0\r\n\r\n"),
                _ => head.ends_with(b"\r\n\r\n"),
            };
            while !ended(&head) {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            let text = answer(&line);
            log.lock().unwrap().push(line);
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    (storages().open_target(&url, &options).unwrap(), seen, running)
}

fn status(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n")
}

fn file(size: u64) -> String {
    let body = format!(
        "<multistatus xmlns=\"DAV:\"><response><href>/x</href><propstat><prop><getcontentlength>{size}</getcontentlength>\
         </prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"
    );
    format!("HTTP/1.1 207 M\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn statuses_say_what_can_be_done() {
    for (answer, kind) in [
        ("401 Who", ErrorKind::Unauthenticated),
        ("403 No", ErrorKind::Forbidden),
        ("404 Gone", ErrorKind::NotFound),
        ("409 Where", ErrorKind::NotFound),
        ("412 Changed", ErrorKind::Conflict),
        ("413 Large", ErrorKind::TooLarge),
        ("423 Locked", ErrorKind::Unavailable),
        ("429 Many", ErrorKind::Unavailable),
        ("503 Busy", ErrorKind::Unavailable),
        ("507 Full", ErrorKind::NoSpace),
        ("302 There", ErrorKind::Invalid),
        ("405 What", ErrorKind::Invalid),
    ] {
        let (location, _, _running) = odd_server(move |_| status(answer)).await;
        let error = location.storage.stat(&location.path).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {error:?}");
        let asked = matches!(answer, "429 Many" | "503 Busy").then_some(Duration::from_secs(3));
        assert_eq!(error.wait_asked(), asked, "{answer}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_rename_is_written_to_directly_on_request_only() {
    let answer = |line: &str| match line.split(' ').next().unwrap() {
        "PROPFIND" => file(5),
        "MOVE" => status("501 No"),
        _ => status("201 Made"),
    };
    let (location, seen, _running) = odd_server(answer).await;
    let error = copy(&location, labelled("t"), &"12345".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("direct"), "{error:?}");
    assert!(seen.lock().unwrap().iter().all(|line| !line.starts_with("PUT /x ")), "{seen:?}");
    let (location, seen, _running) = odd_server_with(answer, json!({"direct": true})).await;
    copy(&location, labelled("t"), &"12345".into()).await.unwrap();
    assert!(seen.lock().unwrap().iter().any(|line| line.starts_with("PUT /x ")), "{seen:?}");
    let error = copy(&location, labelled("t"), &"123456".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "the server keeps less than it was given");
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_said() {
    let full = |line: &str| match line.split(' ').next().unwrap() {
        "PROPFIND" => status("404 Gone"),
        "PUT" => status("507 Full"),
        _ => status("204 Done"),
    };
    let (location, _, _running) = odd_server(full).await;
    let error = copy(&location, labelled("t"), &"12345".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
}
