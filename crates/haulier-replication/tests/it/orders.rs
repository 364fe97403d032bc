//! Orders that sites send: what is taken and refused, and what becomes of it (E31 to E35, E45).

use futures::future::join_all;
use haulier_testkit::both_databases;
use reqwest::Method;
use serde_json::{Value, json};

use crate::site::{CLIENT, Site, Sites};

const ORDERS: &str = "/replicator/remote/orders";
const MULTIPLE: &str = "/replicator/remote/orders/multiple";

fn order(action: &str, bucket: &str, object: Option<&str>) -> Value {
    json!({
        "opId": "test", "fromSite": "site-a", "toSite": "site-b", "clientId": CLIENT,
        "bucketName": bucket, "objectName": object, "size": 0, "hash": null, "action": action,
    })
}

/// Orders that a site has not carried out.
async fn orders(site: &Site, state: &str) -> Vec<Value> {
    let page = site.get(&format!("/haulier/v1/replication/orders?state={state}")).await.expect(200).json();
    page["orders"].as_array().unwrap().clone()
}

both_databases! {
    async fn what_the_contract_says_of_bodies(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let b = &sites[1];
        let sample = r#"{ "opId": "string", "fromSite": "string", "toSite": "string", "clientId": "string", "bucketName": "string", "objectName": "string", "size": 1, "hash": "string", "action": "CREATE" }"#;
        let json = [("content-type", "application/json")];
        let answer = b.send(Method::POST, ORDERS, &json, sample).await.expect(201);
        assert_eq!((answer.header("op-id"), answer.header("module")), (Some("string"), Some("REPLICATOR")));
        assert!(answer.body.is_empty());
        let with_id = [("content-type", "application/json"), ("x-clonecloudstore-op-id", "mine")];
        let answer = b.send(Method::POST, ORDERS, &with_id, sample).await.expect(201);
        assert_eq!(answer.header("op-id"), Some("mine"));
        b.send(Method::POST, MULTIPLE, &json, "[]").await.expect(201);
        b.post(ORDERS, order("UNKNOWN", "bucket", None)).await.expect(201);
        b.post(MULTIPLE, json!([order("UNKNOWN", "bucket", Some("x"))])).await.expect(201);
        let list = format!("[{sample}]");
        for (path, body) in [
            (ORDERS, ""), (ORDERS, "null"), (ORDERS, list.as_str()), (MULTIPLE, sample), (MULTIPLE, "[1]"),
            (ORDERS, "{'action':'CREATE'}"), (ORDERS, "{}"),
        ] {
            let refused = b.send(Method::POST, path, &json, body.to_owned()).await.expect(400);
            assert!(refused.header("error").unwrap().starts_with("REPLICATOR - "), "{refused:?}");
        }
        for (member, value) in [
            ("action", json!(null)), ("action", json!("create")), ("clientId", json!("A")), ("bucketName", json!(null)),
            ("objectName", json!("a//b")), ("size", json!(-1)), ("size", json!(1.5)),
        ] {
            let mut wrong = order("CREATE", "bucket", Some("x"));
            wrong[member] = value;
            b.post(ORDERS, wrong).await.expect(400);
        }
        b.send(Method::POST, ORDERS, &[("content-type", "text/plain")], sample).await.expect(415);
        b.send(Method::GET, ORDERS, &[], "").await.expect(405);
        let many: Vec<_> = (0..10_001).map(|n| order("DELETE", "bucket", Some(&format!("o{n}")))).collect();
        b.post(MULTIPLE, json!(many)).await.expect(400);
        sites.end().await;
    }

    async fn e31_an_unknown_source_holds_up_nobody(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let b = &sites[1];
        b.post(ORDERS, order("CREATE", "bucket", None)).await.expect(201);
        let mut unknown = order("CREATE", "bucket", Some("nowhere"));
        unknown["fromSite"] = json!("elsewhere");
        b.post(ORDERS, unknown).await.expect(201);
        b.wait_until("/haulier/v1/replication/orders?state=WAIT", |answer| {
            answer.json()["orders"][0]["problem"].as_str().is_some_and(|why| why.contains("elsewhere"))
        })
        .await;
        sites[0].send(Method::POST, "/cloudclonestore/other", &[], "").await.expect(201);
        sites[0].upload("/cloudclonestore/other/x", "content").await.expect(201);
        b.wait_until("/replicator/remote/buckets/other/x", |answer| answer.status == 200).await;
        b.get("/replicator/remote/buckets/bucket/nowhere").await.expect(404);
        let waiting = &orders(b, "WAIT").await[0];
        let id = waiting["id"].as_str().unwrap();
        let status = b.get("/haulier/v1/replication/status").await.expect(200).json();
        assert_eq!((&status["in_sync"], &status["incoming"][0]["waiting"]), (&json!(false), &json!(1)), "{status}");
        b.delete(&format!("/haulier/v1/replication/orders/{id}")).await.expect(204);
        b.delete(&format!("/haulier/v1/replication/orders/{id}")).await.expect(404);
        assert_eq!(orders(b, "WAIT").await.len(), 0);
        sites.end().await;
    }

    async fn e32_what_was_received_is_not_forwarded(t: TestCatalog) {
        let sites = Sites::three(t).await;
        sites[1].post(ORDERS, order("CREATE", "bucket", None)).await.expect(201);
        sites[1].wait_until("/replicator/remote/buckets/bucket", |answer| answer.status == 200).await;
        let status = sites[1].get("/haulier/v1/replication/status").await.expect(200).json();
        for site in status["sites"].as_array().unwrap() {
            assert_eq!(site["outgoing"]["orders"], 0, "{status}");
        }
        sites[0].get("/replicator/remote/buckets/bucket").await.expect(404);
        sites[2].get("/replicator/remote/buckets/bucket").await.expect(404);
        sites.end().await;
    }

    async fn e33_the_same_order_twenty_times(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let (a, b) = (&sites[0], &sites[1]);
        sites.cut_off(1, true);
        a.send(Method::POST, "/cloudclonestore/bucket", &[], "").await.expect(201);
        let made = a.upload("/cloudclonestore/bucket/x", "content").await.expect(201).json();
        sites.cut_off(1, false);
        let mut twenty = order("CREATE", "bucket", Some("x"));
        twenty["size"] = json!(7);
        twenty["hash"] = made["hash"].clone();
        let answers = join_all((0..20).map(|_| b.post(ORDERS, twenty.clone()))).await;
        answers.into_iter().for_each(|answer| drop(answer.expect(201)));
        let here = b.wait_until("/replicator/remote/buckets/bucket/x", |answer| answer.status == 200).await;
        assert_eq!(here.text(), "content");
        assert_eq!((here.header("creation"), here.header("site")), (made["creation"].as_str(), Some("site-b")));
        b.wait_until("/haulier/v1/replication/received/site-a", |answer| answer.json()["orders"] == 0).await;
        let listed = b.send(Method::PUT, "/cloudclonestore/bucket", &[], "").await.expect(200).text();
        assert_eq!(listed.lines().count(), 1, "{listed}");
        assert!(b.get("/haulier/v1/replication/conflicts").await.json()["conflicts"].as_array().unwrap().is_empty());
        sites.end().await;
    }

    async fn e34_one_bad_order_and_nothing_is_recorded(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let b = &sites[1];
        let body = json!([order("CREATE", "bucket", None), order("NONSENSE", "bucket", Some("x"))]);
        let refused = b.post(MULTIPLE, body).await.expect(400);
        assert!(refused.header("error").unwrap().contains("[1].action"), "{refused:?}");
        assert!(b.get("/haulier/v1/replication/orders").await.json()["orders"].as_array().unwrap().is_empty());
        b.get("/replicator/remote/buckets/bucket").await.expect(404);
        sites.end().await;
    }

    async fn e35_a_bucket_and_what_is_in_it_at_once(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let (a, b) = (&sites[0], &sites[1]);
        sites.cut_off(1, true);
        a.send(Method::POST, "/cloudclonestore/bucket", &[], "").await.expect(201);
        a.upload("/cloudclonestore/bucket/x", "content").await.expect(201);
        sites.cut_off(1, false);
        let both = json!([order("CREATE", "bucket", None), order("CREATE", "bucket", Some("x"))]);
        b.post(MULTIPLE, both).await.expect(201);
        let here = b.wait_until("/replicator/remote/buckets/bucket/x", |answer| answer.status == 200).await;
        assert_eq!(here.text(), "content");
        sites.end().await;
    }

    async fn e45_a_bucket_that_cannot_be_deleted_stays(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let (a, b) = (&sites[0], &sites[1]);
        a.send(Method::POST, "/cloudclonestore/bucket", &[], "").await.expect(201);
        a.upload("/cloudclonestore/bucket/x", "content").await.expect(201);
        b.wait_until("/replicator/remote/buckets/bucket/x", |answer| answer.status == 200).await;
        b.post(ORDERS, order("DELETE", "bucket", None)).await.expect(201);
        let mut foreign = order("DELETE", "bucket", None);
        foreign["clientId"] = json!("client-two");
        b.post(ORDERS, foreign).await.expect(201);
        b.wait_until("/haulier/v1/replication/orders?state=CONFLICT", |answer| {
            answer.json()["orders"].as_array().unwrap().len() == 2
        })
        .await;
        b.get("/replicator/remote/buckets/bucket/x").await.expect(200);
        a.upload("/cloudclonestore/bucket/y", "more").await.expect(201);
        b.wait_until("/replicator/remote/buckets/bucket/y", |answer| answer.status == 200).await;
        let status = a.wait_until("/haulier/v1/replication/status", |answer| {
            answer.json()["sites"][0]["unapplied"]["conflicts"] == 2
        });
        assert_eq!(status.await.json()["in_sync"], false);
        sites.end().await;
    }

    async fn a_bucket_of_another_client_is_a_conflict(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        let b = &sites[1];
        b.send(Method::POST, "/cloudclonestore/taken", &[], "").await.expect(201);
        let mut foreign = order("CREATE", "taken", None);
        foreign["clientId"] = json!("client-two");
        b.post(ORDERS, foreign.clone()).await.expect(409);
        b.post(MULTIPLE, json!([foreign, foreign])).await.expect(409);
        assert!(b.get("/haulier/v1/replication/orders").await.json()["orders"].as_array().unwrap().is_empty());
        b.post(ORDERS, order("CREATE", "taken", None)).await.expect(201);
        b.post(MULTIPLE, json!([foreign, order("CREATE", "free", None)])).await.expect(201);
        b.wait_until("/replicator/remote/buckets/free", |answer| answer.status == 200).await;
        b.wait_until("/haulier/v1/replication/orders?state=CONFLICT", |answer| {
            answer.json()["orders"].as_array().is_some_and(|orders| orders.len() == 1)
        })
        .await;
        // What comes behind a deletion is another matter.
        b.post(MULTIPLE, json!([order("DELETE", "taken", None), foreign])).await.expect(201);
        b.wait_until("/replicator/remote/buckets/taken", |answer| {
            answer.status == 200 && answer.json()["clientId"] == "client-two"
        })
        .await;
        sites.end().await;
    }
}
