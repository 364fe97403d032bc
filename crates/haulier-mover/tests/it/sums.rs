//! Stories of the checksums that stores tell: what they prove, what they spare, and what they find.

use std::sync::Arc;

use bytes::Bytes;
use haulier_base::ErrorKind;
use haulier_mover::{Proof, Verify};
use haulier_storage::layers::{Fault, FaultScript, Faulty, Step};
use haulier_storage::{MemoryStore, Storage};

use crate::parts::PartStore;
use crate::{Notes, a_move, go, path, pattern, sha256};

/// A store that tells the checksum of its only object.
fn telling(bytes: &Bytes) -> PartStore {
    let store = PartStore::new(true);
    store.objects.insert(&path("source"), bytes.clone());
    store
}

#[tokio::test]
async fn the_checksum_of_the_source_proves_the_copy() {
    for length in [0, 1, 200_000, 3_000_000] {
        let bytes = pattern(length);
        for (digest, verify, proof) in [
            (false, Verify::Store, Proof::Source("crc64nvme")),
            (true, Verify::Store, Proof::Source("crc64nvme")),
            (false, Verify::ReadBack, Proof::ReadBack),
            (false, Verify::None, Proof::Length),
        ] {
            let target = MemoryStore::new();
            let mut mv = a_move(Arc::new(telling(&bytes)), Arc::new(target.clone()));
            (mv.options.digest, mv.options.verify) = (digest, verify);
            let outcome = go(&mv, &Notes::default()).await.unwrap();
            assert_eq!(outcome.proof, proof, "{length} {digest}");
            let hashed = digest || verify == Verify::ReadBack;
            assert_eq!(outcome.checksum, hashed.then(|| sha256(&bytes)), "{length} {digest}");
            assert!(target.find(&path("target")).unwrap() == bytes);
        }
    }
}

#[tokio::test]
async fn other_bytes_than_the_source_tells_of_are_not_published() {
    let source = telling(&pattern(3_000_000));
    source.seen.lock().unwrap().corrupt = true;
    for digest in [false, true] {
        let target = MemoryStore::new();
        let mut mv = a_move(Arc::new(source.clone()), Arc::new(target.clone()));
        mv.options.digest = digest;
        let error = go(&mv, &Notes::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.message().contains("CRC-64"), "{error}");
        assert_eq!((target.find(&path("target")), target.upload_count()), (None, 0));
    }
}

#[tokio::test]
async fn a_checksum_that_goes_along_spares_another_one() {
    let bytes = pattern(1_234_567);
    let source = MemoryStore::new();
    source.insert(&path("source"), bytes.clone());
    for (checksums, proof) in [(true, Proof::Store("sum")), (false, Proof::Written)] {
        let store = PartStore::new(checksums);
        let mut mv = a_move(Arc::new(source.clone()), Arc::new(store.clone()));
        mv.options.digest = false;
        let outcome = go(&mv, &Notes::default()).await.unwrap();
        assert_eq!((outcome.checksum.is_none(), outcome.proof), (checksums, proof));
        assert!(store.objects.find(&path("target")).unwrap() == bytes);
    }
    // A part of the source has no checksum that anybody knows.
    let mut mv = a_move(Arc::new(telling(&bytes)), Arc::new(MemoryStore::new()));
    (mv.options.digest, mv.range.start) = (false, 5);
    let outcome = go(&mv, &Notes::default()).await.unwrap();
    assert_eq!((outcome.checksum, outcome.proof), (Some(sha256(&bytes[5..])), Proof::Written));
}

/// Breaks off half-way, goes on, and ends with the same proof.
#[tokio::test]
async fn a_broken_copy_goes_on_without_a_digest() {
    let bytes = pattern(3_000_000);
    let breaking = |store: PartStore| {
        let script = FaultScript::new().on(Step::Read, 3, Fault::Break(300_000, ErrorKind::Unavailable));
        Arc::new(Faulty::new(Arc::new(store), script)) as Arc<dyn Storage>
    };
    // The one compares with what the source tells, the other with what the target was given.
    for (digest_then, upload) in [(false, false), (true, false), (false, true)] {
        let (file, store) = (MemoryStore::new(), PartStore::new(true));
        let target: Arc<dyn Storage> = if upload { Arc::new(store.clone()) } else { Arc::new(file.clone()) };
        let mut mv = a_move(breaking(telling(&bytes)), target);
        mv.options.digest = false;
        let notes = Notes::default();
        go(&mv, &notes).await.unwrap_err();
        let point = notes.last().unwrap();
        assert!(point.safe >= 600_000, "{point:?}");
        mv.resume = Some(point);
        mv.options.digest = digest_then;
        let outcome = go(&mv, &notes).await.unwrap();
        assert!(!outcome.started_over && outcome.checksum.is_some() == digest_then, "{outcome:?}");
        let proof = match (upload, digest_then) {
            (true, _) => Proof::Store("sum"),
            (false, false) => Proof::Source("crc64nvme"),
            // A digest that begins late is of what the target holds; what the source told is not asked again.
            (false, true) => Proof::Written,
        };
        assert_eq!(outcome.proof, proof);
        let found = if upload { &store.objects } else { &file };
        assert!(found.find(&path("target")).unwrap() == bytes);
    }
}
