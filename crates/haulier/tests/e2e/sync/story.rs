//! What the stories share: a node with entries in folders of the test's own, and the first hour itself.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use haulier_catalog::DatabaseUrl;
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::{Value, json};

use crate::node::{Node, Scratch, haulier};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node with the entries A, B, …, each a folder of that name.
pub(super) struct Story {
    pub(super) folder: Scratch,
    database: Option<String>,
    pub(super) node: Option<Node>,
    entries: Vec<String>,
}

impl Story {
    pub(super) fn new(entries: &[&str], rules: &Value) -> Self {
        Self::on(None, entries, rules, "")
    }

    pub(super) fn on(database: Option<String>, entries: &[&str], rules: &Value, settings: &str) -> Self {
        let mut story = Self::prepared(entries, &json!({}), rules, settings);
        story.database = database;
        story.begin();
        story
    }

    /// Entries in folders of the test's own, and others that are somewhere else, not started yet.
    pub(super) fn prepared(local: &[&str], others: &Value, rules: &Value, settings: &str) -> Self {
        let (folder, mut setup) = (Scratch::new(), others.as_object().unwrap().clone());
        for name in local {
            fs::create_dir(folder.path().join(name)).unwrap();
            setup.insert((*name).to_owned(), json!({ "driver": "local_storage", "options": { "root": name } }));
        }
        let entries = setup.keys().cloned().collect();
        let setup = json!({ "name": "story", "entries": setup, "rules": rules });
        fs::write(folder.path().join("setup.json"), setup.to_string()).unwrap();
        fs::write(folder.path().join("haulier.toml"), settings).unwrap();
        Self { folder, database: None, node: None, entries }
    }

    /// What is wrong with an entry, as it says itself.
    pub(super) fn problem(&self, entry: &str) -> Option<String> {
        let status = self.get(&format!("/entries/{entry}/status"));
        status["problem"].as_str().map(str::to_owned)
    }

    /// What could not be done at an entry, and why.
    pub(super) fn problems(&self, entry: &str) -> String {
        self.node().json("GET", &format!("/haulier/v1/sync/entries/{entry}/progress"), None).1["problems"].to_string()
    }

    /// Starts the node, again.
    pub(super) fn begin(&mut self) {
        self.node = Some(Node::with_setup(self.folder.path(), self.database.as_deref(), "haulier.toml", "setup.json"));
    }

    pub(super) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub(super) fn path(&self, entry: &str, name: &str) -> PathBuf {
        self.folder.path().join(entry).join(name)
    }

    /// Writes a file as an editor does: beside it, then renamed into place.
    pub(super) fn write(&self, entry: &str, name: &str, bytes: &[u8]) {
        let path = self.path(entry, name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
    }

    pub(super) fn remove(&self, entry: &str, name: &str) {
        fs::remove_file(self.path(entry, name)).unwrap();
    }

    pub(super) fn read(&self, entry: &str, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(entry, name)).ok()
    }

