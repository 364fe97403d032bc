//! Progress follows the bytes: it grows while they are there, and is nothing once they are thrown away.

use std::path::PathBuf;
use std::time::Duration;

use haulier_testkit::both_databases;
use haulier_testkit::catalog::TestCatalog;
use serde_json::{Value, json};

use crate::room::Room;
use crate::sources::{Script, Server};

const SIZE: usize = 4_000_000;

/// The temporary file of the one unfinished copy.
fn unfinished(room: &Room) -> Option<PathBuf> {
    room.leftovers().first().map(|name| room.path(name))
}

/// Lets one more attempt be made, and shows what is true after it.
async fn attempt(room: &Room, id: &str) -> (Value, u64) {
    room.run_tasks().await;
    room.catalog.clock.advance(Duration::from_secs(61));
    let document = room.document(id).await;
    let there = unfinished(room).map_or(0, |path| std::fs::metadata(path).unwrap().len());
    if document["state"] != "STATE_COMPLETE" {
        assert!(document["progress"].as_u64().unwrap() <= there, "only {there} bytes are there: {document}");
    }
    (document, there)
}

fn progress(document: &Value) -> u64 {
    document["progress"].as_u64().unwrap()
}

async fn kinds(room: &Room) -> Vec<String> {
    let mut tx = room.catalog.catalog.begin("events").await.unwrap();
    haulier_catalog::events::position_pending(&mut tx, 1000).await.unwrap();
    let read = haulier_catalog::events::read_after(&mut tx, 0, 1000).await.unwrap();
    read.into_iter().map(|event| event.kind).collect()
}

both_databases! {
    async fn a_source_without_ranges_and_versions_never_takes_progress_back(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let scripts = [3_000_000, 1_000_000, 3_500_000].map(|after| Script::Cut { after });
        let server = Server::plain(scripts.into(), SIZE).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let mut shown = 0;
        for _ in 0..3 {
            let (document, _) = attempt(&room, &id).await;
            assert_eq!(document["state"], "STATE_RUNNING", "{document}");
            assert!(progress(&document) >= shown.max(2_000_000), "{document}");
            shown = progress(&document);
        }
        let (document, _) = attempt(&room, &id).await;
        assert_eq!((&document["state"], progress(&document)), (&json!("STATE_COMPLETE"), SIZE as u64), "{document}");
        assert!(std::fs::read(room.path("b")).unwrap() == server.body());
        assert!(!kinds(&room).await.contains(&"transfer.started_over".to_owned()));
    }

    async fn a_source_that_changed_takes_progress_back_to_nothing(catalog: TestCatalog) {
        for plain in [false, true] {
            let room = Room::new(TestCatalog::new(catalog.database).await).await;
            let scripts = vec![Script::Cut { after: 3_000_000 }, Script::Changed, Script::Stall { after: 1_000 }];
            let server = if plain { Server::plain(scripts, SIZE).await } else { Server::start(scripts, SIZE).await };
            let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
            let (document, _) = attempt(&room, &id).await;
            assert!(progress(&document) > 2_000_000, "{document}");
            let (document, _) = attempt(&room, &id).await;
            assert_eq!(document["state"], "STATE_RUNNING", "{document}");
            assert!(progress(&document) <= 1_000, "{document}");
            assert!(kinds(&room).await.contains(&"transfer.started_over".to_owned()));
            assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_COMPLETE");
            assert!(std::fs::read(room.path("b")).unwrap() == server.body());
        }
    }

    async fn a_temporary_file_that_vanished_counts_for_nothing(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Cut { after: 3_000_000 }, Script::Status(503)], SIZE).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        attempt(&room, &id).await;
        std::fs::remove_file(unfinished(&room).unwrap()).unwrap();
        // Nobody has looked at the target yet: a source that does not answer says nothing about it.
        room.run_tasks().await;
        room.catalog.clock.advance(Duration::from_secs(61));
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], progress(&document)), (&json!("STATE_COMPLETE"), SIZE as u64), "{document}");
        assert!(kinds(&room).await.contains(&"transfer.started_over".to_owned()));
        assert!(std::fs::read(room.path("b")).unwrap() == server.body());
    }

    async fn a_lasting_error_keeps_what_is_safe_for_a_restart(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Cut { after: 3_000_000 }, Script::Status(403)], SIZE).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let (before, _) = attempt(&room, &id).await;
        let (document, _) = attempt(&room, &id).await;
        assert_eq!((&document["state"], progress(&document)), (&json!("STATE_ERROR"), progress(&before)), "{document}");
        let sent = server.sent();
        room.act(&id, json!({ "xferaction": "restart" })).await;
        assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_COMPLETE");
        assert!(server.sent() - sent <= SIZE - progress(&before) as usize, "goes on where it was safe");
    }

    async fn bytes_proven_wrong_do_not_count(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Cut { after: 3_000_000 }], SIZE).await;
        let wrong = format!("sha256:{}", "0".repeat(64));
        let more = json!({ "destination_options": { "checksum": wrong } });
        let id = room.submit(&server.url(), &room.url("b"), more).await;
        attempt(&room, &id).await;
        let (document, there) = attempt(&room, &id).await;
        assert_eq!((&document["error"]["code"], progress(&document), there), (&json!("corrupt"), 0, 0), "{document}");
        assert_eq!(room.delete(&id).await.status, 204);
    }
}
