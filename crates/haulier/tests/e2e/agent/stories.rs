//! What users do: back up, change, restore, stop, abort, chain, join.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::scene::Scene;

#[test]
fn a_one_shot_job_leaves_a_true_record() {
    let scene = Scene::new();
    scene.write("a.txt", "hello");
    scene.write("b.bin", vec![1; 100_000]);
    let job = scene.job(json!({}), json!([scene.backup()]));
    scene.wait_for(&job, "completed", "success");
    let records = scene.wait("a record", || Some(scene.records()).filter(|records| !records.is_empty()));
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record["job_id"], job);
    assert_eq!(record["curr_backup_level"], 0);
    assert_eq!(record["backup_size_uncompressed"], 100_005);
    assert_eq!((&record["total_fs_files"], &record["unreadable_files"]), (&json!(2), &json!(0)));
    let stored = scene.restic(&["snapshots", "--json"]);
    assert!(stored.contains(record["snapshot_id"].as_str().unwrap()), "{stored}");
    // And once more on request: a job that is started again runs again.
    scene.post(&format!("/v1/jobs/{job}/event"), &json!({"start": null}));
    scene.wait("a second record", || (scene.records().len() == 2).then_some(()));
    assert_eq!(scene.records()[1]["curr_backup_level"], 1);
    scene.wait_for(&job, "completed", "success");
}

#[test]
fn an_interval_job_keeps_versions_and_one_of_them_comes_back() {
    let scene = Scene::new();
    scene.write("a.txt", "yesterday");
    let schedule = json!({"schedule_interval": "2 seconds"});
    let mut backup = scene.backup();
    backup["freezer_action"]["max_level"] = json!("1");
    let job = scene.job(schedule, json!([backup]));
    scene.wait("a first backup", || scene.records().first().cloned());
    let then = now();
    scene.write("a.txt", "today, and longer");
    let level = |record: &Value| record["level"].as_u64().unwrap();
    let records = scene.wait("three backups", || Some(scene.records()).filter(|records| records.len() >= 3));
    assert_eq!(records.iter().map(level).take(3).collect::<Vec<_>>(), [0, 1, 0]);
    scene.post(&format!("/v1/jobs/{job}/event"), &json!({"stop": null}));
    scene.wait("the stop", || {
        let schedule = scene.get(&format!("/v1/jobs/{job}"))["job_schedule"].clone();
        ["stop", "completed"].contains(&schedule["status"].as_str().unwrap()).then_some(())
    });
    // By a job, from the record's own words; and by hand.
    let restore = json!({"freezer_action": {"action": "restore", "mode": "fs", "backup_name": "docs",
        "container": "main", "path_to_backup": scene.path("docs"), "restore_abs_path": scene.path("by-job"),
        "restore_from_date": then}});
    let restore = scene.job(json!({}), json!([restore]));
    scene.wait_for(&restore, "completed", "success");
    assert_eq!(std::fs::read_to_string(scene.path("by-job/a.txt")).unwrap(), "yesterday");
    let (code, said) = scene.ours(&["restore", "--as-of", &then, "--to", "by-hand"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(scene.path("by-hand/a.txt")).unwrap(), "yesterday");
    let (code, said) = scene.ours(&["restore", "--as-of", &then, "--in-place"]);
    assert_eq!(code, Some(5), "{said}");
    scene.restic(&["check", "--read-data"]);
}

fn now() -> String {
    use haulier_base::Clock as _;
    haulier_base::SystemClock.now().to_string()
}

#[test]
fn an_abort_ends_a_run_soon_and_whatever_it_started() {
    let scene = Scene::new();
    let mark = scene.path("mark");
    let command = format!("sleep 600 & echo $! > {}; wait", mark.display());
    let job = scene.job(json!({}), json!([{"freezer_action": {"action": "exec", "command": command}}]));
    let pid = scene.wait("the command", || std::fs::read_to_string(&mark).ok().filter(|pid| pid.ends_with('\n')));
    scene.post(&format!("/v1/jobs/{job}/event"), &json!({"abort": null}));
    let begun = Instant::now();
    scene.wait_for(&job, "completed", "aborted");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    scene.wait("the end of what it started", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn actions_follow_each_other_are_tried_again_and_may_be_mandatory() {
    let scene = Scene::new();
    let log = scene.path("steps");
    let step = |text: &str, end: &str| json!({"action": "exec", "command": format!("echo {text} >> {}; {end}", log.display())});
    let actions = json!([
        {"freezer_action": step("one", "exit 1"), "max_retries": 2, "max_retries_interval": 0},
        {"freezer_action": step("two", "true")},
        {"freezer_action": step("three", "exit 1"), "mandatory": true},
        {"freezer_action": step("four", "true")},
    ]);
    let job = scene.job(json!({}), actions);
    scene.wait_for(&job, "completed", "fail");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\none\none\ntwo\nthree\n");
}

#[test]
fn jobs_of_a_session_begin_together_and_end_as_one() {
    let scene = Scene::new();
    scene.write("a", "a");
    let at = json!({"schedule_start_date": "2999-01-01T00:00:00Z"});
    let session = scene.post("/v1/sessions", &json!({"description": "s", "hold_off": 5}));
    let session = session["session_id"].as_str().unwrap().to_owned();
    let jobs = [scene.job(at.clone(), json!([scene.backup()])), scene.job(at, json!([scene.backup()]))];
    for job in &jobs {
        let path = format!("/v1/sessions/{session}/jobs/{job}");
        assert_eq!(scene.node.as_ref().unwrap().json("PUT", &path, None).0, 204);
        let patch = json!({"job_schedule": {"schedule_start_date": "2001-01-01T00:00:00Z"}});
        let (status, _) = scene.node.as_ref().unwrap().json("PATCH", &format!("/v1/jobs/{job}"), Some(&patch));
        assert_eq!(status, 200);
    }
    let ended = scene.wait("the end of the session", || {
        let session = scene.get(&format!("/v1/sessions/{session}"));
        (session["status"] == "completed").then_some(session)
    });
    assert_eq!((&ended["result"], &ended["session_tag"]), (&json!("success"), &json!(1)), "{ended}");
}
