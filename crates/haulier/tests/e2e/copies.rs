//! `haulier cp` without a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::node::haulier;

fn unfinished(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with(".haulier-"))
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
fn a_copy_goes_on_after_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..6_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(folder.path().join("source"), &bytes).unwrap();
    let mut first = haulier(folder.path()).args(["cp", "--limit-rate", "1M", "source", "copy"]).spawn().unwrap();
    // A remembered point is what a second run goes on from.
    let memory = folder.path().join("state/haulier/cp");
    let begun = Instant::now();
    let remembered = || {
        let entries = fs::read_dir(&memory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| {
            path.extension().is_some_and(|end| end == "json")
                && fs::read(&path)
                    .ok()
                    .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
                    .is_some_and(|point| point["safe"].as_u64() > Some(0))
        })
    };
    while !remembered() {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is remembered");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!folder.path().join("copy").exists());
    assert!(unfinished(folder.path()).is_some());

    assert!(haulier(folder.path()).args(["cp", "source", "copy"]).output().unwrap().status.success());
    assert!(fs::read(folder.path().join("copy")).unwrap() == bytes);
    assert_eq!(unfinished(folder.path()), None, "the second run finished the first one's file");
}
