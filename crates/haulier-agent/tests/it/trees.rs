//! Trees there and back, by us and by the other program.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use haulier_agent::repository::{BackupRequest, Keep, RestoreRequest, Stream};
use haulier_base::{Clock as _, Error, ErrorKind, SystemClock};

use super::bench::{Scene, portrait};

fn furnish(scene: &Scene) {
    scene.write("a.txt", "hello");
    scene.write("empty", "");
    scene.write("deep/er/b.bin", vec![7_u8; 3 << 20]);
    scene.write("deep/umlaut-\u{e4}", "x");
    let source = scene.path("src");
    fs::hard_link(source.join("a.txt"), source.join("deep/a-again")).unwrap();
    std::os::unix::fs::symlink("../nowhere", source.join("deep/link")).unwrap();
    fs::set_permissions(source.join("deep/er/b.bin"), fs::Permissions::from_mode(0o4711)).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(32 << 20).unwrap();
    sparse.write_all_at(b"end", (32 << 20) - 3).unwrap();
    fs::write(source.join(OsStr::from_bytes(b"odd-\xff-name")), "odd").unwrap();
    let commands = [
        vec!["mkfifo", "fifo"],
        vec!["setfattr", "-n", "user.colour", "-v", "blue", "a.txt"],
        vec!["setfacl", "-m", "u:1234:r", "empty"],
        vec!["touch", "-d", "2001-02-03 04:05:06.789", "deep/er", "deep/link", "-h"],
    ];
    for command in commands {
        let done = Command::new(command[0]).args(&command[1..]).current_dir(&source).status();
        assert!(done.is_ok_and(|status| status.success()), "{command:?}");
    }
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let scene = Scene::new();
    furnish(&scene);
    let summary = scene.backup();
    assert_eq!((summary.level, summary.unreadable, summary.changed), (0, 0, 0), "{summary:?}");
    let restored = scene.restore("out").unwrap();
    assert_eq!(restored.warnings, Vec::<String>::new());
    assert_eq!(portrait(&scene.path("src")), portrait(&scene.path("out")));
    let sparse = fs::metadata(scene.path("out/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < 8 << 20, "{} blocks are not sparse", sparse.blocks());
}

#[test]
fn restic_reads_what_we_wrote() {
    let scene = Scene::new();
    furnish(&scene);
    let summary = scene.backup();
    scene.restic_ok(&["check", "--read-data"]);
    assert!(scene.restic_ok(&["snapshots"]).contains(&summary.snapshot[..8]));
    let out = scene.path("out");
    scene.restic_ok(&["restore", "latest", "--target", out.to_str().unwrap()]);
    let there = out.join(scene.path("src").strip_prefix("/").unwrap());
    assert_eq!(portrait(&scene.path("src")), portrait(&there));
}

#[test]
fn we_read_what_restic_wrote() {
    let scene = Scene::new();
    furnish(&scene);
    scene.restic_ok(&["init"]);
    scene.restic_ok(&["backup", scene.path("src").to_str().unwrap()]);
    scene.restore("out").unwrap();
    assert_eq!(portrait(&scene.path("src")), portrait(&scene.path("out")));
    assert!(scene.open().check(true).unwrap().errors.is_empty());
    // And we go on where it was: nothing is stored twice.
    let summary = scene.backup();
    assert!(summary.added < 100 << 10, "{summary:?}");
    scene.restic_ok(&["check", "--read-data"]);
}

#[test]
fn levels_are_true_and_an_old_version_comes_back() {
    let scene = Scene::new();
    scene.write("a", "one");
    scene.write("b", "stays");
    let first = scene.backup();
    let between = SystemClock.now().as_micros();
    scene.write("a", "two, and longer");
    let second = scene.backup();
    assert_eq!((first.level, second.level), (0, 1));
    assert_eq!((first.files_read, second.files_read), (2, 1));
    let full = scene.open().backup_tree(&BackupRequest { full: true, ..scene.request() }).unwrap();
    assert_eq!((full.level, full.files_read), (0, 2));
    let mut request = RestoreRequest { target: Some(scene.path("out")), ..RestoreRequest::default() };
    request.find.as_of = Some(between);
    request.path = Some(scene.path("src/a"));
    let restored = scene.open().restore(&request).unwrap();
    assert_eq!((restored.snapshot, restored.files), (first.snapshot, 1));
    assert_eq!(fs::read_to_string(scene.path("out/a")).unwrap(), "one");
}

#[test]
fn newer_files_are_not_overwritten_unless_told() {
    let scene = Scene::new();
    scene.write("a", "old");
    scene.write("b", "same");
    scene.backup();
    scene.write("a", "new");
    let in_place = RestoreRequest::default();
    let refused = scene.open().restore(&in_place).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused:?}");
    assert_eq!(fs::read_to_string(scene.path("src/a")).unwrap(), "new");
    let told = RestoreRequest { overwrite_newer: true, ..RestoreRequest::default() };
    let restored = scene.open().restore(&told).unwrap();
    assert_eq!((restored.files, restored.unchanged), (1, 1));
    assert_eq!(fs::read_to_string(scene.path("src/a")).unwrap(), "old");
}

#[test]
fn what_is_left_out_is_left_out() {
    let scene = Scene::new();
    scene.write("a.txt", "a");
    scene.write("b.tmp", "b");
    scene.write("cache/c.txt", "c");
    let request = BackupRequest { exclude: vec!["*.tmp".into(), "cache".into()], ..scene.request() };
    assert_eq!(scene.open().backup_tree(&request).unwrap().files, 1);
    let request = BackupRequest { include: vec!["*.tmp".into()], ..scene.request() };
    assert_eq!(scene.open().backup_tree(&request).unwrap().files, 1);
}

#[test]
fn a_damaged_pack_is_found_and_not_restored() {
    let scene = Scene::new();
    scene.write("a", vec![1_u8; 100_000]);
    scene.backup();
    let packs = Command::new("find").arg(scene.path("repo/data")).args(["-type", "f"]).output().unwrap();
    for pack in String::from_utf8(packs.stdout).unwrap().lines() {
        fs::set_permissions(pack, fs::Permissions::from_mode(0o600)).unwrap();
        let file = fs::File::options().write(true).open(pack).unwrap();
        file.write_all_at(b"damage", 40).unwrap();
    }
    assert!(!scene.open().check(true).unwrap().errors.is_empty());
    let error = scene.restore("out").unwrap_err();
    assert!(!scene.path("out/a").exists(), "{error:?}");
}

#[test]
fn a_wrong_password_opens_nothing() {
    let scene = Scene::new();
    scene.backup();
    let error = scene.open_with("wrong").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
}

#[test]
fn a_stream_is_kept_only_when_it_is_whole() {
    let scene = Scene::new();
    let request = BackupRequest { path: "/dump.sql".into(), ..scene.request() };
    let stream = |ending: fn() -> haulier_base::Result<()>| {
        move || Ok(Stream { reader: Box::new(&b"create table;"[..]), finish: Box::new(ending) })
    };
    let cut = scene.open().backup_stream(&request, stream(|| Err(Error::unavailable("the database went away"))));
    assert_eq!(cut.unwrap_err().message(), "the database went away");
    assert!(scene.open().snapshots(&scene.latest()).unwrap().is_empty());
    scene.open().backup_stream(&request, stream(|| Ok(()))).unwrap();
    assert_eq!(scene.restic_ok(&["dump", "latest", "/dump.sql"]), "create table;");
}

#[test]
fn retention_keeps_what_it_says() {
    let scene = Scene::new();
    for round in 0..4 {
        scene.write("a", format!("round {round}"));
        scene.write(&format!("only-{round}"), vec![round; 200_000]);
        scene.backup();
        fs::remove_file(scene.path("src").join(format!("only-{round}"))).unwrap();
    }
    let keep = Keep { last: Some(2), ..Keep::default() };
    let forgotten = scene.open().forget(&scene.latest(), &keep, true).unwrap();
    assert_eq!((forgotten.removed.len(), forgotten.kept), (2, 2));
    assert_eq!(scene.open().snapshots(&scene.latest()).unwrap().len(), 4, "a dry run removes nothing");
    scene.open().forget(&scene.latest(), &keep, false).unwrap();
    assert_eq!(scene.open().snapshots(&scene.latest()).unwrap().len(), 2);
    scene.open().prune().unwrap();
    scene.restic_ok(&["check", "--read-data"]);
    assert!(scene.open().check(true).unwrap().errors.is_empty());
    scene.restore("out").unwrap();
    assert_eq!(fs::read_to_string(scene.path("out/a")).unwrap(), "round 3");
}

#[test]
fn a_run_makes_one_snapshot_however_often_it_is_asked() {
    let scene = Scene::new();
    scene.write("a", "a");
    let request = BackupRequest { run: Some("r1".into()), ..scene.request() };
    let first = scene.open().backup_tree(&request).unwrap();
    let again = scene.open().backup_tree(&request).unwrap();
    assert_eq!(first.snapshot, again.snapshot);
    assert_eq!(scene.open().snapshots(&scene.latest()).unwrap().len(), 1);
}
