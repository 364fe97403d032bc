//! The first transfer of the README on both databases, what a node says about itself, and how it stops.

use std::fs;
use std::path::Path;

use haulier_catalog::DatabaseUrl;
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::json;

use crate::node::{Node, haulier};

fn first_transfer(folder: &Path, database: Option<&str>) {
    let node = Node::start(folder, database);
    let copy = folder.join("ooo");
    let request = json!({"source_url": "file:///bin/bash", "destination_url": format!("file://{}", copy.display())});
    let (status, made) = node.json("POST", "/v1/transfers", Some(&request));
    assert_eq!((status, made["state"].as_str()), (201, Some("STATE_NEW")), "{made}");
    let id = made["id"].as_str().unwrap().to_owned();

    let done = node.wait_for(&id, "STATE_COMPLETE");
    let original = fs::read("/bin/bash").unwrap();
    assert_eq!(done["progress"], original.len());
    assert!(fs::read(&copy).unwrap() == original);

    let (status, list) = node.json("GET", "/v1/transfers?limit=5", None);
    assert_eq!((status, list.as_array().unwrap().len()), (200, 1), "{list}");
    assert_eq!(list[0]["id"], id);

    let path = format!("/v1/transfers/{id}");
    let (status, _) = node.json("POST", &format!("{path}/action"), Some(&json!({"xferaction": "cancel"})));
    assert_eq!(status, 400);
    assert_eq!(node.json("DELETE", &path, None).0, 204);
    assert_eq!(node.json("GET", &path, None).0, 404);
    assert!(copy.exists(), "deleting a transfer keeps the file");
    assert_eq!(node.terminate().code(), Some(0));
}

#[test]
fn the_first_transfer_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    first_transfer(folder.path(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_transfer_on_postgres() {
    let catalog = TestCatalog::new(Database::Postgres).await;
    let DatabaseUrl::Postgres(url) = &catalog.url else { panic!("not PostgreSQL") };
    first_transfer(catalog.folder(), Some(url.reveal()));
}

#[test]
fn a_node_describes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), None);
    assert_eq!(node.json("GET", "/healthz", None).0, 200);
    assert_eq!(node.json("GET", "/readyz", None).0, 200);
    assert_eq!(node.json("GET", "/v1/nothing", None).0, 404);
    // "/" itself is the backup API's.
    let (status, versions) = node.json("GET", "/versions", None);
    assert_eq!((status, versions["versions"]["v1"]["status"].as_str()), (300, Some("active")));
    let (status, openapi) = node.json("GET", "/openapi.json", None);
    assert_eq!(status, 200);
    assert!(openapi["paths"]["/v1/transfers"]["post"].is_object(), "{openapi}");
    let (_, _, docs) = node.ask("GET", "/docs", None).unwrap();
    assert!(docs.contains("/v1/transfers/{id}") || docs.contains("/v1/transfers/{transfer_id}"), "{docs}");
    node.json("GET", "/v1/transfers", None);
    let (_, _, page) = node.ask("GET", "/metrics", None).unwrap();
    assert!(
        page.contains(r#"haulier_http_requests_total{method="GET",route="/v1/transfers",status="200"} 1"#),
        "{page}"
    );
    assert!(page.contains("haulier_work_tasks_running"), "{page}");
}

#[test]
fn a_transfer_goes_on_after_the_node_was_asked_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&source, &bytes).unwrap();
    let node = Node::start(folder.path(), None);
    let request = json!({
        "source_url": format!("file://{}", source.display()),
        "destination_url": format!("file://{}", copy.display()),
        "destination_options": {"rate_bytes_per_second": 2_000_000},
    });
    let (status, made) = node.json("POST", "/v1/transfers", Some(&request));
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    node.wait_for(&id, "STATE_RUNNING");
    assert_eq!(node.terminate().code(), Some(0));
    assert!(!copy.exists(), "a part of the file has its final name");

    // A lease given back needs no waiting for its end.
    let again = Node::start(folder.path(), None);
    again.wait_for(&id, "STATE_COMPLETE");
    assert!(fs::read(&copy).unwrap() == bytes);
}

#[test]
fn exit_codes_say_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), None);
    let url = node.url();
    let code = |arguments: &[&str]| {
        let ended = haulier(folder.path()).args(arguments).output().unwrap();
        ended.status.code().unwrap()
    };
    assert_eq!(code(&["--server", &url, "transfer", "list"]), 0);
    assert_eq!(code(&["bogus"]), 2);
    assert_eq!(code(&["--server", &url, "transfer", "create", "nonsense", "file:///tmp/x"]), 2);
    assert_eq!(code(&["--server", &url, "transfer", "show", "00000000-0000-4000-8000-000000000000"]), 3);
    assert_eq!(code(&["cp", "/no/such/file", "copy"]), 3);
    assert_eq!(code(&["--server", &url, "cp", "/bin/true", "true"]), 0);
    assert_eq!(code(&["serve", "--dev", "--listen", url.trim_start_matches("http://")]), 5);
    drop(node);
    assert_eq!(code(&["--server", &url, "transfer", "list"]), 11);
}
