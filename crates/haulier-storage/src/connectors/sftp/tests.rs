//! An OpenSSH server, as `cargo xtask test` starts it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::FutureExt;
use futures::stream::TryStreamExt;
use haulier_base::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::connectors::faulty_line::{FaultyLine, Then};
use crate::{
    Flushed, Location, ObjectPath, ObjectWriter, ReadRequest, StorageConfig, Storages, WriteRequest, conformance,
};

const MIB: usize = 1 << 20;

/// What the variable says about the server.
struct Server {
    address: String,
    user: String,
    /// None where the tests do not run as root, and so could not make a user with a password.
    password: Option<String>,
    key: String,
    /// A second key, which a passphrase locks.
    locked_key: String,
    passphrase: String,
    host_key: String,
    /// A folder that the user may write to, on this machine.
    folder: PathBuf,
}

fn said() -> Value {
    let variable = std::env::var_os("HAULIER_TEST_SFTP").expect("no SFTP server: run cargo xtask test");
    serde_json::from_str(variable.to_str().unwrap()).unwrap()
}

impl Server {
    fn get() -> Self {
        let said = said();
        let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{name} is missing")).to_owned();
        Self {
            address: text("address"),
            user: text("user"),
            password: said["password"].as_str().map(str::to_owned),
            key: fs::read_to_string(text("private_key_file")).unwrap(),
            locked_key: fs::read_to_string(text("locked_key_file")).unwrap(),
            passphrase: text("passphrase"),
            host_key: text("host_key"),
            folder: text("folder").into(),
        }
    }

    /// An empty folder that the user may write to.
    fn empty_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        folder
    }

    fn options(&self) -> Value {
        json!({"private_key": self.key, "host_key": self.host_key})
    }

    fn open(&self, path: &Path) -> Location {
        self.open_at(&self.address, path)
    }

    fn open_at(&self, address: &str, path: &Path) -> Location {
        storages().open_target(&self.url(address, path), &self.options()).unwrap()
    }

    fn url(&self, address: &str, path: &Path) -> String {
        format!("sftp://{}@{address}{}", self.user, path.display())
    }

    /// Asks for a file with these options.
    async fn ask(&self, options: Value) -> Result<()> {
        let url = self.url(&self.address, &self.folder.join("nothing"));
        let location = storages().open_source(&url, &options)?;
        match location.storage.stat(&location.path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => Err(other.expect_err("there is nothing")),
        }
    }
}

