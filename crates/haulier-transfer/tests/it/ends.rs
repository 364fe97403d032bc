//! Cancel, delete, restart, start: who may leave which state, and what stays behind.

use std::time::Duration;

use haulier_testkit::both_databases;
use haulier_transfer::TransferConfig;
use serde_json::{Value, json};

use crate::room::{Refused, Room};
use crate::sources::{Script, Server};

const CANCEL: &str = "cancel";

fn action(name: &str) -> Value {
    json!({ "xferaction": name })
}

/// A runner in the background, stopped with its room.
struct Running(tokio_util::sync::CancellationToken, tokio::task::JoinHandle<()>);

impl Running {
    fn start(room: &Room) -> Self {
        let stop = tokio_util::sync::CancellationToken::new();
        let runner = room.runner();
        let token = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the handle is awaited in stop")]
        let task = tokio::spawn(async move { runner.run(token).await });
        Self(stop, task)
    }

    async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

/// Looks again and again until a transfer is in a state, for at most ten seconds.
async fn until(room: &Room, id: &str, state: &str) -> Value {
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let document = room.document(id).await;
        if document["state"] == state {
            return document;
        }
        assert!(tokio::time::Instant::now() < end, "not {state}: {document}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

both_databases! {
    async fn case_07_a_new_transfer_is_canceled_at_once(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 10);
        let id = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        assert_eq!(room.act(&id, action(CANCEL)).await.status, 204);
        assert_eq!(room.document(&id).await["state"], "STATE_CANCELED");
        room.run_tasks().await;
        assert_eq!(room.document(&id).await["state"], "STATE_CANCELED");
        assert!(!room.path("b").exists());
    }

    async fn case_08_the_second_cancel_is_refused(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        room.source("a", 10);
        let id = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        room.act(&id, action(CANCEL)).await;
        assert!(room.act(&id, action(CANCEL)).await.refusal(400).contains("STATE_CANCELED"));
    }

    async fn case_09_a_running_transfer_is_not_deleted_but_stops_within_two_seconds(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Stall { after: 100_000 }], 1_000_000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let runner = Running::start(&room);
        until(&room, &id, "STATE_RUNNING").await;
        server.reached().await;
        assert!(room.delete(&id).await.refusal(400).contains("STATE_RUNNING"));
        assert_eq!(room.document(&id).await["state"], "STATE_RUNNING");
        let asked = tokio::time::Instant::now();
        let answer = room.act(&id, action(CANCEL)).await;
        assert!(answer.status == 202 || answer.status == 204, "{}", answer.text);
        until(&room, &id, "STATE_CANCELED").await;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert!(!room.path("b").exists());
        assert_eq!(room.delete(&id).await.status, 204);
        assert_eq!(room.leftovers(), [""; 0]);
        runner.stop().await;
    }

    async fn a_cancel_that_waits_answers_when_it_is_done(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Stall { after: 100_000 }], 1_000_000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        let runner = Running::start(&room);
        server.reached().await;
        let answer = room.act(&id, json!({ "xferaction": "cancel", "async": false })).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        assert_eq!(room.document(&id).await["state"], "STATE_CANCELED");
        runner.stop().await;
    }

    async fn case_10_an_errored_transfer_is_deleted_once(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let id = room.submit(&room.url("missing"), &room.url("b"), json!({})).await;
        let document = room.run_to_the_end(&id).await;
        assert_eq!((&document["state"], &document["error"]["code"]), (&json!("STATE_ERROR"), &json!("not_found")));
        assert_eq!(room.delete(&id).await.status, 204);
        room.delete(&id).await.refusal(404);
        room.get(&format!("/v1/transfers/{id}")).await.refusal(404);
    }

    async fn a_new_and_a_complete_transfer_can_be_deleted(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let bytes = room.source("a", 10);
        let new = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        assert_eq!(room.delete(&new).await.status, 204);
        room.run_tasks().await;
        assert!(!room.path("b").exists());
        let done = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        room.run_to_the_end(&done).await;
        assert!(room.act(&done, action(CANCEL)).await.refusal(400).contains("STATE_COMPLETE"));
        assert_eq!(room.delete(&done).await.status, 204);
        assert_eq!(std::fs::read(room.path("a")).unwrap(), bytes);
        assert_eq!(std::fs::read(room.path("b")).unwrap(), bytes);
    }

    async fn an_errored_transfer_is_canceled_or_restarted(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let id = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        room.run_to_the_end(&id).await;
        let bytes = room.source("a", 10);
        assert_eq!(room.act(&id, action("restart")).await.status, 202);
        let document = room.document(&id).await;
        assert_eq!((&document["state"], &document["error"]), (&json!("STATE_RUNNING"), &json!(null)));
        room.run_tasks().await;
        assert_eq!(room.document(&id).await["state"], "STATE_COMPLETE");
        assert_eq!(std::fs::read(room.path("b")).unwrap(), bytes);
        assert!(room.act(&id, action("restart")).await.refusal(400).contains("STATE_COMPLETE"));

        let other = room.submit(&room.url("missing"), &room.url("c"), json!({})).await;
        room.run_to_the_end(&other).await;
        assert_eq!(room.act(&other, action(CANCEL)).await.status, 204);
        assert_eq!(room.document(&other).await["state"], "STATE_CANCELED");
    }

    async fn without_autostart_nothing_moves_until_start(catalog: TestCatalog) {
        let room = Room::with(catalog, TransferConfig { autostart: false, ..TransferConfig::default() }).await;
        room.source("a", 10);
        let id = room.submit(&room.url("a"), &room.url("b"), json!({})).await;
        room.run_tasks().await;
        assert_eq!(room.document(&id).await["state"], "STATE_NEW");
        assert_eq!(room.act(&id, action("start")).await.status, 202);
        assert_eq!(room.run_to_the_end(&id).await["state"], "STATE_COMPLETE");
        assert!(room.act(&id, action("start")).await.refusal(400).contains("STATE_COMPLETE"));
        let held = room.submit(&room.url("a"), &room.url("c"), json!({})).await;
        assert_eq!(room.act(&held, action(CANCEL)).await.status, 204);
    }

    async fn a_cancel_between_two_attempts_is_done_at_once(catalog: TestCatalog) {
        let room = Room::new(catalog).await;
        let server = Server::start(vec![Script::Status(503); 9], 1000).await;
        let id = room.submit(&server.url(), &room.url("b"), json!({})).await;
        room.run_tasks().await;
        let document = room.document(&id).await;
        assert_eq!(document["state"], "STATE_RUNNING");
        assert!(document["waiting"]["reason"].is_string() && document["waiting"]["until"].is_string(), "{document}");
        assert_eq!(room.act(&id, action(CANCEL)).await.status, 204);
        assert_eq!(room.document(&id).await["state"], "STATE_CANCELED");
        let asked = server.requests();
        room.catalog.clock.advance(Duration::from_secs(60));
        room.run_tasks().await;
        assert_eq!(server.requests(), asked);
    }
}
