//! Files on a real disk: confinement, odd targets, full disks, kernel copies.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::TryStreamExt;
use haulier_base::ErrorKind;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{Location, Placement, StorageConfig, Storages, conformance};

fn storages(roots: &[&Path]) -> Storages {
    let roots = roots.iter().map(|root| root.to_path_buf()).collect();
    Storages::new(StorageConfig { roots, ..StorageConfig::default() }).unwrap()
}

fn any_path() -> Storages {
    Storages::new(StorageConfig { allow_any_path: true, ..StorageConfig::default() }).unwrap()
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

async fn put(location: &Location, bytes: &'static [u8]) -> Result<()> {
    let request = WriteRequest { label: "t".to_owned(), ..WriteRequest::default() };
    let writer = location.storage.write(&location.path, request).await?;
    writer.put_at(0, bytes.into()).await?;
    writer.finish(bytes.len() as u64).await.map(|_| ())
}

async fn get(location: &Location) -> Result<Vec<u8>> {
    let read = location.storage.read(&location.path, ReadRequest::default()).await?;
    let chunks: Vec<bytes::Bytes> = read.stream.try_collect().await?;
    Ok(chunks.concat())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn local_files_conform() {
    let folder = TempDir::new().unwrap();
    let roots = Arc::new(Roots::open(&[folder.path().to_owned()], false).unwrap());
    conformance::check(Arc::new(LocalStorage::new(roots, folder.path())), &ObjectPath::new("deep/er")).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_does_not_hide_the_others() {
    let folder = TempDir::new().unwrap();
    for name in ["a", "m", "z"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        (0..300).for_each(|number| fs::write(folder.path().join(format!("{name}/{number}")), "x").unwrap());
    }
    // Deeper than anybody goes, root included.
    fs::create_dir_all(folder.path().join("m").join("d/".repeat(600))).unwrap();
    let roots = Arc::new(Roots::open(&[folder.path().to_owned()], false).unwrap());
    let storage = LocalStorage::new(roots, folder.path());
    let listed: Vec<_> = futures::StreamExt::collect(storage.list(&ObjectPath::new("")).await.unwrap()).await;
    let (found, faults): (Vec<_>, Vec<_>) = listed.into_iter().partition(Result::is_ok);
    assert_eq!((found.len(), faults.len()), (900, 1));
    let fault = faults.into_iter().next().unwrap().unwrap_err();
    assert!(fault.message().starts_with("the folder m/d/d"), "{fault}");
}

#[tokio::test]
async fn nothing_outside_the_roots_is_reached() {
    let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    symlink(&secret, inside.path().join("link")).unwrap();
    symlink(outside.path(), inside.path().join("folder")).unwrap();
    symlink(outside.path().join("new"), inside.path().join("dangling")).unwrap();
    let storages = storages(&[inside.path()]);
    let up = format!("{}/../{}/secret", inside.path().display(), outside.path().file_name().unwrap().display());
    for path in ["link", "folder/secret", "folder/new", "dangling"].map(|name| inside.path().join(name)) {
        let error = storages.check_target(&url(&path), &Value::Null).unwrap_err();
        assert!(error.message().contains("outside the configured roots"), "{error}");
        let location = storages.open_target(&url(&path), &Value::Null).unwrap();
        put(&location, b"x").await.unwrap_err();
        get(&location).await.unwrap_err();
    }
    for path in [secret.display().to_string(), up, "/".to_owned(), "/etc/passwd".to_owned()] {
        assert_eq!(
            storages.check_source(&format!("file://{path}"), &Value::Null).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    storages.check_target("file:///dev/null", &Value::Null).unwrap();
    storages.check_source("file:///dev/null", &Value::Null).unwrap_err();
    assert_eq!(fs::read(&secret).unwrap(), *b"secret");
    assert_eq!(names(outside.path()), ["secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_swapped_for_a_link_leads_nowhere() {
    let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (folder, aside) = (inside.path().join("f"), inside.path().join("aside"));
    fs::create_dir(&folder).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (stop, outside) = (stop.clone(), outside.path().to_owned());
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let _ = fs::rename(&folder, &aside).and_then(|()| symlink(&outside, &folder));
                let _ = fs::remove_file(&folder).and_then(|()| fs::rename(&aside, &folder));
            }
        })
    };
    let storages = storages(&[inside.path()]);
    let location = storages.open_target(&url(&inside.path().join("f/x")), &Value::Null).unwrap();
    let (mut tried, mut written) = (0, 0);
    // On a busy machine the swapper may be asleep half-way for long.
    while tried < 300 || (written == 0 && tried < 300_000) {
        written += u32::from(put(&location, b"x").await.is_ok());
        tried += 1;
    }
    stop.store(true, Ordering::SeqCst);
    swapper.join().unwrap();
    assert!(written > 0, "some writes must get through, or nothing was tested");
    assert_eq!(names(outside.path()), Vec::<String>::new());
}

#[tokio::test]
async fn links_inside_are_followed() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("real"), "old").unwrap();
    symlink(at("real"), at("absolute")).unwrap();
    symlink("later", at("dangling")).unwrap();
    let storages = storages(&[folder.path()]);
    let open = |name: &str| storages.open_target(&url(&at(name)), &Value::Null).unwrap();
    put(&open("absolute"), b"new").await.unwrap();
    assert_eq!(get(&open("real")).await.unwrap(), *b"new");
    put(&open("dangling"), b"made").await.unwrap();
    assert_eq!(fs::read(at("later")).unwrap(), *b"made");
    assert!(storages.same_object(&url(&at("absolute")), &url(&at("real"))));
    assert!(!storages.same_object(&url(&at("real")), &url(&at("later"))));
    let shell = any_path().open_source("file:///bin/sh", &Value::Null).unwrap();
    assert_eq!(get(&shell).await.unwrap(), fs::read("/bin/sh").unwrap());
}

#[tokio::test]
async fn special_targets_are_written_and_stay() {
    let folder = TempDir::new().unwrap();
    let storages = any_path();
    let null = storages.open_target("file:///dev/null", &Value::Null).unwrap();
    put(&null, b"gone").await.unwrap();
    assert_eq!(null.storage.stat(&null.path).await.unwrap().kind, ObjectKind::Special);
    null.storage.delete(&null.path).await.unwrap_err();
    let error = put(&storages.open_target(&url(folder.path()), &Value::Null).unwrap(), b"x").await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "the path is a directory"));
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let location = storages.open_target(&url(&fifo), &Value::Null).unwrap();
    assert_eq!(put(&location, b"x").await.unwrap_err().kind(), ErrorKind::Unavailable);
    let reading = location.storage.read(&location.path, ReadRequest::default()).await.unwrap();
    let (sent, got) = futures::join!(put(&location, b"through"), reading.stream.try_collect::<Vec<_>>());
    sent.unwrap();
    assert_eq!(got.unwrap().concat(), *b"through");
    assert_eq!(names(folder.path()), ["fifo"]);
}

