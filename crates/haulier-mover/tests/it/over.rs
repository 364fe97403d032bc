//! When what an earlier attempt saved is kept, and when it is given up.

use super::*;
use futures::stream::BoxStream;
use haulier_storage::{
    Capabilities, ListedObject, ObjectMeta, ObjectRead, ObjectWriter, Placement, ReadRequest, WriteRequest,
};

/// A source that never says which version of it there is, and perhaps cannot start in the middle.
#[derive(Debug)]
struct Plain {
    store: MemoryStore,
    ranged: bool,
}

#[async_trait]
impl Storage for Plain {
    fn capabilities(&self) -> Capabilities {
        Capabilities { ranged_read: self.ranged, ..self.store.capabilities() }
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        Ok(ObjectMeta { version: None, ..self.store.stat(path).await? })
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let mut read = self.store.read(path, request).await?;
        read.meta.version = None;
        Ok(read)
    }

    async fn write(&self, _: &ObjectPath, _: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        Err(Error::invalid("read only"))
    }

    async fn list(&self, _: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        Err(Error::invalid("read only"))
    }

    async fn delete(&self, _: &ObjectPath) -> Result<()> {
        Err(Error::invalid("read only"))
    }

    async fn discard(&self, _: &ObjectPath, _: &str, _: Option<&str>) -> Result<()> {
        Ok(())
    }
}

const BEGIN: u64 = 77;

/// A move of a plain source that broke after it had saved a point.
async fn broken(source: &MemoryStore, target: &MemoryStore, ranged: bool, notes: &Notes) -> Move {
    let script = FaultScript::new().on(Step::Put, 3, Fault::Fail(ErrorKind::Unavailable));
    let plain = Plain { store: source.clone(), ranged };
    let mut mv = a_move(Arc::new(plain), Arc::new(Faulty::new(Arc::new(target.clone()), script)));
    mv.options.part_size = 1 << 30;
    mv.range.start = BEGIN;
    go(&mv, notes).await.unwrap_err();
    mv.resume = notes.last();
    assert!(mv.resume.as_ref().is_some_and(|point| point.safe > 500_000 && point.source_version.is_none()));
    mv
}

#[tokio::test]
async fn a_source_without_versions_goes_on_behind_bytes_that_are_still_the_same() {
    let bytes = pattern(3_000_000);
    for ranged in [true, false] {
        let (source, target) = store_with(&bytes);
        let notes = Notes::default();
        let mv = broken(&source, &target, ranged, &notes).await;
        let safe = mv.resume.as_ref().unwrap().safe;
        let progress = Progress::new();
        let outcome = move_object(mv, &notes, &progress, &Limits::none(), pending()).await.unwrap();
        assert!(!outcome.started_over && notes.overs() == 0);
        assert_eq!(progress.view().written, bytes.len() as u64 - BEGIN - safe, "only what was missing is written");
        assert!(target.find(&path("target")).unwrap() == bytes.slice(BEGIN as usize..));
        assert_eq!(outcome.checksum, Some(sha256(&bytes[BEGIN as usize..])));
        assert_eq!(target.upload_count(), 0);
    }
}

#[tokio::test]
async fn a_source_without_versions_starts_over_when_one_byte_is_another() {
    let bytes = pattern(3_000_000);
    for (wrong_at, length) in [(BEGIN, 3_000_000), (400_000, 3_000_000), (400_000, 500_000)] {
        let (source, target) = store_with(&bytes);
        let notes = Notes::default();
        let mv = broken(&source, &target, true, &notes).await;
        let mut other = bytes[..length].to_vec();
        other[wrong_at as usize] ^= 1;
        source.insert(&path("source"), other.clone());
        assert!(go(&mv, &notes).await.unwrap().started_over);
        assert_eq!(notes.overs(), 1, "what is given up is said");
        assert!(target.find(&path("target")).unwrap() == other[BEGIN as usize..]);
        assert_eq!(target.upload_count(), 0);
    }
}

/// Asks, at the moment when it is told, whether the old bytes are still there.
struct Watching {
    target: MemoryStore,
    there: Mutex<Vec<usize>>,
}

#[async_trait]
impl Checkpoint for Watching {
    async fn save(&self, _: &ResumePoint) -> Result<()> {
        Ok(())
    }

    async fn start_over(&self) -> Result<()> {
        self.there.lock().unwrap().push(self.target.upload_count());
        Ok(())
    }
}

#[tokio::test]
async fn giving_up_is_said_before_anything_is_removed() {
    let (source, target) = store_with(&pattern(3_000_000));
    let mv = broken(&source, &target, true, &Notes::default()).await;
    source.insert(&path("source"), pattern(10));
    let watching = Watching { target: target.clone(), there: Mutex::default() };
    let moved = move_object(mv, &watching, &Progress::new(), &Limits::none(), pending()).await;
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::Invalid, "the range starts beyond its end now");
    assert_eq!(*watching.there.lock().unwrap(), [1]);
    assert_eq!(target.upload_count(), 0);
}

/// An attempt that resumes a saved point and meets a fault at its first put.
async fn meet(fault: ErrorKind) -> (MemoryStore, Move, Notes) {
    let (source, target) = store_with(&pattern(3_000_000));
    let notes = Notes::default();
    let mut mv = broken(&source, &target, true, &notes).await;
    let script = FaultScript::new().on(Step::Put, 1, Fault::Fail(fault));
    mv.target.storage = Arc::new(Faulty::new(Arc::new(target.clone()), script));
    assert_eq!(go(&mv, &notes).await.unwrap_err().kind(), fault);
    (target, mv, notes)
}

#[tokio::test]
async fn what_was_saved_outlives_an_error_that_says_nothing_against_it() {
    for fault in [ErrorKind::NoSpace, ErrorKind::Forbidden, ErrorKind::NotFound, ErrorKind::Internal] {
        let (target, mv, notes) = meet(fault).await;
        assert_eq!((target.upload_count(), notes.overs()), (1, 0), "{fault:?}");
        let outcome = go(&mv, &notes).await.unwrap();
        assert!(!outcome.started_over);
        assert!(target.find(&path("target")).unwrap() == pattern(3_000_000).slice(BEGIN as usize..));
    }
}

#[tokio::test]
async fn bytes_that_are_proven_wrong_are_removed_and_no_longer_counted() {
    let (target, _, notes) = meet(ErrorKind::Corrupt).await;
    assert_eq!((target.upload_count(), notes.overs(), notes.last()), (0, 1, None));
}

#[tokio::test]
async fn a_target_that_vanished_counts_for_nothing() {
    let (source, target) = store_with(&pattern(3_000_000));
    let notes = Notes::default();
    let mv = broken(&source, &target, true, &notes).await;
    target.discard(&path("target"), "t1", None).await.unwrap();
    assert!(go(&mv, &notes).await.unwrap().started_over);
    assert_eq!(notes.overs(), 1);
    assert_eq!(mv.options.placement, Placement::Replace);
    assert!(target.find(&path("target")).unwrap() == pattern(3_000_000).slice(BEGIN as usize..));
}
