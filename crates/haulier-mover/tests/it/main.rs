//! Stories of moves: whole, broken, resumed, crashed and stopped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod crash;
mod guards;
mod limits;
mod over;
mod parts;
mod perilous;
mod silence;
mod sums;

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use haulier_base::{Checksum, Error, ErrorKind, Result};
use haulier_mover::{
    ByteRange, Checkpoint, Limits, Move, MoveOptions, MoveOutcome, Progress, ResumePoint, Verify, move_object,
};
use haulier_storage::layers::{Fault, FaultScript, Faulty, Step};
use haulier_storage::{Location, MemoryStore, ObjectPath, Storage, StorageConfig, Storages};
use sha2::{Digest, Sha256};

/// Remembers points as a database would, and can lose its lease.
#[derive(Default)]
struct Notes {
    points: Mutex<Vec<ResumePoint>>,
    lost: bool,
    started_over: Mutex<u32>,
}

#[async_trait]
impl Checkpoint for Notes {
    async fn save(&self, point: &ResumePoint) -> Result<()> {
        if self.lost {
            return Err(Error::lost_lease("lost"));
        }
        self.points.lock().unwrap().push(point.clone());
        Ok(())
    }

    async fn start_over(&self) -> Result<()> {
        if self.lost {
            return Err(Error::lost_lease("lost"));
        }
        *self.started_over.lock().unwrap() += 1;
        self.points.lock().unwrap().clear();
        Ok(())
    }

    async fn publish(&self) -> Result<()> {
        if self.lost { Err(Error::lost_lease("lost")) } else { Ok(()) }
    }
}

impl Notes {
    fn last(&self) -> Option<ResumePoint> {
        self.points.lock().unwrap().last().cloned()
    }

    fn overs(&self) -> u32 {
        *self.started_over.lock().unwrap()
    }
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect::<Vec<_>>().into()
}

fn sha256(bytes: &[u8]) -> Checksum {
    Checksum::sha256(Sha256::digest(bytes).into())
}

fn path(key: &str) -> ObjectPath {
    ObjectPath::new(key)
}

fn a_move(source: Arc<dyn Storage>, target: Arc<dyn Storage>) -> Move {
    Move {
        source: Location { storage: source, path: path("source") },
        target: Location { storage: target, path: path("target") },
        range: ByteRange::default(),
        options: MoveOptions { label: "t1".into(), part_size: 600_000, ..MoveOptions::default() },
        resume: None,
    }
}

async fn go(mv: &Move, notes: &Notes) -> Result<MoveOutcome> {
    move_object(mv.clone(), notes, &Progress::new(), &Limits::none(), pending()).await
}

fn store_with(bytes: &Bytes) -> (MemoryStore, MemoryStore) {
    let (source, target) = (MemoryStore::new(), MemoryStore::new());
    source.insert(&path("source"), bytes.clone());
    (source, target)
}

#[tokio::test]
async fn ranges_land_at_position_zero_with_their_checksum() {
    let bytes = pattern(3_000_000);
    for (start, end) in
        [(0, None), (0, Some(0)), (7, Some(7)), (1, Some(2)), (5, None), (9, Some(9_000_000)), (3_000_000, None)]
    {
        let (source, target) = store_with(&bytes);
        let mut mv = a_move(Arc::new(source), Arc::new(target.clone()));
        mv.range = ByteRange { start, end };
        let notes = Notes::default();
        let outcome = go(&mv, &notes).await.unwrap();
        let wanted = bytes.slice(start as usize..end.unwrap_or(u64::MAX).min(3_000_000) as usize);
        assert!(target.find(&path("target")).unwrap() == wanted, "{start} {end:?}");
        assert_eq!((outcome.bytes, outcome.checksum), (wanted.len() as u64, Some(sha256(&wanted))));
        assert!(notes.last().is_none(), "a short move saves no point");
    }
}

#[tokio::test]
async fn a_start_beyond_the_end_names_both_numbers() {
    for end in [None, Some(i64::MAX as u64)] {
        let (source, target) = store_with(&pattern(10));
        let mut mv = a_move(Arc::new(source), Arc::new(target));
        mv.range = ByteRange { start: i64::MAX as u64 - 3, end };
        let error = go(&mv, &Notes::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("9223372036854775804") && error.message().contains("10"), "{error}");
    }
}

#[tokio::test]
async fn every_broken_step_is_survived_by_going_on() {
    let bytes = pattern(3_000_000);
    for (part_size, step) in [
        (600_000, Step::Read),
        (600_000, Step::Put),
        (1 << 30, Step::Put),
        (600_000, Step::Flush),
        (1 << 30, Step::Read),
    ] {
        for turn in 1..8 {
            let (source, target) = store_with(&bytes);
            let script = FaultScript::new().on(step, turn, Fault::Fail(ErrorKind::Unavailable));
            let mut mv = a_move(
                Arc::new(Faulty::new(Arc::new(source), script.clone())),
                Arc::new(Faulty::new(Arc::new(target.clone()), script)),
            );
            mv.options.part_size = part_size;
            let notes = Notes::default();
            if let Err(error) = go(&mv, &notes).await {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(target.find(&path("target")).is_none(), "nothing is visible before the end");
                mv.resume = notes.last();
                let outcome = go(&mv, &notes).await.unwrap();
                assert!(!outcome.started_over && outcome.checksum == Some(sha256(&bytes)));
            }
            assert!(target.find(&path("target")).unwrap() == bytes, "{step:?} {turn}");
            assert_eq!(target.upload_count(), 0);
        }
    }
}