    pub(super) fn get(&self, path: &str) -> Value {
        let (status, body) = self.node().json("GET", &format!("/api/v1.0{path}"), None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(super) fn put(&self, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.node().json("PUT", &format!("/api/v1.0{path}"), body)
    }

    pub(super) fn act(&self, entry: &str, verb: &str) {
        let (status, body) = self.put(&format!("/entries/{entry}/{verb}"), None);
        assert_eq!((status, body["status"].as_str()), (200, Some("ok")), "{verb} {entry}: {body}");
    }

    pub(super) fn set_rules(&self, rules: &Value) {
        let (status, body) = self.put("/rules", Some(&json!({ "rules": rules })));
        assert_eq!(status, 200, "{body}");
    }

    pub(super) fn reload(&self) {
        assert_eq!(self.put("/rules/reload", None).0, 200);
    }

    /// Asks until it holds.
    pub(super) fn until<T>(&self, what: &str, ask: impl Fn() -> Result<T, String>) -> T {
        let begun = Instant::now();
        loop {
            match ask() {
                Ok(found) => return found,
                Err(seen) => assert!(begun.elapsed() < PATIENCE, "{what}: still {seen}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until an entry has a file with these bytes, or has none.
    pub(super) fn wait_for(&self, entry: &str, name: &str, bytes: Option<&[u8]>) {
        let short = |bytes: Option<&[u8]>| {
            bytes.map(|b| (b.len(), String::from_utf8_lossy(&b[..b.len().min(40)]).into_owned()))
        };
        self.until(&format!("{name} at {entry} becomes {:?}", short(bytes)), || {
            let found = self.read(entry, name);
            if found.as_deref() == bytes { Ok(()) } else { Err(format!("{:?}", short(found.as_deref()))) }
        });
    }

    /// The document of a file, once it is as it should be.
    pub(super) fn wait_for_document(&self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let ids = self.get(&format!("/files/id/{name}"));
        let path = format!("/api/v1.0/files/{}/metadata", ids[name].as_str().unwrap());
        self.until(&format!("the document of {name}"), || {
            let (_, body) = self.node().json("GET", &path, None);
            if holds(&body) { Ok(body) } else { Err(body.to_string()) }
        })
    }

    /// Waits until every running entry is scanned, nothing is left to be done at it, and every file is up to date at
    /// every running owner.
    pub(super) fn settle(&self) {
        self.until("everything is in step", || {
            let active: Vec<_> = self
                .entries
                .iter()
                .filter(|e| self.get(&format!("/entries/{e}/status"))["status"] != "stopped")
                .collect();
            for entry in &active {
                let (_, progress) =
                    self.node().json("GET", &format!("/haulier/v1/sync/entries/{entry}/progress"), None);
                if progress["scanned"] != true || progress["files_left"] != 0 {
                    return Err(progress.to_string());
                }
            }
            let list = self.get("/files?limit=100000");
            let lags = |file: &&Value| {
                let names = |member: &str| -> Vec<&str> {
                    file[member].as_array().unwrap().iter().filter_map(Value::as_str).collect()
                };
                let uptodate = names("uptodate");
                names("owners").iter().any(|owner| active.iter().any(|a| a == owner) && !uptodate.contains(owner))
            };
            match list["files"].as_array().unwrap().iter().find(lags) {
                Some(file) => Err(file.to_string()),
                None => Ok(()),
            }
        });
    }

    /// Names of all files at an entry that are the user's own.
    pub(super) fn names(&self, entry: &str) -> Vec<String> {
        let root = self.folder.path().join(entry);
        let mut names = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for found in fs::read_dir(&folder).unwrap() {
                let path = found.unwrap().path();
                match path.is_dir() {
                    true if path.file_name().unwrap() == ".haulier" => {}
                    true => folders.push(path),
                    false => names.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        names.sort();
        names
    }
}

pub(super) fn everywhere(entries: &[&str]) -> Value {
    json!([{ "match": { "path": "/" }, "sync": entries }])
}

/// Two folders and three rules, as the README has them.
fn first_hour(database: Option<String>) {
    let rules = json!([
        { "match": { "path": "/both/" }, "sync": ["desk", "shelf"] },
        { "match": { "mime": ["application/pdf"] }, "sync": ["shelf"] },
        { "match": { "glob": "**/*.tmp" }, "ban": ["shelf"] },
    ]);
    let story = Story::on(database, &["desk", "shelf"], &rules, "");
    story.write("desk", "both/note.txt", b"hello");
    story.wait_for("shelf", "both/note.txt", Some(b"hello"));
    story.write("shelf", "both/note.txt", b"hello back");
    story.wait_for("desk", "both/note.txt", Some(b"hello back"));
    story.write("desk", "x.pdf", b"a paper");
    story.wait_for("shelf", "x.pdf", Some(b"a paper"));
    story.write("desk", "both/x.tmp", b"scratch");
    story.write("desk", "plain.txt", b"stays");
    let document = story.wait_for_document("plain.txt", |file| file["owners"] == json!(["desk"]));
    assert_eq!((document["size"].as_i64(), document["mimetype"].as_str()), (Some(5), Some("text/plain")));
    story.wait_for_document("both/x.tmp", |file| file["owners"] == json!(["desk"]));
    story.remove("desk", "both/note.txt");
    story.wait_for("shelf", "both/note.txt", None);
    story.settle();
    assert_eq!(story.names("shelf"), ["x.pdf"]);
    assert_eq!(story.names("desk"), ["both/x.tmp", "plain.txt", "x.pdf"]);

    // The same as a person sees it.
    let url = story.node().url();
    let run = |arguments: &[&str]| {
        let ended = haulier(story.folder.path()).args(["--server", &url]).args(arguments).output().unwrap();
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stdout));
        String::from_utf8(ended.stdout).unwrap()
    };
    assert!(run(&["entry", "list"]).contains("active"));
    assert!(run(&["entry", "show", "desk"]).contains("local_storage"));
    assert!(run(&["rule", "list"]).contains("application/pdf"));
    assert!(run(&["rule", "test", "both/y.tmp", "--entry", "desk"]).contains("glob"));
    assert!(run(&["file", "list"]).contains("plain.txt"));
    assert!(run(&["file", "show", "plain.txt"]).contains("text/plain"));
    assert_eq!(run(&["-o", "json", "conflict", "list"]).trim(), "[]");

    // What was deleted at the shelf can be had back.
    let versions: Value = serde_json::from_str(&run(&["-o", "json", "file", "versions", "both/note.txt"])).unwrap();
    let kept = versions.as_array().unwrap().iter().find(|v| v["reason"] == "deleted" && v["entry"] == "shelf");
    run(&["file", "restore", kept.unwrap()["id"].as_str().unwrap()]);
    story.wait_for("desk", "both/note.txt", Some(b"hello back"));

    run(&["entry", "stop", "shelf"]);
    assert_eq!(story.get("/entries/shelf/status")["status"], "stopped");
    run(&["entry", "start", "shelf"]);
    run(&["entry", "restart", "shelf"]);
    assert_eq!(story.node().terminate().code(), Some(0));
}

#[test]
fn two_folders_and_three_rules_on_sqlite() {
    first_hour(None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_folders_and_three_rules_on_postgres() {
    let catalog = TestCatalog::new(Database::Postgres).await;
    let DatabaseUrl::Postgres(url) = &catalog.url else { panic!("not PostgreSQL") };
    let url = url.reveal().clone();
    tokio::task::spawn_blocking(move || first_hour(Some(url))).await.unwrap();
}
