//! Locks that the other program respects, and that we respect.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use haulier_agent::repository::{BackupRequest, Keep, Stream};
use haulier_base::ErrorKind;

use super::bench::Scene;

/// Runs `act` while a backup holds its lock.
fn meanwhile(scene: &Scene, act: impl FnOnce() + Send) {
    let request = BackupRequest { path: "/stream".into(), ..scene.request() };
    let open = || {
        act();
        Ok(Stream { reader: Box::new(&b"bytes"[..]), finish: Box::new(|| Ok(())) })
    };
    scene.open().backup_stream(&request, open).unwrap();
}

#[test]
fn restic_sees_our_lock() {
    let scene = Scene::new();
    scene.write("a", "a");
    scene.backup();
    meanwhile(&scene, || {
        assert!(!scene.restic_ok(&["list", "locks", "--no-lock"]).trim().is_empty());
        let refused = scene.restic(&["prune"]);
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("already locked"), "{said}");
        let pid = std::process::id().to_string();
        assert!(said.contains(&pid), "{said}");
        // What is shared with us goes on.
        scene.restic_ok(&["snapshots"]);
        let error = scene.open().forget(&scene.latest(), &Keep::default(), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        // It does not remove a lock whose process lives.
        scene.restic_ok(&["unlock"]);
        assert!(!scene.restic_ok(&["list", "locks", "--no-lock"]).trim().is_empty());
    });
    assert_eq!(scene.restic_ok(&["list", "locks", "--no-lock"]).trim(), "");
    scene.restic_ok(&["prune"]);
}

#[test]
fn we_see_the_lock_of_restic() {
    let mut scene = Scene::new();
    scene.write("a", vec![3; 1000]);
    scene.backup();
    // It waits for its input, and so holds its lock.
    let program = std::env::var_os("HAULIER_TEST_RESTIC").expect("use cargo xtask test");
    let mut child = Command::new(program)
        .args(["--no-cache", "-q", "-r"])
        .arg(scene.path("repo"))
        .args(["backup", "--stdin"])
        .env("RESTIC_PASSWORD", "correct horse")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while scene.restic_ok(&["list", "locks", "--no-lock"]).trim().is_empty() {
        assert!(child.try_wait().unwrap().is_none());
    }
    let error = scene.open().prune().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    scene.backup();
    // With patience, the end of the other one is waited for.
    scene.patience = Duration::from_secs(60);
    child.stdin.take().unwrap().write_all(b"bytes").unwrap();
    scene.open().prune().unwrap();
    assert!(child.wait().unwrap().success());
    scene.restic_ok(&["check", "--read-data"]);
}

#[test]
fn the_lock_of_a_dead_process_is_removed() {
    let scene = Scene::new();
    scene.backup();
    let program = std::env::var_os("HAULIER_TEST_RESTIC").expect("use cargo xtask test");
    let mut child = Command::new(program)
        .args(["--no-cache", "-q", "-r"])
        .arg(scene.path("repo"))
        .args(["backup", "--stdin", "--host", "testhost"])
        .env("RESTIC_PASSWORD", "correct horse")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while scene.restic_ok(&["list", "locks", "--no-lock"]).trim().is_empty() {
        assert!(child.try_wait().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Its machine has another name than ours in this test, so only time would make it stale.
    assert_eq!(scene.open().prune().unwrap_err().kind(), ErrorKind::Conflict);
    scene.restic_ok(&["unlock"]);
    scene.open().prune().unwrap();
}

#[test]
fn of_several_who_make_a_repository_one_makes_it() {
    let scene = Scene::new();
    scene.write("a", "a");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| scene.backup());
        }
    });
    assert_eq!(scene.open().snapshots(&scene.latest()).unwrap().len(), 4);
    let keys = std::fs::read_dir(scene.path("repo/keys")).unwrap();
    assert_eq!(keys.count(), 1);
    scene.restic_ok(&["check", "--read-data"]);
}
