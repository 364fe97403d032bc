//! The backup API as its own client library speaks it, and beside the other APIs of a node. What its programs and our
//! commands do is below.

mod commands;
mod stock;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use haulier_catalog::DatabaseUrl;
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::json;

use crate::node::{Node, haulier};

const TALK: &str = include_str!("freezer_client.py");
const TOKEN: &str = "s3cret";

/// Settings in `haulier.toml` of a node that knows one user by a token.
fn configure(folder: &Path, more: &str) {
    fs::write(folder.join("token"), TOKEN).unwrap();
    let config = "[auth]\nmode = \"static\"\ntokens = [{ token = { file = \"token\" }, user = \"ann\" }]\n";
    fs::write(folder.join("haulier.toml"), format!("{config}{more}")).unwrap();
}

/// A command that talks to the node as its user.
fn run(folder: &Path, node: &Node, arguments: &[&str]) -> Output {
    haulier(folder).args(arguments).args(["--server", &node.url(), "--token-file", "token"]).output().unwrap()
}

/// The same for one that has to work; what it prints.
fn terminal(folder: &Path, node: &Node, arguments: &[&str]) -> String {
    let output = run(folder, node, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

fn the_client_library_is_served(folder: &Path, database: Option<&str>) {
    let python = std::env::var_os("HAULIER_TEST_FREEZER").expect("no Freezer client: run cargo xtask test");
    configure(folder, "");
    let node = Node::with_config(folder, database, "freezer", "haulier.toml");
    let said = Command::new(python).args(["-c", TALK, &node.url(), TOKEN]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(said.status.success(), "{}{}", text(&said.stdout), text(&said.stderr));
    assert_eq!(text(&said.stdout), "all is well\n");
    assert!(node.terminate().success());
}

#[test]
fn the_client_library_is_served_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    the_client_library_is_served(folder.path(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_library_is_served_on_postgres() {
    let catalog = TestCatalog::new(Database::Postgres).await;
    let DatabaseUrl::Postgres(url) = &catalog.url else { panic!("not PostgreSQL") };
    the_client_library_is_served(catalog.folder(), Some(url.reveal()));
}

#[test]
fn two_apis_share_their_paths_and_each_answers_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), None);
    let (status, versions) = node.json("GET", "/", None);
    assert_eq!((status, versions["versions"][0]["id"].as_str()), (300, Some("1")));
    assert!(node.json("GET", "/v1", None).1["resources"].is_object());
    let (status, made) = node.json("POST", "/v1/sessions/", Some(&json!({ "description": "x" })));
    assert_eq!(status, 201, "{made}");
    let id = made["session_id"].as_str().unwrap();
    assert_eq!(node.json("GET", &format!("/v1/sessions/{id}"), None).1["user_id"], "anonymous");
    assert_eq!(node.json("GET", "/v1/transfers", None), (200, json!([])));
    // The error bodies of the one have a code, those of the other a description.
    for (path, ours) in [
        ("/v1/transfers/x", "code"),
        ("/v1/transfers/x/y/z", "code"),
        ("/v1/jobs/x", "description"),
        ("/v1/jobs/x/y/z", "description"),
        ("/v1/nothing", "description"),
    ] {
        let (status, fault) = node.json("GET", path, None);
        assert!(status == 404 && fault[ours].is_string(), "{path}: {fault}");
    }
    let (_, _, page) = node.ask("GET", "/metrics", None).unwrap();
    assert!(page.contains(r#"route="/v1/sessions/",status="201"} 1"#), "{page}");

    // One of them alone has all paths below /v1.
    for (api, path, wanted) in
        [("backup", "/v1/transfers", 404), ("transfer", "/v1/jobs", 404), ("transfer", "/v1", 404)]
    {
        let folder = tempfile::tempdir().unwrap();
        let config = format!("[[listen]]\naddress = \"127.0.0.1:0\"\napis = [\"{api}\"]\n");
        fs::write(folder.path().join("haulier.toml"), config).unwrap();
        let node = Node::alone(folder.path(), "haulier.toml");
        let (status, fault) = node.json("GET", path, None);
        assert_eq!(status, wanted, "{api} {path}: {fault}");
        assert_eq!(fault["description"].is_string(), api == "backup", "{api} {path}: {fault}");
    }
}
