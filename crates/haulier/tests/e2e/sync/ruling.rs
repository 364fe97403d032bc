//! Rows 1 to 9: lists, actions, and rules that come into force.

use serde_json::json;

use super::story::{Story, everywhere};

#[test]
fn row_1_and_2_a_list_is_the_smallest_ids() {
    let story = Story::new(&["A", "B"], &everywhere(&["A", "B"]));
    for index in 0..45 {
        story.write("A", &format!("{index}.txt"), b"x");
    }
    for index in 0..45 {
        story.wait_for("B", &format!("{index}.txt"), Some(b"x"));
    }
    story.settle();
    let all = story.get("/files?limit=1000");
    let all = all["files"].as_array().unwrap();
    assert_eq!(all.len(), 45);
    assert!(all.is_sorted_by_key(|file| file["fid"].as_str().unwrap().to_owned()));
    assert_eq!(story.get("/files")["files"].as_array().unwrap(), &all[..20]);
    assert_eq!(story.get("/files?offset=1000000"), json!({ "files": [] }));
}

#[test]
fn row_3_and_4_a_stopped_entry_stays_stopped() {
    let story = Story::new(&["A", "B"], &everywhere(&["A", "B"]));
    story.act("A", "stop");
    let (status, body) = story.node().json("GET", "/api/v1.0/entries/A/stats", None);
    assert_eq!((status, body["reason"].as_str()), (409, Some("entry A is not running")));
    assert_eq!(story.put("/entries/A/restart", None).0, 409);
    assert_eq!(story.get("/entries/A/status")["status"], "stopped");
    // What happens meanwhile at either side is not carried, and is afterwards.
    story.write("A", "a", b"from A");
    story.write("B", "b", b"from B");
    story.wait_for_document("b", |file| file["uptodate"] == json!(["B"]));
    assert_eq!((story.read("A", "b"), story.read("B", "a")), (None, None));
    story.act("A", "start");
    story.wait_for("B", "a", Some(b"from A"));
    story.wait_for("A", "b", Some(b"from B"));
    let stats = story.get("/entries/A/stats");
    assert!(stats["info"]["age"].as_f64().unwrap() < 60.0, "{stats}");
}

#[test]
fn row_5_to_9_rules_come_into_force_with_a_reload() {
    let story = Story::new(&["A", "B", "C"], &json!([]));
    let (status, body) = story.put("/rules", Some(&json!({ "rules": [{ "match": {}, "sync": ["Z"] }] })));
    assert_eq!((status, body["reason"].as_str()), (400, Some("rules[0].sync: unknown entry \"Z\"")));
    assert_eq!(story.get("/rules"), json!({ "rules": [] }));

    // 6: stored rules are not in force.
    story.set_rules(&everywhere(&["B"]));
    story.write("A", "one", b"1");
    story.write("A", "dir/two", b"22");
    story.wait_for_document("dir/two", |file| file["owners"] == json!(["A"]));
    story.wait_for_document("one", |file| file["owners"] == json!(["A"]));
    assert_eq!(story.read("B", "one"), None);
    let (_, tried) = story.put("/rules/reload?dry_run=true", None);
    assert_eq!(tried["dry_run"], json!({ "copies": 2, "bytes": 3, "deletes": 0, "released": 0 }));
    assert_eq!(story.read("B", "one"), None);
    story.reload();
    story.wait_for("B", "one", Some(b"1"));
    story.wait_for("B", "dir/two", Some(b"22"));

    // 7: a reload that adds C for files that exist.
    story.set_rules(&everywhere(&["B", "C"]));
    story.reload();
    story.wait_for("C", "one", Some(b"1"));
    story.wait_for("C", "dir/two", Some(b"22"));
    story.settle();

    // 8: a reload removes C, then A changes the file.
    story.set_rules(&everywhere(&["B"]));
    story.reload();
    story.wait_for_document("one", |file| file["owners"] == json!(["A", "B"]));
    story.write("A", "one", b"1 again");
    story.wait_for("B", "one", Some(b"1 again"));
    story.settle();
    assert_eq!(story.read("C", "one").as_deref(), Some(&b"1"[..]), "its copy stays as it was");

    // 9: C deletes such a copy.
    story.remove("C", "one");
    story.remove("C", "dir/two");
    story.write("C", "mark", b"seen after");
    story.wait_for("B", "mark", Some(b"seen after"));
    story.settle();
    assert_eq!(story.read("A", "one").as_deref(), Some(&b"1 again"[..]));
    assert_eq!(story.read("B", "dir/two").as_deref(), Some(&b"22"[..]));
}

#[test]
fn a_type_is_told_by_the_bytes_where_the_name_says_nothing() {
    let rules = json!([{ "match": { "mime": ["image/*"] }, "sync": ["B"] }]);
    let story = Story::new(&["A", "B"], &rules);
    let png = |length: usize| [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &vec![0; length]].concat();
    story.write("A", "words", b"just some words");
    story.write("A", "words.txt", &png(5));
    story.write("A", "scan", &png(10));
    // Too large to be read before it is copied, but for its beginning.
    let large = png(9 << 20);
    story.write("A", "deep/large", &large);
    story.wait_for("B", "scan", Some(&png(10)));
    story.wait_for("B", "deep/large", Some(&large));
    for (name, kind) in [("words", "application/octet-stream"), ("words.txt", "text/plain")] {
        story.wait_for_document(name, |file| file["mimetype"] == kind && file["owners"] == json!(["A"]));
    }
    story.wait_for_document("scan", |file| file["mimetype"] == "image/png");
    story.settle();
    assert_eq!(story.names("B"), ["deep/large", "scan"]);
}
