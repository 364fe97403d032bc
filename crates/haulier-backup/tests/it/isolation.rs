//! Users see nothing of each other, and not even whether there is something.

use haulier_access::{AuthMode, Caller, StaticToken};
use haulier_base::Secret;
use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Room, job, metadata};

both_databases! {
    async fn another_users_documents_are_not_there(t: TestCatalog) {
        let room = Room::new(t);
        let backup = room.create("backups", metadata(1)).await;
        let (job_id, session) = (room.create("jobs", job("alpha")).await, room.create("sessions", json!({ "hold_off": 1 })).await);
        let action = room.show("jobs", &job_id).await["job_actions"][0]["action_id"].as_str().unwrap().to_owned();
        let client = room.create("clients", json!({ "client_id": "alpha" })).await;
        let all = [("backups", &backup), ("jobs", &job_id), ("sessions", &session), ("actions", &action), ("clients", &client)];
        for (plural, id) in all {
            let path = format!("/v1/{plural}/{id}");
            assert_eq!(room.ask_as("bob", "GET", &format!("/v1/{plural}"), Value::Null).await.ok(200), json!({ plural: [] }));
            let everything = json!({ "match_not": [{ "nothing": 1 }] });
            assert_eq!(room.ask_as("bob", "GET", &format!("/v1/{plural}"), everything).await.ok(200), json!({ plural: [] }));
            room.ask_as("bob", "GET", &path, Value::Null).await.refused(404);
            room.ask_as("bob", "DELETE", &path, Value::Null).await.ok(204);
            assert!(room.get(&path).await.status == 200, "{path} is still there");
        }
        for (plural, id) in &all[1..4] {
            let path = format!("/v1/{plural}/{id}");
            let before = room.show(plural, id).await;
            room.ask_as("bob", "PATCH", &path, json!({})).await.refused(404);
            let mut put = job("beta");
            if *plural != "jobs" {
                put = json!({ "session_tag": 5 });
            }
            let (title, _) = room.ask_as("bob", "POST", &path, put).await.refused(403);
            assert_eq!((title.as_str(), room.show(plural, id).await), ("Access Forbidden", before));
        }
        room.ask_as("bob", "POST", &format!("/v1/jobs/{job_id}/event"), json!({ "stop": null })).await.refused(404);
        let start = json!({ "start": { "job_id": job_id, "current_tag": 0 } });
        room.ask_as("bob", "POST", &format!("/v1/sessions/{session}/action"), start).await.refused(404);
        for method in ["PUT", "DELETE"] {
            room.ask_as("bob", method, &format!("/v1/sessions/{session}/jobs/{job_id}"), Value::Null).await.refused(404);
        }
        // A client's name is its user's own.
        room.ask_as("bob", "POST", "/v1/clients", json!({ "client_id": "alpha", "hostname": "bobs" })).await.ok(201);
        assert!(room.show("clients", "alpha").await["client"].get("hostname").is_none());
        room.ask_as("bob", "DELETE", "/v1/clients/alpha", Value::Null).await.ok(204);
        room.show("clients", "alpha").await;
        let none = room.send("GET", "/v1/jobs", &[], "").await.ok(200);
        assert_eq!(none, json!({ "jobs": [] }), "who says nothing is a user too");
    }

    async fn without_a_token_only_the_fixed_documents_are_shown(t: TestCatalog) {
        let caller = Caller { user_name: Some("Ann".into()), ..Caller::named("ann") };
        let token = StaticToken { token: Secret::new("s3cret".into()), caller };
        let room = Room::with(t, AuthMode::Static(vec![token]));
        for path in ["/v1", "/v1/", "/v1/health", "/v1/health/"] {
            assert_eq!(room.send("GET", path, &[], "").await.status, 200, "{path}");
        }
        assert_eq!(room.send("GET", "/", &[], "").await.status, 300);
        for (method, path) in [("GET", "/v1/jobs"), ("POST", "/v1/backups/"), ("DELETE", "/v1/clients/x"), ("PUT", "/v1/jobs/x"), ("GET", "/v1/x")] {
            for headers in [&[][..], &[("x-auth-token", "wrong")], &[("x-user-id", "ann")]] {
                let answer = room.send(method, path, headers, "").await;
                answer.refused(401);
                assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
            }
        }
        let with_token = [("x-auth-token", "s3cret"), ("content-type", "application/json"), ("accept", "application/json")];
        let made = room.send("POST", "/v1/backups", &with_token, metadata(1).to_string()).await.ok(201);
        let shown = room.send("GET", &format!("/v1/backups/{}", made["backup_id"].as_str().unwrap()), &with_token, "").await.ok(200);
        assert_eq!((&shown["user_id"], &shown["user_name"]), (&json!("ann"), &json!("Ann")));
    }
}
