//! Moves whose process or machine goes away at any call.

use super::*;
use crate::perilous::{End, Peril, Perilous};
use haulier_mover::ByteBudget;
use haulier_storage::WriteRequest;

const LENGTH: usize = 300_000;

fn perilous_move(source: &MemoryStore, target: &MemoryStore, peril: &Arc<Peril>, part_size: u64) -> Move {
    let mut mv = a_move(
        Arc::new(Perilous(Arc::new(source.clone()), peril.clone())),
        Arc::new(Perilous(Arc::new(target.clone()), peril.clone())),
    );
    mv.options.part_size = part_size;
    mv.options.checkpoint_every = Duration::from_millis(60);
    mv
}

/// Slow enough for many small pieces and many points.
fn slow() -> Limits {
    Limits { own: Arc::new(ByteBudget::new(Some(400_000))), ..Limits::none() }
}

/// Damages every put that no flush covered, as a power cut may.
async fn cut_power(target: &MemoryStore, token: &str, peril: &Peril) {
    let request = WriteRequest { resume: Some(token.to_owned()), ..WriteRequest::default() };
    let writer = target.write(&path("target"), request).await.unwrap();
    for (start, end) in peril.unflushed() {
        writer.put_at(start, vec![0xEE; (end - start) as usize].into()).await.unwrap();
    }
}

/// Makes one attempt that ends where told; false when it came to its natural end before.
async fn crash(mv: &Move, peril: &Peril, notes: &Notes, progress: &Progress) -> bool {
    let limits = slow();
    tokio::select! {
        done = move_object(mv.clone(), notes, progress, &limits, pending()) => { done.unwrap(); false }
        () = peril.ended() => true,
    }
}

async fn survives_every_end(part_size: u64, works: bool) {
    let bytes = pattern(LENGTH);
    let (mut went_on, mut found_published) = (0, 0);
    for call in 1.. {
        let (source, target) = store_with(&bytes);
        let peril = Peril::ending(Some(End { call, works }));
        let (notes, progress) = (Notes::default(), Progress::new());
        let mut mv = perilous_move(&source, &target, &peril, part_size);
        if !crash(&mv, &peril, &notes, &progress).await {
            break;
        }
        let (point, published) = (notes.last(), target.find(&path("target")));
        let safe = point.as_ref().map_or(0, |point| point.safe);
        assert!(progress.view().safe <= safe, "shows only what a point holds, call {call}");
        if let (Some(point), None) = (&point, &published) {
            let token = point.token.as_deref().unwrap();
            cut_power(&target, token, &peril).await;
            let request = WriteRequest { resume: Some(token.to_owned()), ..WriteRequest::default() };
            let left = target.write(&path("target"), request).await.unwrap().read_back(0, safe).await.unwrap().unwrap();
            assert!(left == bytes.slice(..safe as usize), "what is shown survives, call {call}");
        }
        mv = perilous_move(&source, &target, &Peril::ending(None), part_size);
        mv.resume = point;
        let outcome = go(&mv, &notes).await.unwrap();
        assert!(target.find(&path("target")).unwrap() == bytes, "call {call}");
        assert_eq!(outcome.checksum, Some(sha256(&bytes)), "call {call}");
        assert!(!outcome.started_over, "progress is never lower than shown, call {call}");
        if safe > 0 {
            went_on += 1;
            assert_eq!(target.upload_count(), 0, "call {call}");
            found_published += u32::from(published.is_some());
            assert_eq!(outcome.parts == 0, published.is_some(), "copies only what is missing, call {call}");
        }
    }
    assert!(went_on > 5 && (found_published > 0) == works, "{went_on} {found_published}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_survives_an_end_before_every_call() {
    survives_every_end(1 << 30, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_survives_an_end_after_every_call() {
    survives_every_end(1 << 30, true).await;
}

#[tokio::test(start_paused = true)]
async fn parts_survive_an_end_before_every_call() {
    survives_every_end(20_000, false).await;
}

#[tokio::test(start_paused = true)]
async fn parts_survive_an_end_after_every_call() {
    survives_every_end(20_000, true).await;
}

/// A point saved half-way, and the move that it belongs to, whose temporary data is gone.
async fn half_way(source: &MemoryStore, target: &MemoryStore) -> Move {
    let peril = Peril::ending(None);
    let mut mv = perilous_move(source, target, &peril, 1 << 30);
    let notes = Notes::default();
    let stop = tokio::time::sleep(Duration::from_millis(400));
    move_object(mv.clone(), &notes, &Progress::new(), &slow(), stop).await.unwrap_err();
    mv.resume = notes.last();
    let point = mv.resume.as_ref().unwrap();
    assert!(point.safe > 0 && point.safe < LENGTH as u64);
    target.discard(&path("target"), "t1", point.token.as_deref()).await.unwrap();
    mv
}

#[tokio::test(start_paused = true)]
async fn a_target_with_other_bytes_is_not_taken_for_published() {
    let bytes = pattern(LENGTH);
    for wrong_at in [0, LENGTH / 2, LENGTH - 1] {
        let (source, target) = store_with(&bytes);
        let mv = half_way(&source, &target).await;
        let mut other = bytes.to_vec();
        other[wrong_at] ^= 1;
        target.insert(&path("target"), other);
        assert!(go(&mv, &Notes::default()).await.unwrap().started_over, "{wrong_at}");
        assert!(target.find(&path("target")).unwrap() == bytes);
        assert_eq!(target.upload_count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_published_target_does_not_hide_a_lost_lease() {
    let (source, target) = store_with(&pattern(LENGTH));
    let mv = half_way(&source, &target).await;
    target.insert(&path("target"), pattern(LENGTH));
    let notes = Notes { lost: true, ..Notes::default() };
    assert_eq!(go(&mv, &notes).await.unwrap_err().kind(), ErrorKind::LostLease);
    assert_eq!(go(&mv, &Notes::default()).await.unwrap().parts, 0);
}

/// Loses the lease at its second point, and remembers how many calls there were by then.
struct Losing {
    peril: Arc<Peril>,
    saves: Mutex<Vec<u64>>,
}

#[async_trait]
impl Checkpoint for Losing {
    async fn save(&self, _: &ResumePoint) -> Result<()> {
        let mut saves = self.saves.lock().unwrap();
        saves.push(self.peril.calls());
        if saves.len() > 1 { Err(Error::lost_lease("lost")) } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_copying_at_once_and_touches_nothing() {
    for part_size in [20_000, 1 << 30] {
        let (source, target) = store_with(&pattern(LENGTH));
        let peril = Peril::ending(None);
        let mv = perilous_move(&source, &target, &peril, part_size);
        let checkpoint = Losing { peril: peril.clone(), saves: Mutex::default() };
        let progress = Progress::new();
        let error = move_object(mv, &checkpoint, &progress, &slow(), pending()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LostLease);
        let saves = checkpoint.saves.lock().unwrap().clone();
        assert_eq!(saves.len(), 2);
        assert_eq!(peril.calls(), saves[1], "no call after the loss");
        assert!(progress.view().written < LENGTH as u64);
        assert_eq!((target.find(&path("target")), target.upload_count()), (None, 1));
    }
}
