//! What must not be believed, and what cannot be read: rule 10 of §4, and reporting.

use std::fs;
use std::time::Duration;

use haulier_testkit::both_databases;
use haulier_testkit::catalog::TestCatalog;

use super::room::{Room, Tree, tree};
use crate::hold::{Held, Reason};
use crate::store::entries;

/// Fills A with files and waits for them at B.
async fn filled(test: TestCatalog, files: usize) -> (Room, Tree) {
    let room = Room::started(test, &["A", "B"]).await;
    for number in 0..files {
        room.write("A", &format!("f{number}"), &format!("{number}"));
    }
    let all = room.tree("A");
    room.until_all(&["A", "B"], &all).await;
    (room, all)
}

async fn force(room: &Room, name: &str) {
    let entry = room.entry(name).await;
    let mut tx = room.test.catalog.begin("test").await.unwrap();
    let word = Held::force(entry.held.as_ref(), tx.now());
    entries::set_held(&mut tx, &entry.name, Some(&word)).await.unwrap();
    tx.commit().await.unwrap();
}

both_databases! {
    async fn rule_10_many_files_missing_at_once_are_held(test: TestCatalog) {
        let (mut room, all) = filled(test, 24).await;
        room.halt().await;
        for number in 0..22 {
            room.remove("A", &format!("f{number}"));
        }
        room.resume().await;
        let held = room.held("A").await.unwrap();
        assert_eq!((held.reason, held.missing, held.known), (Some(Reason::ManyMissing), 22, 24));
        assert!(room.entry("A").await.problem.unwrap().contains("22 of 24 files are missing at once"));
        assert_eq!(room.tree("B"), all);
        // Meanwhile other changes go on, but deletions do not.
        room.write("A", "new", "n");
        room.remove("A", "f22");
        room.until("at B", async |room| room.tree("B").contains_key("new")).await;
        assert!(room.tree("B").contains_key("f22"));
        // The operator's word.
        room.halt().await;
        force(&room, "A").await;
        room.resume().await;
        room.until_all(&["A", "B"], &tree(&[("f23", "23"), ("new", "n")])).await;
        room.until("let go", async |room| room.held("A").await.is_none()).await;
        assert_eq!(room.entry("A").await.problem, None);
    }

    async fn rule_10_holds_what_is_deleted_before_our_eyes_too(test: TestCatalog) {
        let (room, all) = filled(test, 80).await;
        for name in all.keys() {
            room.remove("A", name);
        }
        room.until("held", async |room| room.held("A").await.is_some()).await;
        assert!(room.tree("B").len() >= 60, "{}", room.tree("B").len());
    }

    async fn rule_10_files_that_come_back_end_the_hold(test: TestCatalog) {
        let (mut room, all) = filled(test, 21).await;
        room.halt().await;
        let aside = room.test.folder().join("aside");
        fs::create_dir(&aside).unwrap();
        for name in all.keys() {
            fs::rename(room.path("A", name), aside.join(name)).unwrap();
        }
        room.resume().await;
        assert_eq!(room.held("A").await.unwrap().reason, Some(Reason::RootEmpty));
        assert_eq!(room.tree("B"), all);
        for name in all.keys() {
            fs::rename(aside.join(name), room.path("A", name)).unwrap();
        }
        room.scan_again().await;
        room.until("let go", async |room| room.held("A").await.is_none()).await;
        room.until_all(&["A", "B"], &all).await;
        assert_eq!(room.entry("A").await.problem, None);
    }

    async fn rule_10_a_missing_root_empties_nobody(test: TestCatalog) {
        let (room, all) = filled(test, 3).await;
        let away = room.test.folder().join("away");
        fs::rename(room.path("A", ""), &away).unwrap();
        room.until("missed", async |room| {
            room.held("A").await.is_some_and(|held| held.reason == Some(Reason::RootMissing))
        })
        .await;
        // Another folder in its place, as where a disk is to be mounted.
        fs::create_dir(room.path("A", "")).unwrap();
        room.until("told from the old one", async |room| {
            room.held("A").await.is_some_and(|held| held.reason == Some(Reason::RootReplaced))
        })
        .await;
        assert_eq!(room.tree("B"), all);
        assert!(room.tree("A").is_empty(), "nothing is written into it");
        fs::remove_dir_all(room.path("A", "")).unwrap();
        fs::rename(&away, room.path("A", "")).unwrap();
        room.until("back", async |room| room.held("A").await.is_none()).await;
        room.write("A", "f0", "changed");
        room.until("watched again", async |room| room.tree("B")["f0"] == "changed").await;
    }

    async fn the_root_of_somebody_else_is_refused_until_it_is_free(test: TestCatalog) {
        let mut room = Room::new(test, &["A", "B"]).await;
        let mark = room.path("A", ".haulier/entry.json");
        for (catalogue, entry, whose) in [("other", "A", "the entry A of another Haulier"), ("test", "C", "the entry C")] {
            room.write("A", ".haulier/entry.json", &format!(
                r#"{{ "catalogue": "{catalogue}", "entry": "{entry}", "root_id": "1" }}"#
            ));
            if room.entry("A").await.started_at.is_none() {
                room.start_unready().await;
            }
            room.write("B", "f", entry);
            let told = format!("the root belongs to {whose}");
            room.until(&told, async |room| room.entry("A").await.problem.is_some_and(|said| said.contains(&told))).await;
            assert!(room.tree("A").is_empty(), "nothing is written into it");
        }
        fs::remove_file(&mark).unwrap();
        room.until_all(&["A", "B"], &tree(&[("f", "C")])).await;
        room.until("claimed", async |room| room.entry("A").await.problem.is_none()).await;
        assert!(fs::read_to_string(&mark).unwrap().contains("\"A\""));
    }

    async fn a_clock_that_jumps_breaks_nothing(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        let year = Duration::from_secs(365 * 24 * 3600);
        let at = |seconds: u64| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut expected = tree(&[]);
        // Files from the past and from the future, while the catalogue's own clock goes on by years.
        for (name, time) in [("past", at(0)), ("future", at(4_000_000_000)), ("today", at(1_795_262_400))] {
            room.write("A", name, name);
            fs::File::options().write(true).open(room.path("A", name)).unwrap().set_modified(time).unwrap();
            expected.insert(name.to_owned(), name.to_owned());
            room.until_all(&["A", "B"], &expected).await;
            room.until("its time came along", async |room| {
                fs::metadata(room.path("B", name)).unwrap().modified().unwrap() == time
            })
            .await;
            room.test.clock.advance(year);
        }
        // A change whose time is before that of what it replaces is a change.
        room.write("B", "future", "changed");
        fs::File::options().write(true).open(room.path("B", "future")).unwrap().set_modified(at(1_000)).unwrap();
        expected.insert("future".to_owned(), "changed".to_owned());
        room.until_all(&["A", "B"], &expected).await;
        room.scan_again().await;
        room.until_all(&["A", "B"], &expected).await;
    }

    async fn what_cannot_be_listed_is_told_and_the_rest_goes_on(test: TestCatalog) {
        let room = Room::started(test, &["A", "B"]).await;
        fs::create_dir_all(room.path("A", &"d/".repeat(600))).unwrap();
        room.write("A", "z", "z");
        room.scan_again().await;
        room.until("told", async |room| {
            room.entry("A").await.problem.is_some_and(|problem| problem.contains("cannot be read"))
        })
        .await;
        room.until_all(&["B"], &tree(&[("z", "z")])).await;
        assert_eq!(room.entry("B").await.problem, None);
    }
}
