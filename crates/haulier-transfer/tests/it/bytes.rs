//! Which bytes arrive where.

use haulier_testkit::both_databases;
use serde_json::json;

use crate::room::{Refused, Room};

/// SHA-256 of no bytes at all (FIPS 180-4).
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

both_databases! {
    async fn case_04_an_empty_source_makes_an_empty_file(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 0);
        let id = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["progress"]), (&json!("STATE_COMPLETE"), &json!(0)));
        assert_eq!(document["checksum"], EMPTY);
        assert_eq!(std::fs::read(room.path("b")).unwrap(), b"");
        assert_eq!(room.leftovers(), [""; 0]);
    }

    async fn case_05_a_range_lands_at_the_start_of_the_destination(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 100);
        std::fs::write(room.path("b"), vec![1; 500]).unwrap();
        let id = room.submit(&room.url("a"), &room.url("b"), json!({ "start_offset": 10, "end_offset": 20 })).await;
        assert_eq!(room.run_to_the_end(&id).await["progress"], 10);
        assert_eq!(std::fs::read(room.path("b")).unwrap(), bytes[10..20]);
    }

    async fn case_06_an_open_end_stays_open(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 200_000);
        let id = room.submit(&room.url("a"), &room.url("b"), json!({ "start_offset": 150_000 })).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["end_offset"], &document["progress"]), (&json!(-1), &json!(50_000)));
        assert_eq!(std::fs::read(room.path("b")).unwrap(), bytes[150_000..]);
    }

    async fn odd_ranges_end_as_the_contract_says(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 100);
        for (range, state, expected) in [
            (json!({ "end_offset": 1000 }), "STATE_COMPLETE", &bytes[..]),
            (json!({ "start_offset": 0, "end_offset": 0 }), "STATE_COMPLETE", &[]),
            (json!({ "start_offset": 7, "end_offset": 7 }), "STATE_COMPLETE", &[]),
            (json!({ "start_offset": 100 }), "STATE_COMPLETE", &[]),
            (json!({ "start_offset": 99, "end_offset": i64::MAX }), "STATE_COMPLETE", &bytes[99..]),
            (json!({ "start_offset": 101 }), "STATE_ERROR", &[]),
            (json!({ "start_offset": i64::MAX }), "STATE_ERROR", &[]),
            (json!({ "start_offset": i64::MAX, "end_offset": i64::MAX }), "STATE_ERROR", &[]),
        ] {
            let _ = std::fs::remove_file(room.path("b"));
            let id = room.submit(&room.url("a"), &room.url("b"), range.clone()).await;
            let document = room.run_to_the_end(&id).await;
            assert_eq!(document["state"], state, "{range}: {document}");
            if state == "STATE_COMPLETE" {
                assert_eq!(std::fs::read(room.path("b")).unwrap(), expected, "{range}");
                assert_eq!(document["progress"], expected.len());
            } else {
                assert!(!room.path("b").exists());
                assert!(!document["error"]["message"].as_str().unwrap().is_empty());
            }
        }
    }

    async fn case_12_a_device_is_written_and_never_replaced(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 3_000_000);
        let id = room.submit(&room.url("a"), "file:///dev/null", json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["progress"]), (&json!("STATE_COMPLETE"), &json!(3_000_000)));
        use std::os::unix::fs::FileTypeExt;
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    async fn placement_same_fills_one_file_from_several_transfers(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 3000);
        for (start, end) in [(2000, 3000), (0, 1000), (1000, 2000)] {
            let more = json!({ "start_offset": start, "end_offset": end, "destination_options": { "placement": "same" } });
            let id = room.submit(&room.url("a"), &room.url("b"), more).await;
            assert_eq!(room.run_to_the_end(&id).await["progress"], 1000);
        }
        assert_eq!(std::fs::read(room.path("b")).unwrap(), bytes);
    }

    async fn parents_are_created_only_on_request(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 10);
        let id = room.submit(&room.url("a"), &room.url("x/y/b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["error"]["code"]), (&json!("STATE_ERROR"), &json!("not_found")));
        let more = json!({ "destination_options": { "create_parents": true } });
        let id = room.submit(&room.url("a"), &room.url("x/y/b"), more).await;
        assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_COMPLETE");
        assert_eq!(std::fs::read(room.path("x/y/b")).unwrap(), bytes);
    }

    async fn a_checksum_that_does_not_match_publishes_nothing(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 10);
        let more = json!({ "destination_options": { "checksum": EMPTY } });
        let id = room.submit(&room.url("a"), &room.url("b"), more).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["error"]["code"]), (&json!("STATE_ERROR"), &json!("corrupt")));
        assert!(!room.path("b").exists());
    }

    async fn a_folder_is_not_a_destination(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 10);
        std::fs::create_dir(room.path("d")).unwrap();
        let id = room.submit(&room.url("a"), &room.url("d"), json!({})).await;
        assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_ERROR");
        assert!(room.path("d").is_dir());
    }

    async fn a_file_is_not_copied_onto_itself(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 10);
        std::os::unix::fs::symlink("a", room.path("link")).unwrap();
        for target in ["a", "link", "./a"] {
            let body = json!({ "source_url": room.url("a"), "destination_url": room.url(target) });
            room.post("/v1/transfers", body).await.refusal(400);
        }
        assert_eq!(std::fs::read(room.path("a")).unwrap(), bytes);
    }

    async fn case_16_the_last_of_two_copies_wins_whole(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let one = room.source("a", 300_000);
        std::fs::write(room.path("c"), vec![9; 200_000]).unwrap();
        let first = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        let second = room.submit(&room.url("c"), &room.url("b"), json!({})).await;
        room.run_tasks().await;
        for id in [first, second] {
            assert_eq!(room.document(&id).await["state"], "STATE_COMPLETE");
        }
        let result = std::fs::read(room.path("b")).unwrap();
        assert!(result == one || result == vec![9; 200_000]);
    }

    async fn case_17_two_hundred_at_once_all_end(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 5000);
        let posts = (0..200).map(|n| {
            let target = room.url(&format!("b{n}"));
            let room = &room;
            async move { room.submit(&room.url("a"), &target, json!({})).await }
        });
        let mut ids = futures::future::join_all(posts).await;
        room.run_tasks().await;
        for id in &ids {
            assert_eq!(room.document(id).await["state"], "STATE_COMPLETE");
        }
        for n in 0..200 {
            assert_eq!(std::fs::read(room.path(&format!("b{n}"))).unwrap(), bytes);
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 200);
        assert_eq!(room.leftovers(), [""; 0]);
    }
}
