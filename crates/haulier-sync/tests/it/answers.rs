//! What every answer has, who may ask, and what is answered to what is not there.

use axum::body::Body;
use axum::http::Method;
use haulier_access::{AuthMode, Caller, StaticToken};
use haulier_base::Secret;
use haulier_sync::SyncConfig;
use haulier_testkit::both_databases;
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::{Value, json};

use crate::room::{Refused, Room, entry, local, setup};

both_databases! {
    async fn entries_are_shown_as_configured(t: TestCatalog) {
        let bucket = json!({ "bucket": "b", "aws_access_key": "k", "aws_secret_key": "s3cret", "endpoint": "http://127.0.0.1:1" });
        let entries = vec![local(&t, "B"), entry("\u{e9}t\u{e9}", "amazon_s3", bucket), local(&t, "A")];
        let root = t.folder().join("A");
        let room = Room::with(t, setup(entries, json!([]))).await;
        let list = room.get("/api/v1.0/entries").await;
        assert_eq!(list.status, 200);
        let list = list.json();
        let names: Vec<_> = list["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["B", "\u{e9}t\u{e9}", "A"], "the order of the configuration");
        let one = room.get("/api/v1.0/entries/A").await.json();
        assert_eq!(one, json!({ "name": "A", "driver": "local_storage", "options": { "root": root } }));
        let hidden = room.get("/api/v1.0/entries/%C3%A9t%C3%A9").await.json();
        assert_eq!(hidden["options"], json!({ "bucket": "b", "aws_access_key": "k", "aws_secret_key": "***", "endpoint": "http://127.0.0.1:1" }));
        let mut tx = room.catalog.catalog.read().await.unwrap();
        let rows = tx.fetch_all(haulier_catalog::Sql::both("SELECT options FROM sync_entries"), vec![]).await.unwrap();
        assert!(rows.iter().all(|row| !row.text("options").unwrap().contains("s3cret")), "sealed at rest");
        drop(tx);
        room.end().await;
    }

    async fn what_is_not_there_is_said(t: TestCatalog) {
        let room = Room::new(t).await;
        for path in ["/api/v1.0/entries/Z", "/api/v1.0/entries/Z/stats", "/api/v1.0/entries/Z/status"] {
            assert_eq!(room.get(path).await.reason(404), "entry Z not found");
        }
        for verb in ["stop", "start", "restart"] {
            let answer = room.put(&format!("/api/v1.0/entries/Z%20z/{verb}"), Value::Null).await;
            assert_eq!(answer.reason(404), "entry Z z not found");
        }
        let fid = "91473751-8e49-5240-b03c-96547fcd86dc";
        assert_eq!(room.get(&format!("/api/v1.0/files/{fid}/metadata")).await.reason(404), format!("file {fid} not found"));
        assert_eq!(room.get("/api/v1.0/files/x%2Fy/metadata").await.reason(404), "file x/y not found");
        for path in ["/api/v1.0/nothing", "/api/v1.0/entries/A/nothing", "/api/v1.0", "/api"] {
            room.get(path).await.reason(404);
        }
        room.end().await;
    }

    async fn a_wrong_method_says_which_are_right(t: TestCatalog) {
        let room = Room::new(t).await;
        for (method, path, allow) in [
            (Method::POST, "/api/v1.0/files", "GET"),
            (Method::DELETE, "/api/v1.0/entries/A", "GET"),
            (Method::GET, "/api/v1.0/entries/A/stop", "PUT"),
            (Method::GET, "/api/v1.0/entries/A/start", "PUT"),
            (Method::GET, "/api/v1.0/entries/A/restart", "PUT"),
            (Method::GET, "/api/v1.0/rules/reload", "PUT"),
            (Method::POST, "/api/v1.0/rules", "GET"),
        ] {
            let answer = room.send(method.clone(), path, &[], Body::empty()).await;
            answer.reason(405);
            let allowed = answer.headers["allow"].to_str().unwrap();
            assert!(allowed.contains(allow), "{method} {path}: {allowed}");
            assert_eq!(answer.headers["vary"], "Accept");
        }
        assert_ne!(room.status("A").await["status"], "stopped", "a GET never acts");
        room.end().await;
    }

    async fn reading_is_for_all_and_changing_for_admins(t: TestCatalog) {
        let token = |name: &str, roles: &[&str]| StaticToken {
            token: Secret::new(name.to_owned()),
            caller: Caller { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..Caller::named(name) },
        };
        let auth = AuthMode::Static(vec![token("ann", &["admin"]), token("bob", &["reader"])]);
        let entries = vec![local(&t, "A")];
        let room = Room::build(t, SyncConfig::default(), auth).await;
        room.syncs.begin(setup(entries, json!([]))).await.unwrap();
        let ask = async |method: Method, path: &str, user: &str| {
            let headers = [("x-auth-token", user)];
            room.send(method, path, &headers[..usize::from(!user.is_empty())], Body::from("{\"rules\": []}")).await
        };
        let reading = ["/files", "/files/x/metadata", "/files/id/x", "/entries", "/entries/A", "/entries/A/status", "/rules"];
        for path in reading.map(|path| format!("/api/v1.0{path}")) {
            ask(Method::GET, &path, "").await.reason(401);
            assert!([200, 404].contains(&ask(Method::GET, &path, "bob").await.status.as_u16()), "{path}");
        }
        for path in ["/entries/A/stop", "/entries/A/start", "/entries/A/restart", "/rules", "/rules/reload"] {
            let path = format!("/api/v1.0{path}");
            ask(Method::PUT, &path, "").await.reason(401);
            assert_eq!(ask(Method::PUT, &path, "bob").await.reason(403), "this needs the role admin");
        }
        assert_eq!(ask(Method::PUT, "/api/v1.0/rules", "ann").await.status, 200);
        ask(Method::GET, "/api/v1.0/nothing", "").await.reason(401);
        ask(Method::POST, "/api/v1.0/rules", "").await.reason(401);
        let own = ask(Method::DELETE, "/haulier/v1/sync/entries/A", "bob").await;
        assert_eq!((own.status.as_u16(), own.json()["error"]["code"].as_str()), (403, Some("forbidden")));
        room.end().await;
    }
}

async fn with_origins(origins: &[&str]) -> Room {
    let t = TestCatalog::new(Database::Sqlite).await;
    let allow_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    Room::build(t, SyncConfig { allow_origins, ..SyncConfig::default() }, AuthMode::Static(Vec::new())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_may_ask_only_when_it_is_configured() {
    const ALLOW: &str = "access-control-allow-origin";
    let origin = [("origin", "https://a.example")];
    let preflight = async |room: &Room| room.send(Method::OPTIONS, "/api/v1.0/files", &origin, Body::empty()).await;

    let room = with_origins(&[]).await;
    let answer = room.send(Method::GET, "/api/v1.0/files", &origin, Body::empty()).await;
    assert!(!answer.headers.contains_key(ALLOW) && answer.headers["vary"] == "Accept");
    preflight(&room).await.reason(401);
    room.end().await;

    let room = with_origins(&["*"]).await;
    let answer = preflight(&room).await;
    assert_eq!((answer.status.as_u16(), answer.headers[ALLOW].to_str().unwrap()), (204, "*"));
    assert_eq!(answer.headers["access-control-allow-methods"], "PUT, GET, POST, DELETE, OPTIONS");
    let headers = "Origin, Accept, Content-Type, X-Requested-With, X-CSRF-Token";
    assert_eq!(answer.headers["access-control-allow-headers"], headers);
    room.end().await;

    let room = with_origins(&["https://a.example"]).await;
    assert_eq!(preflight(&room).await.headers[ALLOW], "https://a.example");
    let other = [("origin", "https://b.example")];
    let answer = room.send(Method::GET, "/api/v1.0/files", &other, Body::empty()).await;
    assert!(!answer.headers.contains_key(ALLOW), "{:?}", answer.headers);
    room.end().await;
}
