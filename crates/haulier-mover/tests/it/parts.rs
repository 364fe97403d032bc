//! Stories of stores that take whole parts in order, know their own checksums, and copy by themselves.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use haulier_base::{Error, ErrorKind, Result};
use haulier_mover::{Proof, Verify};
use haulier_storage::layers::{Fault, FaultScript, Faulty, Step};
use haulier_storage::{
    Capabilities, Flushed, ListedObject, MemoryStore, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter, ReadRequest,
    Storage, StoreSource, Version, WriteRequest, Written,
};

use crate::{Notes, a_move, go, path, pattern, sha256};

/// Bytes of a part.
const PART: u64 = 100_000;

/// A store with uploads in parts, like an object store: a part is kept when its last byte is put.
#[derive(Clone)]
pub(crate) struct PartStore {
    pub(crate) objects: MemoryStore,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) put_bytes: u64,
    copied_bytes: u64,
    /// Whether it holds, or tells of, other bytes than it was given.
    pub(crate) corrupt: bool,
    checksums: bool,
}

impl PartStore {
    pub(crate) fn new(checksums: bool) -> Self {
        Self { objects: MemoryStore::new(), seen: Arc::new(Mutex::new(Seen { checksums, ..Seen::default() })) }
    }
}

impl fmt::Debug for PartStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartStore")
    }
}

#[async_trait]
impl Storage for PartStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            parallel_writes: false,
            read_back: false,
            cheap_read_back: false,
            in_place: false,
            checksums: self.seen.lock().unwrap().checksums,
            ..self.objects.capabilities()
        }
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.objects.stat(path).await
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let whole = request.start == 0 && request.end.is_none();
        let read = self.objects.read(path, request).await?;
        let (seen, bytes) = (self.seen.lock().unwrap(), self.objects.find(path).unwrap());
        let crc64 = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes) ^ u64::from(seen.corrupt);
        Ok(ObjectRead { crc64: (whole && seen.checksums).then_some(crc64), ..read })
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.objects.write(path, request).await?;
        let held = Mutex::new((inner.resumed_size(), Vec::new()));
        Ok(Box::new(PartWriter { inner, held, store: self.clone() }))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        self.objects.list(prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.objects.delete(path).await
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        self.objects.discard(path, label, token).await
    }

    fn store(&self) -> Option<String> {
        Some(format!("{:p}", Arc::as_ptr(&self.seen)))
    }

    async fn store_source(&self, path: &ObjectPath) -> Result<Option<StoreSource>> {
        let meta = self.objects.stat(path).await?;
        Ok(Some(StoreSource {
            store: self.store().unwrap_or_default(),
            locator: path.as_str().to_owned(),
            size: meta.size.unwrap_or(0),
            version: meta.version.unwrap_or_else(|| Version::from("")),
            checksum: self.seen.lock().unwrap().checksums.then(|| "sum:1".to_owned()),
        }))
    }
}

struct PartWriter {
    inner: Box<dyn ObjectWriter>,
    /// What is kept, and the bytes of the part that is not whole yet.
    held: Mutex<(u64, Vec<u8>)>,
    store: PartStore,
}

#[async_trait]
impl ObjectWriter for PartWriter {
    fn token(&self) -> Option<String> {
        self.inner.token()
    }

    fn resumed_size(&self) -> u64 {
        self.inner.resumed_size()
    }

    fn part_end(&self, offset: u64) -> Option<u64> {
        Some((offset / PART + 1) * PART)
    }

    fn must_remember(&self) -> bool {
        true
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let part = {
            let mut held = self.held.lock().unwrap();
            assert_eq!(offset, held.0 + held.1.len() as u64, "puts come in order");
            assert!(offset + bytes.len() as u64 <= (offset / PART + 1) * PART, "no put crosses the end of a part");
            held.1.extend_from_slice(&bytes);
            if (held.1.len() as u64) < PART {
                return Ok(());
            }
            let at = held.0;
            held.0 += held.1.len() as u64;
            (at, std::mem::take(&mut held.1))
        };
        self.store.seen.lock().unwrap().put_bytes += part.1.len() as u64;
        self.inner.put_at(part.0, part.1.into()).await
    }

    async fn copy_within(&self, source: &StoreSource, from: u64, at: u64, len: u64) -> Result<Option<u64>> {
        let len = len.min(PART);
        let bytes = self.store.objects.find(&ObjectPath::new(source.locator.clone())).unwrap();
        self.inner.put_at(at, bytes.slice(from as usize..(from + len) as usize)).await?;
        self.store.seen.lock().unwrap().copied_bytes += len;
        let mut held = self.held.lock().unwrap();
        held.0 = at + len;
        Ok(Some(len))
    }