#[tokio::test]
async fn short_bodies_and_lies_about_the_length_are_never_done() {
    let bytes = pattern(1_000_000);
    for fault in [Fault::Short(1000), Fault::LieAboutSize(Some(2_000_000)), Fault::LieAboutSize(Some(10))] {
        let (source, target) = store_with(&bytes);
        let script = FaultScript::new().always(Step::Read, fault.clone());
        let mv = a_move(Arc::new(Faulty::new(Arc::new(source), script)), Arc::new(target.clone()));
        match go(&mv, &Notes::default()).await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}: {error}"),
            Ok(outcome) => panic!("{fault:?}: {outcome:?}"),
        }
        assert!(target.find(&path("target")).is_none());
    }
}

#[tokio::test]
async fn another_version_of_the_source_starts_over() {
    let (source, target) = store_with(&pattern(3_000_000));
    let script = FaultScript::new().on(Step::Put, 3, Fault::Fail(ErrorKind::Unavailable));
    let mut mv = a_move(Arc::new(source.clone()), Arc::new(Faulty::new(Arc::new(target.clone()), script)));
    let notes = Notes::default();
    mv.options.part_size = 1 << 30;
    go(&mv, &notes).await.unwrap_err();
    mv.resume = notes.last();
    assert!(mv.resume.as_ref().is_some_and(|point| point.safe > 0));
    let newer = pattern(2_999_999).slice(1..);
    source.insert(&path("source"), newer.clone());
    assert!(go(&mv, &notes).await.unwrap().started_over);
    assert!(target.find(&path("target")).unwrap() == newer);
    assert_eq!(target.upload_count(), 0);
}

#[tokio::test]
async fn wrong_bytes_and_full_targets_leave_nothing() {
    let (source, target) = store_with(&pattern(2_000_000));
    let mut mv = a_move(Arc::new(source.clone()), Arc::new(target.clone()));
    mv.options.expected = Some(sha256(b"other"));
    mv.options.verify = Verify::None;
    assert_eq!(go(&mv, &Notes::default()).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let script = FaultScript::new().on(Step::Put, 2, Fault::Fail(ErrorKind::NoSpace));
    let mv = a_move(Arc::new(source), Arc::new(Faulty::new(Arc::new(target.clone()), script)));
    assert_eq!(go(&mv, &Notes::default()).await.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!((target.find(&path("target")), target.upload_count()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_stalls_and_a_stop_does_not_wait_for_it() {
    let (source, target) = store_with(&pattern(2_000_000));
    let script = FaultScript::new().always(Step::Read, Fault::Stall);
    let mv = a_move(Arc::new(Faulty::new(Arc::new(source), script)), Arc::new(target));
    let error = go(&mv, &Notes::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "no byte for 30 s"));
    let (began, stop) = (tokio::time::Instant::now(), tokio::time::sleep(Duration::from_secs(3)));
    let stopped = move_object(mv, &Notes::default(), &Progress::new(), &Limits::none(), stop).await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Canceled);
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_lost_lease_publishes_nothing() {
    let (source, target) = store_with(&pattern(2_000_000));
    let script = FaultScript::new();
    let mv = a_move(Arc::new(source), Arc::new(Faulty::new(Arc::new(target.clone()), script.clone())));
    let notes = Notes { lost: true, ..Notes::default() };
    assert_eq!(go(&mv, &notes).await.unwrap_err().kind(), ErrorKind::LostLease);
    assert_eq!((script.count(Step::Finish), target.find(&path("target"))), (0, None));
}

#[tokio::test]
async fn files_are_copied_whole_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = pattern(9_000_001);
    std::fs::write(folder.path().join("source"), &bytes).unwrap();
    let storages = Storages::new(StorageConfig { allow_any_path: true, ..StorageConfig::default() }).unwrap();
    let url = |name: &str| format!("file://{}/{name}", folder.path().display());
    let none = serde_json::Value::Null;
    for (start, end) in [(0, 9_000_001), (3, 9_000_000), (10, 20)] {
        let mv = Move {
            source: storages.open_source(&url("source"), &none).unwrap(),
            target: storages.open_target(&url("target"), &none).unwrap(),
            range: ByteRange { start, end: Some(end) },
            options: MoveOptions { label: "t1".into(), ..MoveOptions::default() },
            resume: None,
        };
        let outcome = go(&mv, &Notes::default()).await.unwrap();
        let wanted = bytes.slice(start as usize..end as usize);
        assert!(std::fs::read(folder.path().join("target")).unwrap() == wanted);
        assert_eq!(outcome.checksum, Some(sha256(&wanted)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
    }
}
