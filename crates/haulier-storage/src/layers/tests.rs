//! Every layer keeps the promises of the storage inside it, and does its own thing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::TryStreamExt;
use haulier_base::{Backoff, ErrorKind};

use super::*;
use crate::{MemoryStore, ObjectPath, ReadRequest, Storage, WriteRequest, conformance};

fn quick() -> Backoff {
    Backoff { first: Duration::from_millis(1), cap: Duration::from_millis(2), attempts: 3 }
}

fn store() -> (MemoryStore, ObjectPath) {
    let (store, path) = (MemoryStore::new(), ObjectPath::new("b/k"));
    store.insert(&path, "0123456789");
    (store, path)
}

async fn read(storage: &dyn Storage, path: &ObjectPath) -> haulier_base::Result<Vec<u8>> {
    let chunks: Vec<Bytes> = storage.read(path, ReadRequest::default()).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn all_layers_conform() {
    let folder = ObjectPath::new("b");
    let inner = || Arc::new(MemoryStore::new());
    conformance::check(inner(), &folder).await;
    conformance::check(Arc::new(Retrying::new(inner(), quick())), &folder).await;
    conformance::check(Arc::new(Throttled::new(inner(), u64::MAX)), &folder).await;
    conformance::check(Arc::new(Metered::new(inner(), Arc::default())), &folder).await;
    conformance::check(Arc::new(Faulty::new(inner(), FaultScript::new())), &folder).await;
}

#[tokio::test]
async fn retries_end_with_success_or_with_the_attempts() {
    let (store, path) = store();
    let fail = |kind| Fault::Fail(kind);
    let twice = FaultScript::new().on(Step::Stat, 1, fail(ErrorKind::Unavailable)).on(
        Step::Stat,
        2,
        fail(ErrorKind::Unavailable),
    );
    let storage = Retrying::new(Arc::new(Faulty::new(Arc::new(store.clone()), twice.clone())), quick());
    storage.stat(&path).await.unwrap();
    assert_eq!(twice.count(Step::Stat), 3);
    for (kind, tries) in [(ErrorKind::Unavailable, 3), (ErrorKind::NotFound, 1)] {
        let script = FaultScript::new().always(Step::Stat, fail(kind));
        let storage = Retrying::new(Arc::new(Faulty::new(Arc::new(store.clone()), script.clone())), quick());
        assert_eq!(storage.stat(&path).await.unwrap_err().kind(), kind);
        assert_eq!(script.count(Step::Stat), tries);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttle_takes_its_time() {
    let (store, path) = store();
    let storage = Throttled::new(Arc::new(store), 10);
    let start = tokio::time::Instant::now();
    for _ in 0..4 {
        read(&storage, &path).await.unwrap();
    }
    let taken = start.elapsed();
    assert!(taken >= Duration::from_secs(3) && taken < Duration::from_secs(4), "{taken:?}");
}

#[tokio::test]
async fn meters_count_bytes_and_errors() {
    let (store, path) = store();
    let meters = Arc::new(Meters::default());
    let storage = Metered::new(Arc::new(store), meters.clone());
    read(&storage, &path).await.unwrap();
    read(&storage, &ObjectPath::new("b/none")).await.unwrap_err();
    let writer = storage.write(&path, WriteRequest::default()).await.unwrap();
    writer.put_at(0, Bytes::from_static(b"abc")).await.unwrap();
    writer.finish(3).await.unwrap();
    let wanted = Traffic { read_bytes: 10, written_bytes: 3, reads: 1, writes: 1, errors: 1 };
    assert_eq!(meters.traffic(), wanted);
}

#[tokio::test]
async fn faults_happen_in_their_turn() {
    let (store, path) = store();
    let script = FaultScript::new()
        .on(Step::Read, 1, Fault::Short(4))
        .on(Step::Read, 2, Fault::Break(4, ErrorKind::Unavailable))
        .on(Step::Put, 2, Fault::Lose)
        .on(Step::Finish, 1, Fault::Fail(ErrorKind::NoSpace));
    let storage = Faulty::new(Arc::new(store), script);
    assert_eq!(read(&storage, &path).await.unwrap(), *b"0123");
    assert_eq!(read(&storage, &path).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(read(&storage, &path).await.unwrap(), *b"0123456789");
    let writer = storage.write(&path, WriteRequest::default()).await.unwrap();
    writer.put_at(0, Bytes::from_static(b"ab")).await.unwrap();
    writer.put_at(2, Bytes::from_static(b"cd")).await.unwrap();
    assert_eq!(&writer.read_back(0, 4).await.unwrap().unwrap()[..], b"ab");
    assert_eq!(writer.finish(4).await.unwrap_err().kind(), ErrorKind::NoSpace);
}