    async fn flush(&self) -> Result<Flushed> {
        Ok(Flushed::First(self.held.lock().unwrap().0))
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        let (at, mut rest) = self.held.into_inner().unwrap();
        if !rest.is_empty() {
            if self.store.seen.lock().unwrap().corrupt {
                rest[0] ^= 1;
            }
            self.inner.put_at(at, rest.into()).await?;
        }
        let checksum = self.store.seen.lock().unwrap().checksums.then_some("sum");
        Ok(Written { store_checksum: checksum, ..self.inner.finish(size).await? })
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        self.inner.suspend().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

/// A source whose `turn`-th read breaks after so many bytes.
fn breaking(bytes: &Bytes, turn: u64, after: u64) -> Arc<dyn Storage> {
    let source = MemoryStore::new();
    source.insert(&path("source"), bytes.clone());
    let script = FaultScript::new().on(Step::Read, turn, Fault::Break(after, ErrorKind::Unavailable));
    Arc::new(Faulty::new(Arc::new(source), script))
}

#[tokio::test]
async fn a_copy_goes_on_at_the_end_of_a_kept_part() {
    let bytes = pattern(1_234_567);
    let store = PartStore::new(true);
    let mut mv = a_move(breaking(&bytes, 1, 350_000), Arc::new(store.clone()));
    mv.options.parts_in_flight = 1;
    let notes = Notes::default();
    go(&mv, &notes).await.unwrap_err();
    assert_eq!(notes.points.lock().unwrap()[0].safe, 0, "the way back is kept before there is anything");
    let point = notes.last().unwrap();
    assert_eq!(point.safe, 300_000, "only whole parts are safe");
    mv.resume = Some(point);
    let outcome = go(&mv, &notes).await.unwrap();
    assert!(!outcome.started_over);
    assert!(store.objects.find(&path("target")).unwrap() == bytes);
    assert_eq!((outcome.checksum, outcome.proof), (Some(sha256(&bytes)), Proof::Store("sum")));
    assert_eq!(store.seen.lock().unwrap().put_bytes, 1_200_000, "no whole part is put twice");
}

#[tokio::test]
async fn parts_are_fetched_ahead_and_put_in_order() {
    let bytes = pattern(3_333_333);
    for parts_in_flight in [2, 4, 9] {
        let store = PartStore::new(false);
        let source = MemoryStore::new();
        source.insert(&path("source"), bytes.clone());
        let mut mv = a_move(Arc::new(source), Arc::new(store.clone()));
        (mv.options.part_size, mv.options.parts_in_flight) = (170_000, parts_in_flight);
        let outcome = go(&mv, &Notes::default()).await.unwrap();
        assert_eq!((outcome.method, outcome.parts, outcome.proof), ("ahead", 20, Proof::Written));
        assert_eq!(outcome.checksum, Some(sha256(&bytes)));
        assert!(store.objects.find(&path("target")).unwrap() == bytes);
    }
}

#[tokio::test]
async fn what_arrived_before_a_fetch_failed_is_kept() {
    let bytes = pattern(3_000_000);
    for turn in 1..=6 {
        let store = PartStore::new(false);
        let mut mv = a_move(breaking(&bytes, turn, 30_000), Arc::new(store.clone()));
        (mv.options.part_size, mv.options.parts_in_flight) = (500_000, 3);
        let notes = Notes::default();
        assert_eq!(go(&mv, &notes).await.unwrap_err().kind(), ErrorKind::Unavailable);
        let point = notes.last().unwrap();
        assert_eq!(point.safe, (turn - 1) * 500_000, "turn {turn}");
        // With nothing safe the upload was removed, and its point leads nowhere: that is found out.
        mv.resume = Some(point);
        let outcome = go(&mv, &notes).await.unwrap();
        assert!(store.objects.find(&path("target")).unwrap() == bytes);
        assert_eq!(outcome.checksum, Some(sha256(&bytes)));
    }
}

#[tokio::test]
async fn a_store_copies_by_itself_when_its_checksum_proves_it() {
    let bytes = pattern(1_050_000);
    for (checksums, verify, method) in [
        (true, Verify::Store, "within"),
        (true, Verify::ReadBack, "ahead"),
        (false, Verify::Store, "ahead"),
        (false, Verify::None, "within"),
    ] {
        let store = PartStore::new(checksums);
        store.objects.insert(&path("source"), bytes.clone());
        let mut mv = a_move(Arc::new(store.clone()), Arc::new(store.clone()));
        mv.options.verify = verify;
        let outcome = go(&mv, &Notes::default()).await.unwrap();
        assert!(store.objects.find(&path("target")).unwrap() == bytes);
        assert_eq!(outcome.method, method, "{checksums} {verify:?}");
        assert_eq!(store.seen.lock().unwrap().copied_bytes > 0, method == "within");
        let proof = match verify {
            Verify::Store if checksums => Proof::Store("sum"),
            Verify::Store => Proof::Written,
            Verify::ReadBack => Proof::ReadBack,
            Verify::None => Proof::Length,
        };
        assert_eq!((outcome.proof, outcome.checksum.is_some()), (proof, method == "ahead"));
    }
}

#[tokio::test]
async fn reading_back_finds_what_the_store_holds_instead() {
    let bytes = pattern(250_000);
    let store = PartStore::new(false);
    store.seen.lock().unwrap().corrupt = true;
    let source = MemoryStore::new();
    source.insert(&path("source"), bytes.clone());
    let mut mv = a_move(Arc::new(source), Arc::new(store.clone()));
    mv.options.verify = Verify::ReadBack;
    let error: Error = go(&mv, &Notes::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(store.objects.find(&path("target")).is_none(), "wrong bytes do not stay");
}

#[tokio::test]
async fn bytes_that_were_safe_cease_to_count_when_they_are_read_back_wrong() {
    let bytes = pattern(1_234_567);
    let store = PartStore::new(false);
    let mut mv = a_move(breaking(&bytes, 1, 350_000), Arc::new(store.clone()));
    (mv.options.parts_in_flight, mv.options.verify) = (1, Verify::ReadBack);
    let notes = Notes::default();
    go(&mv, &notes).await.unwrap_err();
    mv.resume = notes.last();
    store.seen.lock().unwrap().corrupt = true;
    assert_eq!(go(&mv, &notes).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(*notes.started_over.lock().unwrap(), 1, "progress counts bytes that are there");
    assert!(store.objects.find(&path("target")).is_none());
}
