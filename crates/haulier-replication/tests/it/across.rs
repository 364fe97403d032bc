//! What is done at one site becomes so at the others (E5, E6, E17 to E20, E24 to E26, E30, E43, E44).

use std::time::Duration;

use haulier_testkit::both_databases;
use reqwest::Method;
use serde_json::json;

use crate::link::Line;
use crate::site::{Site, Sites};

const STATUS: &str = "/haulier/v1/replication/status";

fn remote(name: &str) -> String {
    format!("/replicator/remote/buckets/bucket/{name}")
}

async fn bucket(sites: &Sites) {
    sites[0].send(Method::POST, "/cloudclonestore/bucket", &[], "").await.expect(201);
    for site in sites.iter() {
        site.wait_until("/replicator/remote/buckets/bucket", |answer| answer.status == 200).await;
    }
}

/// Waits until a site has this content under a name.
async fn holds(site: &Site, name: &str, content: &str) {
    site.wait_until(&remote(name), |answer| answer.status == 200 && answer.text() == content).await;
}

async fn lacks(site: &Site, name: &str) {
    site.wait_until(&remote(name), |answer| answer.status == 404).await;
}

/// Waits until every site says that all is confirmed.
async fn in_sync(sites: &Sites) {
    for site in sites.iter() {
        site.wait_until(STATUS, |answer| answer.json()["in_sync"] == true).await;
    }
}

