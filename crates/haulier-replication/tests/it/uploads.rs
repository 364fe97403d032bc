//! Objects coming in: E21 to E23, E29, E41, E42.

use std::time::Duration;

use async_compression::tokio::write::ZstdEncoder;
use bytes::Bytes;
use futures::StreamExt;
use haulier_catalog::{Sql, args};
use haulier_testkit::both_databases;
use reqwest::{Body, Method};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::raw;
use crate::site::{PATIENCE, Site, Sites};

const BUCKET: &str = "/cloudclonestore/uploads";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

async fn one(t: haulier_testkit::catalog::TestCatalog) -> Sites {
    let sites = Sites::with(t, 1, Default::default()).await;
    sites[0].upload(BUCKET, "").await.expect(201);
    sites
}

async fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(plain).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn record(site: &Site, path: &str) -> serde_json::Value {
    site.send(Method::GET, path, &[("accept", "application/json")], "").await.expect(200).json()
}

/// Waits until nothing is stored but the bytes of so many objects.
async fn files_become(site: &Site, count: usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let files = files(&site.test.folder().join("data/objects"));
        if files.len() == count {
            return;
        }
        assert!(Instant::now() < end, "the store still has {files:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(files(&entry)),
            false => found.push(entry),
        }
    }
    found
}

