//! Files that cannot be read, folders that cannot be written, full disks: told, and gone on with the rest.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::story::{Story, everywhere};

/// Whoever is none of the superuser's.
const NOBODY: u32 = 65_534;

/// A pair of entries whose node is run by somebody whom permissions bind.
fn bound() -> Story {
    let mut story = Story::prepared(&["A", "B"], &serde_json::json!({}), &everywhere(&["A", "B"]), "");
    let top = story.folder.path();
    if fs::metadata(top).unwrap().uid() == 0 {
        for path in [top.join("A"), top.join("B"), top.join("setup.json"), top.join("haulier.toml"), top.to_owned()] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    story.begin();
    story
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn wait_for_word(story: &Story, said: impl Fn() -> String, word: &str) {
    story.until(&format!("it is told that {word}"), || {
        let said = said();
        if said.contains(word) { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_the_rest_goes_on() {
    let story = bound();
    let outside = story.folder.path().join("secret");
    fs::write(&outside, b"secret").unwrap();
    if let Ok(owner) = fs::metadata(story.folder.path()) {
        chown(&outside, Some(owner.uid()), None).unwrap();
    }
    allow(&outside, 0o000);
    fs::rename(&outside, story.path("A", "secret")).unwrap();
    story.write("A", "plain", b"plain");
    story.wait_for("B", "plain", Some(b"plain"));
    wait_for_word(&story, || story.problem("A").unwrap_or_default(), "\"secret\" cannot be read");
    assert_eq!(story.read("B", "secret"), None);
    allow(&story.path("A", "secret"), 0o644);
    story.wait_for("B", "secret", Some(b"secret"));
    story.settle();
    story.until("nothing is wrong any more", || story.problem("A").map_or(Ok(()), Err));
    assert_eq!(story.node().terminate().code(), Some(0));
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_the_rest_goes_on() {
    let story = bound();
    let closed = story.path("B", "closed");
    fs::create_dir(&closed).unwrap();
    allow(&closed, 0o555);
    story.write("A", "closed/f", b"f");
    story.write("A", "open", b"open");
    story.wait_for("B", "open", Some(b"open"));
    wait_for_word(&story, || story.problems("B"), "closed/f");
    allow(&closed, 0o777);
    story.wait_for("B", "closed/f", Some(b"f"));
    story.settle();
    assert_eq!(story.problems("B"), "[]");
    assert_eq!(story.node().terminate().code(), Some(0));
}

/// A file system of 2 MiB on a folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(folder: PathBuf) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "full"]).arg(&folder).status();
        assert!(mounted.unwrap().success(), "this test mounts a small tmpfs, for which it must run as root");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: after a failure the node may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_gone_on_with_when_there_is_room() {
    let mut story = Story::prepared(&["A", "B", "C"], &serde_json::json!({}), &everywhere(&["A", "B", "C"]), "");
    let _disk = SmallDisk::on(story.path("B", ""));
    story.begin();
    let filler = vec![1; 1 << 20];
    story.write("A", "filler", &filler);
    story.wait_for("B", "filler", Some(&filler));
    let large = vec![7; 1_500_000];
    story.write("A", "large", &large);
    story.wait_for("C", "large", Some(&large));
    wait_for_word(&story, || story.problems("B"), "large");
    assert_eq!(story.read("B", "large"), None);
    // What fits still goes, and what does not is no half file.
    story.write("A", "small", b"small");
    story.wait_for("B", "small", Some(b"small"));
    assert_eq!(story.names("B"), ["filler", "small"]);
    // The old version is kept for a while, on the same disk: whoever needs room removes that too.
    story.remove("A", "filler");
    story.wait_for("B", "filler", None);
    fs::remove_dir_all(story.path("B", ".haulier/kept")).unwrap();
    story.wait_for("B", "large", Some(&large));
    story.settle();
    assert_eq!(story.node().terminate().code(), Some(0));
}
