//! Starting and stopping entries: rows 3 and 4 of §7, and the words of §1.1, §1.4 and §1.5.

use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Refused, Room, entry, local, setup};

both_databases! {
    async fn row_3_and_4_actions_have_their_effect_before_they_answer(t: TestCatalog) {
        let room = Room::new(t).await;
        room.wait_active("A").await;
        let act = async |verb: &str| room.put(&format!("/api/v1.0/entries/A/{verb}"), Value::Null).await;

        let running = room.status("A").await;
        assert_eq!((running["name"].as_str(), running["status"].as_str()), (Some("A"), Some("active")));
        assert!(running["time"].is_f64() && running.get("problem").is_none(), "{running}");
        assert_eq!(act("start").await.reason(409), "entry A is already running");

        let stopped = act("stop").await;
        assert_eq!(stopped.status, 200);
        let stopped = stopped.json();
        assert_eq!((stopped["name"].as_str(), stopped["status"].as_str()), (Some("A"), Some("ok")));
        assert!(stopped["time"].is_f64());
        assert_eq!(room.status("A").await["status"], "stopped");
        assert_eq!(room.get("/api/v1.0/entries/A/stats").await.reason(409), "entry A is not running");
        assert_eq!(act("stop").await.reason(409), "entry A is already stopped");
        assert_eq!(act("restart").await.reason(409), "entry A is not running");
        assert_eq!(room.status("A").await["status"], "stopped", "it stays stopped");
        assert_eq!(room.get("/api/v1.0/entries/A").await.status, 200, "served also when stopped");
        assert_eq!(room.status("B").await["status"], "active", "others go on");

        assert_eq!(act("start").await.json()["status"], "ok");
        assert_eq!(room.status("A").await["status"], "active");
        assert_eq!(act("restart").await.json()["status"], "ok");
        assert_eq!(room.status("A").await["status"], "active");
        room.end().await;
    }

    async fn stats_have_the_members_of_the_contract(t: TestCatalog) {
        let room = Room::new(t).await;
        room.wait_active("A").await;
        let stats = room.get("/api/v1.0/entries/A/stats").await.json();
        assert_eq!((stats["name"].as_str(), stats["status"].as_str()), (Some("A"), Some("ok")));
        let info = &stats["info"];
        for number in ["age", "cpu", "create_time", "started", "mem"] {
            assert!(info[number].is_f64(), "{number}: {info}");
        }
        assert!(info["started"].as_f64() >= info["create_time"].as_f64());
        let text = |member: &str| info[member].as_str().unwrap().to_owned();
        assert!(text("mem_info1").ends_with(['K', 'M', 'G']) && text("mem_info2").ends_with(['M', 'G', 'T']), "{info}");
        let (minutes, seconds) = text("ctime").split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(minutes.parse::<u64>().is_ok() && seconds.len() == 5, "{info}");

        room.catalog.clock.advance(std::time::Duration::from_secs(100));
        let age = |stats: &Value| stats["info"]["age"].as_f64().unwrap();
        assert!(age(&room.get("/api/v1.0/entries/A/stats").await.json()) >= 100.0);
        room.put("/api/v1.0/entries/A/restart", Value::Null).await;
        assert!(age(&room.get("/api/v1.0/entries/A/stats").await.json()) < 100.0, "a restart resets it");
        room.end().await;
    }

    async fn an_entry_that_cannot_start_says_why(t: TestCatalog) {
        let wrong = entry("W", "local_storage", json!({ "root": "/x", "rooot": "/y" }));
        let unbuilt = entry("D", "dropbox", json!({ "access_key": "k", "access_secret": "s" }));
        let entries = vec![local(&t, "A"), wrong, unbuilt];
        let room = Room::with(t, setup(entries, json!([]))).await;
        let status = room.status("W").await;
        assert_eq!(status["status"], "active", "what the operator asked for");
        let why = "options.rooot: the driver local_storage has no such option; it has root, chunk_size";
        assert_eq!(status["problem"], why);
        assert_eq!(room.status("D").await["problem"], "the driver \"dropbox\" is not part of this program");
        assert_eq!(room.put("/api/v1.0/entries/W/restart", Value::Null).await.status, 200);
        assert_eq!(room.status("W").await["problem"], why);
        room.put("/api/v1.0/entries/W/stop", Value::Null).await;
        assert_eq!(room.status("W").await.get("problem"), None);
        room.wait_active("A").await;
        room.end().await;
    }

    async fn all_entries_start_with_the_node(t: TestCatalog) {
        let entries = vec![local(&t, "A"), local(&t, "B")];
        let room = Room::with(t, setup(entries.clone(), json!([]))).await;
        room.wait_active("A").await;
        room.put("/api/v1.0/entries/A/stop", Value::Null).await;
        room.syncs.begin(setup(entries[..1].to_vec(), json!([]))).await.unwrap();
        room.wait_active("A").await;
        assert_eq!(room.get("/api/v1.0/entries/B").await.reason(404), "entry B not found");
        room.end().await;
    }

    async fn entries_are_added_and_removed(t: TestCatalog) {
        let folder = t.folder().to_owned();
        std::fs::create_dir(folder.join("C")).unwrap();
        let room = Room::new(t).await;
        let add = async |body: Value| room.post("/haulier/v1/sync/entries", body).await;
        let new = |name: &str, root: &str| {
            json!({ "name": name, "driver": "local_storage", "options": { "root": folder.join(root) } })
        };
        let added = add(new("C c", "C")).await;
        assert_eq!((added.status.as_u16(), added.headers["location"].to_str().unwrap()), (201, "/api/v1.0/entries/C%20c"));
        assert_eq!(room.status("C%20c").await["status"], "active");
        assert_eq!(add(new("C c", "D")).await.status, 409);
        for bad in [new("E", "C"), new("E", "C/x"), new("E", "A/x"), new("a:b", "E"), json!({ "name": "E" }), json!({
            "name": "E", "driver": "floppy", "options": {}
        })] {
            assert_eq!(add(bad.clone()).await.status, 400, "{bad}");
        }
        let list = room.get("/api/v1.0/entries").await.json();
        assert_eq!(list["entries"].as_array().unwrap().last().unwrap()["name"], "C c");
        let progress = room.get("/haulier/v1/sync/entries/C%20c/progress").await.json();
        assert_eq!((progress["files_left"].as_i64(), progress["bytes_left"].as_i64()), (Some(0), Some(0)), "{progress}");

        let remove = async |name: &str| {
            room.send(axum::http::Method::DELETE, &format!("/haulier/v1/sync/entries/{name}"), &[], String::new()).await
        };
        assert_eq!(remove("C%20c").await.status, 204);
        assert_eq!(remove("C%20c").await.status, 404);
        assert_eq!(remove("A").await.status, 409, "the configuration's own");
        assert!(folder.join("C").is_dir(), "its files stay");
        room.end().await;
    }

    async fn conflicts_and_versions_that_are_not_there_are_said(t: TestCatalog) {
        let room = Room::new(t).await;
        assert_eq!(room.get("/haulier/v1/sync/conflicts").await.json(), json!({ "conflicts": [], "next": null }));
        assert_eq!(room.get("/haulier/v1/sync/versions?name=a").await.json(), json!({ "versions": [], "next": null }));
        assert_eq!(room.get("/haulier/v1/sync/conflicts/x").await.status, 404);
        assert_eq!(room.post("/haulier/v1/sync/conflicts/x/resolve", json!({ "keep": "winner" })).await.status, 404);
        assert_eq!(room.post("/haulier/v1/sync/conflicts/x/resolve", json!({ "keep": "all" })).await.status, 400);
        assert_eq!(room.post("/haulier/v1/sync/versions/x/restore", json!({})).await.status, 404);
        assert_eq!(room.get("/haulier/v1/sync/versions?limit=0").await.status, 400);
        room.end().await;
    }
}
