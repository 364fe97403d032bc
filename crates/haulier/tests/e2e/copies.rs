//! `haulier cp` without a server.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::haulier;

fn unfinished(folder: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(".haulier-"))
}

#[test]
fn a_folder_is_copied_with_all_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("tree/deep/er")).unwrap();
    fs::write(folder.path().join("tree/one"), b"1").unwrap();
    fs::write(folder.path().join("tree/deep/er/two"), b"").unwrap();
    assert!(haulier(folder.path()).args(["cp", "-r", "tree", "copy"]).output().unwrap().status.success());
    assert_eq!(fs::read(folder.path().join("copy/one")).unwrap(), b"1");
    assert_eq!(fs::read(folder.path().join("copy/deep/er/two")).unwrap(), b"");
}

#[test]
fn a_range_of_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tree")).unwrap();
    for arguments in [["--start", "1"], ["--end", "9"], ["--start", "0"]] {
        let mut command = haulier(folder.path());
        let ended = command.args(["cp", "-r", "tree", "copy"]).args(arguments).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(arguments[0]) && said.contains("--recursive"), "{said}");
    }
    assert!(!folder.path().join("copy").exists());
}

/// Runs a copy to its end: its report, and how many bytes the process read, also inside the kernel.
fn measured(folder: &Path, arguments: &[&str]) -> (Value, u64) {
    let mut child = haulier(folder).args(["-o", "json", "cp"]).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut report = String::new();
    child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    // Its output is closed, so it is ending or has ended; until somebody waits for it, its counters stay.
    let counters = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    assert!(child.wait().unwrap().success(), "{report}");
    let read = counters.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    (serde_json::from_str(&report).unwrap(), read.parse().unwrap())
}

/// The largest number of safe bytes that any unfinished copy remembers.
fn remembered(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder.join("state/haulier/cp")).into_iter().flatten().flatten();
    let points = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json"));
    let safe = points.filter_map(|path| {
        let point: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        point["safe"].as_u64()
    });
    safe.max().unwrap_or(0)
}

/// Starts a copy, waits until enough of it is safe, and kills it.
fn kill_when_safe(folder: &Path, arguments: &[&str], enough: u64) {
    let mut first = haulier(folder).arg("cp").args(arguments).spawn().unwrap();
    let begun = Instant::now();
    while remembered(folder) < enough {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is remembered");
        assert!(first.try_wait().unwrap().is_none(), "the copy ended before it was killed");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill().unwrap();
    first.wait().unwrap();
}

fn content(size: u32) -> Vec<u8> {
    (0..size).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// What a process reads besides the copy: its libraries, settings and the remembered point.
const OTHER_READS: u64 = 1 << 20;
const BIG: u32 = 24_000_000;

#[test]
fn a_copy_goes_on_after_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("source"), content(BIG)).unwrap();
    kill_when_safe(folder.path(), &["--limit-rate", "6M", "source", "copy"], 4 * OTHER_READS);
    let safe = remembered(folder.path());
    assert!(!folder.path().join("copy").exists());
    assert!(unfinished(folder.path()).is_some());

    let (report, read) = measured(folder.path(), &["source", "copy"]);
    assert_eq!((&report["bytes"], &report["started_over"]), (&json!(BIG), &json!(false)));
    // Each missing byte is read twice: once from the source, once back from the target for the checksum.
    let missing = u64::from(BIG) - safe;
    assert!(read >= missing, "{read} bytes read for {missing}: the counter does not count");
    assert!(read <= 2 * missing + OTHER_READS, "{read} bytes read for {missing} that were missing");
    assert!(fs::read(folder.path().join("copy")).unwrap() == content(BIG));
    assert_eq!(unfinished(folder.path()), None, "the second run finished the first one's file");
    assert_eq!(remembered(folder.path()), 0);
}

#[test]
fn a_folder_goes_on_after_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("deep")).unwrap();
    for n in 0..20 {
        fs::write(tree.join(format!("deep/{n}")), content(50_000 + n)).unwrap();
    }
    fs::write(tree.join("big"), content(BIG)).unwrap();
    kill_when_safe(folder.path(), &["-r", "--limit-rate", "6M", "tree", "copy"], 6 * OTHER_READS);
    let safe = remembered(folder.path());
    let identity = |n: u32| {
        let meta = fs::metadata(folder.path().join(format!("copy/deep/{n}"))).unwrap();
        (meta.ino(), meta.ctime_nsec(), meta.modified().unwrap())
    };
    let before: Vec<_> = (0..20).map(identity).collect();

    let (report, read) = measured(folder.path(), &["-r", "tree", "copy"]);
    assert_eq!((&report["skipped"], &report["failed"]), (&json!(20), &json!(0)), "{report}");
    assert_eq!((0..20).map(identity).collect::<Vec<_>>(), before, "finished files are not touched again");
    let missing = u64::from(BIG) - safe;
    assert!(read <= 2 * missing + OTHER_READS, "{read} bytes read for {missing} that were missing");
    assert!(fs::read(folder.path().join("copy/big")).unwrap() == content(BIG));
    assert_eq!(unfinished(&folder.path().join("copy")), None);
}

