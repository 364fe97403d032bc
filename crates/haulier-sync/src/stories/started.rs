//! What is found when an entry starts: rules 6 to 9, 26 and 45 of §4.

use std::fs;
use std::time::{Duration, SystemTime};

use haulier_testkit::both_databases;

use super::room::{Room, tree};

both_databases! {
    async fn rule_6_the_root_is_walked_while_it_is_watched(test: TestCatalog) {
        let mut room = Room::new(test, &["A", "B"]).await;
        for number in 0..50 {
            room.write("A", &format!("d{}/e/f{number}", number % 5), "x");
        }
        room.start_unready().await;
        // Made while the scan may be anywhere.
        for number in 0..50 {
            room.write("A", &format!("d{}/e/g{number}", number % 5), "y");
            tokio::task::yield_now().await;
        }
        room.until("everything", async |room| room.tree("B").len() == 100 && room.is_quiet().await).await;
        let expected = room.tree("A");
        room.until_all(&["A", "B"], &expected).await;
    }

    async fn rule_7_and_45_changes_made_while_nobody_looked_are_found(test: TestCatalog) {
        let mut room = Room::started(test, &["A", "B"]).await;
        for name in ["edited", "touched", "deleted", "kept"] {
            room.write("A", name, name);
        }
        let first = tree(&[("deleted", "deleted"), ("edited", "edited"), ("kept", "kept"), ("touched", "touched")]);
        room.until_all(&["A", "B"], &first).await;
        room.halt().await;
        let (kept, touched) = (room.inode("B", "kept"), room.inode("B", "touched"));
        room.write("A", "edited", "changed");
        room.write("A", "created", "new");
        room.remove("A", "deleted");
        let stamp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        fs::File::open(room.path("A", "touched")).unwrap().set_modified(stamp).unwrap();
        room.resume().await;
        let second = tree(&[("created", "new"), ("edited", "changed"), ("kept", "kept"), ("touched", "touched")]);
        room.until_all(&["A", "B"], &second).await;
        assert_eq!(room.inode("B", "kept"), kept);
        assert_eq!(room.inode("B", "touched"), touched, "another time is no other content");
        assert_eq!(fs::metadata(room.path("B", "touched")).unwrap().modified().unwrap(), stamp);
    }

    async fn rule_8_the_same_new_file_on_both_sides_is_one_file(test: TestCatalog) {
        let mut room = Room::new(test, &["A", "B"]).await;
        room.write("A", "same", "same");
        room.write("B", "same", "same");
        room.write("A", "differs", "old");
        room.write("B", "differs", "new");
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::open(room.path("A", "differs")).unwrap().set_modified(old).unwrap();
        let (a, b) = (room.inode("A", "same"), room.inode("B", "same"));
        room.start().await;
        room.until("both versions on both sides", async |room| {
            room.tree("A").len() == 3 && room.tree("A") == room.tree("B") && room.is_quiet().await
        })
        .await;
        assert_eq!((room.inode("A", "same"), room.inode("B", "same")), (a, b), "nothing was copied");
        let found = room.tree("A");
        assert_eq!(found["differs"], "new");
        let (aside, text) = found.iter().find(|(name, _)| name.contains(".sync-conflict-")).unwrap();
        assert!(text == "old" && aside.starts_with("differs.sync-conflict-") && aside.ends_with("-A"), "{aside}");
    }

    async fn rule_9_what_is_missing_is_deleted_or_sent_again(test: TestCatalog) {
        let mut room = Room::started(test, &["A", "B"]).await;
        room.write("A", "current", "1");
        room.write("A", "stale", "1");
        room.until_all(&["A", "B"], &tree(&[("current", "1"), ("stale", "1")])).await;
        room.halt().await;
        room.remove("B", "current");
        room.remove("B", "stale");
        // B was not up to date with this one when it lost it.
        room.write("A", "stale", "2");
        room.resume().await;
        room.until_all(&["A", "B"], &tree(&[("stale", "2")])).await;
    }

    async fn rule_26_renames_made_while_nobody_looked_copy_nothing(test: TestCatalog) {
        let mut room = Room::started(test, &["A", "B"]).await;
        for number in 0..30 {
            room.write("A", &format!("dir/f{number}"), &format!("content {number}"));
        }
        let before = room.tree("A");
        room.until_all(&["A", "B"], &before).await;
        room.halt().await;
        let inode = room.inode("B", "dir/f7");
        room.rename("A", "dir", "called");
        room.resume().await;
        assert_eq!(room.held("A").await, None, "a rename is no loss");
        let after = before.into_iter().map(|(name, text)| (name.replace("dir/", "called/"), text)).collect();
        room.until_all(&["A", "B"], &after).await;
        assert_eq!(room.inode("B", "called/f7"), inode);
    }
}
