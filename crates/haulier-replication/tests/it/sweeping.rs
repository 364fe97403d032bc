//! What is no longer needed goes away, and nothing else does.

use std::time::Duration;

use haulier_catalog::{Sql, args};
use haulier_testkit::both_databases;
use reqwest::Method;
use tokio::time::Instant;

use crate::site::{PATIENCE, Site, Sites};
use crate::uploads::files;

const BUCKET: &str = "/cloudclonestore/swept";
const DAY: i64 = 24 * 3600;

async fn count(site: &Site, table: &str) -> i64 {
    let mut tx = site.catalog().read().await.unwrap();
    let text = Sql::owned(format!("SELECT COUNT(*) AS number FROM {table}"));
    tx.fetch_optional(text, args![]).await.unwrap().unwrap().int("number").unwrap()
}

async fn counts_become(site: &Site, expected: &[(&str, i64)]) {
    let end = Instant::now() + PATIENCE;
    for (table, number) in expected {
        while count(site, table).await != *number {
            assert!(Instant::now() < end, "{table} has {}, not {number}", count(site, table).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Leaves an order that has just ended so.
async fn end_an_order(site: &Site, state: &str) {
    const INSERT: Sql = Sql::both(
        "INSERT INTO replication_orders (op_id, client, bucket, object, size_bytes, action, state, attempts, \
         mismatches, record_id, received_at, ended_at) \
         VALUES ('x', 'client-one', 'swept', 'a', 0, 'CREATE', $2, 0, 0, 'none', $1, $1)",
    );
    let mut tx = site.catalog().begin("test").await.unwrap();
    let now = tx.now();
    tx.execute(INSERT, args![now, state]).await.unwrap();
    tx.commit().await.unwrap();
}

async fn later(site: &mut Site, seconds: i64) {
    site.stop().await;
    site.clock.set_apart(seconds);
    site.start().await;
}

both_databases! {
    async fn tombstones_are_kept_for_their_time(t: TestCatalog) {
        let mut sites = Sites::with(t, 1, Default::default()).await;
        for path in [BUCKET.to_owned(), format!("{BUCKET}/gone"), "/cloudclonestore/other".to_owned()] {
            sites[0].upload(&path, "").await.expect(201);
        }
        let past = [("x-clonecloudstore-expires", "2001-01-01T00:00:00Z")];
        sites[0].send(Method::POST, &format!("{BUCKET}/kept"), &past, "x").await.expect(201);
        sites[0].delete(&format!("{BUCKET}/gone")).await.expect(204);
        sites[0].delete("/cloudclonestore/other").await.expect(204);
        // Forgotten together with tombstones, and earlier: it tells that somebody has looked.
        end_an_order(&sites[0], "IGNORED").await;
        later(&mut sites[0], 29 * DAY).await;
        counts_become(&sites[0], &[("replication_orders", 0)]).await;
        assert_eq!((count(&sites[0], "replication_objects").await, count(&sites[0], "replication_buckets").await), (2, 2));
        later(&mut sites[0], 31 * DAY).await;
        counts_become(&sites[0], &[("replication_objects", 1), ("replication_buckets", 1)]).await;
        sites[0].get("/cloudclonestore/other").await.expect(404);
        assert_eq!(sites[0].get(&format!("{BUCKET}/kept")).await.expect(200).text(), "x");
        sites.end().await;
    }

    async fn orders_and_losers_are_kept_for_their_time(t: TestCatalog) {
        let mut sites = Sites::with(t, 1, Default::default()).await;
        sites[0].upload(BUCKET, "").await.expect(201);
        for state in ["IGNORED", "FAILED", "CONFLICT"] {
            end_an_order(&sites[0], state).await;
        }
        let mut tx = sites[0].catalog().begin("test").await.unwrap();
        let now = tx.now();
        let loser = Sql::both(
            "INSERT INTO replication_kept (id, bucket, name, created_at, size_bytes, sha256, metadata, origin, \
             winner_sha256, kept_at, until) VALUES ('lost', 'swept', 'a', $1, 1, 'x', '{}', 'site-a', 'y', $1, $2)",
        );
        tx.execute(loser, args![now, now.plus(Duration::from_secs(10 * 24 * 3600))]).await.unwrap();
        tx.commit().await.unwrap();
        later(&mut sites[0], 8 * DAY).await;
        // What failed or contradicts stays until somebody decides, and so does the honest answer.
        counts_become(&sites[0], &[("replication_orders", 2), ("replication_kept", 1)]).await;
        assert_eq!(sites[0].get("/haulier/v1/replication/status").await.expect(200).json()["in_sync"], false);
        later(&mut sites[0], 11 * DAY).await;
        counts_become(&sites[0], &[("replication_kept", 0), ("replication_trash", 0)]).await;
        sites.end().await;
    }

    async fn bytes_without_a_record_are_removed_once_they_are_old(t: TestCatalog) {
        let mut sites = Sites::with(t, 1, Default::default()).await;
        sites[0].upload(BUCKET, "").await.expect(201);
        sites[0].upload(&format!("{BUCKET}/known"), "x").await.expect(201);
        let objects = sites[0].test.folder().join("data/objects");
        let name = |last: &str| objects.join(format!("{last}/0196aaaa-bbbb-7ccc-8ddd-eeeeeeeeee{last}"));
        let (old, young, misplaced) = (name("7b"), name("7c"), objects.join("7b/0196aaaa-bbbb-7ccc-8ddd-eeeeeeeeee7c"));
        let foreign = objects.join("7b/somebody-else's");
        let known = files(&objects);
        for path in [&old, &young, &misplaced, &foreign] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "left").unwrap();
        }
        let two_hours_ago = std::fs::metadata(&old).unwrap().modified().unwrap() - Duration::from_secs(7200);
        for path in [&old, &misplaced, &foreign, &known[0]] {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(two_hours_ago).unwrap();
        }
        sites[0].restart().await;
        let end = Instant::now() + PATIENCE;
        while old.exists() {
            assert!(Instant::now() < end, "it is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(young.exists(), "it is young");
        assert!(misplaced.exists(), "it is not ours");
        assert!(foreign.exists(), "it is not ours");
        assert_eq!(files(&objects).len(), 4);
        assert_eq!(sites[0].get(&format!("{BUCKET}/known")).await.expect(200).text(), "x");
        sites.end().await;
    }

    async fn deleted_bytes_are_removed_by_whoever_comes_next(t: TestCatalog) {
        let mut sites = Sites::with(t, 1, Default::default()).await;
        sites[0].upload(BUCKET, "").await.expect(201);
        for n in 0..20 {
            sites[0].upload(&format!("{BUCKET}/{n}"), "x").await.expect(201);
        }
        for n in 0..10 {
            sites[0].delete(&format!("{BUCKET}/{n}")).await.expect(204);
        }
        sites[0].crash().await;
        sites[0].start().await;
        for n in 10..15 {
            sites[0].delete(&format!("{BUCKET}/{n}")).await.expect(204);
        }
        counts_become(&sites[0], &[("replication_trash", 0), ("replication_uploads", 0)]).await;
        assert_eq!(files(&sites[0].test.folder().join("data/objects")).len(), 5);
        sites.end().await;
    }
}
