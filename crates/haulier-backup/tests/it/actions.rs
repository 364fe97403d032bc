//! Actions: by themselves, and those of jobs.

use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Room, job};

both_databases! {
    async fn a_flat_action_is_kept_as_it_is(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("actions", json!({ "action": "backup", "mode": "fs", "max_retries": 3 })).await;
        assert_eq!(room.show("actions", &id).await,
            json!({ "action": "backup", "mode": "fs", "max_retries": 3, "action_id": id, "user_id": "ann", "_version": 1 }));
        let path = format!("/v1/actions/{id}");
        let changed = room.ask("PATCH", &path, json!({ "freezer_action": { "a": 1 }, "_version": 9, "user_id": "bob" })).await;
        assert_eq!(changed.ok(200), json!({ "action_id": id, "version": 2 }));
        let changed = room.ask("PATCH", &path, json!({ "freezer_action": { "b": 2 } })).await;
        assert_eq!(changed.ok(200)["version"], 3);
        let shown = room.show("actions", &id).await;
        assert_eq!((&shown["freezer_action"], &shown["user_id"]), (&json!({ "a": 1, "b": 2 }), &json!("ann")));
        assert_eq!(room.ask("POST", &path, json!({ "mode": "x" })).await.ok(201), json!({ "action_id": id, "version": 4 }));
        assert_eq!(room.show("actions", &id).await,
            json!({ "mode": "x", "action_id": id, "user_id": "ann", "_version": 4 }));
        room.ask("DELETE", &path, Value::Null).await.ok(204);
        room.ask("DELETE", &path, Value::Null).await.ok(204);
        room.get(&path).await.refused(404);
        room.ask("PATCH", &path, json!({})).await.refused(404);
    }

    async fn an_action_may_bring_its_name(t: TestCatalog) {
        let room = Room::new(t);
        assert_eq!(room.create("actions", json!({ "action_id": "mine", "mode": "fs" })).await, "mine");
        assert_eq!(room.create("actions", json!({ "action_id": "mine", "mode": "mongo" })).await, "mine");
        let shown = room.show("actions", "mine").await;
        assert_eq!((&shown["mode"], &shown["_version"]), (&json!("mongo"), &json!(2)));
        for bad in [
            Value::Null,
            json!({}),
            json!({ "action_id": "not mine" }),
            json!({ "action_id": "" }),
            json!({ "freezer_action": [] }),
            json!({ "freezer_action": { "container": 5 } }),
            json!({ "max_retries": "3" }),
            json!({ "mandatory": 1 }),
        ] {
            room.ask("POST", "/v1/actions", bad).await.refused(400);
        }
        room.ask_as("bob", "POST", "/v1/actions", json!({ "action_id": "mine", "mode": "x" })).await.refused(403);
        assert_eq!(room.show("actions", "mine").await["mode"], "mongo");
    }

    async fn the_actions_of_a_job_are_actions(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", job("alpha")).await;
        let action = room.show("jobs", &id).await["job_actions"][0].clone();
        let action_id = action["action_id"].as_str().unwrap();
        let mut shown = room.show("actions", action_id).await;
        assert_eq!(shown.as_object_mut().unwrap().remove("_version"), Some(json!(1)));
        assert_eq!(shown, action);
        // The same content keeps its name; another content under a known name gets a new one.
        let mut again = job("alpha");
        again["job_actions"] = json!([action]);
        let second = room.create("jobs", again.clone()).await;
        assert_eq!(room.show("jobs", &second).await["job_actions"][0]["action_id"], action_id);
        again["job_actions"][0]["max_retries"] = json!(7);
        let third = room.create("jobs", again).await;
        let other = room.show("jobs", &third).await["job_actions"][0]["action_id"].as_str().unwrap().to_owned();
        assert_ne!(other, action_id);
        assert_eq!(room.show("actions", &other).await["max_retries"], 7);
        assert_eq!(room.list("actions", "", Value::Null).await.len(), 2);
    }
}
