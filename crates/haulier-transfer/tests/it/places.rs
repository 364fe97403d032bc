//! Where bytes come from and go to: secrets are kept from everybody, and nothing unfinished stays for ever.

use std::time::Duration;

use haulier_catalog::{Sql, args};
use haulier_testkit::both_databases;
use serde_json::json;

use crate::room::Room;
use crate::sources::{Script, Server};

const SIZE: usize = 3_000_000;

both_databases! {
    async fn a_secret_opens_its_source_and_is_stored_sealed(catalog: TestCatalog) {
        const ALL: Sql = Sql::both("SELECT source_options FROM transfers");
        let room = Room::new(catalog).await;
        let server = Server::start(vec![], 1000).await;
        let options = json!({ "source_options": { "username": "ann", "password": "s3cret" } });
        let id = room.submit(&server.url(), &room.url("b"), options).await;
        let mut tx = room.catalog.catalog.read().await.unwrap();
        let stored = tx.fetch_optional(ALL, args![]).await.unwrap().unwrap().text("source_options").unwrap();
        drop(tx);
        assert!(stored.contains("ann") && !stored.contains("s3cret"), "{stored}");
        let document = room.run_to_the_end(&id).await;
        assert_eq!(document["state"], "STATE_COMPLETE", "{document}");
        assert_eq!(document["source_options"], json!({ "username": "ann", "password": "***" }));
        assert_eq!(server.authorization().unwrap(), "basic yw5uonmzy3jlda==", "as the test server writes it");
    }

    async fn what_a_canceled_copy_left_goes_away_by_itself(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Cut { after: 2_000_000 }], SIZE).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        room.run_tasks().await;
        assert_eq!(room.leftovers().len(), 1);
        assert_eq!(room.act(&id, json!({ "xferaction": "cancel" })).await.status, 204);
        room.run_tasks().await;
        assert_eq!(room.leftovers(), [""; 0]);
        assert_eq!(room.document(&id).await["state"], "STATE_CANCELED");
    }

    async fn what_a_given_up_copy_left_goes_away_after_a_day(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Cut { after: 2_000_000 }, Script::Status(403)], SIZE).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        room.run_tasks().await;
        room.catalog.clock.advance(Duration::from_secs(61));
        room.run_tasks().await;
        let document = room.document(&id).await;
        assert_eq!(document["state"], "STATE_ERROR");
        assert!(document["progress"].as_u64().unwrap() > 0);
        room.catalog.clock.advance(Duration::from_secs(23 * 3600));
        room.run_tasks().await;
        assert_eq!(room.leftovers().len(), 1, "a restart could go on with it");
        room.catalog.clock.advance(Duration::from_secs(2 * 3600));
        room.run_tasks().await;
        assert_eq!(room.leftovers(), [""; 0]);
        assert_eq!(room.document(&id).await["progress"], 0, "progress counts bytes that are there");
        room.act(&id, json!({ "xferaction": "restart" })).await;
        assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_COMPLETE");
        assert!(std::fs::read(room.path("b")).unwrap() == server.body());
    }

    async fn a_restart_in_time_keeps_what_a_given_up_copy_left(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Cut { after: 2_000_000 }, Script::Status(403)], SIZE).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        room.run_tasks().await;
        room.catalog.clock.advance(Duration::from_secs(61));
        room.run_tasks().await;
        room.act(&id, json!({ "xferaction": "restart" })).await;
        room.catalog.clock.advance(Duration::from_secs(25 * 3600));
        let sent = server.sent();
        assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_COMPLETE");
        assert!(server.sent() - sent < 2_000_000, "it went on where it stood");
    }
}
