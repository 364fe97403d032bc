//! Moves at the edges: of numbers, of nothing, and of patience.

use super::*;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use haulier_mover::Proof;
use haulier_storage::{
    Capabilities, ListedObject, ObjectMeta, ObjectRead, ObjectWriter, Placement, ReadRequest, Version, WriteRequest,
};

/// As long as a file can be, all sevens.
#[derive(Debug)]
struct Endless;

const LONGEST: u64 = i64::MAX as u64;

#[async_trait]
impl Storage for Endless {
    fn capabilities(&self) -> Capabilities {
        Capabilities { read: true, ranged_read: true, parallel_reads: true, ..Capabilities::default() }
    }

    async fn stat(&self, _: &ObjectPath) -> Result<ObjectMeta> {
        Ok(ObjectMeta { size: Some(LONGEST), version: Some(Version::from("one")), ..ObjectMeta::default() })
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let (start, end) = (request.start, request.end.unwrap_or(LONGEST).min(LONGEST));
        let left = usize::try_from(end - start).unwrap();
        let stream = stream::iter([Ok(Bytes::from(vec![7; left]))]).boxed();
        Ok(ObjectRead { meta: self.stat(path).await?, start, end: Some(end), stream, handle: None, crc64: None })
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

#[tokio::test]
async fn the_last_bytes_of_the_longest_source_arrive() {
    for (length, end) in [(10, None), (10, Some(u64::MAX)), (700_000, Some(LONGEST)), (0, None)] {
        let target = MemoryStore::new();
        let mut mv = a_move(Arc::new(Endless), Arc::new(target.clone()));
        mv.options.part_size = 100_000;
        mv.range = ByteRange { start: LONGEST - length, end };
        assert_eq!(go(&mv, &Notes::default()).await.unwrap().bytes, length);
        assert!(target.find(&path("target")).unwrap() == vec![7; length as usize]);
    }
}

fn files() -> Storages {
    Storages::new(StorageConfig { allow_any_path: true, ..StorageConfig::default() }).unwrap()
}

#[tokio::test]
async fn an_offset_beyond_any_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/target", folder.path().display());
    for offset in [LONGEST - 5, LONGEST, u64::MAX] {
        let mut mv = a_move(Arc::new(store_with(&pattern(10)).0), Arc::new(MemoryStore::new()));
        mv.target = files().open_target(&url, &serde_json::Value::Null).unwrap();
        mv.options.placement = Placement::InPlace { offset };
        assert_eq!(go(&mv, &Notes::default()).await.unwrap_err().kind(), ErrorKind::Invalid, "{offset}");
    }
}

#[tokio::test]
async fn the_null_device_takes_everything_and_is_still_there() {
    for length in [0, 10, 3_000_000] {
        let bytes = pattern(length);
        let mut mv = a_move(Arc::new(store_with(&bytes).0), Arc::new(MemoryStore::new()));
        mv.target = files().open_target("file:///dev/null", &serde_json::Value::Null).unwrap();
        let outcome = go(&mv, &Notes::default()).await.unwrap();
        assert_eq!((outcome.bytes, outcome.checksum), (length as u64, Some(sha256(&bytes))));
        if length > 0 {
            mv.options.verify = Verify::ReadBack;
            assert_eq!(
                go(&mv, &Notes::default()).await.unwrap().proof,
                Proof::Written,
                "there is nothing to read back"
            );
        }
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}

#[tokio::test]
async fn nothing_at_all_is_moved_to_files_and_to_memory() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("file://{}/{name}", folder.path().display());
    std::fs::write(folder.path().join("source"), "").unwrap();
    let none = serde_json::Value::Null;
    let mut mv = a_move(Arc::new(store_with(&Bytes::new()).0), Arc::new(MemoryStore::new()));
    let outcome = go(&mv, &Notes::default()).await.unwrap();
    assert_eq!((outcome.bytes, outcome.checksum), (0, Some(sha256(b""))));
    mv.source = files().open_source(&url("source"), &none).unwrap();
    mv.target = files().open_target(&url("target"), &none).unwrap();
    assert_eq!(go(&mv, &Notes::default()).await.unwrap().bytes, 0);
    assert_eq!(std::fs::read(folder.path().join("target")).unwrap(), b"");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_saves_points_on_the_way_and_is_no_silent_one() {
    let bytes = pattern(2_000_000);
    let (source, target) = store_with(&bytes);
    let script = FaultScript::new().always(Step::Read, Fault::Slow(Duration::from_secs(20)));
    let mut mv = a_move(Arc::new(Faulty::new(Arc::new(source), script)), Arc::new(target.clone()));
    mv.options.part_size = 1 << 30;
    let (notes, progress, began) = (Notes::default(), Progress::new(), tokio::time::Instant::now());
    let stop = tokio::time::sleep(Duration::from_secs(90));
    let error = move_object(mv.clone(), &notes, &progress, &Limits::none(), stop).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
    assert!(began.elapsed() < Duration::from_secs(91));
    let point = notes.last().unwrap();
    assert!(notes.points.lock().unwrap().len() > 2 && point.safe == progress.view().safe && point.safe > 500_000);
    mv.resume = Some(point);
    let outcome = go(&mv, &notes).await.unwrap();
    assert!(!outcome.started_over && target.find(&path("target")).unwrap() == bytes);
}

#[tokio::test]
async fn a_fast_copy_saves_points_by_bytes_and_not_only_by_time() {
    let bytes = pattern(100 << 20);
    let (source, target) = store_with(&bytes);
    let mut mv = a_move(Arc::new(source), Arc::new(target));
    (mv.options.part_size, mv.options.checkpoint_every) = (8 << 20, Duration::from_secs(3600));
    let notes = Notes::default();
    go(&mv, &notes).await.unwrap();
    let points: Vec<u64> = notes.points.lock().unwrap().iter().map(|point| point.safe).collect();
    assert!(points.len() >= 2 && points.is_sorted(), "{points:?}");
}
