//! Entries on real servers beside a local folder: what happens at one end comes to the other.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use super::story::{Story, everywhere};
use crate::node::haulier;
use crate::storages::server;

/// A place on a server, as an entry has it and as a copy has it.
struct Far {
    entry: Value,
    url: String,
    options: Value,
    /// Where the server keeps it, if that can be looked at.
    disk: Option<PathBuf>,
}

fn text<'a>(server: &'a Value, name: &str) -> &'a str {
    server[name].as_str().unwrap()
}

impl Far {
    fn s3() -> Self {
        let mut options = server("HAULIER_TEST_S3");
        let bucket = options.as_object_mut().unwrap().remove("bucket").unwrap();
        let (bucket, root) = (bucket.as_str().unwrap(), format!("sync-{}", std::process::id()));
        let mut entry = json!({
            "bucket": bucket, "root": root, "aws_access_key": options["access_key_id"],
            "aws_secret_key": options["secret_access_key"], "changes_timer": 1,
        });
        for name in ["endpoint", "region", "path_style"] {
            if !options[name].is_null() {
                entry[name] = options[name].clone();
            }
        }
        let entry = json!({ "driver": "amazon_s3", "options": entry });
        Self { entry, url: format!("s3://{bucket}/{root}"), options, disk: None }
    }

    fn sftp() -> Self {
        let server = server("HAULIER_TEST_SFTP");
        let (user, address) = (text(&server, "user"), text(&server, "address"));
        let root = format!("{}/sync-{}", text(&server, "folder"), std::process::id());
        let (host, port) = address.rsplit_once(':').unwrap();
        let entry = json!({ "driver": "sftp", "options": {
            "hostname": host, "port": port.parse::<u16>().unwrap(), "username": user, "root": root,
            "private_key_path": server["private_key_file"], "host_key": server["host_key"], "changes_timer": 1,
        }});
        let key = fs::read_to_string(text(&server, "private_key_file")).unwrap();
        let options = json!({ "private_key": key, "host_key": server["host_key"] });
        Self { entry, url: format!("sftp://{user}@{address}{root}"), options, disk: Some(root.into()) }
    }

    fn webdav() -> Self {
        let server = server("HAULIER_TEST_WEBDAV");
        let (address, root) = (text(&server, "address"), format!("sync-{}", std::process::id()));
        let entry = json!({ "driver": "webdav", "options": {
            "hostname": format!("http://{address}"), "root": root, "username": server["user"],
            "password": server["password"], "changes_timer": 1,
        }});
        let options = json!({ "user": server["user"], "password": server["password"] });
        let disk = PathBuf::from(text(&server, "folder")).join(&root);
        Self { entry, url: format!("webdav://{address}/{root}"), options, disk: Some(disk) }
    }

    fn copy(&self, story: &Story, arguments: &[&str]) -> Option<i32> {
        fs::write(story.folder.path().join("options"), self.options.to_string()).unwrap();
        let mut command = haulier(story.folder.path());
        command.args(["-q", "cp"]).args(arguments).stdout(Stdio::null()).status().unwrap().code()
    }

    /// Waits until a file is there with these bytes, or is not there.
    fn wait_for(&self, story: &Story, name: &str, bytes: Option<&[u8]>) {
        let (from, to) = (format!("{}/{name}", self.url), story.folder.path().join("seen"));
        story.until(&format!("{name} is so at {}", self.url), || {
            let code = self.copy(story, &[&from, "seen", "--source-options", "@options"]);
            let found = if code == Some(0) { fs::read(&to).ok() } else { None };
            let missing = code == Some(3);
            if found.as_deref() == bytes && (bytes.is_some() || missing) { Ok(()) } else { Err(format!("{code:?}")) }
        });
    }

    fn put(&self, story: &Story, name: &str, bytes: &[u8]) {
        fs::write(story.folder.path().join("given"), bytes).unwrap();
        let to = format!("{}/{name}", self.url);
        let arguments = ["given", &to, "--target-options", "@options"];
        assert_eq!(self.copy(story, &arguments), Some(0), "{to}");
    }
}

/// Both ways: made, changed and deleted, small and large, with odd names.
fn in_step(far: &Far) {
    let mut story = Story::prepared(&["desk"], &json!({ "far": far.entry }), &everywhere(&["desk", "far"]), "");
    let large: Vec<u8> = (0..9_000_000u32).map(|byte| (byte / 251) as u8).collect();
    story.write("desk", "before", b"was there first");
    story.begin();
    far.wait_for(&story, "before", Some(b"was there first"));
    story.write("desk", "deep/er/words", b"from the desk");
    story.write("desk", "large", &large);
    far.wait_for(&story, "deep/er/words", Some(b"from the desk"));
    far.wait_for(&story, "large", Some(&large));
    far.put(&story, "deep/far", b"from afar");
    story.wait_for("desk", "deep/far", Some(b"from afar"));
    story.write("desk", "deep/far", b"changed at the desk");
    far.wait_for(&story, "deep/far", Some(b"changed at the desk"));
    story.settle();
    far.put(&story, "before", b"changed afar");
    story.wait_for("desk", "before", Some(b"changed afar"));
    story.remove("desk", "large");
    far.wait_for(&story, "large", None);
    if let Some(disk) = &far.disk {
        fs::remove_file(disk.join("deep/far")).unwrap();
        story.wait_for("desk", "deep/far", None);
    }
    story.settle();
    let rest: &[&str] =
        if far.disk.is_some() { &["before", "deep/er/words"] } else { &["before", "deep/er/words", "deep/far"] };
    assert_eq!(story.names("desk"), rest, "no conflict copies, and nothing unfinished");
    assert_eq!(story.problem("far"), None);

    // It was all known before: a second start carries nothing.
    assert_eq!(story.node().terminate().code(), Some(0));
    story.begin();
    story.settle();
    assert_eq!(story.names("desk"), rest);
    assert_eq!(story.node().terminate().code(), Some(0));
}

#[test]
fn an_entry_on_s3_is_kept_in_step() {
    in_step(&Far::s3());
}

#[test]
fn an_entry_over_sftp_is_kept_in_step() {
    in_step(&Far::sftp());
}

#[test]
fn an_entry_over_webdav_is_kept_in_step() {
    in_step(&Far::webdav());
}

#[test]
fn an_entry_that_cannot_be_reached_says_so_and_keeps_nobody_waiting() {
    let far =
        json!({ "far": { "driver": "webdav", "options": { "hostname": "http://127.0.0.1:1", "changes_timer": 1 } } });
    let mut story = Story::prepared(&["A", "B"], &far, &everywhere(&["A", "B", "far"]), "");
    story.begin();
    story.write("A", "f", b"x");
    story.wait_for("B", "f", Some(b"x"));
    let problem = story.until("it says what is wrong", || story.problem("far").ok_or_else(|| "nothing".to_owned()));
    assert!(!problem.is_empty());
    assert_eq!(story.get("/entries/far/status")["status"], "active", "it is what the operator asked for");
    let document = story.wait_for_document("f", |file| file["uptodate"] == json!(["A", "B"]));
    assert_eq!(document["owners"], json!(["A", "B", "far"]));
    assert_eq!((story.problem("A"), story.problem("B")), (None, None));
    assert_eq!(story.node().terminate().code(), Some(0));
}