both_databases! {
    async fn e26_created_here_deleted_there(t: TestCatalog) {
        let sites = Sites::three(t).await;
        bucket(&sites).await;
        let metadata = [("x-clonecloudstore-metadata", r#"{"kind":"é"}"#)];
        let made = sites[0].send(Method::POST, "/cloudclonestore/bucket/dir/x", &metadata, "content").await.expect(201);
        for site in [&sites[1], &sites[2]] {
            holds(site, "dir/x", "content").await;
            let there = site.get(&remote("dir/x")).await;
            assert_eq!(there.header("hash"), made.json()["hash"].as_str());
            assert_eq!(there.header("creation"), made.json()["creation"].as_str());
            assert_eq!(there.header("metadata"), Some(r#"{"kind":"\u00e9"}"#));
            assert_eq!(there.header("site"), Some(site.name));
            assert_eq!(there.header("origin"), Some("site-a"));
        }
        sites[2].delete("/cloudclonestore/bucket/dir/x").await.expect(204);
        lacks(&sites[0], "dir/x").await;
        lacks(&sites[1], "dir/x").await;
        in_sync(&sites).await;
        sites.end().await;
    }

    async fn e25_the_last_of_many_changes_counts(t: TestCatalog) {
        let sites = Sites::three(t).await;
        bucket(&sites).await;
        for round in 0..5 {
            sites[0].upload("/cloudclonestore/bucket/x", format!("round {round}")).await.expect(201);
            if round < 4 {
                sites[0].delete("/cloudclonestore/bucket/x").await.expect(204);
            }
        }
        for site in sites.iter() {
            holds(site, "x", "round 4").await;
        }
        in_sync(&sites).await;
        for site in sites.iter() {
            holds(site, "x", "round 4").await;
        }
        sites.end().await;
    }

    async fn e6_a_bucket_changes_its_owner(t: TestCatalog) {
        let sites = Sites::three(t).await;
        bucket(&sites).await;
        sites[0].delete("/cloudclonestore/bucket").await.expect(204);
        let two = [("x-clonecloudstore-client-id", "client-two")];
        sites[0].send(Method::POST, "/cloudclonestore/bucket", &two, "").await.expect(201);
        sites[0].send(Method::POST, "/cloudclonestore/bucket/x", &two, "content").await.expect(201);
        for site in sites.iter() {
            site.wait_until("/replicator/remote/buckets/bucket", |answer| {
                answer.status == 200 && answer.json()["clientId"] == "client-two"
            })
            .await;
        }
        let there = sites[2].send(Method::DELETE, "/cloudclonestore/bucket", &two, "").await;
        assert!(matches!(there.status, 406 | 204), "{there:?}");
        sites.end().await;
    }

    async fn e24_two_sites_create_the_same_name(t: TestCatalog) {
        let sites = Sites::three(t).await;
        bucket(&sites).await;
        in_sync(&sites).await;
        sites.cut_off(0, true);
        let earlier = sites[0].upload("/cloudclonestore/bucket/x", "earlier").await.expect(201).json();
        let later = sites[1].upload("/cloudclonestore/bucket/x", "later").await.expect(201).json();
        assert!(earlier["creation"].as_str() <= later["creation"].as_str());
        sites.cut_off(0, false);
        for site in sites.iter() {
            holds(site, "x", "later").await;
        }
        in_sync(&sites).await;
        for site in sites.iter() {
            holds(site, "x", "later").await;
        }
        // Nobody loses what was acknowledged: the loser can be had back where it was.
        let kept = sites[0].get("/haulier/v1/replication/conflicts?bucket=bucket").await.expect(200).json();
        let loser = &kept["conflicts"][0];
        assert_eq!((&loser["sha256"], &loser["winner_sha256"]), (&earlier["hash"], &later["hash"]), "{kept}");
        let id = loser["id"].as_str().unwrap();
        let back = sites[0].get(&format!("/haulier/v1/replication/conflicts/{id}")).await.expect(200);
        assert_eq!(back.text(), "earlier");
        sites.end().await;
    }

    async fn a_create_and_a_delete_that_did_not_hear_of_each_other(t: TestCatalog) {
        let sites = Sites::three(t).await;
        bucket(&sites).await;
        sites[0].upload("/cloudclonestore/bucket/x", "first").await.expect(201);
        holds(&sites[1], "x", "first").await;
        holds(&sites[2], "x", "first").await;
        in_sync(&sites).await;
        sites.cut_off(1, true);
        // Deleted here, and there deleted and created anew: the last one stays.
        sites[0].delete("/cloudclonestore/bucket/x").await.expect(204);
        sites[1].delete("/cloudclonestore/bucket/x").await.expect(204);
        sites[1].upload("/cloudclonestore/bucket/x", "second").await.expect(201);
        sites.cut_off(1, false);
        for site in sites.iter() {
            holds(site, "x", "second").await;
        }
        in_sync(&sites).await;
        for site in sites.iter() {
            holds(site, "x", "second").await;
        }
        sites.end().await;
    }

    async fn e30_a_site_that_was_away_catches_up(t: TestCatalog) {
        let mut sites = Sites::three(t).await;
        bucket(&sites).await;
        sites[1].stop().await;
        sites[0].upload("/cloudclonestore/bucket/x", "content").await.expect(201);
        sites[0].upload("/cloudclonestore/bucket/gone", "content").await.expect(201);
        sites[0].delete("/cloudclonestore/bucket/gone").await.expect(204);
        holds(&sites[2], "x", "content").await;
        let status = sites[0].wait_until(STATUS, |answer| {
            let sites = &answer.json()["sites"];
            let told = sites[0]["last_error"].as_str().is_some_and(|why| why.contains("site-b"));
            told && sites[1]["outgoing"]["orders"] == 0
        });
        let status = status.await.json();
        let (away, there) = (&status["sites"][0], &status["sites"][1]);
        assert_eq!((&away["in_sync"], &away["outgoing"]["orders"]), (&json!(false), &json!(3)), "{status}");
        assert_eq!((&away["buckets"][0]["outgoing"]["bytes"], &there["outgoing"]["orders"]), (&json!(14), &json!(0)));
        sites[1].start().await;
        holds(&sites[1], "x", "content").await;
        in_sync(&sites).await;
        lacks(&sites[1], "gone").await;
        sites.end().await;
    }

    async fn e5_and_e17_to_e20_the_loop_over_sites(t: TestCatalog) {
        let sites = Sites::three(t).await;
        bucket(&sites).await;
        sites.line(0, 1, Line::Cut);
        // Only site-c has it: the lines from site-b to others are cut, and site-a asks.
        sites.line(2, 0, Line::Cut);
        sites.line(2, 1, Line::Cut);
        sites[2].upload("/cloudclonestore/bucket/x", "content").await.expect(201);
        let local = "/replicator/local/buckets/bucket/x";
        // E19
        let found = sites[0].get(local).await.expect(200);
        assert_eq!((found.text().as_str(), found.header("target-id")), ("content", Some("site-c")));
        assert_eq!(found.header("site"), Some("site-c"));
        let found = sites[0].head(local).await.expect(204);
        assert_eq!((found.header("type"), found.header("target-id")), (Some("OBJECT"), Some("site-c")));
        let packed = sites[0].send(Method::GET, local, &[("accept-encoding", "zstd")], "").await.expect(200);
        assert_eq!(packed.headers["content-encoding"], "zstd");
        let part = sites[0].send(Method::GET, local, &[("range", "bytes=3-")], "").await.expect(206);
        assert_eq!(part.text(), "tent");
        assert_eq!(sites[0].head("/replicator/local/buckets/bucket/y").await.expect(500).header("type"), None);
        // E20
        for path in ["/replicator/local/buckets/bucket/none", "/replicator/local/buckets/none"] {
            let unknown = sites[0].get(path).await.expect(500);
            assert!(unknown.header("error").unwrap().contains("site-b"), "{unknown:?}");
            sites[0].head(path).await.expect(500);
        }
        sites.line(0, 1, Line::Open);
        sites[0].get("/replicator/local/buckets/bucket/none").await.expect(404);
        assert_eq!(sites[0].head("/replicator/local/buckets/bucket/none").await.expect(404).header("type"), Some("NONE"));
        // E16: what begins with it is no object.
        sites[0].head("/replicator/local/buckets/bucket/").await.expect(400);
        let beginning = sites[2].head("/replicator/remote/buckets/bucket/x").await.expect(204);
        assert_eq!(beginning.header("type"), Some("OBJECT"));
        sites[2].upload("/cloudclonestore/bucket/dir/x", "content").await.expect(201);
        assert_eq!(sites[2].head("/replicator/remote/buckets/bucket/di").await.header("type"), Some("DIRECTORY"));
        for path in ["dir", "dir/", "di"] {
            let path = format!("/replicator/local/buckets/bucket/{path}");
            assert_eq!(sites[0].head(&path).await.expect(404).header("type"), Some("NONE"), "{path}");
        }
        // E17, E18
        for target in ["unknown", "site-a", "site-b"] {
            let target = [("x-clonecloudstore-target-id", target)];
            sites[0].send(Method::GET, local, &target, "").await.expect(404);
            sites[0].send(Method::HEAD, local, &target, "").await.expect(404);
        }
        for target in ["unknown", "site-a"] {
            let target = [("x-clonecloudstore-target-id", target)];
            sites[0].send(Method::GET, "/replicator/local/buckets/bucket", &target, "").await.expect(404);
            sites[0].send(Method::HEAD, "/replicator/local/buckets/bucket", &target, "").await.expect(404);
        }
        let there = [("x-clonecloudstore-target-id", "site-c")];
        sites[0].send(Method::GET, local, &there, "").await.expect(200);
        sites[0].send(Method::GET, local, &[("accept", "application/json")], "").await.expect(406);
        sites[0].send(Method::GET, local, &[("x-clonecloudstore-client-id", "X")], "").await.expect(400);
        sites[0].get("/replicator/local/buckets/Upper").await.expect(400);
        // E5
        let found = sites[0].get("/replicator/local/buckets/bucket").await.expect(200);
        assert_eq!((found.json()["site"].as_str(), found.header("target-id")), (Some("site-b"), Some("site-b")));
        sites[1].delete("/cloudclonestore/bucket").await.expect(204);
        let found = sites[0].get("/replicator/local/buckets/bucket").await.expect(200);
        assert_eq!(found.header("target-id"), Some("site-c"));
        let found = sites[0].head("/replicator/local/buckets/bucket").await.expect(204);
        assert_eq!((found.header("type"), found.header("target-id")), (Some("BUCKET"), Some("site-c")));
        let there = [("x-clonecloudstore-target-id", "site-b")];
        sites[0].send(Method::GET, "/replicator/local/buckets/bucket", &there, "").await.expect(410);
        sites[0].send(Method::HEAD, "/replicator/local/buckets/bucket", &there, "").await.expect(404);
        sites.end().await;
    }

    async fn e43_and_e44_what_is_elsewhere_is_read_through_and_brought_here(t: TestCatalog) {
        let sites = Sites::three(t).await;
        bucket(&sites).await;
        // Orders from site-b reach nobody, but it can be asked.
        sites.line(1, 0, Line::Cut);
        sites.line(1, 2, Line::Cut);
        sites[1].upload("/cloudclonestore/bucket/x", "content").await.expect(201);
        sites[1].upload("/cloudclonestore/bucket/y", "other").await.expect(201);
        let read = sites[0].get("/cloudclonestore/bucket/x").await.expect(200);
        assert_eq!((read.text().as_str(), read.header("site")), ("content", Some("site-b")));
        assert_eq!(read.header("module"), Some("ACCESSOR"));
        holds(&sites[0], "x", "content").await;
        let here = sites[0].get("/cloudclonestore/bucket/x").await.expect(200);
        assert_eq!((here.text().as_str(), here.header("site")), ("content", Some("site-a")));
        assert_eq!(sites[0].head("/cloudclonestore/bucket/y").await.expect(204).header("type"), Some("OBJECT"));
        holds(&sites[0], "y", "other").await;
        // E44
        sites[0].delete("/cloudclonestore/bucket/x").await.expect(204);
        sites[0].get("/cloudclonestore/bucket/x").await.expect(404);
        sites[0].head("/cloudclonestore/bucket/x").await.expect(404);
        sites[0].get("/cloudclonestore/bucket/none").await.expect(404);
        sites.line(0, 1, Line::Cut);
        let unknown = sites[0].get("/cloudclonestore/bucket/none").await.expect(404);
        assert!(unknown.header("error").unwrap().contains("site-b"), "{unknown:?}");
        sites.end().await;
    }

    async fn a_large_object_goes_on_where_it_stopped(t: TestCatalog) {
        let mut sites = Sites::with(t, 2, Default::default()).await;
        bucket(&sites).await;
        let content: Vec<u8> = (0..40u32 << 20).map(|n| (n ^ n >> 9) as u8).collect();
        let made = sites[0].upload("/cloudclonestore/bucket/large", content.clone()).await.expect(201).json();
        sites[1].wait_until("/haulier/v1/replication/orders", |answer| {
            !answer.json()["orders"].as_array().unwrap().is_empty()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        sites[1].crash().await;
        sites[1].start().await;
        let there = sites[1].wait_until(&remote("large"), |answer| answer.status == 200).await;
        assert!(there.body == content, "another content");
        assert_eq!(there.header("hash"), made["hash"].as_str());
        in_sync(&sites).await;
        sites.end().await;
    }

    async fn a_bit_flipped_on_the_wire_never_becomes_ready(t: TestCatalog) {
        let sites = Sites::with(t, 2, Default::default()).await;
        bucket(&sites).await;
        in_sync(&sites).await;
        sites.line(1, 0, Line::Spoiled);
        sites[0].upload("/cloudclonestore/bucket/x", vec![7; 100_000]).await.expect(201);
        sites[1].wait_until("/haulier/v1/replication/orders?state=WAIT", |answer| {
            !answer.json()["orders"].as_array().unwrap().is_empty()
        })
        .await;
        sites[1].get(&remote("x")).await.expect(404);
        sites.line(1, 0, Line::Open);
        let there = sites[1].wait_until(&remote("x"), |answer| answer.status == 200).await;
        assert!(there.body == vec![7; 100_000]);
        sites.end().await;
    }

    async fn contents_travel_compressed_when_sites_agree(t: TestCatalog) {
        let config = haulier_replication::ReplicationConfig { compression: true, ..Default::default() };
        let sites = Sites::with(t, 2, config).await;
        bucket(&sites).await;
        let content = vec![42; 20 << 20];
        sites[0].upload("/cloudclonestore/bucket/large", content.clone()).await.expect(201);
        sites[0].upload("/cloudclonestore/bucket/empty", "").await.expect(201);
        sites[0].upload("/cloudclonestore/bucket/small", "content").await.expect(201);
        holds(&sites[1], "small", "content").await;
        holds(&sites[1], "empty", "").await;
        let there = sites[1].wait_until(&remote("large"), |answer| answer.status == 200).await;
        assert!(there.body == content);
        let local = sites[1].get("/replicator/local/buckets/bucket/large").await.expect(200);
        assert!(local.body == content);
        sites.end().await;
    }
}
