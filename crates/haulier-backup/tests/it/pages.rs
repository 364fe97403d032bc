//! Pages: in the order of creation, without gaps, after filtering.

use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Room, metadata};

fn levels(page: &[Value]) -> Vec<i64> {
    page.iter().map(|one| one["backup_metadata"]["level"].as_i64().unwrap()).collect()
}

both_databases! {
    async fn pages_follow_each_other(t: TestCatalog) {
        let room = Room::new(t);
        for number in 0..12 {
            let mut metadata = metadata(number);
            metadata["container"] = if number % 3 == 0 { json!("x") } else { json!("y") };
            room.create("backups", metadata).await;
        }
        let page = async |page: &str, search: Value| levels(&room.list("backups", page, search).await);
        assert_eq!(page("", Value::Null).await, (0..10).collect::<Vec<_>>());
        assert_eq!(page("limit=&offset=", Value::Null).await.len(), 10);
        assert_eq!(page("limit=4&offset=2", Value::Null).await, [2, 3, 4, 5]);
        assert_eq!(page("limit=3&limit=5&unknown=x", Value::Null).await, [0, 1, 2, 3, 4]);
        assert_eq!(page("limit=9223372036854775807", Value::Null).await.len(), 12);
        assert_eq!(page("offset=12", Value::Null).await, [0; 0]);
        assert_eq!(page("offset=9223372036854775807", json!({ "match": [{ "container": "x" }] })).await, [0; 0]);
        assert_eq!(page("limit=2&offset=1", json!({ "match": [{ "container": "x" }] })).await, [3, 6]);
        let whole = page("limit=100", Value::Null).await;
        let parts = [page("limit=5", Value::Null).await, page("limit=7&offset=5", Value::Null).await].concat();
        assert_eq!(parts, whole);
        for bad in ["limit=0", "limit=-1", "limit=ten", "limit=1.5", "offset=-1", "limit=99999999999999999999", "offset=x"] {
            let (title, _) = room.get(&format!("/v1/backups?{bad}")).await.refused(400);
            assert_eq!(title, "Invalid parameter", "{bad}");
        }
    }

    async fn a_changed_document_keeps_its_place(t: TestCatalog) {
        let room = Room::new(t);
        let job = |text: &str| json!({ "client_id": "alpha", "job_actions": [], "description": text });
        for name in ["a", "b", "c"] {
            room.ask("POST", &format!("/v1/jobs/{name}"), job("one")).await.ok(201);
        }
        room.ask("POST", "/v1/jobs/a", job("two")).await.ok(201);
        room.ask("PATCH", "/v1/jobs/b", json!({ "description": "two" })).await.ok(200);
        let names = |found: Vec<Value>| found.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(room.list("jobs", "", Value::Null).await), ["a", "b", "c"]);
        assert_eq!(names(room.list("jobs", "", json!({ "match": [{ "description": "two" }] })).await), ["a", "b"]);
        assert_eq!(names(room.list("jobs", "", json!({ "match": [{ "description": "one" }] })).await), ["c"]);
    }

    async fn a_long_list_comes_in_pieces(t: TestCatalog) {
        let room = Room::new(t);
        for number in 0..1203 {
            room.create("backups", metadata(number)).await;
        }
        for search in [Value::Null, json!({ "match": [{ "container": "c" }] })] {
            let whole = levels(&room.list("backups", "limit=100000", search.clone()).await);
            assert_eq!(whole, (0..1203).collect::<Vec<_>>());
            let part = levels(&room.list("backups", "limit=1001&offset=2", search).await);
            assert_eq!(part, (2..1003).collect::<Vec<_>>());
        }
    }

    async fn the_fixed_documents_are_those_of_the_contract(t: TestCatalog) {
        let room = Room::new(t);
        let versions = room.get("/").await.ok(300);
        assert_eq!(versions, json!({ "versions": [{ "id": "1", "links": [{ "href": "/v1/", "rel": "self" }],
            "status": "CURRENT", "updated": "2015-03-23T13:45:00" }] }));
        for path in ["/v1", "/v1/"] {
            let answer = room.get(path).await;
            assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json-home"));
            assert_eq!(answer.ok(200), json!({ "resources": { "rel/backups": {
                "href-template": "/v1/backups/{backup_id}", "href-vars": { "backup_id": "param/backup_id" },
                "hints": { "allow": ["GET"], "formats": { "application/json": {} } } } } }));
        }
        let health = room.get("/v1/health").await;
        assert_eq!((health.status.as_u16(), health.text.as_str()), (200, ""));
    }
}
