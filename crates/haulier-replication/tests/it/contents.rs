//! Contents and records going out: E27, E28, ranges, compression, bytes that are missing.

use haulier_catalog::{Sql, args};
use haulier_testkit::both_databases;
use reqwest::Method;

use crate::site::{Site, Sites};
use crate::uploads::files;

const BUCKET: &str = "/cloudclonestore/contents";

async fn one(t: haulier_testkit::catalog::TestCatalog) -> Sites {
    let sites = Sites::with(t, 1, Default::default()).await;
    sites[0].upload(BUCKET, "").await.expect(201);
    sites
}

async fn accepting(site: &Site, path: &str, accept: &str) -> crate::site::Answer {
    site.send(Method::GET, path, &[("accept", accept)], "").await
}

async fn repairs(site: &Site) -> i64 {
    const COUNT: Sql = Sql::both(
        "SELECT COUNT(*) AS number FROM replication_orders WHERE action = 'UPDATE' AND object = 'a' AND ended_at IS NULL",
    );
    let mut tx = site.catalog().read().await.unwrap();
    tx.fetch_optional(COUNT, args![]).await.unwrap().unwrap().int("number").unwrap()
}

both_databases! {
    async fn e27_e28_an_object_is_deleted(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/a");
        site.delete(&path).await.expect(404);
        accepting(site, &path, "application/json").await.expect(404);
        let made = site.upload(&path, "hello").await.expect(201).json();
        assert_eq!(accepting(site, &path, "application/json").await.expect(200).json(), made);
        site.upload(&path, "other").await.expect(409);
        site.delete(&path).await.expect(204);
        site.delete(&path).await.expect(204);
        site.get(&path).await.expect(404);
        assert_eq!(site.head(&path).await.expect(404).header("type"), Some("NONE"));
        let record = accepting(site, &path, "application/json").await.expect(200).json();
        assert_eq!((record["status"].as_str(), record["size"].as_u64()), (Some("DELETED"), Some(0)));
        assert!(record["hash"].is_null() && record["creation"].as_str() > made["creation"].as_str(), "{record}");
        assert!(record["expires"].as_str() > record["creation"].as_str(), "{record}");
        let again = site.upload(&path, "anew").await.expect(201).json();
        assert!(again["creation"].as_str() > record["creation"].as_str() && again["id"] != made["id"], "{again}");
        assert_eq!(site.get(&path).await.expect(200).text(), "anew");
        sites.end().await;
    }

    async fn accept_chooses(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/a");
        site.upload(&path, "hello").await.expect(201);
        for accept in ["*/*", "application/octet-stream", "application/json;q=0.1, */*"] {
            let got = accepting(site, &path, accept).await.expect(200);
            assert_eq!((got.text().as_str(), got.headers["content-length"].as_bytes()), ("hello", &b"5"[..]));
            for name in ["id", "site", "bucket", "name", "creation", "size", "hash", "status", "op-id", "module"] {
                assert!(got.header(name).is_some(), "{name}");
            }
            assert!(got.header("metadata").is_none() && got.header("expires").is_none());
        }
        assert_eq!(accepting(site, &path, "application/json").await.expect(200).json()["metadata"], serde_json::json!({}));
        accepting(site, &path, "text/html").await.expect(406);
        sites.end().await;
    }

    async fn parts_of_contents(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/a");
        site.upload(&path, "0123456789").await.expect(201);
        let tag = site.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
        for (range, text, told) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=8-", "89", "bytes 8-9/10"),
            ("bytes=-2", "89", "bytes 8-9/10"),
            ("bytes=5-500", "56789", "bytes 5-9/10"),
        ] {
            let headers = [("range", range), ("accept-encoding", "zstd"), ("if-range", tag.as_str())];
            let part = site.send(Method::GET, &path, &headers, "").await.expect(206);
            assert_eq!((part.text().as_str(), part.headers["content-range"].to_str().unwrap()), (text, told));
            assert_eq!(part.header("size"), Some("10"));
        }
        let outside = site.send(Method::GET, &path, &[("range", "bytes=10-")], "").await.expect(416);
        assert_eq!(outside.headers["content-range"], "bytes */10");
        assert!(outside.header("error").is_some());
        site.send(Method::GET, &path, &[("range", "bytes=0-1,4-5")], "").await.expect(200);
        site.send(Method::GET, &path, &[("range", "bytes=0-1"), ("if-range", "\"x\"")], "").await.expect(200);
        sites.end().await;
    }

    async fn bytes_that_are_missing_are_asked_for(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/a");
        site.upload(&path, "hello").await.expect(201);
        let stored = files(&site.test.folder().join("data/objects"));
        std::fs::write(&stored[0], "hell").unwrap();
        site.head(&path).await.expect(204);
        assert_eq!(repairs(site).await, 0);
        site.head(&format!("{path}?fullCheck=true")).await.expect(404);
        site.get(&path).await.expect(404);
        assert_eq!(repairs(site).await, 1, "once");
        std::fs::remove_file(&stored[0]).unwrap();
        site.get(&path).await.expect(404);
        site.send(Method::GET, &path, &[("range", "bytes=1-2")], "").await.expect(404);
        assert_eq!(repairs(site).await, 1, "once");
        site.delete(&path).await.expect(204);
        sites.end().await;
    }

    async fn what_expired_is_there_until_it_is_purged(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/a");
        let past = [("x-clonecloudstore-expires", "2001-01-01T00:00:00Z")];
        site.send(Method::POST, &path, &past, "hello").await.expect(201);
        assert_eq!(site.get(&path).await.expect(200).text(), "hello");
        sites.end().await;
    }

    async fn the_internal_routes_show_this_site_alone(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        site.upload(&format!("{BUCKET}/a/b"), "hello").await.expect(201);
        let own = "/ccs/internal/contents";
        assert_eq!(site.get(own).await.expect(200).json()["site"], "site-a");
        assert_eq!(site.head(own).await.expect(204).header("type"), Some("BUCKET"));
        assert_eq!(site.get(&format!("{own}/a/b")).await.expect(200).text(), "hello");
        assert_eq!(site.head(&format!("{own}/a?fullCheck=true")).await.expect(204).header("type"), Some("DIRECTORY"));
        assert_eq!(site.head(&format!("{own}/a/b?fullCheck=true")).await.expect(204).header("type"), Some("OBJECT"));
        assert_eq!(accepting(site, &format!("{own}/a/b"), "application/json").await.expect(200).json()["name"], "a/b");
        assert_eq!(site.send(Method::PUT, own, &[], "").await.expect(200).text().lines().count(), 1);
        site.get(&format!("{own}/none")).await.expect(404);
        site.head(&format!("{own}/none")).await.expect(404);
        site.get("/ccs/internal/none").await.expect(404);
        site.upload(&format!("{own}/new"), "x").await.expect(405);
        sites.end().await;
    }
}