both_databases! {
    async fn e21_empty_objects(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/empty");
        let made = site.upload(&path, "").await.expect(201).json();
        assert_eq!((made["size"].as_u64(), made["hash"].as_str()), (Some(0), Some(EMPTY)));
        let got = site.get(&path).await.expect(200);
        assert_eq!((got.body.len(), got.header("size"), got.header("hash")), (0, Some("0"), Some(EMPTY)));
        let packed = site.send(Method::GET, &path, &[("accept-encoding", "zstd")], "").await.expect(200);
        assert_eq!(packed.headers["content-encoding"], "zstd");
        assert!(packed.body.len() < 20, "{:?}", packed.body);
        site.send(Method::POST, &format!("{BUCKET}/packed"), &[("content-encoding", "zstd")], packed.body).await.expect(201);
        assert_eq!(record(site, &format!("{BUCKET}/packed")).await["hash"], EMPTY);
        sites.end().await;
    }

    async fn e22_what_was_stated_is_checked(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/stated");
        for (name, value) in [
            ("hash", EMPTY), ("hash", "fakeHash"), ("size", "4"), ("size", "6"), ("size", "-1"), ("metadata", "[]"),
            ("metadata", r#"{"a":5}"#), ("metadata", r#"{"a b":"x"}"#), ("expires", "soon"),
        ] {
            let name = format!("x-clonecloudstore-{name}");
            let refused = site.send(Method::POST, &path, &[(&name, value)], "hello").await.expect(400);
            assert!(refused.header("error").is_some(), "{refused:?}");
            let chunked = Body::wrap_stream(futures::stream::iter(["he", "llo"].map(Ok::<_, std::io::Error>)));
            site.send(Method::POST, &path, &[(&name, value)], chunked).await.expect(400);
            site.get(&path).await.expect(404);
        }
        site.send(Method::POST, &path, &[("content-encoding", "gzip")], "hello").await.expect(400);
        let huge = format!(r#"{{"a":"{}"}}"#, "x".repeat(2048));
        site.send(Method::POST, &path, &[("x-clonecloudstore-metadata", &huge)], "hello").await.expect(400);
        let headers = [
            ("x-clonecloudstore-hash", "5IS4RELFRN4OJ7N87CLCDTNIJOQBKN5H3UH4IBJJ01LJ54SPG2E0"),
            ("x-clonecloudstore-size", "5"),
            ("x-clonecloudstore-metadata", "{\"clé\":\"x\"}"),
        ];
        site.send(Method::POST, &path, &headers, "hello").await.expect(400);
        let headers = [
            ("x-clonecloudstore-hash", HELLO),
            ("x-clonecloudstore-size", "5"),
            ("x-clonecloudstore-metadata", r#"{"a_1":"caf\u00e9"}"#),
            ("x-clonecloudstore-expires", "2020-02-02T02:02:02.1234567+02:00"),
            ("x-clonecloudstore-id", "ignored"),
            ("x-clonecloudstore-creation", "ignored"),
            ("content-type", "text/x-anything"),
        ];
        let made = site.send(Method::POST, &path, &headers, "hello").await.expect(201).json();
        assert_eq!((made["metadata"]["a_1"].as_str(), made["hash"].as_str()), (Some("café"), Some(HELLO)));
        assert_eq!(made["expires"], "2020-02-02T00:02:02.123Z");
        let got = site.get(&path).await.expect(200);
        assert_eq!((got.text().as_str(), got.header("metadata")), ("hello", Some(r#"{"a_1":"caf\u00e9"}"#)));
        assert_eq!(got.header("expires"), Some("2020-02-02T00:02:02.123Z"));
        assert_eq!(got.header("status"), Some("READY"));
        files_become(site, 1).await;
        sites.end().await;
    }

    async fn e23_two_simultaneous_creates_have_one_winner(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        for round in 0..5 {
            let path = format!("{BUCKET}/race-{round}");
            let tries = (0..8).map(|n| {
                let path = path.clone();
                async move { (n, site.upload(&path, format!("content {n}")).await.status) }
            });
            let all = futures::future::join_all(tries).await;
            let won: Vec<_> = all.iter().filter(|(_, status)| *status == 201).collect();
            assert_eq!(won.len(), 1, "{all:?}");
            assert!(all.iter().all(|(_, status)| [201, 406, 409].contains(status)), "{all:?}");
            assert_eq!(site.get(&path).await.expect(200).text(), format!("content {}", won[0].0));
        }
        files_become(site, 5).await;
        sites.end().await;
    }

    async fn e29_a_client_that_disconnects_leaves_nothing(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/broken");
        for (name, length) in [("content-length", "1000000"), ("transfer-encoding", "chunked")] {
            let mut stream = raw::begin(site, &format!("POST {path}"), &[(name, length)]).await;
            stream.write_all(b"400\r\n").await.unwrap();
            stream.write_all(&[65; 1024]).await.unwrap();
            let end = Instant::now() + PATIENCE;
            while !site.send(Method::GET, &path, &[("accept", "application/json")], "").await.text().contains("UPLOAD") {
                assert!(Instant::now() < end, "the upload does not begin");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            site.get(&path).await.expect(404);
            site.head(&path).await.expect(404);
            site.upload(&path, "second").await.expect(406);
            site.delete(&path).await.expect(409);
            site.delete(BUCKET).await.expect(406);
            drop(stream);
            let end = Instant::now() + Duration::from_secs(10);
            loop {
                let status = site.upload(&path, "second").await.status;
                if status == 201 {
                    break;
                }
                assert!(status == 406 && Instant::now() < end, "still {status}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(site.get(&path).await.expect(200).text(), "second");
            site.delete(&path).await.expect(204);
            files_become(site, 0).await;
        }
        sites.end().await;
    }

    async fn uploads_of_dead_processes_are_ended(t: TestCatalog) {
        let mut sites = one(t).await;
        sites[0].upload(&format!("{BUCKET}/buried"), "old").await.expect(201);
        sites[0].delete(&format!("{BUCKET}/buried")).await.expect(204);
        let buried = record(&sites[0], &format!("{BUCKET}/buried")).await;
        let mut tx = sites[0].catalog().begin("test").await.unwrap();
        let insert = Sql::both(
            "INSERT INTO replication_objects (bucket, name, id, status, created_at, event_at, size_bytes, metadata, \
             origin, buried_at) VALUES ('uploads', 'fresh', 'dead-1', 'UPLOAD', 1, 1, 0, '{}', 'site-a', NULL)",
        );
        tx.execute(insert, args![]).await.unwrap();
        let again = Sql::both(
            "UPDATE replication_objects SET id = 'dead-2', status = 'UPLOAD', buried_at = event_at, \
             event_at = event_at + 5000, expires_at = NULL WHERE name = 'buried'",
        );
        tx.execute(again, args![]).await.unwrap();
        for (id, name) in [("dead-1", "fresh"), ("dead-2", "buried")] {
            let insert = Sql::both(
                "INSERT INTO replication_uploads (id, bucket, name, holder, held_until) VALUES ($1, 'uploads', $2, 'gone', $3)",
            );
            let until = tx.now().plus(Duration::from_secs(20));
            tx.execute(insert, args![id, name, until]).await.unwrap();
        }
        tx.commit().await.unwrap();
        sites[0].upload(&format!("{BUCKET}/fresh"), "x").await.expect(406);
        sites[0].stop().await;
        sites[0].clock.set_apart(30);
        sites[0].start().await;
        let end = Instant::now() + PATIENCE;
        let ended = async |name: &str, status: &str| record(&sites[0], &format!("{BUCKET}/{name}")).await["status"] == status;
        while !ended("fresh", "ERR_UPL").await || !ended("buried", "DELETED").await {
            assert!(Instant::now() < end, "the upload was not ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let after = record(&sites[0], &format!("{BUCKET}/buried")).await;
        assert_eq!((&after["status"], &after["creation"], &after["expires"]), (&"DELETED".into(), &buried["creation"], &buried["expires"]));
        sites[0].upload(&format!("{BUCKET}/fresh"), "x").await.expect(201);
        sites[0].upload(&format!("{BUCKET}/buried"), "x").await.expect(201);
        sites.end().await;
    }

    async fn a_failed_upload_can_be_cleared(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let path = format!("{BUCKET}/failed");
        site.send(Method::POST, &path, &[("x-clonecloudstore-hash", EMPTY)], "hello").await.expect(400);
        assert_eq!(record(site, &path).await["status"], "ERR_UPL");
        site.head(&path).await.expect(404);
        site.delete(&path).await.expect(204);
        assert_eq!(record(site, &path).await["status"], "DELETED");
        sites.end().await;
    }

    async fn e41_e42_compressed_uploads(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let plain: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 7) as u8).collect();
        let packed = zstd(&plain).await;
        let path = format!("{BUCKET}/packed");
        let headers = [("content-encoding", "zstd"), ("x-clonecloudstore-size", "1000000")];
        let damaged = [packed[..packed.len() - 1].to_vec(), packed[1..].to_vec(), b"plain".to_vec()];
        for bytes in damaged {
            site.send(Method::POST, &path, &headers, bytes).await.expect(400);
            site.get(&path).await.expect(404);
        }
        let made = site.send(Method::POST, &path, &headers, packed).await.expect(201).json();
        assert_eq!(made["size"], 1_000_000);
        let got = site.get(&path).await.expect(200);
        assert!(got.body == plain && !got.headers.contains_key("content-encoding"));
        let back = site.send(Method::GET, &path, &[("accept-encoding", "gzip, zstd")], "").await.expect(200);
        assert!(back.headers["content-encoding"] == "zstd" && back.body.len() < 10_000);
        assert_eq!(back.header("size"), Some("1000000"));
        let again = site.send(Method::POST, &format!("{BUCKET}/again"), &headers, back.body).await.expect(201).json();
        assert_eq!(again["hash"], made["hash"]);
        let bomb = zstd(&vec![0; 50 << 20]).await;
        site.send(Method::POST, &format!("{BUCKET}/bomb"), &headers, bomb).await.expect(400);
        sites.end().await;
    }

    async fn refusals_are_seen_by_those_who_still_send(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        for (path, expected) in [("/cloudclonestore/none/x", 404), ("/cloudclonestore/A/x", 400), ("/cloudclonestore/uploads/x//y", 400)] {
            site.upload(path, vec![7; 4 << 20]).await.expect(expected);
        }
        let waiting = [("content-length", "1000000"), ("expect", "100-continue")];
        let mut stream = raw::begin(site, "POST /cloudclonestore/none/x", &waiting).await;
        assert_eq!(raw::status(&mut stream).await, 404, "the answer comes instead of the leave to send");
        let waiting = [("content-length", "5"), ("expect", "100-continue")];
        let mut stream = raw::begin(site, &format!("POST {BUCKET}/expected"), &waiting).await;
        assert_eq!(raw::status(&mut stream).await, 100);
        assert!(raw::is_silent(&mut stream).await);
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(raw::status(&mut stream).await, 201);
        sites.end().await;
    }

    async fn memory_stays_flat(t: TestCatalog) {
        let sites = one(t).await;
        let site = &sites[0];
        let body = |mib: usize| {
            let piece = Bytes::from(vec![9; 1 << 20]);
            Body::wrap_stream(futures::stream::repeat(piece).take(mib).map(Ok::<_, std::io::Error>))
        };
        site.upload(&format!("{BUCKET}/warm"), body(16)).await.expect(201);
        let before = most_memory_kib();
        let made = site.upload(&format!("{BUCKET}/large"), body(64)).await.expect(201).json();
        assert_eq!(made["size"], 64 << 20);
        let grown = most_memory_kib() - before;
        assert!(grown < 32 << 10, "64 MiB took {grown} KiB more than 16 MiB did");
        let mut response = reqwest::Client::new()
            .get(site.url(&format!("{BUCKET}/large")))
            .header("x-clonecloudstore-client-id", crate::site::CLIENT)
            .send()
            .await
            .unwrap();
        let mut read = 0;
        while let Some(piece) = response.chunk().await.unwrap() {
            read += piece.len();
        }
        let grown = most_memory_kib() - before;
        assert!(read == 64 << 20 && grown < 32 << 10, "reading {read} took {grown} KiB more");
        sites.end().await;
    }
}

/// The most that this process, in which the site runs as well, had in memory at once.
fn most_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
