//! A copy that is cut off anywhere ends as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use haulier_testkit::both_databases;
use haulier_testkit::crash::CutOff;
use haulier_work::{Handlers, Runner, RunnerConfig, TaskHandler};
use serde_json::{Value, json};

use crate::room::Room;

/// A run is polled less often than this.
const POLLS_MAX: usize = 400;
/// A small copy seldom takes more.
const POLLS_BEFORE_THE_END: usize = 30;
/// So many are enough to have met the moment between the first byte and the first checkpoint.
const ORPHANS_WANTED: usize = 4;
/// Longer than a lease.
const LEASE_OVER: Duration = Duration::from_secs(20);

/// Runs what is due, cut off after so many polls; whether it came to that.
async fn run_cut_off(room: &Room, polls: usize) -> bool {
    let cut = Arc::new(AtomicBool::new(false));
    let handlers = room.transfers.handlers().into_iter().fold(Handlers::new(), |all, inner| {
        all.register(Arc::new(CutOff::after_polls(inner, polls, cut.clone())) as Arc<dyn TaskHandler>)
    });
    let config = RunnerConfig { holder: "cut".to_owned(), ..RunnerConfig::default() };
    Runner::new(room.catalog.catalog.clone(), handlers, config).run_until_idle().await.unwrap();
    cut.load(Ordering::SeqCst)
}

/// Copies one source again and again, each time cut off one poll later, until a run gets through.
async fn cut_off_everywhere(room: &Room, size: usize, more: Value) {
    let bytes = room.source("a", size);
    for polls in 0..POLLS_MAX {
        let target = format!("b{polls}");
        let id = room.submit(&room.url("a"), &room.url(&target), more.clone()).await;
        let cut = run_cut_off(room, polls).await;
        let shown = room.document(&id).await["progress"].as_i64().unwrap();
        room.catalog.clock.advance(LEASE_OVER);
        // PostgreSQL may still be rolling back what was cut off, and a claim passes over a locked row.
        let document = room.run_to_the_end(&id).await;
        assert_eq!(document["state"], "STATE_COMPLETE", "cut off after {polls} polls: {document}");
        assert_eq!(document["progress"], size);
        assert!(document["progress"].as_i64().unwrap() >= shown);
        assert!(std::fs::read(room.path(&target)).unwrap() == bytes, "cut off after {polls} polls");
        assert_eq!(room.leftovers(), [""; 0], "cut off after {polls} polls");
        if !cut {
            // Fewer would mean that the cuts hit nothing: taking and completing alone wait more often.
            assert!(polls > 5, "only {polls} cuts");
            return;
        }
    }
    panic!("a run still did not get through after {POLLS_MAX} polls");
}

both_databases! {
    async fn a_small_copy_cut_off_anywhere_still_completes(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        cut_off_everywhere(&room, 5000, json!({})).await;
    }

    async fn a_copy_of_several_slices_cut_off_anywhere_still_completes(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        cut_off_everywhere(&room, 3 << 20, json!({ "start_offset": 0 })).await;
    }

    async fn what_died_before_its_first_checkpoint_is_removed_with_the_transfer(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 5000);
        let mut orphans = 0;
        // How many polls lie before the interesting moment differs from run to run.
        for round in 0..POLLS_MAX {
            if orphans >= ORPHANS_WANTED {
                break;
            }
            let polls = 1 + round % POLLS_BEFORE_THE_END;
            let id = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
            let cut = run_cut_off(&room, polls).await;
            orphans += if cut { room.leftovers().len() } else { 0 };
            room.act(&id, json!({ "xferaction": "cancel" })).await;
            room.catalog.clock.advance(LEASE_OVER);
            room.run_to_the_end(&id).await;
            assert_eq!(room.delete(&id).await.status, 204);
            assert_eq!(room.leftovers(), [""; 0], "cut off after {polls} polls");
        }
        assert!(orphans > 0, "no cut left a temporary file");
    }

    async fn an_upload_nobody_heard_of_does_not_outlive_its_transfer(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 5000);
        let mut orphans = 0;
        // How many polls lie before the interesting moment differs from run to run.
        for round in 0..POLLS_MAX {
            if orphans >= ORPHANS_WANTED {
                break;
            }
            let polls = 1 + round % POLLS_BEFORE_THE_END;
            let key = format!("bucket/{round}");
            let id = room.submit(&room.url("a"), &format!("memory://{key}"), json!({})).await;
            let cut = run_cut_off(&room, polls).await;
            orphans += if cut { room.memory.upload_count() } else { 0 };
            room.catalog.clock.advance(LEASE_OVER);
            assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_COMPLETE");
            assert!(room.memory.find(&haulier_storage::ObjectPath::new(&key)).unwrap() == bytes);
            assert_eq!(room.memory.upload_count(), 0, "cut off after {polls} polls");
        }
        assert!(orphans > 0, "no cut left an unfinished upload");
    }

    async fn a_cancel_survives_the_death_of_its_executor(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 5000);
        let mut id = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        let cut = Arc::new(AtomicBool::new(false));
        // Far enough to be RUNNING, not far enough to end.
        for polls in 1..POLLS_MAX {
            let handlers = room.transfers.handlers().into_iter().fold(Handlers::new(), |all, inner| {
                all.register(Arc::new(CutOff::after_polls(inner, polls, cut.clone())) as Arc<dyn TaskHandler>)
            });
            let config = RunnerConfig { holder: "cut".to_owned(), ..RunnerConfig::default() };
            Runner::new(room.catalog.catalog.clone(), handlers, config).run_until_idle().await.unwrap();
            match room.document(&id).await["state"].as_str() {
                Some("STATE_RUNNING") => break,
                // The last steps can all come between two polls; then another one is needed.
                Some("STATE_COMPLETE") => id = room.submit(&room.url("a"), &room.url("b"), json!({})).await,
                _ => {}
            }
            cut.store(false, Ordering::SeqCst);
            room.catalog.clock.advance(LEASE_OVER);
        }
        assert_eq!(room.act(&id, json!({ "xferaction": "cancel" })).await.status, 202);
        room.catalog.clock.advance(LEASE_OVER);
        assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_CANCELED");
        assert_eq!(room.delete(&id).await.status, 204);
        assert_eq!(room.leftovers(), [""; 0]);
        // The executor may have died after it published the file; half a file never has that name.
        assert!(std::fs::read(room.path("b")).is_ok_and(|b| b == bytes) || !room.path("b").exists());
    }
}
