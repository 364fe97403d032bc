//! What a move may replace, what it keeps, and which version of the source it takes.

use haulier_base::Timestamp;
use haulier_storage::{Attributes, Guard};

use super::*;

async fn version_of(store: &MemoryStore, key: &str) -> haulier_storage::Version {
    store.stat(&path(key)).await.unwrap().version.unwrap()
}

#[tokio::test]
async fn only_what_was_seen_is_replaced_and_it_is_kept() {
    let store = MemoryStore::new();
    store.insert(&path("source"), pattern(1000));
    store.insert(&path("target"), "old");
    let seen = version_of(&store, "target").await;
    let attributes = Attributes { modified: Some(Timestamp::from_micros(5_000_000)), mode: Some(0o640) };
    let mut mv = a_move(Arc::new(store.clone()), Arc::new(store.clone()));
    mv.options = MoveOptions { guard: Guard::Absent, keep_old: Some(path("kept")), attributes, ..mv.options };
    let error = go(&mv, &Notes::default()).await.unwrap_err();
    assert!(Guard::is_refusal(&error), "{error:?}");
    mv.options.guard = Guard::Version(seen);
    let outcome = go(&mv, &Notes::default()).await.unwrap();
    assert_eq!((outcome.target.modified, outcome.target.mode), (attributes.modified, attributes.mode));
    assert_eq!(outcome.target.version, Some(version_of(&store, "target").await));
    assert_eq!(outcome.source_version, Some(version_of(&store, "source").await));
    assert_eq!((store.find(&path("target")), store.find(&path("kept"))), (Some(pattern(1000)), Some("old".into())));
    assert_eq!(store.upload_count(), 0);
}

#[tokio::test]
async fn a_target_that_changes_while_bytes_flow_stays() {
    let store = MemoryStore::new();
    store.insert(&path("source"), pattern(1000));
    store.insert(&path("target"), "old");
    let script = FaultScript::new().on(Step::Finish, 1, Fault::Slow(Duration::from_millis(200)));
    let target = Arc::new(Faulty::new(Arc::new(store.clone()), script.clone()));
    let mut mv = a_move(Arc::new(store.clone()), target);
    mv.options.guard = Guard::Version(version_of(&store, "target").await);
    let (notes, changing) = (Notes::default(), async {
        while script.count(Step::Finish) == 0 {
            tokio::task::yield_now().await;
        }
        store.insert(&path("target"), "theirs");
    });
    let (moved, ()) = tokio::join!(go(&mv, &notes), changing);
    assert!(Guard::is_refusal(&moved.unwrap_err()));
    assert_eq!(store.find(&path("target")), Some("theirs".into()));
}

#[tokio::test]
async fn only_the_version_that_was_asked_for_is_moved() {
    let store = MemoryStore::new();
    store.insert(&path("source"), pattern(1000));
    let first = version_of(&store, "source").await;
    store.insert(&path("source"), pattern(2000));
    let mut mv = a_move(Arc::new(store.clone()), Arc::new(store.clone()));
    mv.options.source_version = Some(first);
    assert_eq!(go(&mv, &Notes::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.find(&path("target")), None);
    mv.options.source_version = Some(version_of(&store, "source").await);
    assert_eq!(go(&mv, &Notes::default()).await.unwrap().bytes, 2000);
}
