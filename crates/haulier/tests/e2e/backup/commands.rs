//! The command line as a client of the backup API.

use std::fs;

use serde_json::{Value, json};

use super::{configure, run, terminal};
use crate::node::Node;

#[test]
fn clients_jobs_and_sessions_are_commanded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder, "");
    let node = Node::with_config(folder, None, "commands", "haulier.toml");
    let says = |arguments: &[&str]| terminal(folder, &node, arguments);
    let read =
        |arguments: &[&str]| -> Value { serde_json::from_str(&says(&[arguments, &["-o", "json"]].concat())).unwrap() };
    let code = |arguments: &[&str]| run(folder, &node, arguments).status.code();

    let client = json!({ "client_id": "p1_alpha", "hostname": "alpha" });
    assert_eq!(node.with_token("POST", "/v1/clients", super::TOKEN, Some(&client)).0, 201);
    let listed = read(&["client", "list"]);
    assert_eq!((&listed[0]["client_id"], &listed[0]["health"]), (&json!("p1_alpha"), &json!("ok")));
    assert_eq!(read(&["client", "show", "p1_alpha"])["client"]["hostname"], "alpha");

    let made = read(&[
        "job",
        "create",
        "--client",
        "p1_alpha",
        "--name",
        "home",
        "--path",
        "/home",
        "--container",
        "file:///srv/b",
        "--storage",
        "local",
        "--interval",
        "1 days",
        "--description",
        "every day",
        "--max-retries",
        "2",
        "--set",
        "one_file_system=true",
        "--set",
        "no_incremental=x",
    ]);
    let id = made["job_id"].as_str().unwrap();
    let job = read(&["job", "show", id]);
    assert_eq!(
        job["job_actions"][0]["freezer_action"],
        json!({ "action": "backup", "mode": "fs", "backup_name": "home",
        "path_to_backup": "/home", "container": "file:///srv/b", "storage": "local", "one_file_system": true,
        "no_incremental": "x" })
    );
    assert_eq!(
        (&job["job_actions"][0]["max_retries"], &job["job_schedule"]["schedule_interval"]),
        (&json!(2), &json!("1 days"))
    );
    let by_calendar =
        ["job", "create", "--client", "p1_beta", "--id", "mine", "--at", "hour=3", "--at", "day_of_week=mon-fri"];
    assert_eq!(read(&by_calendar), json!({ "job_id": "mine", "version": 1 }));
    assert_eq!(read(&["job", "show", "mine"])["job_schedule"]["schedule_day_of_week"], "mon-fri");
    fs::write(folder.join("job.json"), json!({ "job_action": { "action": "info" }, "client_id": "x" }).to_string())
        .unwrap();
    let whole = read(&["job", "create", "--document", "job.json", "--client", "p1_gamma"]);
    let whole = read(&["job", "show", whole["job_id"].as_str().unwrap()]);
    assert_eq!((&whole["client_id"], &whole["job_action"]["action"]), (&json!("p1_gamma"), &json!("info")));

    let ids = |arguments: &[&str]| -> Vec<String> {
        let found = read(&[&["job", "list"], arguments].concat());
        found.as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]).len(), 3);
    assert_eq!(ids(&["--client", "p1_beta"]), ["mine"]);
    assert_eq!(ids(&["--find", "EVERY"]), [id]);
    assert_eq!(ids(&["--find", "backup_name=home", "--find", "mode=fs"]), [id]);
    assert_eq!(ids(&["--limit", "1", "--offset", "1"]), ["mine"]);

    // Events, and how it ended last.
    let tell = |schedule: Value| {
        let body = json!({ "job_schedule": schedule });
        assert_eq!(node.with_token("PATCH", "/v1/jobs/mine", super::TOKEN, Some(&body)).0, 200);
    };
    assert_eq!(read(&["job", "start", "mine"])["result"], "success");
    assert_eq!(read(&["job", "start", "mine"])["result"], "start already requested");
    assert_eq!(read(&["job", "stop", "mine"])["result"], "success");
    assert_eq!(read(&["job", "abort", "mine"])["result"], "success");
    tell(json!({ "event": "", "status": "scheduled", "result": "fail", "time_started": 1_800_000_000 }));
    let table = says(&["job", "list", "--client", "p1_beta"]);
    assert!(
        table.contains("failed") && table.contains("2027-01-15T08:00:00") && table.contains("the last run"),
        "{table}"
    );
    assert!(says(&["job", "list", "--client", "p1_gamma"]).contains(" ok "));
    let (_, _, metrics) = node.ask("GET", "/metrics", None).unwrap();
    assert!(metrics.contains("haulier_backup_alarms{alarm=\"failed\"} 1"), "{metrics}");

    let session = read(&["session", "create", "--description", "night", "--hold-off", "60", "--at", "hour=3"]);
    let session = session["session_id"].as_str().unwrap();
    says(&["session", "add", session, "mine"]);
    let shown = read(&["session", "show", session]);
    assert_eq!((&shown["hold_off"], &shown["schedule"]["schedule_hour"]), (&json!(60), &json!("3")));
    assert!(shown["jobs"]["mine"].is_object());
    assert_eq!(read(&["session", "list"])[0]["job_count"], 1);
    says(&["session", "remove", session, "mine"]);
    assert_eq!(read(&["session", "list"])[0]["job_count"], 0);

    // What is not there is said, in the server's words and with the exit codes of every command.
    for (arguments, wanted) in [
        (vec!["session", "delete", session], Some(0)),
        (vec!["session", "delete", session], Some(3)),
        (vec!["job", "delete", "mine"], Some(0)),
        (vec!["job", "show", "mine"], Some(3)),
        (vec!["job", "start", "mine"], Some(3)),
        (vec!["client", "delete", "p1_alpha"], Some(0)),
        (vec!["client", "show", "p1_alpha"], Some(3)),
        (vec!["job", "create", "--client", "p1_beta", "--interval", "1 day"], Some(2)),
        (vec!["job", "create"], Some(2)),
    ] {
        assert_eq!(code(&arguments), wanted, "{arguments:?}");
    }
}
