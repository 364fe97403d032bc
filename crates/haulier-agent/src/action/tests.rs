//! What actions mean, and what is refused.

use haulier_base::ErrorKind;

use super::*;

fn config() -> (tempfile::TempDir, AgentConfig) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    let text = "allow_exec = false\npassword = { file = \"password\" }\nhostname = \"web1\"\n\
                [repositories.main]\nurl = \"file:///srv/repo\"\n";
    std::fs::write(folder.path().join("agent.toml"), text).unwrap();
    let config = AgentConfig::read(&folder.path().join("agent.toml")).unwrap();
    (folder, config)
}

fn ordered(action: Value) -> Result<Order> {
    let (_folder, config) = config();
    order(&config, &action, "run", Timestamp::from_micros(0))
}

#[test]
fn a_container_is_a_name_or_a_place() {
    let of = |container: &str, storage: &str| {
        let action = json!({"action": "backup", "container": container, "storage": storage, "ssh_host": "h",
            "ssh_username": "u", "path_to_backup": "/etc"});
        ordered(action).map(|order| order.place.unwrap().url)
    };
    assert_eq!(of("main", "local").unwrap(), "file:///srv/repo");
    assert_eq!(of("/srv/other one", "local").unwrap(), "file:///srv/other%20one");
    assert_eq!(of("bucket/prefix", "s3").unwrap(), "s3://bucket/prefix");
    assert_eq!(of("/srv/b", "ssh").unwrap(), "sftp://u@h:22/srv/b");
    assert_eq!(of("nowhere", "local").unwrap_err().kind(), ErrorKind::Invalid);
    let refused = of("c", "swift").unwrap_err();
    assert!(refused.message().contains("swift"), "{refused}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let refused = |action: Value| ordered(action).unwrap_err().to_string();
    assert!(refused(json!({"action": "exec", "command": "true"})).contains("allow_exec"));
    assert!(refused(json!({"action": "backup", "mode": "mongo", "container": "main"})).contains("mongo"));
    assert!(refused(json!({"action": "backup", "container": "main", "path_to_backup": "etc"})).contains("absolute"));
    assert!(refused(json!({"action": "backup", "container": "main"})).contains("path_to_backup"));
    assert!(refused(json!({"action": "restore", "container": "main"})).contains("restore_abs_path"));
    let named = json!({"mode": "postgres", "container": "main", "database": "postgres://me:secret@h/db"});
    let said = refused(named);
    assert!(said.contains("passfile") && !said.contains("secret@"), "{said}");
    assert!(refused(json!({"action": "dance", "container": "main"})).contains("dance"));
}

#[test]
fn numbers_come_as_texts_too() {
    let action = json!({"action": "backup", "container": "main", "path_to_backup": "/etc", "max_level": "4",
        "always_level": "", "no_incremental": "true", "exclude": "*.tmp"});
    let Work::Backup { request, .. } = ordered(action).unwrap().work else { panic!("not a backup") };
    assert_eq!((request.max_level, request.always_level, request.full), (Some(4), None, true));
    assert_eq!(request.exclude, ["*.tmp"]);
    let action = json!({"action": "admin", "container": "main", "remove_older_than": 30, "keep_last": "3"});
    let Work::Admin { keep, .. } = ordered(action).unwrap().work else { panic!("not admin") };
    assert_eq!((keep.last, keep.since), (Some(3), Some(-30 * 86_400_000_000)));
}