#[tokio::test]
async fn missing_folders_are_made_on_request_only() {
    let folder = TempDir::new().unwrap();
    let storages = storages(&[folder.path()]);
    let location = storages.open_target(&url(&folder.path().join("a/b/c")), &Value::Null).unwrap();
    assert_eq!(put(&location, b"x").await.unwrap_err().kind(), ErrorKind::NotFound);
    let request = WriteRequest { create_parents: true, ..WriteRequest::default() };
    location.storage.write(&location.path, request).await.unwrap().finish(0).await.unwrap();
    assert_eq!(names(&folder.path().join("a/b")), ["c"]);
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_no_target() {
    let folder = TempDir::new().unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "full"]).arg(folder.path()).status();
    assert!(mount.unwrap().success(), "this test mounts a small tmpfs, for which it must run as root");
    let location = storages(&[folder.path()]).open_target(&url(&folder.path().join("big")), &Value::Null).unwrap();
    let writer = location.storage.write(&location.path, WriteRequest::default()).await.unwrap();
    let outcome = writer.put_at(0, vec![1; 2 << 20].into()).await;
    let _ = writer.abort().await;
    let left = names(folder.path());
    drop(location);
    assert!(Command::new("umount").args(["-l"]).arg(folder.path()).status().unwrap().success());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn replaced_files_keep_their_mode_and_kernel_copies_agree() {
    let folder = TempDir::new().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(&source, &bytes).unwrap();
    fs::write(&target, "old").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let storages = storages(&[folder.path()]);
    let from = storages.open_source(&url(&source), &Value::Null).unwrap();
    let to = storages.open_target(&url(&target), &Value::Null).unwrap();
    let read = from.storage.read(&from.path, ReadRequest::default()).await.unwrap();
    let handle = read.handle.unwrap();
    let writer = to.storage.write(&to.path, WriteRequest::default()).await.unwrap();
    assert!(!writer.clone_from(&handle, 1, 5).await.unwrap());
    let mut at = 0;
    while let Some(count) = writer.copy_range(&handle, at, at, u64::from(u32::MAX)).await.unwrap() {
        if count == 0 {
            break;
        }
        at += count;
    }
    if at == 0 {
        writer.put_at(0, bytes.clone().into()).await.unwrap();
    }
    writer.finish(bytes.len() as u64).await.unwrap();
    assert_eq!(fs::read(&target).unwrap(), bytes);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(get(&to).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_writer_that_lost_its_name_publishes_nothing() {
    let folder = TempDir::new().unwrap();
    let location = storages(&[folder.path()]).open_target(&url(&folder.path().join("x")), &Value::Null).unwrap();
    let open = || location.storage.write(&location.path, WriteRequest { label: "t".into(), ..WriteRequest::default() });
    let (late, now) = (open().await.unwrap(), open().await.unwrap());
    assert_eq!(late.finish(0).await.unwrap_err().kind(), ErrorKind::Unavailable);
    now.put_at(0, "now".into()).await.unwrap();
    now.finish(3).await.unwrap();
    assert_eq!(fs::read(folder.path().join("x")).unwrap(), *b"now");
    let far = WriteRequest { placement: Placement::InPlace { offset: u64::MAX }, ..WriteRequest::default() };
    let far = location.storage.write(&location.path, far).await.unwrap();
    assert_eq!(far.put_at(1, "x".into()).await.unwrap_err().kind(), ErrorKind::Invalid);
}