fn storages() -> Storages {
    let stall = Duration::from_secs(3);
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

async fn put_all(writer: &dyn ObjectWriter, bytes: &Bytes, from: usize) -> Result<()> {
    for start in (from..bytes.len()).step_by(MIB) {
        writer.put_at(start as u64, bytes.slice(start..bytes.len().min(start + MIB))).await?;
    }
    Ok(())
}

async fn put(location: &Location, bytes: &'static [u8]) -> Result<()> {
    let writer = write(location, labelled("put")).await?;
    writer.put_at(0, bytes.into()).await?;
    writer.finish(bytes.len() as u64).await.map(|_| ())
}

async fn get(location: &Location, start: u64, end: Option<u64>) -> Result<Vec<u8>> {
    let request = ReadRequest { start, end, version: None };
    let chunks: Vec<Bytes> = location.storage.read(&location.path, request).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn sftp_conforms() {
    let server = Server::get();
    let folder = server.empty_folder("conformance");
    let location = server.open(&folder);
    conformance::check(location.storage.clone(), &location.path).await;
}

#[tokio::test]
async fn long_files_arrive_whole_and_are_read_from_anywhere() {
    let server = Server::get();
    let folder = server.empty_folder("long");
    let location = server.open(&folder.join("x"));
    let bytes = pattern(21 * MIB + 12_345);
    let writer = write(&location, labelled("t")).await.unwrap();
    put_all(&*writer, &bytes, 0).await.unwrap();
    assert_eq!(writer.read_back(MIB as u64, 300_000).await.unwrap().unwrap(), bytes.slice(MIB..MIB + 300_000));
    let meta = writer.finish(bytes.len() as u64).await.unwrap().meta;
    assert_eq!(meta, location.storage.stat(&location.path).await.unwrap());
    assert_eq!(names(&folder), ["x"]);
    assert!(fs::read(folder.join("x")).unwrap() == bytes);
    assert!(get(&location, 0, None).await.unwrap() == bytes);
    assert!(get(&location, 777, Some(9_999_999)).await.unwrap() == bytes[777..9_999_999]);
    let many = (0..20).map(|n| get(&location, n * 1000, Some(n * 1000 + 500_000)));
    for (n, part) in futures::future::try_join_all(many).await.unwrap().into_iter().enumerate() {
        assert!(part == bytes[n * 1000..n * 1000 + 500_000], "{n} of many at once, on more than one connection");
    }
}

#[tokio::test]
async fn a_dropped_writer_is_gone_on_with_elsewhere() {
    let server = Server::get();
    let folder = server.empty_folder("dropped");
    let bytes = pattern(6 * MIB);
    let location = server.open(&folder.join("x"));
    let writer = write(&location, labelled("t")).await.unwrap();
    put_all(&*writer, &bytes.slice(..3 * MIB), 0).await.unwrap();
    let kept = loop {
        match writer.flush().await.unwrap() {
            Flushed::First(kept) if kept >= 2 * MIB as u64 => break kept,
            _ => tokio::task::yield_now().await,
        }
    };
    let token = writer.token();
    drop((writer, location));
    let location = server.open(&folder.join("x"));
    let writer = write(&location, WriteRequest { resume: token, ..labelled("t") }).await.unwrap();
    assert!(writer.resumed_size() >= kept, "{} {kept}", writer.resumed_size());
    put_all(&*writer, &bytes, kept as usize).await.unwrap();
    writer.finish(bytes.len() as u64).await.unwrap();
    assert!(fs::read(folder.join("x")).unwrap() == bytes);
    assert_eq!(names(&folder), ["x"]);
}

#[tokio::test]
async fn a_broken_line_is_a_failed_attempt_and_the_next_one_goes_on() {
    let server = Server::get();
    let folder = server.empty_folder("cut");
    let line = FaultyLine::start(&server.address, u64::MAX, Then::Cut).await;
    let location = server.open_at(&line.address, &folder.join("x"));
    let bytes = pattern(12 * MIB);
    let writer = write(&location, labelled("t")).await.unwrap();
    line.allow(6 * MIB as u64);
    let outcome = match put_all(&*writer, &bytes, 0).await {
        Ok(()) => writer.flush().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
    let token = writer.token();
    drop(writer);
    line.heal();
    let writer = write(&location, WriteRequest { resume: token, ..labelled("t") }).await.unwrap();
    let kept = writer.resumed_size() as usize;
    assert!(kept > MIB && kept < bytes.len(), "{kept}");
    put_all(&*writer, &bytes, MIB).await.unwrap();
    writer.finish(bytes.len() as u64).await.unwrap();
    line.allow(5 * MIB as u64);
    assert_eq!(get(&location, 0, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    line.heal();
    assert!(get(&location, 0, None).await.unwrap() == bytes);
}

#[tokio::test]
async fn silence_ends_an_attempt_in_time() {
    let server = Server::get();
    let folder = server.empty_folder("silence");
    fs::write(folder.join("long"), pattern(12 * MIB)).unwrap();
    let line = FaultyLine::start(&server.address, 0, Then::Silence).await;
    let started = Instant::now();
    let location = server.open_at(&line.address, &folder.join("x"));
    let error = location.storage.stat(&location.path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    line.heal();
    let writer = write(&location, labelled("t")).await.unwrap();
    line.allow(2 * MIB as u64);
    let error = put_all(&*writer, &pattern(12 * MIB), 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    drop(writer);
    line.heal();
    let long = server.open_at(&line.address, &folder.join("long"));
    line.allow(2 * MIB as u64);
    assert_eq!(get(&long, 0, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(20), "three waits of three seconds: {:?}", started.elapsed());
}

#[tokio::test]
async fn a_put_can_be_cancelled_and_what_is_left_discarded() {
    let server = Server::get();
    let folder = server.empty_folder("cancelled");
    let line = FaultyLine::start(&server.address, u64::MAX, Then::Silence).await;
    let location = server.open_at(&line.address, &folder.join("x"));
    let writer = write(&location, labelled("t")).await.unwrap();
    line.allow(MIB as u64);
    let bytes = pattern(12 * MIB);
    assert!(put_all(&*writer, &bytes, 0).now_or_never().is_none(), "it waits for the server, and is dropped");
    drop(writer);
    let location = server.open(&folder.join("x"));
    assert_eq!(names(&folder), [".haulier-t-x.part"]);
    location.storage.discard(&location.path, "other", None).await.unwrap();
    assert_eq!(names(&folder), [".haulier-t-x.part"]);
    location.storage.discard(&location.path, "t", None).await.unwrap();
    assert_eq!(names(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_without_extensions_is_written_to_all_the_same() {
    let (server, said) = (Server::get(), said());
    let plain = said["plain_address"].as_str().unwrap();
    let folder = server.empty_folder("plain");
    let location = server.open_at(plain, &folder.join("conformance"));
    conformance::check(location.storage.clone(), &location.path).await;
    let location = server.open_at(plain, &folder.join("x"));
    put(&location, b"old").await.unwrap();
    fs::set_permissions(folder.join("x"), fs::Permissions::from_mode(0o640)).unwrap();
    // A reader of the old file keeps it; the plain rename needs the name free for a moment.
    let writer = write(&location, labelled("t")).await.unwrap();
    writer.put_at(0, "newer".into()).await.unwrap();
    assert_eq!(writer.flush().await.unwrap(), Flushed::First(5), "taken, though nobody can be asked to flush");
    writer.finish(5).await.unwrap();
    assert_eq!(fs::read(folder.join("x")).unwrap(), b"newer");
    assert_eq!(fs::metadata(folder.join("x")).unwrap().permissions().mode() & 0o777, 0o640);
    let bytes = pattern(3 * MIB);
    let writer = write(&location, labelled("t")).await.unwrap();
    put_all(&*writer, &bytes.slice(..2 * MIB), 0).await.unwrap();
    let (token, kept) = (writer.token(), writer.flush().await.unwrap());
    assert!(matches!(kept, Flushed::First(_)), "{kept:?}");
    drop(writer);
    let writer = write(&location, WriteRequest { resume: token, ..labelled("t") }).await.unwrap();
    put_all(&*writer, &bytes, MIB).await.unwrap();
    writer.finish(bytes.len() as u64).await.unwrap();
    assert!(get(&location, 0, None).await.unwrap() == bytes);
    let mut left = names(&folder);
    left.retain(|name| name != "conformance");
    assert_eq!(left, ["x"]);
}

#[tokio::test]
async fn keys_of_the_kind_rsa_are_refused_with_what_to_do() {
    let (server, said) = (Server::get(), said());
    let rsa = fs::read_to_string(said["rsa_key_file"].as_str().unwrap()).unwrap();
    let error = server.ask(json!({"private_key": rsa, "host_key": server.host_key})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("RSA") && error.message().contains("ssh-keygen -t ed25519"), "{error:?}");
    let host = said["rsa_only_address"].as_str().unwrap();
    let options = json!({"private_key": server.key, "host_key_check": false});
    let location = storages().open_source(&server.url(host, &server.folder), &options).unwrap();
    let error = location.storage.stat(&location.path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("rsa") && error.message().contains("ssh-keygen -A"), "{error:?}");
}

#[tokio::test]
async fn logins_are_checked_and_their_secrets_kept() {
    let server = Server::get();
    let with = |more: Value| {
        let mut options = json!({"host_key": server.host_key});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    };
    let refused = |error: Error, secret: &str| {
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
        error
    };
    server.ask(with(json!({"private_key": server.key}))).await.unwrap();
    let locked = json!({"private_key": server.locked_key, "private_key_passphrase": server.passphrase});
    server.ask(with(locked)).await.unwrap();
    let error = server.ask(with(json!({"private_key": server.locked_key}))).await.unwrap_err();
    assert!(error.message().contains("private_key_passphrase"), "{error:?}");
    let wrong = json!({"private_key": server.locked_key, "private_key_passphrase": "hunter2"});
    let error = refused(server.ask(with(wrong)).await.unwrap_err(), "hunter2");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = refused(server.ask(with(json!({"password": "hunter2"}))).await.unwrap_err(), "hunter2");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let nobody = json!({"private_key": server.key, "user": "no-such-user"});
    let error = server.ask(with(nobody)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("private_key of the user no-such-user"), "{error:?}");
    assert_eq!(server.ask(with(json!({}))).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    if let Some(password) = &server.password {
        server.ask(with(json!({"password": password}))).await.unwrap();
    }
}

#[tokio::test]
async fn only_the_known_host_is_talked_to() {
    let server = Server::get();
    let with = |host_key: &str| json!({"private_key": server.key, "host_key": host_key});
    let error = server.ask(json!({"private_key": server.key})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let fingerprint = error.message().split('"').nth(1).unwrap().to_owned();
    assert!(fingerprint.starts_with("SHA256:"), "{error:?}");
    server.ask(with(&fingerprint)).await.unwrap();
    server.ask(with(&format!("some.host {}", server.host_key))).await.unwrap();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let error = server.ask(with(other)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(error.message().contains(&fingerprint), "{error:?}");
    server.ask(json!({"private_key": server.key, "host_key_check": false})).await.unwrap();
    let strict = Storages::new(StorageConfig::default()).unwrap();
    let location = strict.open_source(&server.url(&server.address, Path::new("/x")), &server.options()).unwrap();
    assert_eq!(location.storage.stat(&location.path).await.unwrap_err().kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn folders_links_and_devices_are_told_apart() {
    let server = Server::get();
    let folder = server.empty_folder("kinds");
    let at = |name: &str| server.open(&folder.join(name));
    let error = put(&at("missing/x"), b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("create_parents"), "{error:?}");
    let request = WriteRequest { create_parents: true, ..labelled("t") };
    write(&at("a/b/c"), request).await.unwrap().finish(0).await.unwrap();
    for (name, what) in [("a", "a folder"), ("a/", "a folder")] {
        assert_eq!(put(&at(name), b"x").await.unwrap_err().kind(), ErrorKind::Invalid, "{what}");
        assert_eq!(get(&at(name), 0, None).await.unwrap_err().kind(), ErrorKind::Invalid, "{what}");
    }
    at("real").storage.delete(&ObjectPath::new(folder.join("a/b").to_str().unwrap())).await.unwrap_err();
    put(&at("real"), b"old").await.unwrap();
    symlink("real", folder.join("link")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    put(&at("link"), b"new").await.unwrap();
    assert_eq!(fs::read(folder.join("real")).unwrap(), b"new");
    assert!(fs::symlink_metadata(folder.join("link")).unwrap().is_symlink());
    assert_eq!(put(&at("dangling"), b"x").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap().success());
    assert_eq!(put(&at("fifo"), b"x").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(get(&at("fifo"), 0, None).await.unwrap_err().kind(), ErrorKind::Invalid);
    let listing = at("").storage.list(&ObjectPath::new(folder.to_str().unwrap())).await.unwrap();
    let mut listed: Vec<_> = listing.map_ok(|object| object.path.to_string()).try_collect().await.unwrap();
    listed.sort();
    assert_eq!(listed, ["a/b/c", "fifo", "real"].map(|name| folder.join(name).to_str().unwrap().to_owned()));
}

#[tokio::test]
async fn replaced_files_keep_their_mode_and_late_writers_publish_nothing() {
    let server = Server::get();
    let folder = server.empty_folder("late");
    let location = server.open(&folder.join("x"));
    put(&location, b"old").await.unwrap();
    let mode = || fs::metadata(folder.join("x")).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(folder.join("x"), fs::Permissions::from_mode(0o640)).unwrap();
    let late = write(&location, labelled("t")).await.unwrap();
    late.put_at(0, "late".into()).await.unwrap();
    let now = write(&location, labelled("t")).await.unwrap();
    assert_eq!(late.finish(4).await.unwrap_err().kind(), ErrorKind::Conflict);
    now.put_at(0, "new".into()).await.unwrap();
    now.finish(3).await.unwrap();
    assert_eq!((fs::read(folder.join("x")).unwrap().as_slice(), mode()), (b"new".as_slice(), 0o640));
    let gone = write(&location, labelled("t")).await.unwrap();
    location.storage.discard(&location.path, "t", None).await.unwrap();
    assert_eq!(gone.finish(0).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(names(&folder), ["x"]);
}

#[tokio::test]
async fn a_full_disk_is_said() {
    let server = Server::get();
    let folder = server.empty_folder("full");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m,mode=777", "full"]).arg(&folder).status();
    assert!(mount.unwrap().success(), "this test mounts a small tmpfs, for which it must run as root");
    let location = server.open(&folder.join("x"));
    let writer = write(&location, labelled("t")).await.unwrap();
    let outcome = match put_all(&*writer, &pattern(8 * MIB), 0).await {
        Ok(()) => writer.finish(8 * MIB as u64).await.map(|_| ()),
        Err(error) => writer.abort().await.and(Err(error)),
    };
    let left = names(&folder);
    assert!(Command::new("umount").arg("-l").arg(&folder).status().unwrap().success());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(left, Vec::<String>::new());
}
