//! Records of backups: kept word for word, each under an identifier of its own.

use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Room, metadata};

/// A record as agents of the first days sent it, with numbers and texts side by side.
const FIRST_DAYS: &str = r#"{
    "backup_name": "important_data_backup", "backup_session": 12344311, "backup_size_compressed": 1212,
    "backup_size_uncompressed": 1212, "client_os": "linux", "compression_alg": "None",
    "container": "freezer_container", "encrypted": "false", "fs_real_path": "/blabla", "host_name": "alpha",
    "level": 0, "max_level": 5, "mode": "fs", "timestamp": 123444311, "total_backup_session_size": 1212,
    "total_broken_links": 0, "total_directories": 2, "total_fs_files": 11, "vol_snap_path": "/blablasnap",
    "precise": 12345678901234567890.10, "nothing": null, "list": [1, "1", {"a": []}]
}"#;

both_databases! {
    async fn a_record_comes_back_as_it_was_sent(t: TestCatalog) {
        let room = Room::new(t);
        let made = room.send("POST", "/v1/backups", &[("x-user-id", "ann"), ("x-user-name", "Ann")], FIRST_DAYS).await.ok(201);
        let id = made["backup_id"].as_str().unwrap();
        assert_eq!(made, json!({ "backup_id": id }));
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
        let answer = room.get(&format!("/v1/backups/{id}")).await;
        assert!(answer.text.contains(FIRST_DAYS), "not word for word: {}", answer.text);
        let sent: Value = serde_json::from_str(FIRST_DAYS).unwrap();
        let stored = json!({ "backup_id": id, "user_id": "ann", "user_name": "Ann", "backup_metadata": sent });
        let mut shown = stored.clone();
        shown["_version"] = json!(1);
        assert_eq!(answer.ok(200), shown);
        assert_eq!(room.list("backups", "", Value::Null).await, [stored], "lists have no further members");
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json"));
    }

    async fn the_same_record_twice_is_two_records(t: TestCatalog) {
        let room = Room::new(t);
        let (first, second) = (room.create("backups", metadata(1)).await, room.create("backups", metadata(1)).await);
        assert_ne!(first, second);
        assert_eq!(room.show("backups", &first).await["user_name"], "ann", "without a name the user's id");
        for _ in 0..2 {
            room.ask("DELETE", &format!("/v1/backups/{first}"), Value::Null).await.ok(204);
            room.get(&format!("/v1/backups/{first}")).await.refused(404);
        }
        assert_eq!(room.list("backups", "", Value::Null).await.len(), 1);
        assert_eq!(room.list("backups", "", json!({ "match": [{ "container": "c" }] })).await.len(), 1);
    }

    async fn container_name_and_host_are_required(t: TestCatalog) {
        let room = Room::new(t);
        for good in [
            json!({ "container": "c", "hostname": "h", "backup_name": "n" }),
            json!({ "container": "c", "host_name": "h", "hostname": "", "backup_name": "n" }),
        ] {
            room.ask("POST", "/v1/backups/", good).await.ok(201);
        }
        for missing in [Value::Null, json!({})] {
            let (_, why) = room.ask("POST", "/v1/backups", missing).await.refused(400);
            assert_eq!(why, "Missing request body");
        }
        for bad in [
            json!({ "hostname": "h", "backup_name": "n" }),
            json!({ "container": "c", "hostname": "h", "backup_name": "" }),
            json!({ "container": null, "hostname": "h", "backup_name": "n" }),
            json!({ "container": "c", "hostname": null, "host_name": "", "backup_name": "n" }),
            json!({ "container": "c", "backup_name": "n" }),
        ] {
            let (title, why) = room.ask("POST", "/v1/backups", bad).await.refused(400);
            assert_eq!((title.as_str(), why.as_str()), ("Bad request format", "Bad Data Format"));
        }
        assert_eq!(room.list("backups", "", Value::Null).await.len(), 2, "what was refused was not kept");
    }
}
