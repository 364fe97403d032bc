//! Sessions: jobs that start together.

use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Room, job};

both_databases! {
    async fn a_session_is_filled_in_replaced_and_merged(t: TestCatalog) {
        let room = Room::new(t);
        let id = room.create("sessions", json!({ "description": "nightly", "jobs": { "x": 1 }, "status": "odd", "more": [1] })).await;
        assert_eq!(room.show("sessions", &id).await, json!({ "session_id": id, "user_id": "ann", "description": "nightly",
            "session_tag": 0, "status": "active", "last_start": "", "jobs": [], "hold_off": 30, "schedule": {},
            "more": [1], "_version": 1 }));
        let path = format!("/v1/sessions/{id}");
        room.ask("POST", &path, json!({ "description": "other" })).await.refused(400);
        let put = json!({ "session_tag": 4, "description": "other", "session_id": "x", "user_id": "bob" });
        assert_eq!(room.ask("POST", &path, put).await.ok(201), json!({ "session_id": id, "version": 2 }));
        assert_eq!(room.show("sessions", &id).await, json!({ "session_id": id, "user_id": "ann", "description": "other",
            "session_tag": 4, "schedule": {}, "_version": 2 }));
        let patch = json!({ "schedule": { "schedule_hour": "3" }, "user_id": "bob", "_version": 7 });
        assert_eq!(room.ask("PATCH", &path, patch).await.ok(200)["version"], 3);
        room.ask("PATCH", &path, json!({ "schedule": { "schedule_minute": "4" } })).await.ok(200);
        let shown = room.show("sessions", &id).await;
        assert_eq!(shown["schedule"], json!({ "schedule_hour": "3", "schedule_minute": "4" }));
        assert_eq!(room.ask("POST", "/v1/sessions/named", json!({ "session_tag": 1 })).await.ok(201)["version"], 1);
        for bad in [
            json!({ "schedule": { "schedule_hour": 3 } }),
            json!({ "schedule": null }),
            json!({ "session_tag": "1" }),
            json!({ "hold_off": -1 }),
            json!({ "description": null }),
        ] {
            room.ask("POST", "/v1/sessions", bad.clone()).await.refused(400);
            room.ask("PATCH", &path, bad).await.refused(400);
        }
        room.ask("PATCH", &path, json!({ "jobs": null })).await.refused(400);
        for bad in [Value::Null, json!({})] {
            room.ask("POST", "/v1/sessions", bad).await.refused(400);
        }
        for _ in 0..2 {
            room.ask("DELETE", &path, Value::Null).await.ok(204);
        }
        room.get(&path).await.refused(404);
        assert_eq!(room.list("sessions", "", Value::Null).await.len(), 1);
    }

    async fn a_session_from_its_first_start_to_its_end(t: TestCatalog) {
        let room = Room::new(t);
        let session = room.create("sessions", json!({ "schedule": { "schedule_date": "2026-11-22T03:00:00" } })).await;
        let path = format!("/v1/sessions/{session}");
        let (a, b) = (room.create("jobs", job("alpha")).await, room.create("jobs", job("beta")).await);
        for (job, version) in [(&a, 2), (&b, 3)] {
            room.ask("PUT", &format!("{path}/jobs/{job}"), Value::Null).await.ok(204);
            assert_eq!(room.show("sessions", &session).await["_version"], version);
        }
        let shown = room.show("sessions", &session).await;
        assert_eq!(shown["jobs"][&a],
            json!({ "client_id": "alpha", "status": "", "result": "", "time_started": -1, "time_ended": -1 }));
        let told = room.show("jobs", &a).await;
        assert_eq!((&told["session_id"], &told["session_tag"], &told["_version"]), (&json!(session), &json!(0), &json!(2)));
        assert_eq!(told["job_schedule"]["schedule_date"], "2026-11-22T03:00:00");
        assert_eq!(told["job_schedule"]["schedule_interval"], "5 minutes");

        let act = async |body: Value| room.ask("POST", &format!("{path}/action"), body).await;
        let start = |job: &str, tag: Value| json!({ "start": { "job_id": job, "current_tag": tag } });
        let end = |job: &str| json!({ "end": { "job_id": job, "current_tag": 1, "result": "success" } });
        let done = |result: &str| json!({ "result": result, "session_tag": 1 });
        assert_eq!(act(start(&a, json!(0))).await.ok(202), done("success"));
        assert_eq!(act(start(&b, json!("0"))).await.ok(202), done("success"));
        assert_eq!(act(start(&b, json!(1))).await.ok(202), done("hold-off"));
        let (_, why) = act(start(&b, json!(9))).await.refused(400);
        assert!(why.starts_with("requested tag value too high. "), "{why}");
        let shown = room.show("sessions", &session).await;
        assert_eq!((&shown["status"], &shown["time_start"]), (&json!("running"), &json!(room.now())));
        assert_eq!(shown["jobs"][&b]["status"], "running");
        room.pass(31);
        assert_eq!(act(start(&b, json!(0))).await.ok(202), done("out-of-sync"));
        assert_eq!(act(end(&a)).await.ok(202), done("success"));
        assert_eq!(room.show("sessions", &session).await["status"], "running");
        assert_eq!(act(end(&b)).await.ok(202), done("success"));
        let shown = room.show("sessions", &session).await;
        assert_eq!((&shown["status"], &shown["result"], &shown["time_end"]), (&json!("completed"), &json!("success"), &json!(room.now())));
        assert_eq!(shown["_version"], 7, "what changed nothing did not count");

        for _ in 0..2 {
            room.ask("DELETE", &format!("{path}/jobs/{a}"), Value::Null).await.ok(204);
        }
        let told = room.show("jobs", &a).await;
        assert_eq!((&told["session_id"], &told["session_tag"], &told["job_schedule"]["event"]), (&json!(""), &json!(0), &json!("stop")));
        let shown = room.show("sessions", &session).await;
        assert!(shown["jobs"].get(&a).is_none() && shown["jobs"].get(&b).is_some() && shown["_version"] == 8);
    }

    async fn actions_of_sessions_are_checked(t: TestCatalog) {
        let room = Room::new(t);
        let session = room.create("sessions", json!({ "description": "x" })).await;
        let job = room.create("jobs", job("alpha")).await;
        let (path, jobs) = (format!("/v1/sessions/{session}/action"), format!("/v1/sessions/{session}/jobs"));
        let parameters = json!({ "job_id": job, "current_tag": 0, "result": "success" });
        for bad in [json!({}), Value::Null] {
            assert_eq!(room.ask("POST", &path, bad).await.refused(400).1, "Bad action request format");
        }
        for bad in [json!({ "start": null }), json!({ "start": [] }), json!({ "start": { "job_id": job } }),
            json!({ "start": { "job_id": job, "current_tag": "x" } }), json!({ "end": { "job_id": job, "current_tag": 1 } })] {
            room.ask("POST", &path, bad).await.refused(400);
        }
        for name in ["start", "end"] {
            let (_, why) = room.ask("POST", &path, json!({ name: parameters })).await.refused(400);
            assert_eq!(why, "job_id not found in session", "without any job too");
            room.ask("POST", "/v1/sessions/nothing/action", json!({ name: parameters })).await.refused(404);
        }
        let (title, why) = room.ask("POST", &path, json!({ "zap": parameters })).await.refused(405);
        assert!(title == "Bad Method" && why.contains("zap"), "{title}: {why}");
        // Removing from a session that never had a job.
        room.ask("DELETE", &format!("{jobs}/{job}"), Value::Null).await.ok(204);
        for method in ["PUT", "DELETE"] {
            room.ask(method, &format!("{jobs}/nothing"), Value::Null).await.refused(404);
            room.ask(method, &format!("/v1/sessions/nothing/jobs/{job}"), Value::Null).await.refused(404);
        }
        assert_eq!(room.show("sessions", &session).await["_version"], 1);
    }
}
