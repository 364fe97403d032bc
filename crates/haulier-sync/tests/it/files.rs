//! Files as they are listed: rows 1 and 2 of §7, and the documents of §1.2.

use haulier_catalog::{Sql, args};
use haulier_testkit::both_databases;
use serde_json::{Value, json};

use crate::room::{Refused, Room};

/// Puts rows into the index as the room itself writes them.
async fn known(room: &Room, count: usize) -> Vec<String> {
    const FILE: Sql = Sql::both(
        "INSERT INTO sync_files (fid, name, number, size_bytes, modified_at, content, past, origin, deleted, changed_at) \
         VALUES ($1, $2, 1, 7, 1500000, $3, '', 'A', $4, 0)",
    );
    const COPY: Sql = Sql::both(
        "INSERT INTO sync_copies (entry, fid, owner, present, number, size_bytes, failures) \
         VALUES ($1, $2, TRUE, TRUE, $3, 7, 0)",
    );
    let mut tx = room.catalog.catalog.begin("test").await.unwrap();
    let mut fids = Vec::new();
    for index in 0..count {
        let name = haulier_sync::FileName::new(format!("dir/{index}.pdf")).unwrap();
        let fid = name.fid().to_string();
        let deleted = index == 0;
        tx.execute(FILE, args![&fid, name.as_str(), Some("ab"), deleted]).await.unwrap();
        for (entry, number) in [("B", 0_i64), ("A", 1)] {
            tx.execute(COPY, args![entry, &fid, number]).await.unwrap();
        }
        if !deleted {
            fids.push(fid);
        }
    }
    tx.commit().await.unwrap();
    fids.sort();
    fids
}

fn fids(list: &Value) -> Vec<&str> {
    list["files"].as_array().unwrap().iter().map(|file| file["fid"].as_str().unwrap()).collect()
}

both_databases! {
    async fn row_1_and_2_a_list_is_the_smallest_ids(t: TestCatalog) {
        let room = Room::new(t).await;
        let all = known(&room, 46).await;
        let first = room.get("/api/v1.0/files").await;
        assert_eq!(first.headers["x-total-count"], "45");
        assert_eq!(first.headers["vary"], "Accept");
        assert_eq!(fids(&first.json()), all[..20]);
        for (query, expected) in [
            ("offset=20", &all[20..40]),
            ("offset=40&limit=20", &all[40..]),
            ("limit=3", &all[..3]),
            ("limit=0", &[]),
            ("offset=1000000", &[]),
            ("offset=99999999999999999999&limit=99999999999999999999", &[]),
            ("limit=99999999999999999999", &all[..]),
        ] {
            let answer = room.get(&format!("/api/v1.0/files?{query}")).await;
            assert_eq!(fids(&answer.json()), expected, "{query}");
            assert_eq!(answer.headers["x-total-count"], "45", "{query}");
        }
        assert_eq!(room.get("/api/v1.0/files?offset=1000000").await.text, "{\"files\":[]}");
        for (query, reason) in [
            ("limit=-1", "limit: \"-1\" is not an integer of 0 or more"),
            ("limit=", "limit: \"\" is not an integer of 0 or more"),
            ("offset=1.5", "offset: \"1.5\" is not an integer of 0 or more"),
            ("offset=x", "offset: \"x\" is not an integer of 0 or more"),
        ] {
            assert_eq!(room.get(&format!("/api/v1.0/files?{query}")).await.reason(400), reason);
        }
        room.end().await;
    }

    async fn a_long_list_comes_in_pieces_and_is_whole(t: TestCatalog) {
        let room = Room::new(t).await;
        let all = known(&room, 1201).await;
        assert_eq!(fids(&room.get("/api/v1.0/files?limit=5000").await.json()), all);
        assert_eq!(fids(&room.get("/api/v1.0/files?offset=100&limit=1000").await.json()), all[100..1100]);
        room.end().await;
    }

    async fn a_file_has_the_members_of_the_contract(t: TestCatalog) {
        let room = Room::new(t).await;
        known(&room, 2).await;
        let ids = room.get("/api/v1.0/files/id/dir/1.pdf").await.json();
        let fid = ids["dir/1.pdf"].as_str().unwrap();
        let file = room.get(&format!("/api/v1.0/files/{fid}/metadata")).await.json();
        assert_eq!(file, json!({
            "fid": fid, "filename": "dir/1.pdf", "size": 7, "owners": ["A", "B"], "uptodate": ["A"],
            "mimetype": "application/pdf", "mtime": 1.5, "hash": "ab", "origin": "A",
        }));
        let gone = haulier_sync::FileName::new("dir/0.pdf").unwrap().fid();
        room.get(&format!("/api/v1.0/files/{gone}/metadata")).await.reason(404);
        room.end().await;
    }

    async fn ids_are_computed_for_names_that_nobody_has(t: TestCatalog) {
        let room = Room::new(t).await;
        for (path, name, fid) in [
            ("toto", "toto", "91473751-8e49-5240-b03c-96547fcd86dc"),
            ("photos/foo.jpg", "photos/foo.jpg", "0fe87082-01a2-5468-83f6-6171eb061fe4"),
            ("photos%2Ffoo.jpg", "photos/foo.jpg", "0fe87082-01a2-5468-83f6-6171eb061fe4"),
        ] {
            assert_eq!(room.get(&format!("/api/v1.0/files/id/{path}")).await.json(), json!({ name: fid }));
        }
        let unicode = room.get("/api/v1.0/files/id/%C3%A9%0A%2541").await.json();
        assert!(unicode["\u{e9}\n%41"].is_string(), "decoded once: {unicode}");
        room.end().await;
    }
}
