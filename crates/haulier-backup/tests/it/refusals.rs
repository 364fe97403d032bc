//! Whatever a client sends: never a 5xx, and always a title and a description.

use axum::body::Body;
use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Room, job, metadata};

const KINDS: [&str; 5] = ["backups", "clients", "jobs", "actions", "sessions"];

both_databases! {
    async fn bodies_that_are_no_objects_are_refused(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", job("alpha")).await;
        let session = room.create("sessions", json!({ "hold_off": 1 })).await;
        let mut targets: Vec<_> = KINDS.iter().flat_map(|kind| [("POST", format!("/v1/{kind}")), ("GET", format!("/v1/{kind}/?limit=1"))]).collect();
        targets.extend([("PATCH", format!("/v1/jobs/{id}")), ("POST", format!("/v1/jobs/{id}")), ("POST", format!("/v1/jobs/{id}/event")),
            ("PATCH", format!("/v1/sessions/{session}")), ("POST", format!("/v1/sessions/{session}/action"))]);
        for (method, path) in &targets {
            let send = async |body: Vec<u8>| room.send(method, path, &[("x-user-id", "ann")], body).await;
            for body in ["{", "{\"a\": 1,}", "nonsense", "{} {}", "\u{FEFF}{}", "{\"a\": \"\\ud800\"}"] {
                assert_eq!(send(body.into()).await.refused(400).0, "Malformed JSON", "{method} {path} {body}");
            }
            assert_eq!(send(vec![b'{', 0xFF, b'}']).await.refused(400).0, "Malformed JSON");
            let deep = format!("{{\"a\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
            send(deep.into()).await.refused(400);
            for body in ["[1]", "[]", "\"x\"", "5", "null", "true"] {
                assert_eq!(send(body.into()).await.refused(400).0, "Bad request format", "{method} {path} {body}");
            }
        }
        assert_eq!(room.show("jobs", &id).await["_version"], 1);
    }

    async fn searches_of_wrong_types_are_refused(t: TestCatalog) {
        let room = Room::new(t);
        for bad in [json!({ "match": {} }), json!({ "match": ["x"] }), json!({ "match": null }), json!({ "match_not": 5 }),
            json!({ "match": [{ "a": [1] }] }), json!({ "time_after": "soon" }), json!({ "time_before": null }),
            json!({ "match": [{ "_all": 5.5 }, { "_all": false }] })] {
            room.ask("GET", "/v1/backups", bad).await.refused(400);
        }
        for good in [json!({}), json!({ "match": [] }), json!({ "match": [{}] }), json!({ "unknown": 5 }), json!({ "time_after": "5" })] {
            room.ask("GET", "/v1/jobs", good).await.ok(200);
        }
    }

    async fn odd_identifiers_are_unknown(t: TestCatalog) {
        let room = Room::new(t);
        for kind in KINDS {
            for id in ["%00", "a%20b", "%FF%FE", "%F0%9F%98%80", "..", "a%2Fb", &"x".repeat(3000)] {
                room.get(&format!("/v1/{kind}/{id}")).await.refused(404);
                room.ask("DELETE", &format!("/v1/{kind}/{id}"), Value::Null).await.ok(204);
            }
        }
        room.ask("POST", "/v1/jobs/%00", job("alpha")).await.refused(400);
        room.ask("POST", "/v1/sessions/a.b", json!({ "session_tag": 1 })).await.refused(400);
        room.ask("POST", "/v1/jobs/%00/event", json!({ "start": null })).await.refused(404);
        room.ask("PUT", "/v1/sessions/%00/jobs/%00", Value::Null).await.refused(404);
    }

    async fn paths_methods_and_media_are_checked(t: TestCatalog) {
        let room = Room::new(t);
        for path in ["/v1/nothing", "/v1/jobs/x/nothing", "/v1/Jobs", "/v1/jobs/x/event/y", "/v2/jobs"] {
            assert_eq!(room.get(path).await.refused(404).0, "Not Found");
        }
        for (method, path) in [("DELETE", "/v1/jobs"), ("PUT", "/v1/backups"), ("PATCH", "/v1/backups/x"), ("POST", "/v1/backups/x"),
            ("GET", "/v1/jobs/x/event"), ("POST", "/v1"), ("DELETE", "/v1/health/"), ("POST", "/v1/sessions/x/jobs/y")] {
            let answer = room.ask(method, path, Value::Null).await;
            answer.refused(405);
            assert!(answer.headers.contains_key("allow"), "{method} {path}");
        }
        let ask = async |accept: &str| room.send("GET", "/v1/jobs", &[("accept", accept)], "").await;
        for good in ["application/json", "*/*", "text/html, application/*;q=0.1"] {
            ask(good).await.ok(200);
        }
        ask("text/html").await.refused(406);
        // What a body calls itself does not matter, nor whether its length is known.
        for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let answer = room.send("POST", "/v1/backups", &[("content-type", media)], metadata(1).to_string()).await;
            answer.ok(201);
        }
        let chunks = metadata(1).to_string().into_bytes().chunks(10).map(<[u8]>::to_vec).map(Ok::<_, std::io::Error>).collect::<Vec<_>>();
        room.send("POST", "/v1/backups", &[], Body::from_stream(futures::stream::iter(chunks))).await.ok(201);
    }

    async fn there_is_a_largest_body_and_a_largest_document(t: TestCatalog) {
        let room = Room::new(t);
        let mut large = metadata(1);
        large["text"] = json!("x".repeat((1 << 20) - 200));
        room.ask("POST", "/v1/backups", large.clone()).await.ok(201);
        large["more"] = json!("x".repeat(200));
        let (_, why) = room.ask("POST", "/v1/backups", large).await.refused(413);
        assert!(why.contains("1048576 bytes"), "{why}");
        let mut many = metadata(1);
        many["list"] = (0..20_001).collect();
        let (_, why) = room.ask("POST", "/v1/backups", many).await.refused(400);
        assert!(why.contains("20000"), "{why}");
    }

    async fn texts_of_any_alphabet_are_kept_and_found(t: TestCatalog) {
        let room = Room::new(t);
        for text in ["\u{0}", "a' OR 1=1 --", "\"quoted\" AND (NOT)", "Ünïcödé 😀", "%_*", "\\u0000"] {
            let mut odd = metadata(1);
            odd["backup_name"] = json!(text);
            odd[text] = json!(text);
            let id = room.create("backups", odd.clone()).await;
            assert_eq!(room.show("backups", &id).await["backup_metadata"], odd);
            let found = room.list("backups", "", json!({ "match": [{ "backup_name": text }] })).await;
            assert_eq!(found.len(), 1, "{text:?}");
        }
    }
}
