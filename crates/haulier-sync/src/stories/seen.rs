//! Changes that are seen as they happen: rules 12, 17, 19, 24, 26 and 27 of §4, rows 10, 11, 16, 20 and 22 of §7.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use haulier_testkit::both_databases;

use super::room::{Room, tree};

both_databases! {
    async fn rule_12_a_file_is_taken_when_its_writer_is_done_or_quiet(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        // Closed after writing.
        room.write("A", "closed", "1");
        // Put in place by a rename, as editors do.
        room.write("A", ".saved.swp", "2");
        room.rename("A", ".saved.swp", "saved");
        // Held open, and quiet.
        let mut log = fs::File::create(room.path("A", "log")).unwrap();
        log.write_all(b"3").unwrap();
        room.until_all(&["A", "B"], &tree(&[("closed", "1"), ("log", "3"), ("saved", "2")])).await;
        log.write_all(b"4").unwrap();
        room.until_all(&["A", "B"], &tree(&[("closed", "1"), ("log", "34"), ("saved", "2")])).await;
    }

    async fn rule_17_our_own_writes_cause_nothing(test: TestCatalog) {
        let room = Room::started(test, &["A", "B", "C"]).await;
        for number in 0..30 {
            room.write("A", &format!("d{}/f{number}", number % 3), &format!("{number}"));
        }
        room.write("B", "from-b", "b");
        let expected = {
            room.until("all there", async |room| {
                room.tree("C").len() == 31 && room.tree("B").len() == 31 && room.is_quiet().await
            })
            .await;
            room.tree("A")
        };
        room.until_all(&["A", "B", "C"], &expected).await;
        let facts = async |room: &Room| {
            let mut facts = Vec::new();
            for name in expected.keys() {
                let state = room.state(name).await.unwrap();
                let inodes = ["A", "B", "C"].map(|entry| room.inode(entry, name));
                facts.push((name.clone(), state, inodes));
            }
            facts
        };
        let before = facts(&room).await;
        room.scan_again().await;
        room.scan_again().await;
        room.until_all(&["A", "B", "C"], &expected).await;
        assert_eq!(facts(&room).await, before, "a second look finds nothing to do");
    }

    async fn rule_19_a_small_change_arrives_soon(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        let mut took = Vec::new();
        for number in 0..30 {
            let name = format!("f{number}");
            let began = Instant::now();
            room.write("A", &name, "x");
            while !room.path("B", &name).exists() {
                assert!(began.elapsed() < Duration::from_secs(30), "{name} does not arrive");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            took.push(began.elapsed());
        }
        took.sort();
        // The bar is 100 ms and is measured by the benchmark; a busy machine is given more here.
        println!("half of the changes within {:?}, all within {:?}", took[took.len() / 2], took[took.len() - 1]);
        assert!(took[took.len() / 2] < Duration::from_secs(2), "{took:?}");
    }

    async fn rule_24_and_row_11_moving_out_deletes_and_moving_in_creates(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        room.write("A", "dir/sub/f", "f");
        room.write("A", "dir/g", "g");
        room.write("A", "stays", "s");
        room.until_all(&["B"], &tree(&[("dir/g", "g"), ("dir/sub/f", "f"), ("stays", "s")])).await;
        let elsewhere = room.test.folder().join("elsewhere");
        fs::rename(room.path("A", "dir"), &elsewhere).unwrap();
        room.until_all(&["A", "B"], &tree(&[("stays", "s")])).await;
        assert!(!room.path("B", "dir").exists(), "rule 23: the emptied folders are gone");
        // What happens out there is nobody's business.
        fs::write(elsewhere.join("h"), "h").unwrap();
        fs::rename(&elsewhere, room.path("A", "back")).unwrap();
        room.until_all(&["A", "B"], &tree(&[("back/g", "g"), ("back/h", "h"), ("back/sub/f", "f"), ("stays", "s")]))
            .await;
        // And it is watched.
        room.write("A", "back/sub/new", "n");
        room.until("watched", async |room| room.tree("B").contains_key("back/sub/new")).await;
    }

    async fn rule_25_and_26_renames_move_and_copy_nothing(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        for name in ["dir/a", "dir/sub/b", "file"] {
            room.write("A", name, name);
        }
        let before = tree(&[("dir/a", "dir/a"), ("dir/sub/b", "dir/sub/b"), ("file", "file")]);
        room.until_all(&["A", "B"], &before).await;
        let inodes = ["dir/a", "dir/sub/b", "file"].map(|name| room.inode("B", name));
        room.rename("A", "dir", "other");
        room.rename("A", "file", "called");
        let after = tree(&[("called", "file"), ("other/a", "dir/a"), ("other/sub/b", "dir/sub/b")]);
        room.until_all(&["A", "B"], &after).await;
        assert_eq!(["other/a", "other/sub/b", "called"].map(|name| room.inode("B", name)), inodes);
        // The other way round, and the renamed folder stays watched.
        room.rename("B", "other", "dir");
        room.until("renamed back", async |room| room.tree("A").contains_key("dir/sub/b")).await;
        room.write("A", "dir/sub/more", "m");
        room.write("B", "dir/sub/most", "m");
        let last = tree(&[
            ("called", "file"), ("dir/a", "dir/a"), ("dir/sub/b", "dir/sub/b"), ("dir/sub/more", "m"),
            ("dir/sub/most", "m"),
        ]);
        room.until_all(&["A", "B"], &last).await;
    }

    async fn rule_27_deleted_and_made_again_is_the_new_one(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        room.write("A", "f", "old");
        room.until_all(&["A", "B"], &tree(&[("f", "old")])).await;
        for round in 0..20 {
            room.remove("A", "f");
            room.write("A", "f", &format!("new {round}"));
        }
        room.until_all(&["A", "B"], &tree(&[("f", "new 19")])).await;
    }

    async fn row_10_a_file_in_folders_made_in_the_same_instant_arrives(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        let mut expected = tree(&[]);
        for round in 0..10 {
            let name = format!("{round}/a/b/c/f");
            room.write("A", &name, "x");
            expected.insert(name, "x".to_owned());
        }
        room.until_all(&["A", "B"], &expected).await;
    }

    async fn row_16_of_many_rewrites_the_last_one_arrives(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        for round in 0..25 {
            room.write("A", "f", &format!("round {round}"));
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        room.until_all(&["A", "B"], &tree(&[("f", "round 24")])).await;
    }

    async fn row_20_links_are_not_copied(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        symlink("/etc/passwd", room.path("A", "link")).unwrap();
        fs::create_dir(room.test.folder().join("outside")).unwrap();
        fs::write(room.test.folder().join("outside/secret"), "s").unwrap();
        symlink(room.test.folder().join("outside"), room.path("A", "folder")).unwrap();
        room.write("A", "f", "x");
        room.until_all(&["A", "B"], &tree(&[("f", "x")])).await;
        room.scan_again().await;
        assert_eq!(room.tree("B"), tree(&[("f", "x")]));
        assert!(!room.path("B", "link").is_symlink() && !room.path("B", "folder").exists());
        // A file that becomes a link is not a file any more.
        room.remove("A", "f");
        symlink("/etc/passwd", room.path("A", "f")).unwrap();
        room.until("deleted", async |room| room.tree("B").is_empty()).await;
    }

    async fn row_22_odd_names_are_kept_exactly(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        let long = "l".repeat(240);
        let names = ["with\nnewline", &long, "\u{1F600} smile", "colon:name", "e\u{301}", "\u{e9}", " space ", "-dash"];
        let mut expected = tree(&[]);
        for name in names {
            room.write("A", name, name);
            expected.insert(name.to_owned(), name.to_owned());
        }
        room.until_all(&["A", "B"], &expected).await;
        for name in names {
            assert_eq!(room.state(name).await.unwrap().record.unwrap().name.as_str(), name);
        }
    }
}
