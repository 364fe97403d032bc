//! What is true of the whole surface of a node: nobody gets in without a token, and many may start at once.

use std::fs;
use std::process::Stdio;

use haulier_catalog::{Catalog, DatabaseUrl, Sql, args, migrate};
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::json;

use crate::node::{Node, haulier};

/// What anybody may see: the fixed documents of the backup API, and whether it answers.
const OPEN: [&str; 2] = ["/v1", "/v1/health"];
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

#[test]
fn without_a_token_every_described_route_answers_401() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "s3cret").unwrap();
    let config = "[auth]\nmode = \"static\"\ntokens = [{ token = { file = \"token\" }, user = \"ann\" }]\n";
    fs::write(folder.path().join("haulier.toml"), config).unwrap();
    let node = Node::with_config(folder.path(), None, "guarded", "haulier.toml");
    let (status, openapi) = node.json("GET", "/openapi.json", None);
    assert_eq!(status, 200, "the description itself is open");
    let (mut asked, mut below_v1) = (0, 0);
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        if OPEN.contains(&path.as_str()) {
            assert_eq!(node.ask("GET", path, None).unwrap().0, 200, "{path}");
            continue;
        }
        below_v1 += usize::from(path.starts_with("/v1/"));
        // Any identifier does: who is asking is found out before it is looked at.
        let concrete = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let concrete = concrete.collect::<Vec<_>>().join("/");
        for method in METHODS.iter().filter(|method| methods.get(**method).is_some()) {
            let (status, head, body) = node.ask(&method.to_uppercase(), &concrete, Some(&json!({}))).unwrap();
            assert_eq!(status, 401, "{method} {path}: {body}");
            assert!(head.contains("content-type: application/json"), "{method} {path}: {head}");
            asked += 1;
        }
        // A method that is not described gives nothing away either.
        let (status, ..) = node.ask("PUT", &concrete, None).unwrap();
        assert_eq!(status, 401, "PUT {path}");
    }
    assert!(asked >= 5 && below_v1 > 0, "only {asked} routes are described");
    assert_eq!(node.json("GET", "/v1/nothing", None).0, 401);

    // With the token the same server answers, so that the refusals above are about the token.
    let list = ["--server", &node.url(), "--token-file", "token", "transfer", "list"].map(str::to_owned);
    assert!(haulier(folder.path()).args(&list).status().unwrap().success());
    assert_eq!(haulier(folder.path()).args(&list[..2]).args(&list[4..]).status().unwrap().code(), Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_migrate_one_postgres_at_once_do_it_once() {
    let t = TestCatalog::new(Database::Postgres).await;
    let DatabaseUrl::Postgres(url) = &t.url else { panic!("not PostgreSQL") };
    for statement in ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"] {
        let mut tx = t.catalog.begin("empty").await.unwrap();
        tx.execute(Sql::both(statement), args![]).await.unwrap();
        tx.commit().await.unwrap();
    }
    t.catalog.close().await.unwrap();

    let start = |number: usize| {
        let data = format!("data-{number}");
        let mut command = haulier(t.folder());
        command.args(["db", "migrate", "--data-dir", &data]).env("HAULIER_DATABASE_URL", url.reveal());
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = (0..5).map(start).collect();
    for process in running {
        let ended = process.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let versions = migrate::versions(&t.url).await.unwrap();
    assert_eq!(versions.applied, versions.known);
    let catalog = Catalog::open(&t.url, t.catalog.clock()).await.unwrap();
    assert!(catalog.check().await.unwrap().is_sound());
    let mut tx = catalog.read().await.unwrap();
    let count = Sql::both("SELECT COUNT(*) AS n FROM event_positions");
    let row = tx.fetch_optional(count, args![]).await.unwrap().unwrap();
    assert_eq!(row.int("n").unwrap(), 1, "what a migration puts in is there once");
    drop(tx);
    catalog.close().await.unwrap();
}