#[test]
fn a_folder_copied_again_takes_only_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, copy) = (folder.path().join("tree"), folder.path().join("copy"));
    fs::create_dir(&tree).unwrap();
    for name in ["same", "newer", "longer", "damaged"] {
        fs::write(tree.join(name), name).unwrap();
    }
    fs::set_permissions(tree.join("same"), fs::Permissions::from_mode(0o640)).unwrap();
    let modified = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    let (report, _) = measured(folder.path(), &["-r", "tree", "copy"]);
    assert_eq!((&report["copied"], &report["skipped"]), (&json!(4), &json!(0)));
    assert_eq!(modified(copy.join("same")), modified(tree.join("same")), "the time goes along");
    assert_eq!(fs::metadata(copy.join("same")).unwrap().permissions().mode() & 0o777, 0o640);

    let later = modified(tree.join("newer")) + Duration::from_secs(5);
    fs::File::options().append(true).open(tree.join("newer")).unwrap().set_modified(later).unwrap();
    fs::write(tree.join("longer"), "longer than before").unwrap();
    fs::write(copy.join("damaged"), "DAMAGED").unwrap();
    // Into a folder that exists a tree goes under its own name; what it holds goes straight in.
    let again = ["-r", "tree/.", "copy"];
    let (report, _) = measured(folder.path(), &again);
    assert_eq!((&report["copied"], &report["skipped"]), (&json!(3), &json!(1)), "{report}");
    for name in ["same", "newer", "longer", "damaged"] {
        assert!(fs::read(copy.join(name)).unwrap() == fs::read(tree.join(name)).unwrap(), "{name}");
        assert_eq!(modified(copy.join(name)), modified(tree.join(name)), "{name}");
    }
    let (report, _) = measured(folder.path(), &["-r", "--ignore-times", "tree/.", "copy"]);
    assert_eq!(report["skipped"], 0, "{report}");
}

#[test]
fn a_folder_is_filtered_and_a_dry_run_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["src/a.c", "src/deep/b.c", "src/deep/b.o", "build/c.c", "notes"] {
        fs::create_dir_all(path.join("tree").join(name).parent().unwrap()).unwrap();
        fs::write(path.join("tree").join(name), name).unwrap();
    }
    fs::create_dir(path.join("tree/hollow")).unwrap();
    std::os::unix::fs::symlink("src/a.c", path.join("tree/link.c")).unwrap();
    let filter = ["-r", "--include", "*.c", "--exclude", "build/", "tree", "copy"];
    let (report, _) = measured(path, &[&filter[..], &["--dry-run"]].concat());
    assert_eq!((&report["would_copy"], &report["bytes"]), (&json!(3), &json!(19)), "{report}");
    assert!(!path.join("copy").exists() && !path.join("state").exists());
    let (report, _) = measured(path, &filter);
    assert_eq!(report["copied"], 3, "{report}");
    let copy = path.join("copy");
    assert!(copy.join("src/a.c").exists() && copy.join("src/deep/b.c").exists());
    assert_eq!(fs::read_link(copy.join("link.c")).unwrap(), Path::new("src/a.c"));
    for left_out in ["src/deep/b.o", "build", "notes", "hollow"] {
        assert!(!copy.join(left_out).exists(), "{left_out}");
    }
    let (report, _) = measured(path, &["-r", "--exclude", "*.c", "tree/.", "copy"]);
    assert_eq!(report["copied"], 2, "{report}");
    assert!(copy.join("hollow").is_dir() && copy.join("build").is_dir(), "empty folders go along");
    let mut command = haulier(path);
    let inside = command.args(["cp", "-r", "tree", "tree/src/copy"]).output().unwrap();
    assert_eq!(inside.status.code(), Some(2));
    assert!(!path.join("tree/src/copy").exists(), "nothing is made before that is seen");
    let mut command = haulier(path);
    let listed = command.args(["-o", "ndjson", "cp", "-r", "--dry-run", "tree", "other"]).output().unwrap();
    let lines = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[6]["would_copy"]), (7, &json!(6)), "one line an entry, and the sum");
}

#[test]
fn an_interrupted_folder_keeps_its_last_point_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tree")).unwrap();
    fs::write(folder.path().join("tree/big"), content(BIG)).unwrap();
    let mut child = haulier(folder.path()).args(["cp", "-r", "--limit-rate", "2M", "tree", "copy"]).spawn().unwrap();
    let begun = Instant::now();
    // Enough that some of it is hashed, and before the first regular point is due.
    while unfinished(&folder.path().join("copy"))
        .and_then(|path| fs::metadata(path).ok())
        .is_none_or(|m| m.len() < 1_000_000)
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is copied");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(remembered(folder.path()) > 0, "an interrupted copy remembers how far it came");
    let (report, _) = measured(folder.path(), &["-r", "tree/.", "copy"]);
    assert_eq!(report["failed"], 0, "{report}");
    assert!(fs::read(folder.path().join("copy/big")).unwrap() == content(BIG));
}
