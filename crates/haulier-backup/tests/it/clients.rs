//! Clients register once.

use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::Room;

both_databases! {
    async fn a_client_registers_once_and_again_after_it_was_deleted(t: TestCatalog) {
        let room = Room::new(t);
        let client = json!({ "client_id": "p1_alpha.example", "hostname": "alpha", "description": "a machine",
            "supported_actions": ["backup", "dance"], "more": { "kept": 1 } });
        assert_eq!(room.ask("POST", "/v1/clients", client.clone()).await.ok(201), json!({ "client_id": "p1_alpha.example" }));
        let (title, _) = room.ask("POST", "/v1/clients", client.clone()).await.refused(409);
        assert_eq!(title, "Document already existing");
        let shown = room.show("clients", "p1_alpha.example").await;
        let uuid = shown["client"]["uuid"].as_str().unwrap();
        assert_eq!(uuid.len(), 32);
        let mut wanted = client.clone();
        wanted["uuid"] = uuid.into();
        assert_eq!(shown, json!({ "client": wanted, "user_id": "ann" }));
        assert_eq!(room.list("clients", "", Value::Null).await, [shown]);
        for _ in 0..2 {
            room.ask("DELETE", "/v1/clients/p1_alpha.example", Value::Null).await.ok(204);
        }
        room.get("/v1/clients/p1_alpha.example").await.refused(404);
        room.ask("POST", "/v1/clients", json!({ "client_id": "p1_alpha.example", "uuid": "u" })).await.ok(201);
        assert_eq!(room.show("clients", "p1_alpha.example").await["client"]["uuid"], "u");
    }

    async fn a_registration_is_checked(t: TestCatalog) {
        let room = Room::new(t);
        for bad in [
            Value::Null,
            json!({}),
            json!({ "hostname": "alpha" }),
            json!({ "client_id": 5 }),
            json!({ "client_id": "a b" }),
            json!({ "client_id": "alpha", "hostname": 5 }),
            json!({ "client_id": "alpha", "supported_modes": "fs" }),
            json!({ "client_id": "alpha", "supported_modes": [1] }),
        ] {
            room.ask("POST", "/v1/clients", bad).await.refused(400);
        }
        for method in ["POST", "PATCH", "PUT"] {
            let answer = room.ask(method, "/v1/clients/alpha", json!({ "description": "x" })).await;
            answer.refused(405);
            let allowed = answer.headers["allow"].to_str().unwrap();
            assert!(allowed.contains("GET") && allowed.contains("DELETE"), "{allowed}");
        }
    }
}
