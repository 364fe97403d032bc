//! Listings: filters, order, length.

use std::collections::BTreeMap;

use async_compression::tokio::write::ZstdDecoder;
use haulier_catalog::{Sql, args};
use haulier_testkit::both_databases;
use reqwest::Method;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::site::{Site, Sites};

const BUCKET: &str = "/cloudclonestore/listed";

async fn list(site: &Site, headers: &[(&str, &str)]) -> Vec<Value> {
    let answer = site.send(Method::PUT, BUCKET, headers, "").await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let text = answer.text();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn names(site: &Site, headers: &[(&str, &str)]) -> Vec<String> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (format!("x-clonecloudstore-{name}"), *value)).collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    list(site, &headers).await.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect()
}

both_databases! {
    async fn filters_are_inclusive_and_all_must_hold(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        site.upload(BUCKET, "").await.expect(201);
        let mut made = BTreeMap::new();
        for (name, content, metadata, expires) in [
            ("a/1", "x", r#"{"k":"v","l":"w"}"#, "2030-01-01T00:00:00Z"),
            ("a/2", "xx", r#"{"k":"v"}"#, ""),
            ("b", "xxx", "", "2031-01-01T00:00:00Z"),
            ("é", "", "", ""),
        ] {
            let headers = [("x-clonecloudstore-metadata", metadata), ("x-clonecloudstore-expires", expires)];
            let object = site.send(Method::POST, &format!("{BUCKET}/{name}"), &headers, content).await.expect(201).json();
            made.insert(name, object);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        assert_eq!(list(site, &[]).await, made.values().cloned().collect::<Vec<_>>());
        assert_eq!(names(site, &[("namePrefix", "a/")]).await, ["a/1", "a/2"]);
        assert_eq!(names(site, &[("namePrefix", "é")]).await, ["é"]);
        assert_eq!(names(site, &[("sizeLT", "2"), ("sizeGT", "1")]).await, ["a/1", "a/2"]);
        assert_eq!(names(site, &[("sizeLT", "0"), ("sizeGT", "0")]).await.len(), 4);
        assert_eq!(names(site, &[("metadataEq", r#"{"k":"v"}"#)]).await, ["a/1", "a/2"]);
        assert_eq!(names(site, &[("metadataEq", r#"{"k":"v","l":"w"}"#)]).await, ["a/1"]);
        let at = made["a/2"]["creation"].as_str().unwrap();
        assert_eq!(names(site, &[("creationBefore", at)]).await, ["a/1", "a/2"]);
        assert_eq!(names(site, &[("creationAfter", at)]).await, ["a/2", "b", "é"]);
        assert_eq!(names(site, &[("expiresBefore", "2030-01-01T01:00:00+01:00")]).await, ["a/1"]);
        assert_eq!(names(site, &[("expiresAfter", "2030-01-01T00:00:00.001")]).await, ["b"]);
        site.delete(&format!("{BUCKET}/b")).await.expect(204);
        assert_eq!(names(site, &[]).await.len(), 4, "tombstones are shown");
        assert_eq!(names(site, &[("statuses", r#"["DELETED"]"#)]).await, ["b"]);
        assert_eq!(names(site, &[("statuses", r#"["READY","UPLOAD"]"#), ("namePrefix", "a/2")]).await, ["a/2"]);
        for (name, value) in [("statuses", "READY"), ("creationAfter", "x"), ("sizeGT", "-1"), ("metadataEq", "x")] {
            let name = format!("x-clonecloudstore-{name}");
            site.send(Method::PUT, BUCKET, &[(&name, value)], "").await.expect(400);
        }
        sites.end().await;
    }

    async fn long_listings_are_whole_and_in_order(t: TestCatalog) {
        let sites = Sites::with(t, 1, Default::default()).await;
        let site = &sites[0];
        site.upload(BUCKET, "").await.expect(201);
        const INSERT: Sql = Sql::both(
            "INSERT INTO replication_objects (bucket, name, id, status, created_at, event_at, size_bytes, metadata, \
             origin) VALUES ('listed', $1, $1, $2, 1, 1, 1, '{}', 'site-a')",
        );
        let mut tx = site.catalog().begin("test").await.unwrap();
        let name = |n: i32| format!("{:05}", n * 7919 % 3001);
        for n in 0..3001 {
            let status = if n % 600 == 0 { "DELETED" } else { "READY" };
            tx.execute_later(INSERT, args![name(n), status]).await.unwrap();
        }
        tx.commit().await.unwrap();
        let all = names(site, &[]).await;
        assert!(all.is_sorted() && all.len() == 3001, "{}", all.len());
        assert_eq!(names(site, &[("statuses", r#"["DELETED"]"#)]).await.len(), 6);
        assert_eq!(names(site, &[("namePrefix", "01")]).await.len(), 1000);
        assert_eq!(names(site, &[("namePrefix", "no")]).await.len(), 0);
        let plain = site.send(Method::PUT, BUCKET, &[], "").await.expect(200).body;
        let packed = site.send(Method::PUT, BUCKET, &[("accept-encoding", "zstd")], "").await.expect(200);
        assert!(packed.headers["content-encoding"] == "zstd" && packed.body.len() < plain.len() / 4);
        let mut decoder = ZstdDecoder::new(Vec::new());
        decoder.write_all(&packed.body).await.unwrap();
        decoder.shutdown().await.unwrap();
        assert!(decoder.into_inner() == plain);
        sites.end().await;
    }
}
