//! Sites and ownerships, as administration sets them: E39, E40.

use haulier_catalog::{Sql, args, queue};
use haulier_testkit::both_databases;
use reqwest::Method;
use serde_json::{Value, json};

use crate::site::{Answer, Site, Sites};

const TWO: (&str, &str) = ("x-clonecloudstore-client-id", "client-two");

async fn put(site: &Site, path: &str, body: Value) -> Answer {
    site.send(Method::PUT, path, &[], body.to_string()).await
}

async fn waiting(site: &Site, to: &str) -> i64 {
    const COUNT: Sql = Sql::both("SELECT COUNT(*) AS number FROM replication_outbox WHERE site = $1");
    let mut tx = site.catalog().read().await.unwrap();
    tx.fetch_optional(COUNT, args![to]).await.unwrap().unwrap().int("number").unwrap()
}

async fn deliveries(site: &Site, to: &str) -> usize {
    let mut tx = site.catalog().read().await.unwrap();
    let tasks = queue::find_by_subject(&mut tx, to).await.unwrap();
    tasks.iter().filter(|task| task.kind == "replication.deliver" && !task.stop_asked).count()
}

both_databases! {
    async fn the_topology_is_kept(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let (site, path) = (&sites[0], "/administration/topologies");
        assert_eq!(site.get(path).await.expect(200).json(), json!([]));
        let lyon = json!({ "id": "lyon", "name": "Lyon", "uri": "http://127.0.0.1:9", "status": "DOWN" });
        let made = site.post(path, lyon.clone()).await.expect(201);
        assert_eq!((made.json(), made.header("module")), (lyon.clone(), Some("ADMINISTRATION")));
        site.post(path, lyon.clone()).await.expect(409);
        assert_eq!(deliveries(site, "lyon").await, 1);
        for (member, value) in [
            ("id", json!("")), ("id", json!("a b")), ("name", Value::Null), ("uri", json!("lyon:1")), ("uri", json!("ftp://x")),
            ("uri", json!("http://x/y")), ("status", json!("up")), ("status", json!(1)),
        ] {
            let mut wrong = lyon.clone();
            wrong[member] = value;
            let refused = site.post(path, wrong).await.expect(400);
            assert!(refused.header("error").unwrap().contains(member), "{refused:?}");
        }
        site.post(path, json!([lyon])).await.expect(400);
        let mut nice = json!({ "id": "nice", "name": "Nice", "uri": "http://127.0.0.1:9/" });
        let made = site.post(path, nice.clone()).await.expect(201).json();
        assert_eq!((made["status"].as_str(), made["uri"].as_str()), (Some("UNKNOWN"), Some("http://127.0.0.1:9")));
        assert_eq!(deliveries(site, "nice").await, 0);
        let count = |answer: Answer| answer.expect(200).json().as_array().unwrap().len();
        for (query, expected) in [("", 2), ("?status=UNKNOWN", 2), ("?status=DOWN", 1), ("?status=UP", 0)] {
            assert_eq!(count(site.get(&format!("{path}{query}")).await), expected, "{query}");
        }
        site.get(&format!("{path}?status=up")).await.expect(400);
        nice["status"] = json!("DOWN");
        put(site, path, nice.clone()).await.expect(202);
        assert_eq!(deliveries(site, "nice").await, 1);
        nice["id"] = json!("paris");
        put(site, path, nice).await.expect(404);
        assert_eq!(site.get(&format!("{path}/lyon")).await.expect(200).json(), lyon);
        site.get(&format!("{path}/paris")).await.expect(404);
        site.get(&format!("{path}/a%20b")).await.expect(404);
        site.delete(&format!("{path}/lyon")).await.expect(204);
        site.delete(&format!("{path}/lyon")).await.expect(404);
        sites.end().await;
    }

    async fn a_site_that_leaves_takes_its_orders_along(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let (site, path) = (&sites[0], "/administration/topologies");
        for (id, status) in [("down", "DOWN"), ("unknown", "UNKNOWN"), ("deleted", "DELETED"), ("site-a", "UP")] {
            site.post(path, json!({ "id": id, "name": id, "uri": "http://127.0.0.1:9", "status": status })).await.expect(201);
        }
        site.upload("/cloudclonestore/orders", "").await.expect(201);
        site.upload("/cloudclonestore/orders/a", "x").await.expect(201);
        site.delete("/cloudclonestore/orders/a").await.expect(204);
        for (id, expected) in [("down", 3), ("unknown", 0), ("deleted", 0), ("site-a", 0)] {
            assert_eq!(waiting(site, id).await, expected, "{id}");
        }
        site.delete(&format!("{path}/down")).await.expect(204);
        assert_eq!((waiting(site, "down").await, deliveries(site, "down").await), (0, 0));
        sites.end().await;
    }

    async fn tokens_of_sites_go_in_and_never_out(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let (site, path) = (&sites[0], "/haulier/v1/replication/sites");
        let lyon = json!({ "id": "lyon", "name": "Lyon", "uri": "http://127.0.0.1:9", "status": "DOWN", "token": "s3cret-text" });
        let made = site.post(path, lyon.clone()).await.expect(201);
        assert!(made.json()["has_token"] == true && made.json()["is_here"] == false, "{}", made.text());
        let mut shown = vec![made, site.get(path).await.expect(200), site.get(&format!("{path}/lyon")).await.expect(200)];
        shown.push(site.get("/administration/topologies").await.expect(200));
        assert!(shown.iter().all(|answer| !answer.text().contains("s3cret")), "{shown:?}");
        let mut tx = site.catalog().read().await.unwrap();
        let row = tx.fetch_optional(Sql::both("SELECT token FROM replication_sites"), args![]).await.unwrap().unwrap();
        assert!(!row.text("token").unwrap().contains("s3cret"), "it is sealed");
        drop(tx);
        let changed = put(site, &format!("{path}/lyon"), json!({ "name": "Lyons", "uri": "http://127.0.0.1:9", "status": "DOWN" })).await;
        let view = changed.expect(200).json();
        assert!(view["has_token"] == true && view["name"] == "Lyons", "{view}");
        site.post(path, json!({ "id": "x", "name": "x", "uri": "http://x", "token": "a b" })).await.expect(400);
        put(site, &format!("{path}/lyon"), json!({ "id": "x", "name": "x", "uri": "http://x" })).await.expect(400);
        put(site, &format!("{path}/none"), json!({ "name": "x", "uri": "http://x" })).await.expect(404);
        let refused = site.send(Method::PATCH, path, &[], "").await.expect(405);
        assert_eq!(refused.json()["error"]["code"], "invalid");
        site.delete(&format!("{path}/lyon")).await.expect(204);
        assert_eq!(site.get(&format!("{path}/lyon")).await.expect(404).json()["error"]["code"], "not_found");
        sites.end().await;
    }

    async fn ownerships_are_sets(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let (site, path) = (&sites[0], "/administration/ownerships");
        let one = format!("{path}/client-two/abc");
        site.get(&one).await.expect(404);
        put(site, &format!("{one}/READ"), Value::Null).await.expect(404);
        assert_eq!(site.upload(&format!("{one}/READ"), "").await.expect(201).json(), "READ");
        site.upload(&format!("{one}/WRITE"), "").await.expect(409);
        assert_eq!(put(site, &format!("{one}/DELETE"), Value::Null).await.expect(202).json(), "DELETE_READ");
        assert_eq!(put(site, &format!("{one}/OWNER"), Value::Null).await.expect(202).json(), "OWNER");
        assert_eq!(site.get(&one).await.expect(200).json(), "OWNER");
        for wrong in ["read", "UNKNOWN", "READ,WRITE", "8"] {
            site.upload(&format!("{one}/{wrong}"), "").await.expect(400);
        }
        site.upload(&format!("{path}/client-two/a_b/READ"), "").await.expect(400);
        site.upload(&format!("{path}/Client/abc/READ"), "").await.expect(400);
        site.upload(&format!("{path}/client-two/abd/READ"), "").await.expect(201);
        let listed = site.get(&format!("{path}/client-two")).await.expect(200).json();
        assert_eq!(listed, json!([
            { "client": "client-two", "bucket": "abc", "ownership": "OWNER" },
            { "client": "client-two", "bucket": "abd", "ownership": "READ" },
        ]));
        for (asked, expected) in [("READ", 2), ("READ_WRITE", 1), ("UNKNOWN", 2), ("", 2)] {
            let listed = site.get(&format!("{path}/client-two?ownership={asked}")).await.expect(200).json();
            assert_eq!(listed.as_array().unwrap().len(), expected, "{asked}");
        }
        site.get(&format!("{path}/client-two?ownership=x")).await.expect(400);
        assert_eq!(site.get(&format!("{path}/nobody")).await.expect(200).json(), json!([]));
        site.delete(&one).await.expect(204);
        site.delete(&one).await.expect(404);
        site.delete(&format!("{path}/abd")).await.expect(204);
        site.delete(&format!("{path}/abd")).await.expect(404);
        sites.end().await;
    }

    async fn e39_strangers_learn_nothing(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        site.upload("/cloudclonestore/mine", "").await.expect(201);
        site.upload("/cloudclonestore/mine/a", "x").await.expect(201);
        for path in ["/cloudclonestore/mine/a", "/cloudclonestore/mine/none"] {
            site.send(Method::GET, path, &[TWO], "").await.expect(404);
            assert_eq!(site.send(Method::HEAD, path, &[TWO], "").await.expect(404).header("type"), Some("NONE"));
            site.send(Method::GET, path, &[TWO, ("accept", "application/json")], "").await.expect(404);
            site.send(Method::POST, path, &[TWO], "x").await.expect(403);
            site.send(Method::DELETE, path, &[TWO], "").await.expect(403);
        }
        site.send(Method::PUT, "/cloudclonestore/mine", &[TWO], "").await.expect(403);
        site.send(Method::GET, "/cloudclonestore/mine", &[TWO], "").await.expect(200);
        site.send(Method::HEAD, "/cloudclonestore/mine", &[TWO], "").await.expect(204);
        site.send(Method::POST, "/cloudclonestore/none/a", &[TWO], "x").await.expect(404);
        sites.end().await;
    }

    async fn e40_writers_may_write_alone(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        site.upload("/cloudclonestore/mine", "").await.expect(201);
        site.upload("/administration/ownerships/client-two/mine/WRITE", "").await.expect(201);
        let path = "/cloudclonestore/mine/theirs";
        site.send(Method::POST, path, &[TWO], "x").await.expect(201);
        site.send(Method::GET, path, &[TWO], "").await.expect(403);
        assert!(site.send(Method::HEAD, path, &[TWO], "").await.expect(403).header("error").is_some());
        site.send(Method::DELETE, path, &[TWO], "").await.expect(403);
        site.send(Method::PUT, "/cloudclonestore/mine", &[TWO], "").await.expect(403);
        assert_eq!(site.get(path).await.expect(200).text(), "x");
        put(site, "/administration/ownerships/client-two/mine/DELETE_READ", Value::Null).await.expect(202);
        site.send(Method::GET, path, &[TWO], "").await.expect(200);
        site.send(Method::PUT, "/cloudclonestore/mine", &[TWO], "").await.expect(200);
        site.send(Method::DELETE, "/cloudclonestore/mine", &[TWO], "").await.expect(403);
        site.send(Method::DELETE, path, &[TWO], "").await.expect(204);
        sites.end().await;
    }
}
