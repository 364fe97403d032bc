//! Databases through their own tools, there and back, against real servers.

#![allow(clippy::disallowed_methods, reason = "the test command hands the servers over in the environment")]

use std::process::Command;

use serde_json::{Value, json};

use super::scene::Scene;

fn told(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run cargo xtask test"))
}

fn asked(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Backs up, destroys, restores.
fn there_and_back(scene: &Scene, members: &Value, ask: impl Fn(&str) -> String) {
    ask("create table t (id int primary key, text varchar(40)); insert into t values (1, 'one'), (2, 'zwölf')");
    let action = |kind: &str| {
        let mut action = json!({"action": kind, "container": "main", "backup_name": "db"});
        action.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!([{"freezer_action": action}])
    };
    let job = scene.job(json!({}), action("backup"));
    scene.wait_for(&job, "completed", "success");
    let records = scene.wait("a record", || Some(scene.records()).filter(|records| !records.is_empty()));
    assert!(records[0]["backup_size_uncompressed"].as_u64().unwrap() > 300, "{}", records[0]);
    ask("delete from t where id = 1; insert into t values (3, 'three')");
    let job = scene.job(json!({}), action("restore"));
    scene.wait_for(&job, "completed", "success");
    assert_eq!(ask("select text from t order by id").trim(), "one\nzwölf");
    ask("drop table t");
    // A dump that fails leaves no snapshot and no record.
    let mut broken = action("backup");
    broken[0]["freezer_action"]["database"] = json!("no_such_database");
    let job = scene.job(json!({}), broken);
    scene.wait_for(&job, "completed", "fail");
    assert_eq!(scene.records().len(), 1);
    assert_eq!(scene.restic(&["snapshots", "--json"]).matches("\"short_id\"").count(), 1);
}

#[test]
fn postgres_there_and_back() {
    let server = told("HAULIER_TEST_POSTGRES");
    let name = format!("agent_{}", std::process::id());
    let psql = |database: &str, sql: &str| {
        let arguments = ["--no-psqlrc", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql];
        asked(Command::new("psql").args(arguments))
    };
    psql(&server, &format!("create database {name}"));
    let (base, _) = server.rsplit_once('/').unwrap();
    let database = format!("{base}/{name}");
    let scene = Scene::new();
    there_and_back(&scene, &json!({"mode": "postgres", "database": database}), |sql| psql(&database, sql));
    psql(&server, &format!("drop database {name}"));
}

#[test]
fn mariadb_there_and_back() {
    let options = told("HAULIER_TEST_MARIADB");
    let name = format!("agent_{}", std::process::id());
    let ask = |sql: &str| {
        let mut command = Command::new("mariadb");
        asked(command.arg(format!("--defaults-extra-file={options}")).args([
            "-N",
            "-B",
            "--default-character-set=utf8mb4",
            "-e",
            sql,
        ]))
    };
    ask(&format!("create database {name}"));
    let scene = Scene::new();
    let members = json!({"mode": "mysql", "database": name, "mysql_conf": options});
    there_and_back(&scene, &members, |sql| ask(&format!("use {name}; {sql}")));
    ask(&format!("drop database {name}"));
}
