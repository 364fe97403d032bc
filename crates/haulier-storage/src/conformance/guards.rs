//! What storages promise about changes that depend on what is there.

use bytes::Bytes;
use haulier_base::{Error, ErrorKind, Timestamp};

use super::{bytes_of, put, request};
use crate::{Attributes, Guard, ObjectMeta, ObjectPath, Storage, WriteRequest};

/// All of it, as far as the storage can do it.
pub(super) async fn check(storage: &dyn Storage, folder: &ObjectPath) {
    let can = storage.capabilities();
    writing(storage, &folder.join("written")).await;
    if can.delete {
        removing(storage, &folder.join("removed")).await;
    }
    if can.rename {
        keeping(storage, folder).await;
        renaming(storage, folder).await;
    }
    if can.attributes {
        attributes(storage, &folder.join("attributes")).await;
    }
}

async fn write(storage: &dyn Storage, path: &ObjectPath, bytes: &[u8], how: WriteRequest) -> Result<ObjectMeta, Error> {
    let writer = storage.write(path, how).await?;
    writer.put_at(0, Bytes::copy_from_slice(bytes)).await?;
    writer.finish(bytes.len() as u64).await.map(|written| written.meta)
}

fn guarded(guard: Guard) -> WriteRequest {
    WriteRequest { guard, ..request("guarded") }
}

async fn guard_of(storage: &dyn Storage, path: &ObjectPath) -> Guard {
    let meta = storage.stat(path).await.expect("is there");
    Guard::Version(meta.version.expect("a storage that can be written has versions"))
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    let error = outcome.expect_err("the guard refuses");
    assert!(Guard::is_refusal(&error), "{error:?}");
}

async fn writing(storage: &dyn Storage, path: &ObjectPath) {
    assert_refused(write(storage, path, b"lost", guarded(Guard::Version("another".into()))).await);
    let first = write(storage, path, b"first", guarded(Guard::Absent)).await.expect("nothing was there");
    assert_eq!(storage.stat(path).await.expect("is there").version, first.version, "what was published is told");
    assert_refused(write(storage, path, b"lost", guarded(Guard::Absent)).await);
    let seen = guard_of(storage, path).await;
    write(storage, path, b"the second one", guarded(seen.clone())).await.expect("it was that version");
    assert_refused(write(storage, path, b"lost", guarded(seen)).await);
    assert_eq!(bytes_of(storage, path).await, *b"the second one");
    // What is there may change while bytes flow.
    let seen = guard_of(storage, path).await;
    let writer = storage.write(path, guarded(seen)).await.expect("a writer opens");
    writer.put_at(0, Bytes::from_static(b"lost")).await.expect("bytes are put");
    put(storage, path, b"third, meanwhile").await;
    assert_refused(writer.finish(4).await);
    assert_eq!(bytes_of(storage, path).await, *b"third, meanwhile");
    write(storage, path, b"fourth", guarded(Guard::Any)).await.expect("anything may be there");
    assert_eq!(bytes_of(storage, path).await, *b"fourth");
}

async fn removing(storage: &dyn Storage, path: &ObjectPath) {
    put(storage, path, b"kept").await;
    let seen = guard_of(storage, path).await;
    put(storage, path, b"kept too").await;
    assert_refused(storage.remove_guarded(path, &seen, None).await);
    assert_eq!(bytes_of(storage, path).await, *b"kept too");
    let seen = guard_of(storage, path).await;
    storage.remove_guarded(path, &seen, None).await.expect("it is that version");
    assert_eq!(storage.stat(path).await.expect_err("it is gone").kind(), ErrorKind::NotFound);
    assert_refused(storage.remove_guarded(path, &seen, None).await);
    storage.remove_guarded(path, &Guard::Any, None).await.expect("a missing object is fine");
    storage.remove_guarded(path, &Guard::Absent, None).await.expect("and as expected");
}

async fn keeping(storage: &dyn Storage, folder: &ObjectPath) {
    let (path, keep) = (folder.join("kept"), folder.join("old/versions/1"));
    put(storage, &path, b"old").await;
    let how = WriteRequest { keep_old: Some(keep.clone()), ..guarded(guard_of(storage, &path).await) };
    write(storage, &path, b"newer", how.clone()).await.expect("it was that version");
    assert_eq!((bytes_of(storage, &path).await, bytes_of(storage, &keep).await), (b"newer".to_vec(), b"old".to_vec()));
    let second = folder.join("old/versions/2");
    let late = WriteRequest { keep_old: Some(second.clone()), ..how };
    assert_refused(write(storage, &path, b"lost", late).await);
    assert_eq!(storage.stat(&second).await.expect_err("nothing is kept").kind(), ErrorKind::NotFound);
    let seen = guard_of(storage, &path).await;
    let taken = WriteRequest { keep_old: Some(keep.clone()), ..guarded(seen.clone()) };
    write(storage, &path, b"lost", taken).await.expect_err("something is there already");
    assert_eq!((bytes_of(storage, &path).await, bytes_of(storage, &keep).await), (b"newer".to_vec(), b"old".to_vec()));
    storage.remove_guarded(&path, &seen, Some(&second)).await.expect("it is that version");
    assert_eq!(storage.stat(&path).await.expect_err("it is gone").kind(), ErrorKind::NotFound);
    assert_eq!(bytes_of(storage, &second).await, *b"newer");
}

async fn renaming(storage: &dyn Storage, folder: &ObjectPath) {
    let (from, to, taken) = (folder.join("from"), folder.join("deep/er/to"), folder.join("taken"));
    put(storage, &from, b"renamed").await;
    put(storage, &taken, b"taken").await;
    let seen = guard_of(storage, &from).await;
    assert_refused(storage.rename(&from, &seen, &taken).await);
    assert_refused(storage.rename(&from, &Guard::Version("another".into()), &to).await);
    let meta = storage.rename(&from, &seen, &to).await.expect("nothing was there");
    assert_eq!(storage.stat(&to).await.expect("is there").version, meta.version);
    assert_eq!(storage.stat(&from).await.expect_err("it is gone").kind(), ErrorKind::NotFound);
    assert_eq!((bytes_of(storage, &to).await, bytes_of(storage, &taken).await), (b"renamed".into(), b"taken".into()));
}

async fn attributes(storage: &dyn Storage, path: &ObjectPath) {
    let attributes = |seconds: i64, mode| Attributes {
        modified: Some(Timestamp::from_micros(seconds * 1_000_000)),
        mode: Some(mode),
    };
    let old = attributes(1_000_000_000, 0o640);
    let meta = write(storage, path, b"old", WriteRequest { attributes: old, ..request("attributes") }).await;
    let meta = meta.expect("the object is written");
    assert_eq!((meta.modified, meta.mode), (old.modified, old.mode));
    let seen = guard_of(storage, path).await;
    let other = attributes(1_100_000_000, 0o600);
    let meta = storage.set_attributes(path, &seen, &other).await.expect("it is that version");
    assert_eq!((meta.modified, meta.mode), (other.modified, other.mode));
    let found = storage.stat(path).await.expect("is there");
    assert_eq!((found.modified, found.mode, found.version), (meta.modified, meta.mode, meta.version));
    let refused = Guard::Version("another".into());
    assert_refused(storage.set_attributes(path, &refused, &old).await);
    assert_eq!(bytes_of(storage, path).await, *b"old");
}
