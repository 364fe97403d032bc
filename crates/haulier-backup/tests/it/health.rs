//! Silence is an alarm: what is wrong is told, and nothing else is.

use haulier_access::AuthMode;
use haulier_backup::BackupConfig;
use haulier_testkit::both_databases;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::room::{Room, job};

/// The settings' own limits, in seconds.
const LIMIT: u64 = 15 * 60;

/// What a client asks every minute.
fn poll(client: &str) -> Value {
    json!({ "match_not": [{ "status": "completed" }], "match": [{ "client_id": client }] })
}

async fn health(room: &Room) -> Value {
    let health = room.get("/haulier/v1/backup/health").await.ok(200);
    let counts = health["counts"].as_object().unwrap();
    let sum: i64 = counts.values().map(|count| count.as_i64().unwrap()).sum();
    assert_eq!(sum as usize, health["alarms"].as_array().unwrap().len(), "{health}");
    assert_eq!(health["status"], if sum == 0 { "ok" } else { "alarm" });
    health
}

/// The alarms as pairs of their word and of what they are about.
async fn alarms(room: &Room) -> Vec<(String, String)> {
    let health = health(room).await;
    let about = |alarm: &Value| {
        let id = ["job_id", "backup_id", "client_id"].into_iter().find_map(|name| alarm[name].as_str());
        (alarm["alarm"].as_str().unwrap().to_owned(), id.unwrap().to_owned())
    };
    health["alarms"].as_array().unwrap().iter().map(about).collect()
}

fn pair(alarm: &str, about: &str) -> (String, String) {
    (alarm.to_owned(), about.to_owned())
}

async fn tell(room: &Room, id: &str, schedule: Value) {
    room.ask("PATCH", &format!("/v1/jobs/{id}"), json!({ "job_schedule": schedule })).await.ok(200);
}

/// What `/metrics` shows of an alarm.
async fn counted(room: &Room, alarm: &str) -> i64 {
    let (mut registry, mut page) = (Registry::default(), String::new());
    room.backups.metrics().register(&mut registry);
    room.backups.observe().await.unwrap();
    text::encode(&mut page, &registry).unwrap();
    let line = format!("haulier_backup_alarms{{alarm=\"{alarm}\"}} ");
    page.lines().find_map(|shown| shown.strip_prefix(&line)).unwrap_or_else(|| panic!("{page}")).parse().unwrap()
}

