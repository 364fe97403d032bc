//! Jobs: what the server fills in, merges, counts and shields pollers from.

use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Room, job};

/// A job as the first clients sent it: one action, and a schedule of fields.
fn first_days() -> Value {
    json!({
        "job_action": { "action": "backup", "mode": "fs", "src_file": "/home/tylerdurden/project_mayhem",
            "backup_name": "project_mayhem_backup", "container": "my_backup_container", "max_level": 4 },
        "job_schedule": { "time_created": 1234, "time_started": 1234, "time_ended": 0, "status": "stop",
            "schedule_date": "2015-06-02T16:20:00", "schedule_month": "1-6, 9-12", "schedule_day": "mon, wed, fri",
            "schedule_hour": "03", "schedule_minute": "25" },
        "client_id": "host_alpha", "user_id": "nobody", "description": "scheduled one shot",
    })
}

both_databases! {
    async fn a_job_of_the_first_days_is_polled_by_those_of_today(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", first_days()).await;
        let shown = room.show("jobs", &id).await;
        assert_eq!((shown["job_id"].as_str(), shown["user_id"].as_str()), (Some(id.as_str()), Some("ann")));
        assert_eq!(shown["job_action"], first_days()["job_action"]);
        assert_eq!(shown["job_actions"][0]["freezer_action"], first_days()["job_action"]);
        let schedule = &shown["job_schedule"];
        assert_eq!((&schedule["time_created"], &schedule["time_started"], &schedule["time_ended"]),
            (&json!(room.now()), &json!(-1), &json!(-1)));
        assert_eq!((&schedule["status"], &schedule["event"], &schedule["schedule_day"]),
            (&json!("stop"), &json!(""), &json!("mon, wed, fri")));
        assert_eq!(shown["_version"], 1);
        for version in [2, 3] {
            let path = format!("/v1/jobs/{id}");
            let changed = room.ask("PATCH", &path, json!({ "job_schedule": { "event": "start" } })).await.ok(200);
            assert_eq!(changed, json!({ "job_id": id, "version": version }));
        }
        let shown = room.show("jobs", &id).await;
        assert_eq!((&shown["job_schedule"]["event"], &shown["job_schedule"]["schedule_hour"]), (&json!("start"), &json!("03")));
        assert_eq!(shown["_version"], 3);
        // The seed's action in a patch: merged, and what is polled follows.
        let patch = json!({ "job_action": { "container": "other" } });
        room.ask("PATCH", &format!("/v1/jobs/{id}"), patch).await.ok(200);
        let shown = room.show("jobs", &id).await;
        assert_eq!(shown["job_actions"][0]["freezer_action"], shown["job_action"]);
        assert_eq!((&shown["job_action"]["container"], &shown["job_action"]["mode"]), (&json!("other"), &json!("fs")));
        let mut both = first_days();
        both["job_actions"] = json!([]);
        let id = room.create("jobs", both).await;
        let shown = room.show("jobs", &id).await;
        assert_eq!((&shown["job_actions"], shown["job_action"].is_object()), (&json!([]), true));
    }

    async fn jobs_are_checked(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", job("alpha")).await;
        let missing = room.ask("POST", "/v1/jobs", json!({ "job_actions": [] })).await.refused(400).1;
        assert_eq!(missing, "'client_id' is a required property");
        let missing = room.ask("POST", "/v1/jobs", json!({ "client_id": "alpha" })).await.refused(400).1;
        assert_eq!(missing, "'job_actions' is a required property");
        room.ask("POST", "/v1/jobs", Value::Null).await.refused(400);
        for bad in [
            json!({ "foo": 1 }),
            json!({ "client_id": "a b" }),
            json!({ "client_id": null }),
            json!({ "job_actions": {} }),
            json!({ "job_actions": [1] }),
            json!({ "job_actions": [{}] }),
            json!({ "job_actions": [{ "freezer_action": null }] }),
            json!({ "job_actions": [{ "freezer_action": {}, "max_retries": "1" }] }),
            json!({ "job_actions": [{ "freezer_action": {}, "action_id": "a b" }] }),
            json!({ "job_actions": [{ "freezer_action": { "mode": "f s" } }] }),
            json!({ "job_actions": [{ "freezer_action": { "backup_name": 1 } }] }),
            json!({ "job_action": [] }),
            json!({ "job_schedule": null }),
            json!({ "job_schedule": { "event": "zap" } }),
            json!({ "job_schedule": { "schedule_interval": "1 day" } }),
            json!({ "description": null }),
            json!({ "session_id": "a b" }),
            json!({ "session_tag": "1" }),
            json!({ "action_defaults": [] }),
        ] {
            let mut whole = job("alpha");
            whole.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
            room.ask("POST", "/v1/jobs", whole.clone()).await.refused(400);
            room.ask("POST", "/v1/jobs/other", whole).await.refused(400);
            room.ask("PATCH", &format!("/v1/jobs/{id}"), bad).await.refused(400);
        }
        let (_, why) = room.ask("PATCH", &format!("/v1/jobs/{id}"), json!({ "foo": 1 })).await.refused(400);
        assert_eq!(why, "Additional properties are not allowed ('foo' was unexpected)");
        assert_eq!(room.show("jobs", &id).await["_version"], 1);
        room.get("/v1/jobs/other").await.refused(404);
    }

    async fn defaults_go_into_every_action_that_lacks_them(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", json!({ "client_id": "alpha", "action_defaults": { "mode": "fs", "log": "/l" },
            "job_actions": [{ "freezer_action": { "mode": null } }, { "freezer_action": { "mode": "mongo" } }] })).await;
        let shown = room.show("jobs", &id).await;
        let actions: Vec<_> = (0..2).map(|n| shown["job_actions"][n]["freezer_action"].clone()).collect();
        assert_eq!(actions, [json!({ "mode": "fs", "log": "/l" }), json!({ "mode": "mongo", "log": "/l" })]);
        assert!(shown.get("action_defaults").is_none());
        assert_eq!(shown["job_schedule"]["event"], "");
    }

    async fn replacing_counts_and_keeps_the_time_of_creation(t: TestCatalog) {
        let room = Room::new(t);
        let made = room.now();
        for version in 1..=3 {
            let changed = room.ask("POST", "/v1/jobs/my-job_1", job("alpha")).await.ok(201);
            assert_eq!(changed, json!({ "job_id": "my-job_1", "version": version }));
            room.pass(60);
        }
        let shown = room.show("jobs", "my-job_1").await;
        assert_eq!((&shown["job_schedule"]["time_created"], &shown["_version"]), (&json!(made), &json!(3)));
        let mut timed = job("alpha");
        timed["job_schedule"] = json!({ "time_created": 5, "time_ended": 6, "schedule_interval": "5   minutes" });
        room.ask("POST", "/v1/jobs/my-job_1/", timed).await.ok(201);
        let shown = room.show("jobs", "my-job_1").await["job_schedule"].clone();
        assert_eq!(shown, json!({ "time_created": 5, "time_started": -1, "time_ended": 6, "event": "",
            "schedule_interval": "5 minutes" }));
        room.ask("POST", "/v1/jobs/not%20mine", job("alpha")).await.refused(400);
        room.ask("DELETE", "/v1/jobs/my-job_1", Value::Null).await.ok(204);
        assert_eq!(room.ask("POST", "/v1/jobs/my-job_1", job("alpha")).await.ok(201)["version"], 1);
        let mut timed = job("alpha");
        timed["job_schedule"] = json!({ "time_created": 5 });
        timed["job_id"] = json!("ignored");
        let id = room.create("jobs", timed).await;
        assert!(id != "ignored" && room.show("jobs", &id).await["job_schedule"]["time_created"] == room.now());
    }

    async fn everything_that_was_answered_is_accepted_back(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", first_days()).await;
        let path = format!("/v1/jobs/{id}");
        for version in 2..10 {
            let mut whole = room.show("jobs", &id).await;
            whole["_version"] = json!(1);
            whole["project_id"] = json!("p");
            whole["job_schedule"]["status"] = json!("scheduled");
            whole["job_schedule"]["current_pid"] = json!(version);
            assert_eq!(room.ask("PATCH", &path, whole).await.ok(200)["version"], version);
        }
        assert_eq!(room.ask("PATCH", &path, json!({ "_version": 1 })).await.ok(200)["version"], 10);
        assert_eq!(room.ask("PATCH", &path, Value::Null).await.ok(200)["version"], 11);
        assert_eq!(room.ask("PATCH", &path, json!({})).await.ok(200)["version"], 12);
        let changed = room.ask("PATCH", &path, json!({ "user_id": "bob", "job_id": "other" })).await.ok(200);
        assert_eq!(changed["job_id"], id.as_str());
        let shown = room.show("jobs", &id).await;
        assert_eq!((&shown["user_id"], &shown["job_id"]), (&json!("ann"), &json!(id)));
        assert_eq!(room.list("actions", "", Value::Null).await.len(), 1, "its action was never a new one");
        room.ask("PATCH", "/v1/jobs/nothing", json!({})).await.refused(404);
    }

    async fn events_are_told_once(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("jobs", job("alpha")).await;
        let (path, search) = (format!("/v1/jobs/{id}/event"), json!({ "match_not": [{ "status": "completed" }] }));
        let ended = json!({ "job_schedule": { "status": "completed", "result": "success" } });
        room.ask("PATCH", &format!("/v1/jobs/{id}"), ended).await.ok(200);
        assert!(room.list("jobs", "", search.clone()).await.is_empty());
        for (event, first, again) in [
            ("start", "success", "start already requested"),
            ("stop", "success", "stop already requested"),
            ("abort", "success", "abort already requested"),
        ] {
            let before = room.show("jobs", &id).await["_version"].as_i64().unwrap();
            assert_eq!(room.ask("POST", &path, json!({ event: null })).await.ok(202), json!({ "result": first }));
            assert_eq!(room.ask("POST", &path, json!({ event: { "a": 1 } })).await.ok(202), json!({ "result": again }));
            let shown = room.show("jobs", &id).await;
            assert_eq!((&shown["job_schedule"]["event"], &shown["_version"]), (&json!(event), &json!(before + 1)));
            if event == "start" {
                assert_eq!((&shown["job_schedule"]["status"], &shown["job_schedule"]["result"]), (&json!(""), &json!("")));
                assert_eq!(room.list("jobs", "", search.clone()).await.len(), 1, "it is polled again");
            }
            assert_eq!(shown["job_schedule"].get("current_pid").cloned(), (event == "abort").then(|| json!(-1)));
        }
        room.ask("PATCH", &format!("/v1/jobs/{id}"), json!({ "job_schedule": { "event": "", "current_pid": 42 } })).await.ok(200);
        let both = room.send("POST", &path, &[("x-user-id", "ann")], r#"{"stop": null, "abort": null}"#).await;
        assert_eq!(both.ok(202), json!({ "result": "success" }));
        let schedule = room.show("jobs", &id).await["job_schedule"].clone();
        assert_eq!((&schedule["event"], &schedule["current_pid"]), (&json!("stop"), &json!(42)), "the first member counts");
        for bad in [json!({}), Value::Null] {
            assert_eq!(room.ask("POST", &path, bad).await.refused(400).1, "Bad event request format");
        }
        for name in ["zap", "remove", "Start"] {
            let (_, why) = room.ask("POST", &path, json!({ name: null })).await.refused(400);
            assert!(why.starts_with("Bad Action Method"), "{why}");
        }
        room.ask("POST", "/v1/jobs/nothing/event", json!({ "start": null })).await.refused(404);
    }

    async fn a_poll_shows_every_open_job_once(t: TestCatalog) {
        let room = Room::new(t);
        let mut open = Vec::new();
        for number in 0..46 {
            let id = room.create("jobs", job(if number % 2 == 0 { "alpha" } else { "p_alpha" })).await;
            if number % 2 == 0 {
                open.push(id);
            } else if number % 4 == 1 {
                room.ask("PATCH", &format!("/v1/jobs/{id}"), json!({ "job_schedule": { "status": "completed" } })).await.ok(200);
            }
        }
        let search = json!({ "match_not": [{ "status": "completed" }], "match": [{ "client_id": "alpha" }] });
        let mut seen = Vec::new();
        for (offset, count) in [(0, 10), (10, 10), (20, 3)] {
            let page = room.list("jobs", &format!("limit=10&offset={offset}"), search.clone()).await;
            assert_eq!(page.len(), count);
            for job in &page {
                assert!(job["job_schedule"].is_object() && job["job_actions"][0]["freezer_action"].is_object());
                assert!(job["client_id"] == "alpha" && job["job_schedule"]["event"] == "");
                seen.push(job["job_id"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(seen, open, "each once, in the order of creation");
    }
}
