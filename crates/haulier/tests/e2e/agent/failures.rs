//! What can go wrong, and that it is told as it is.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use super::scene::Scene;

impl Scene {
    fn fails(&self, action: serde_json::Value, because: &str) {
        let job = self.job(json!({}), json!([{"freezer_action": action}]));
        self.wait_for(&job, "completed", "fail");
        let log = std::fs::read_to_string(self.path("agent.log")).unwrap();
        assert!(log.contains(because), "{because} is not in\n{log}");
        assert!(self.records().iter().all(|record| record["job_id"] != job), "a failed backup has a record");
    }
}

#[test]
fn failures_have_a_clear_reason_and_no_record() {
    let scene = Scene::new();
    scene.write("a", "a");
    let first = scene.job(json!({}), json!([scene.backup()]));
    scene.wait_for(&first, "completed", "success");
    let backup = |container: &str, path: &str| json!({"action": "backup", "container": container, "path_to_backup": path, "backup_name": "x"});
    scene.fails(backup("locked", "/etc/hostname"), "the password does not open the repository");
    scene.fails(backup("main", "/no/such/folder"), "no such file");
    let mut mongo = backup("main", "/etc");
    mongo["mode"] = json!("mongo");
    scene.fails(mongo, "mongo");
    let mut swift = backup("container", "/etc");
    swift["storage"] = json!("swift");
    scene.fails(swift, "swift");
    let mut nowhere = backup("/srv/repo", "/etc/hostname");
    nowhere["storage"] = json!("ssh");
    nowhere["ssh_host"] = json!("127.0.0.1");
    nowhere["ssh_port"] = json!("1");
    scene.fails(nowhere, "the action failed");
    scene.restic(&["check", "--read-data"]);
}

#[test]
fn what_cannot_be_read_is_counted() {
    let scene = Scene::new();
    scene.write("good", "good");
    // Reading it fails for root too.
    std::os::unix::fs::symlink("/proc/self/mem", scene.path("docs/link")).unwrap();
    let action = json!({"freezer_action": {"action": "backup", "container": "main", "backup_name": "proc",
        "path_to_backup": "/proc/self/task", "include": ["mem"]}});
    let job = scene.job(json!({}), json!([scene.backup(), action]));
    scene.wait_for(&job, "completed", "success");
    let records = scene.wait("two records", || Some(scene.records()).filter(|records| records.len() == 2));
    assert_eq!(records[0]["unreadable_files"], 0);
    assert!(records[1]["unreadable_files"].as_u64().unwrap() > 0, "{}", records[1]);
}

#[test]
fn a_full_disk_fails_the_job_and_harms_nothing() {
    if !Command::new("id").arg("-u").output().unwrap().stdout.starts_with(b"0\n") {
        eprintln!("skipped: a file system can only be mounted by root");
        return;
    }
    let scene = Scene::new();
    let repo = scene.path("repo");
    std::fs::create_dir(&repo).unwrap();
    let mounted = Mounted::new(repo);
    scene.write("small", "small");
    let job = scene.job(json!({}), json!([scene.backup()]));
    scene.wait_for(&job, "completed", "success");
    let noise = std::fs::File::open("/dev/urandom").unwrap();
    let mut large = std::fs::File::create(scene.path("docs/large")).unwrap();
    std::io::copy(&mut std::io::Read::take(noise, 24 << 20), &mut large).unwrap();
    let job = scene.job(json!({}), json!([scene.backup()]));
    scene.wait_for(&job, "completed", "fail");
    let log = std::fs::read_to_string(scene.path("agent.log")).unwrap();
    assert!(log.contains("no space left"), "{log}");
    assert_eq!(scene.records().len(), 1);
    // The first backup is still whole, and the next one, which fits, is made.
    scene.restic(&["check", "--read-data", "--no-lock"]);
    std::fs::remove_file(scene.path("docs/large")).unwrap();
    drop(mounted);
}

/// A small file system in memory.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(at: std::path::PathBuf) -> Self {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=777", "none"]).arg(&at).status();
        assert!(done.unwrap().success());
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}
