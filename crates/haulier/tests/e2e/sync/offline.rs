//! Rows 12 to 15 and 18: what happened while entries were stopped.

use std::fs::File;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::story::{Story, everywhere};

/// Two entries in step that hold these files.
fn pair(files: &[&str]) -> Story {
    let story = Story::new(&["A", "B"], &everywhere(&["A", "B"]));
    for name in files {
        story.write("A", name, name.as_bytes());
        story.wait_for("B", name, Some(name.as_bytes()));
    }
    story.settle();
    story
}

fn no_conflict_copies(story: &Story) {
    for entry in ["A", "B"] {
        let names = story.names(entry);
        assert!(names.iter().all(|name| !name.contains("sync-conflict")), "{entry}: {names:?}");
    }
}

#[test]
fn row_12_both_sides_changed_other_files() {
    let story = pair(&["f", "g", "h"]);
    story.act("B", "stop");
    story.write("A", "f", b"edited at A");
    story.remove("A", "g");
    story.write("B", "h", b"edited at B");
    story.write("B", "i", b"made at B");
    story.wait_for_document("f", |file| file["uptodate"] == json!(["A"]));
    story.act("B", "start");
    story.wait_for("B", "f", Some(b"edited at A"));
    story.wait_for("B", "g", None);
    story.wait_for("A", "h", Some(b"edited at B"));
    story.wait_for("A", "i", Some(b"made at B"));
    story.settle();
    no_conflict_copies(&story);
    assert_eq!(story.names("A"), ["f", "h", "i"]);
    assert_eq!(story.names("B"), ["f", "h", "i"]);
}

/// Two entries that both changed `f.txt` while nobody looked, and the name under which A's older version is kept.
fn both_changed() -> (Story, String) {
    let story = pair(&["f.txt"]);
    story.act("A", "stop");
    story.act("B", "stop");
    story.write("A", "f.txt", b"older, from A");
    let older = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options().write(true).open(story.path("A", "f.txt")).unwrap().set_modified(older).unwrap();
    story.write("B", "f.txt", b"newer, from B");
    story.act("A", "start");
    story.act("B", "start");
    story.wait_for("A", "f.txt", Some(b"newer, from B"));
    let aside = story.until("the older version is kept at both", || {
        let find = |entry: &str| story.names(entry).into_iter().find(|name| name.contains(".sync-conflict-"));
        match (find("A"), find("B")) {
            (Some(a), Some(b)) if a == b => Ok(a),
            found => Err(format!("{found:?}")),
        }
    });
    story.settle();
    (story, aside)
}

/// The only conflict there is, and where it is decided.
fn open_conflict(story: &Story) -> (Value, String) {
    let (_, list) = story.node().json("GET", "/haulier/v1/sync/conflicts", None);
    let conflict = list["conflicts"][0].clone();
    let path = format!("/haulier/v1/sync/conflicts/{}/resolve", conflict["id"].as_str().unwrap());
    (conflict, path)
}

#[test]
fn row_13_both_changed_the_same_file() {
    let (story, aside) = both_changed();
    assert!(aside.starts_with("f.sync-conflict-") && aside.ends_with("-A.txt"), "{aside}");
    for entry in ["A", "B"] {
        assert_eq!(story.names(entry), [aside.as_str(), "f.txt"], "{entry}");
        assert_eq!(story.read(entry, "f.txt").as_deref(), Some(&b"newer, from B"[..]));
        assert_eq!(story.read(entry, &aside).as_deref(), Some(&b"older, from A"[..]));
    }

    // It is listed until somebody decides; the loser is put in place here.
    let (conflict, path) = open_conflict(&story);
    assert_eq!((conflict["winner"].as_str(), conflict["loser"].as_str()), (Some("B"), Some("A")), "{conflict}");
    assert_eq!(conflict["aside"], aside);
    let (status, body) = story.node().json("POST", &path, Some(&json!({ "keep": "loser" })));
    assert_eq!((status, body["resolution"].as_str()), (200, Some("loser")), "{body}");
    for entry in ["A", "B"] {
        story.wait_for(entry, "f.txt", Some(b"older, from A"));
        story.wait_for(entry, &aside, None);
    }
    story.settle();
    assert_eq!(story.node().json("GET", "/haulier/v1/sync/conflicts", None).1["conflicts"], json!([]));
    assert_eq!(story.node().json("POST", &path, Some(&json!({ "keep": "both" }))).0, 409);
    let (_, versions) = story.node().json("GET", "/haulier/v1/sync/versions?name=f.txt", None);
    assert!(!versions["versions"].as_array().unwrap().is_empty(), "the winner can be had back");
}

#[test]
fn a_conflict_decided_for_the_winner_removes_the_loser_everywhere_and_keeps_it_for_a_while() {
    let (story, aside) = both_changed();
    let (_, path) = open_conflict(&story);
    let (status, body) = story.node().json("POST", &path, Some(&json!({ "keep": "winner" })));
    assert_eq!((status, body["resolution"].as_str()), (200, Some("winner")), "{body}");
    for entry in ["A", "B"] {
        story.wait_for(entry, &aside, None);
        assert_eq!(story.read(entry, "f.txt").as_deref(), Some(&b"newer, from B"[..]), "{entry}");
    }
    story.settle();
    assert_eq!(story.node().json("GET", "/haulier/v1/sync/conflicts", None).1["conflicts"], json!([]));
    let (_, versions) = story.node().json("GET", &format!("/haulier/v1/sync/versions?name={aside}"), None);
    assert!(!versions["versions"].as_array().unwrap().is_empty(), "the loser can be had back: {versions}");
}

#[test]
fn row_14_a_change_wins_against_a_deletion() {
    let story = pair(&["f"]);
    story.act("A", "stop");
    story.act("B", "stop");
    story.remove("A", "f");
    story.write("B", "f", b"edited at B");
    story.act("A", "start");
    story.act("B", "start");
    story.wait_for("A", "f", Some(b"edited at B"));
    story.settle();
    assert_eq!(story.read("B", "f").as_deref(), Some(&b"edited at B"[..]));
    no_conflict_copies(&story);
}

#[test]
fn row_15_equal_new_files_are_one() {
    let story = pair(&[]);
    story.act("A", "stop");
    story.act("B", "stop");
    story.write("A", "f", b"the same");
    story.write("B", "f", b"the same");
    story.act("A", "start");
    story.act("B", "start");
    story.wait_for_document("f", |file| file["uptodate"] == json!(["A", "B"]));
    story.settle();
    no_conflict_copies(&story);
    let (_, versions) = story.node().json("GET", "/haulier/v1/sync/versions?name=f", None);
    assert_eq!(versions["versions"], json!([]), "nothing was replaced");
}

#[test]
fn row_18_another_holder_serves_instead_of_the_source() {
    let story = Story::new(&["A", "B", "C"], &everywhere(&["A", "B", "C"]));
    story.act("C", "stop");
    story.write("A", "f", b"from A");
    story.wait_for("B", "f", Some(b"from A"));
    story.settle();
    story.act("A", "stop");
    story.act("C", "start");
    story.wait_for("C", "f", Some(b"from A"));
    story.settle();
    assert_eq!(story.get("/entries/A/status")["status"], "stopped");
}