both_databases! {
    async fn a_job_that_does_not_begin_is_overdue_until_it_does(t: TestCatalog) {
        let room = Room::new(t);
        let mut once = job("alpha");
        once["job_schedule"] = json!({});
        let once = room.create("jobs", once).await;
        let again = room.create("jobs", job("alpha")).await;
        room.pass(LIMIT);
        assert_eq!(alarms(&room).await, [], "not yet");
        room.pass(1);
        assert_eq!(alarms(&room).await, [pair("overdue", &once)]);
        room.pass(5 * 60);
        assert_eq!(alarms(&room).await, [pair("overdue", &once), pair("overdue", &again)], "an interval after it was made");
        let told = health(&room).await["alarms"][0].clone();
        assert!(told["why"].as_str().unwrap().contains("20 min ago") && told["client_id"] == "alpha", "{told}");
        assert!(told["since"].as_str().unwrap().ends_with('Z'), "{told}");
        assert_eq!(health(&room).await["limits"], json!({ "overdue_minutes": 15, "silent_minutes": 15, "shrunk_percent": 50 }));

        tell(&room, &once, json!({ "status": "running", "time_started": room.now() })).await;
        tell(&room, &again, json!({ "status": "scheduled", "time_started": room.now() })).await;
        assert_eq!(alarms(&room).await, []);
        tell(&room, &once, json!({ "status": "completed", "result": "success" })).await;
        room.pass(5 * 60 + LIMIT + 1);
        assert_eq!(alarms(&room).await, [pair("overdue", &again)], "what is done is done");
        room.ask("POST", &format!("/v1/jobs/{again}/event"), json!({ "stop": null })).await.ok(202);
        assert_eq!(alarms(&room).await, [], "nothing is expected of what was stopped");
        room.ask("POST", &format!("/v1/jobs/{once}/event"), json!({ "start": null })).await.ok(202);
        room.pass(LIMIT + 1);
        assert_eq!(alarms(&room).await, [pair("overdue", &once)], "nobody heard that it is to start");
        room.ask("DELETE", &format!("/v1/jobs/{once}"), Value::Null).await.ok(204);
        assert_eq!(alarms(&room).await, []);
    }

    async fn a_job_that_failed_is_told_until_it_succeeds(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", job("alpha")).await;
        for (result, wanted) in [("success", vec![]), ("fail", vec![pair("failed", &id)]), ("aborted", vec![]), ("fail", vec![pair("failed", &id)])] {
            tell(&room, &id, json!({ "status": "scheduled", "result": result, "time_started": room.now() })).await;
            assert_eq!(alarms(&room).await, wanted);
        }
        tell(&room, &id, json!({ "status": "running", "result": "" })).await;
        assert_eq!(alarms(&room).await, []);
        let odd = json!({ "status": "scheduled", "schedule_interval": "0 days" });
        tell(&room, &id, odd).await;
        assert_eq!(alarms(&room).await, [pair("unclear", &id)]);
    }

    async fn a_client_is_silent_when_it_does_not_poll(t: TestCatalog) {
        let room = Room::new(t);
        room.create("clients", json!({ "client_id": "alpha" })).await;
        room.create("clients", json!({ "client_id": "beta" })).await;
        room.pass(LIMIT);
        assert_eq!(alarms(&room).await, []);
        room.list("jobs", "", poll("alpha")).await;
        room.pass(1);
        assert_eq!(alarms(&room).await, [pair("silent", "beta")]);
        // People who look do not count as clients that poll.
        room.list("jobs", "", json!({ "match": [{ "client_id": "beta" }] })).await;
        room.list("jobs", "", Value::Null).await;
        room.ask_as("bob", "GET", "/v1/jobs/", poll("beta")).await.ok(200);
        assert_eq!(alarms(&room).await, [pair("silent", "beta")]);
        // Coming back is being there, also when it is refused.
        room.ask("POST", "/v1/clients", json!({ "client_id": "beta" })).await.refused(409);
        assert_eq!(alarms(&room).await, []);
        room.pass(LIMIT + 1);
        assert_eq!(alarms(&room).await.len(), 2);
        room.list("jobs", "", poll("nobody")).await;
        for client in ["alpha", "beta"] {
            room.ask("DELETE", &format!("/v1/clients/{client}"), Value::Null).await.ok(204);
        }
        assert_eq!(alarms(&room).await, []);
    }

    async fn a_run_stalls_with_its_client(t: TestCatalog) {
        let room = Room::new(t);
        room.create("clients", json!({ "client_id": "alpha" })).await;
        let (here, gone) = (room.create("jobs", job("alpha")).await, room.create("jobs", job("beta")).await);
        for id in [&here, &gone] {
            tell(&room, id, json!({ "status": "running", "time_started": room.now() })).await;
            room.pass(1);
        }
        assert_eq!(alarms(&room).await, []);
        room.pass(LIMIT);
        room.list("jobs", "", poll("alpha")).await;
        assert_eq!(alarms(&room).await, [pair("stalled", &gone)], "a long run is fine as long as its client is there");
        room.pass(LIMIT + 1);
        assert_eq!(alarms(&room).await, [pair("stalled", &here), pair("stalled", &gone), pair("silent", "alpha")]);
    }

    async fn a_backup_is_compared_with_the_one_before_it(t: TestCatalog) {
        let room = Room::new(t);
        let record = async |at: i64, more: Value| {
            let mut metadata = json!({ "container": "c", "hostname": "h", "backup_name": "n", "time_stamp": at });
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            room.create("backups", metadata).await
        };
        let size = |bytes: i64| json!({ "backup_size_uncompressed": bytes });
        record(100, size(1000)).await;
        record(200, size(500)).await;
        assert_eq!(alarms(&room).await, [], "half of it is not less than half");
        let small = record(300, size(249)).await;
        assert_eq!(alarms(&room).await, [pair("shrunk", &small)]);
        let told = health(&room).await["alarms"][0]["why"].as_str().unwrap().to_owned();
        assert!(told.contains("249") && told.contains("500"), "{told}");
        record(150, size(9000)).await;
        assert_eq!(alarms(&room).await, [pair("shrunk", &small)], "one that is told late changes nothing");
        record(400, json!({ "backup_size_uncompressed": 3, "curr_backup_level": 1, "backup_name": "other" })).await;
        record(500, json!({ "backup_size_uncompressed": 1, "curr_backup_level": 1, "backup_name": "other" })).await;
        assert_eq!(alarms(&room).await.len(), 1, "what only changed says nothing");
        let next = record(600, size(249)).await;
        assert_eq!(alarms(&room).await, [], "it is what it is now");
        let unread = record(700, json!({ "backup_size_uncompressed": 249, "unreadable_files": 3 })).await;
        assert_eq!(alarms(&room).await, [pair("unreadable", &unread)]);
        assert_ne!(next, unread);
        room.ask("DELETE", &format!("/v1/backups/{unread}"), Value::Null).await.ok(204);
        assert_eq!(alarms(&room).await, [], "nobody is told of what is deleted");
        record(800, json!({ "backup_size_uncompressed": i64::MAX, "hostname": "a\u{0}b" })).await;
        assert_eq!(alarms(&room).await, []);
    }

    async fn limits_are_settings_and_metrics_count_for_all(t: TestCatalog) {
        let config = BackupConfig {
            time_zone: "Asia/Tokyo".to_owned(), overdue_minutes: 2, silent_minutes: 3, shrunk_percent: 10, identity: false,
        };
        let room = Room::configured(t, AuthMode::Open, config);
        assert_eq!(counted(&room, "silent").await, 0);
        for user in ["ann", "bob"] {
            room.ask_as(user, "POST", "/v1/clients", json!({ "client_id": "alpha" })).await.ok(201);
            let mut dated = job("alpha");
            let date = room.now() + 9 * 3600 + 60;
            let date = jiff::Timestamp::from_second(date).unwrap().to_string();
            dated["job_schedule"] = json!({ "schedule_date": date.trim_end_matches('Z') });
            room.ask_as(user, "POST", "/v1/jobs", dated).await.ok(201);
        }
        for size in [1000, 899] {
            let size = json!({ "container": "c", "hostname": "h", "backup_name": "n", "backup_size_uncompressed": size });
            room.create("backups", size).await;
        }
        room.pass(3 * 60);
        let about = |found: Vec<(String, String)>| found.into_iter().map(|(alarm, _)| alarm).collect::<Vec<_>>();
        assert_eq!(about(alarms(&room).await), ["shrunk"]);
        room.pass(1);
        assert_eq!(about(alarms(&room).await), ["overdue", "silent", "shrunk"]);
        assert_eq!((counted(&room, "overdue").await, counted(&room, "silent").await, counted(&room, "shrunk").await), (2, 2, 1));
        room.ask_as("bob", "GET", "/v1/jobs", poll("alpha")).await.ok(200);
        assert_eq!(counted(&room, "silent").await, 2, "not counted again at once");
        room.pass(5);
        assert_eq!(counted(&room, "silent").await, 1);
    }

    async fn everybody_hears_of_his_own(t: TestCatalog) {
        let room = Room::new(t);
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(room.create("jobs", job("alpha")).await);
            room.pass(1);
        }
        room.pass(5 * 60 + LIMIT + 1);
        let of_bob = room.ask_as("bob", "GET", "/haulier/v1/backup/health", Value::Null).await.ok(200);
        assert_eq!((&of_bob["status"], &of_bob["alarms"]), (&json!("ok"), &json!([])));
        let part = room.get("/haulier/v1/backup/health?limit=2").await.ok(200);
        let shown: Vec<_> = part["alarms"].as_array().unwrap().iter().map(|alarm| alarm["job_id"].as_str().unwrap()).collect();
        assert_eq!((shown, &part["counts"]["overdue"]), (vec![ids[0].as_str(), ids[1].as_str()], &json!(3)), "the oldest first");
        for bad in ["0", "-1", "x", "100001", ""] {
            let answer = room.get(&format!("/haulier/v1/backup/health?limit={bad}")).await;
            assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (400, Some("invalid")), "{bad}");
        }
        assert_eq!(room.ask("DELETE", "/haulier/v1/backup/health", Value::Null).await.status, 405);
    }
}
