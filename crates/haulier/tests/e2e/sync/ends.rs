//! Row 19, sessions, and setup files that cannot be.

use std::fs;
use std::io::Write;

use serde_json::json;

use super::story::{Story, everywhere};
use crate::node::haulier;

const SIZE: usize = 300 << 20;

/// A mebibyte that is no other one. Made cheaply: there are many.
fn block(index: usize) -> Vec<u8> {
    let mut bytes = vec![index as u8 ^ 0x5a; 1 << 20];
    bytes[..8].copy_from_slice(&(index as u64).to_be_bytes());
    bytes
}

#[test]
fn row_19_a_copy_that_was_killed_is_completed_and_never_half() {
    let slowly = "[sync]\nrate_bytes_per_second = 100_000_000\n";
    let mut story = Story::on(None, &["A", "B"], &everywhere(&["A", "B"]), slowly);
    let outside = story.folder.path().join("big");
    let mut file = fs::File::create(&outside).unwrap();
    (0..SIZE >> 20).for_each(|index| file.write_all(&block(index)).unwrap());
    drop(file);
    fs::rename(&outside, story.path("A", "big")).unwrap();
    let at_b = story.folder.path().join("B");
    let begun = |story: &Story| {
        story.until("the copy is under way", || {
            let parts = fs::read_dir(&at_b).unwrap().filter_map(Result::ok);
            let bytes =
                |found: fs::DirEntry| found.metadata().map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 });
            let most = parts.map(bytes).max().unwrap_or(0);
            if most > 0 { Ok(()) } else { Err("nothing of it is there".to_owned()) }
        });
    };
    begun(&story);
    story.node().process.kill();
    let whole_or_none = |story: &Story| {
        let found = fs::metadata(story.path("B", "big")).map(|meta| meta.len()).ok();
        assert!(found.is_none_or(|size| size == SIZE as u64), "half of it is visible: {found:?}");
    };
    whole_or_none(&story);
    story.begin();
    story.until("it is complete", || {
        whole_or_none(&story);
        fs::metadata(story.path("B", "big")).map(drop).map_err(|error| error.to_string())
    });
    story.settle();
    let copy = story.read("B", "big").unwrap();
    assert!(copy.chunks(1 << 20).enumerate().all(|(index, bytes)| bytes == block(index)), "the bytes differ");
    assert_eq!(story.names("B"), ["big"], "nothing is left over");
    assert_eq!(story.node().terminate().code(), Some(0));
}

#[test]
fn sessions_know_nothing_of_each_other() {
    let mut story = Story::new(&["A", "B"], &everywhere(&["A", "B"]));
    story.write("A", "f", b"x");
    story.wait_for("B", "f", Some(b"x"));
    story.set_rules(&json!([]));
    assert_eq!(story.node().terminate().code(), Some(0));
    assert!(story.folder.path().join("data/sessions/story").is_dir());

    // Rules put through the API survive a restart.
    story.begin();
    assert_eq!(story.get("/rules"), json!({ "rules": [] }));
    story.settle();
    assert_eq!(story.get("/files")["files"].as_array().unwrap().len(), 1);
}

#[test]
fn setup_files_that_cannot_be_are_refused_with_the_words_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |setup: &str| {
        let mut command = haulier(folder.path());
        let ended = command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--setup", setup]);
        let ended = ended.stderr(std::process::Stdio::piped()).output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let (code, said) = serve("missing.json");
    assert!(said.contains("Can't process setup file 'missing.json' : no such file"), "{said}");
    assert_eq!(code, Some(1));
    fs::write(folder.path().join("bad.json"), "{").unwrap();
    let (code, said) = serve("bad.json");
    assert!(said.contains("Error parsing 'bad.json' : EOF"), "{said}");
    assert_eq!(code, Some(1));
    fs::write(folder.path().join("empty.json"), "{}").unwrap();
    let (code, said) = serve("empty.json");
    assert!(said.contains("no entries"), "{said}");
    assert_eq!(code, Some(0));
    let entry = |root: &str| json!({ "driver": "local_storage", "options": { "root": root } });
    let nested = json!({ "entries": { "A": entry("x"), "B": entry("x/y") } });
    fs::write(folder.path().join("nested.json"), nested.to_string()).unwrap();
    let (code, said) = serve("nested.json");
    assert!(said.contains("the root of entry B lies in that of entry A"), "{said}");
    assert_ne!(code, Some(0));
}
