//! A crash between the end of an upload at a real object store and the news of it.

use std::fmt;
use std::sync::Arc;

use haulier_mover::{ByteBudget, Limits, Progress, Proof, move_object};
use haulier_storage::{
    Capabilities, Flushed, ListedObject, ObjectMeta, ObjectRead, ObjectWriter, ReadRequest, WriteRequest, Written,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;

/// A storage whose writers finish their object, and whose caller never hears of it.
#[derive(Clone)]
struct Silent {
    storage: Arc<dyn Storage>,
    finished: Arc<Notify>,
}

impl fmt::Debug for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Silent")
    }
}

#[async_trait]
impl Storage for Silent {
    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.storage.stat(path).await
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        self.storage.read(path, request).await
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        let writer = self.storage.write(path, request).await?;
        Ok(Box::new(SilentWriter { writer, finished: self.finished.clone() }))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<futures::stream::BoxStream<'static, Result<ListedObject>>> {
        self.storage.list(prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.storage.delete(path).await
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        self.storage.discard(path, label, token).await
    }
}

struct SilentWriter {
    writer: Box<dyn ObjectWriter>,
    finished: Arc<Notify>,
}

#[async_trait]
impl ObjectWriter for SilentWriter {
    fn token(&self) -> Option<String> {
        self.writer.token()
    }

    fn resumed_size(&self) -> u64 {
        self.writer.resumed_size()
    }

    fn part_end(&self, offset: u64) -> Option<u64> {
        self.writer.part_end(offset)
    }

    fn must_remember(&self) -> bool {
        self.writer.must_remember()
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        self.writer.put_at(offset, bytes).await
    }

    async fn flush(&self) -> Result<Flushed> {
        self.writer.flush().await
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        self.writer.finish(size).await?;
        self.finished.notify_one();
        pending().await
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        self.writer.suspend().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.writer.abort().await
    }
}

/// A new object in the store of the tests, opened as another process would.
fn open(key: &str) -> Location {
    #[expect(clippy::disallowed_methods, reason = "the test command hands the server over in the environment")]
    let text = std::env::var("HAULIER_TEST_S3").expect("HAULIER_TEST_S3 is not set: run cargo xtask test");
    let mut options: Value = serde_json::from_str(&text).unwrap();
    let bucket = options.as_object_mut().unwrap().remove("bucket").unwrap();
    options["part_size"] = json!(5 << 20);
    let config = StorageConfig { allow_private: true, ..StorageConfig::default() };
    let url = format!("s3://{}/{key}-{}", bucket.as_str().unwrap(), std::process::id());
    Storages::new(config).unwrap().open_target(&url, &options).unwrap()
}

#[tokio::test]
async fn a_crash_right_after_the_end_of_an_upload_sends_nothing_again() {
    let bytes = pattern(22_000_000);
    for verify in [Verify::Store, Verify::None] {
        let source = MemoryStore::new();
        source.insert(&path("source"), bytes.clone());
        let target = open(&format!("silence-{verify:?}"));
        let finished = Arc::new(Notify::new());
        let silent = Silent { storage: target.storage.clone(), finished: finished.clone() };
        let mut mv = a_move(Arc::new(source), Arc::new(silent));
        mv.target.path = target.path.clone();
        mv.options.verify = verify;
        mv.options.checkpoint_every = Duration::from_millis(5);
        let notes = Notes::default();
        let progress = Progress::new();
        let mut limits = Limits::none();
        // Slow enough that points are saved on the way.
        limits.node = Arc::new(ByteBudget::new(Some(12_000_000)));
        tokio::select! {
            ended = move_object(mv.clone(), &notes, &progress, &limits, pending()) => panic!("{ended:?}"),
            () = finished.notified() => {}
        }
        let before = target.storage.stat(&target.path).await.unwrap();
        let point = notes.last().unwrap();
        assert!(point.safe > 0 && point.safe < bytes.len() as u64, "the end was never noted: {}", point.safe);

        mv.target = open(&format!("silence-{verify:?}"));
        mv.resume = Some(point);
        let outcome = go(&mv, &notes).await.unwrap();
        assert_eq!((outcome.bytes, outcome.started_over, notes.overs()), (22_000_000, false, 0));
        let (proof, checksum) = match verify {
            Verify::None => (Proof::Length, None),
            _ => (Proof::Store("crc64nvme"), Some(sha256(&bytes))),
        };
        assert_eq!((outcome.proof, outcome.checksum), (proof, checksum));
        assert_eq!(target.storage.stat(&target.path).await.unwrap(), before, "nothing was written again");
    }
}
