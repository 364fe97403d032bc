//! The rules as they are put, put in force and explained (§3.4), and what a start makes of them.

use axum::body::Body;
use axum::http::Method;
use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Refused, Room, local, setup};

const RULES: &str = "/api/v1.0/rules";

async fn stored(room: &Room) -> Value {
    room.get(RULES).await.json()["rules"].clone()
}

async fn explained(room: &Room, query: &str) -> Value {
    room.get(&format!("/haulier/v1/sync/rules/explain?{query}")).await.json()
}

both_databases! {
    async fn row_5_one_bad_rule_changes_nothing(t: TestCatalog) {
        let room = Room::new(t).await;
        let before = stored(&room).await;
        let ok = json!({ "match": {}, "sync": ["A"] });
        for (body, reason) in [
            (json!({ "rules": [ok, { "match": {}, "sync": ["Z"] }] }), "rules[1].sync: unknown entry \"Z\""),
            (json!({ "rules": 5 }), "rules: must be a list of rules"),
            (json!({ "rulez": [] }), "rules: is missing"),
            (json!({ "rules": [], "more": 1 }), "unknown member \"more\"; known is rules"),
            (json!([]), "the body is JSON but not an object such as {\"rules\": []}"),
        ] {
            assert_eq!(room.put(RULES, body).await.reason(400), reason);
        }
        assert!(room.send(Method::PUT, RULES, &[], Body::from("{")).await.reason(400).starts_with("the body is not JSON"));
        assert_eq!(room.send(Method::PUT, RULES, &[], Body::from(vec![b' '; (1 << 20) + 1])).await.status, 413);
        assert_eq!(stored(&room).await, before);
        room.end().await;
    }

    async fn stored_rules_are_in_force_after_a_reload_only(t: TestCatalog) {
        let room = Room::new(t).await;
        let list = json!([{ "match": { "path": "/p/", "mime": ["image/*"] }, "sync": ["B"], "ban": [] }, { "match": {} }]);
        let answer = room.put(RULES, json!({ "rules": list })).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "status": "ok" })));
        assert_eq!(stored(&room).await, list, "given back as put");
        assert_eq!(explained(&room, "name=x.txt&entry=A").await["owners"], json!(["A", "B"]), "the old ones are in force");
        assert_eq!(explained(&room, "name=x.txt&entry=A&stored=true").await["owners"], json!(["A"]));
        for _ in 0..2 {
            let answer = room.put("/api/v1.0/rules/reload", Value::Null).await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "status": "ok" })));
            let why = explained(&room, "name=x.txt&entry=A").await;
            assert_eq!(why["owners"], json!(["A"]));
            assert_eq!(why["steps"][0]["why_not"], "path: does not match the beginning of \"/x.txt\"");
            assert_eq!(why["steps"][0]["text"], list[0]);
        }
        assert_eq!(explained(&room, "name=p/x.png&entry=A").await["owners"], json!(["A", "B"]));
        let unknown = room.get("/haulier/v1/sync/rules/explain?name=x&entry=Z").await;
        assert_eq!((unknown.status.as_u16(), unknown.json()["error"]["message"].as_str()), (404, Some("entry Z not found")));
        assert_eq!(room.get("/haulier/v1/sync/rules/explain").await.status, 400);
        room.end().await;
    }

    async fn an_empty_list_is_allowed(t: TestCatalog) {
        let room = Room::new(t).await;
        assert_eq!(room.put(RULES, json!({ "rules": [] })).await.status, 200);
        assert_eq!(room.put("/api/v1.0/rules/reload", Value::Null).await.status, 200);
        assert_eq!(explained(&room, "name=x&entry=A").await["owners"], json!(["A"]));
        room.end().await;
    }

    async fn a_dry_run_changes_nothing(t: TestCatalog) {
        let room = Room::new(t).await;
        let before = stored(&room).await;
        let answer = room.put(&format!("{RULES}?dry_run=true"), json!({ "rules": [] })).await.json();
        assert_eq!(answer, json!({ "status": "ok", "dry_run": { "copies": 0, "bytes": 0, "deletes": 0, "released": 0 } }));
        assert_eq!(stored(&room).await, before);
        let bad = room.put(&format!("{RULES}?dry_run=true"), json!({ "rules": [{}] })).await;
        assert_eq!(bad.reason(400), "rules[0].match: is missing; {} matches every file");
        assert_eq!(room.put("/api/v1.0/rules/reload?dry_run=maybe", Value::Null).await.status, 400);
        room.end().await;
    }

    async fn rules_put_through_the_api_survive_until_the_file_changes(t: TestCatalog) {
        let entries = vec![local(&t, "A"), local(&t, "B")];
        let file = json!([{ "match": {}, "sync": ["A"] }]);
        let room = Room::with(t, setup(entries.clone(), file.clone())).await;
        let put = json!([{ "match": {}, "sync": ["B"] }]);
        room.put(RULES, json!({ "rules": put })).await;

        // The same file at the next start: what was put wins, and is in force.
        room.syncs.begin(setup(entries.clone(), file)).await.unwrap();
        assert_eq!(stored(&room).await, put);
        assert_eq!(explained(&room, "name=x&entry=A").await["owners"], json!(["A", "B"]));

        let changed = json!([{ "match": { "path": "/q/" }, "sync": ["B"] }]);
        room.syncs.begin(setup(entries, changed.clone())).await.unwrap();
        assert_eq!(stored(&room).await, changed);
        assert_eq!(explained(&room, "name=x&entry=A").await["owners"], json!(["A"]));
        room.end().await;
    }

    async fn a_setup_that_cannot_be_is_refused_whole(t: TestCatalog) {
        let mut inside = local(&t, "B");
        inside.options["root"] = json!(t.folder().join("A/inside"));
        let nested = setup(vec![local(&t, "A"), inside], json!([]));
        let data = setup(vec![local(&t, "data")], json!([]));
        let unknown = setup(vec![local(&t, "A")], json!([{ "match": {}, "sync": ["Z"] }]));
        let room = Room::new(t).await;
        let refused = async |setup| room.syncs.begin(setup).await.unwrap_err().message().to_owned();
        assert!(refused(nested).await.starts_with("the root of entry B lies in that of entry A"));
        assert!(refused(data).await.contains("the node's data folder"));
        assert_eq!(refused(unknown).await, "rules[0].sync: unknown entry \"Z\"");
        assert_eq!(room.get("/api/v1.0/entries").await.json()["entries"].as_array().unwrap().len(), 2);
        room.end().await;
    }
}
