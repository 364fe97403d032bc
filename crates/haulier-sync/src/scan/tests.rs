//! Scans of real folders beside a real index.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use haulier_catalog::{Sql, args, placeholders};
use haulier_storage::{StorageConfig, Storages};
use haulier_testkit::both_databases;
use haulier_testkit::catalog::TestCatalog;
use serde_json::json;

use super::*;
use crate::driver::{DriverConfig, Drivers};
use crate::inspect::{Inspected, inspect};
use crate::model::{Observation, Seen};

struct Scene {
    catalog: Catalog,
    at: EntryName,
    driver: Driver,
}

impl Scene {
    async fn new(test: &TestCatalog) -> Self {
        let root = test.folder().join("root");
        fs::create_dir_all(&root).unwrap();
        let at = EntryName::new("A").unwrap();
        let storages = Storages::new(StorageConfig::default()).unwrap();
        let options = json!({ "root": root });
        let config = DriverConfig { entry: at.clone(), driver: "local_storage".to_owned(), options, configured: true };
        let driver = Drivers::new(storages).open(&config).await.unwrap();
        Self { catalog: test.catalog.clone(), at, driver }
    }

    fn root(&self) -> &Path {
        self.driver.folder().unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn inspect(&self, looks: Vec<Look>) -> Inspected {
        let stop = CancellationToken::new();
        inspect(&self.driver, &self.catalog, &self.at, looks, &stop).await.unwrap()
    }

    /// Puts into the index what is there, as the referee and a carrier would in the end.
    async fn index_all(&self) {
        let mut scan = Scan::begin(&self.catalog, &self.at, &self.driver).await.unwrap();
        let mut looks = Vec::new();
        while let Some(differing) = scan.walk().await {
            looks.extend(differing.new);
            looks.extend(differing.changed);
        }
        let inspected = self.inspect(looks).await;
        let files = inspected.observations.into_iter().map(|Observation { name, seen, .. }| match seen {
            Seen::Present { found, content, .. } => (name, found, content),
            Seen::Missing => panic!("{name} went"),
        });
        self.insert(files.collect()).await;
    }

    async fn insert(&self, files: Vec<(FileName, Found, Option<ContentHash>)>) {
        const FILES: &str = "INSERT INTO sync_files (fid, name, size_bytes, content, number, past, origin, deleted,
             changed_at) VALUES";
        const COPIES: &str = "INSERT INTO sync_copies (fid, size_bytes, content, modified_at, mode, stamp, entry,
             owner, present, number, failures) VALUES";
        let mut tx = self.catalog.begin("test").await.unwrap();
        for batch in files.chunks(100) {
            let (mut of_files, mut of_copies, mut fids) = (Vec::new(), Vec::new(), Vec::new());
            for (name, found, content) in batch {
                let (fid, size) = (name.fid(), i64::try_from(found.stamp.size_bytes).unwrap());
                let content = content.as_ref().map(|hash| hash.as_str().to_owned());
                of_files.extend(args![fid.as_str(), name.as_str(), size, content.clone()]);
                let (modified, mode) = (found.attributes.modified_at, found.attributes.mode.map(i64::from));
                of_copies.extend(args![fid.as_str(), size, content, modified, mode, &found.stamp.version]);
                fids.extend(args![fid.as_str()]);
            }
            let rows = |columns: usize, rest: &str| {
                let row = |number| format!("({}, {rest})", placeholders(1 + number * columns, columns));
                (0..batch.len()).map(row).collect::<Vec<_>>().join(", ")
            };
            let known = placeholders(1, batch.len());
            for table in ["sync_files", "sync_copies"] {
                let forget = format!("DELETE FROM {table} WHERE fid IN ({known})");
                tx.execute_later(Sql::owned(forget), fids.clone()).await.unwrap();
            }
            let text = format!("{FILES} {}", rows(4, "1, '', 'A', FALSE, 0"));
            tx.execute_later(Sql::owned(text), of_files).await.unwrap();
            let text = format!("{COPIES} {}", rows(6, "'A', TRUE, TRUE, 1, 0"));
            tx.execute(Sql::owned(text), of_copies).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// What a whole scan tells, by name: `present` or `missing`; and the tally.
    async fn scan(&self) -> (BTreeMap<String, &'static str>, Tally) {
        let (mut told, stop) = (BTreeMap::new(), CancellationToken::new());
        let mut tell = |inspected: Inspected| {
            assert!(inspected.again.is_empty() && inspected.faults.is_empty(), "{inspected:?}");
            for observation in inspected.observations {
                let seen = if observation.seen == Seen::Missing { "missing" } else { "present" };
                told.insert(observation.name.as_str().to_owned(), seen);
            }
        };
        let mut scan = Scan::begin(&self.catalog, &self.at, &self.driver).await.unwrap();
        while let Some(differing) = scan.walk().await {
            tell(self.inspect(differing.new).await);
            tell(self.inspect(differing.changed).await);
        }
        scan.look_for_leftovers(&stop).await.unwrap();
        let tally = scan.tally(|_| false).await.unwrap();
        while let Some(missing) = scan.missing().await.unwrap() {
            tell(self.inspect(missing.into_iter().map(|file| Look::at(file.name)).collect()).await);
        }
        (told, tally)
    }
}

both_databases! {
    async fn a_scan_tells_what_differs_and_nothing_else(test: TestCatalog) {
        let scene = Scene::new(&test).await;
        for number in 0..600 {
            scene.write(&format!("d{}/f{number}", number % 7), &format!("{number}"));
        }
        for name in ["same", "edited", "gone/a", "renamed", "touched"] {
            scene.write(name, name);
        }
        scene.index_all().await;
        assert_eq!(scene.scan().await, (BTreeMap::new(), Tally { known: 605, missing: 0, listed: 605 }));

        scene.write("edited", "other");
        scene.write("new/one", "1");
        fs::remove_dir_all(scene.root().join("gone")).unwrap();
        fs::rename(scene.root().join("renamed"), scene.root().join("called")).unwrap();
        let touched = fs::File::open(scene.root().join("touched")).unwrap();
        touched.set_modified(std::time::UNIX_EPOCH).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", scene.root().join("link")).unwrap();
        let (told, tally) = scene.scan().await;
        let expected = [
            ("called", "present"), ("edited", "present"), ("gone/a", "missing"), ("new/one", "present"),
            ("renamed", "missing"), ("touched", "present"),
        ];
        assert_eq!(told, expected.map(|(name, seen)| (name.to_owned(), seen)).into());
        assert_eq!(tally, Tally { known: 605, missing: 2, listed: 605 });
        scene.index_all().await;
    }

    async fn what_cannot_be_looked_for_is_not_missing(test: TestCatalog) {
        let scene = Scene::new(&test).await;
        scene.write("open/f", "1");
        scene.write("long/f", "2");
        scene.index_all().await;
        // Nobody, not even root, can look into a folder that is a file, or through a link.
        fs::rename(scene.root().join("long"), scene.root().join("aside")).unwrap();
        std::os::unix::fs::symlink("aside", scene.root().join("long")).unwrap();
        let (told, tally) = scene.scan().await;
        assert_eq!(told, [("aside/f".to_owned(), "present"), ("long/f".to_owned(), "missing")].into());
        assert_eq!(tally.missing, 1);
    }

    async fn large_new_files_stay_unread_unless_they_may_be_renamed_ones(test: TestCatalog) {
        let scene = Scene::new(&test).await;
        let large = |name: &str| {
            let file = fs::File::create(scene.root().join(name)).unwrap();
            file.set_len(crate::inspect::READ_BYTES_MAX + 1).unwrap();
        };
        large("large");
        let look = |name: &str| Look::at(FileName::new(name).unwrap());
        let content = |inspected: &Inspected, name: &str| {
            let mut all = inspected.observations.iter();
            match &all.find(|observation| observation.name.as_str() == name).unwrap().seen {
                Seen::Present { content, .. } => content.clone(),
                Seen::Missing => panic!("{name} is missing"),
            }
        };
        assert_eq!(content(&scene.inspect(vec![look("large")]).await, "large"), None);
        let asked = scene.inspect(vec![Look { read: true, ..look("large") }]).await;
        let hash = content(&asked, "large");
        assert!(hash.is_some());
        scene.index_all().await;
        // The same size as before may be the same bytes; another size is not.
        fs::File::open(scene.root().join("large")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(content(&scene.inspect(vec![look("large")]).await, "large"), hash);
        fs::rename(scene.root().join("large"), scene.root().join("moved")).unwrap();
        let both = scene.inspect(vec![look("large"), look("moved")]).await;
        assert_eq!(both.observations.len(), 2);
        assert_eq!(content(&both, "moved"), hash);
    }
}

/// Made anew as often as told: the kernel's caches are warm for both. Tells `find`'s seconds, and ours.
async fn measure(scene: &Scene, files: usize) -> (f64, f64) {
    let (mut find, mut ours) = (f64::MAX, f64::MAX);
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let found = std::process::Command::new("find").arg(scene.root()).args(["-type", "f", "-size", "+9G"]).output();
        assert!(found.unwrap().stdout.is_empty());
        find = find.min(began.elapsed().as_secs_f64());
        let began = std::time::Instant::now();
        let (told, tally) = scene.scan().await;
        ours = ours.min(began.elapsed().as_secs_f64());
        assert!(told.is_empty());
        assert_eq!(tally, Tally { known: files as u64, missing: 0, listed: files as u64 });
    }
    (find, ours)
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// `HAULIER_SCAN_FILES=1000000 cargo test --release a_large_tree -- --nocapture` tells what a large tree costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "how large the tree is, is told by the environment")]
async fn a_large_tree_that_did_not_change_costs_little() {
    let files: usize = std::env::var("HAULIER_SCAN_FILES").map_or(3_000, |text| text.parse().unwrap());
    let test = TestCatalog::new(haulier_testkit::catalog::Database::Sqlite).await;
    let scene = Scene::new(&test).await;
    for number in 0..files {
        if number % 1_000 == 0 {
            fs::create_dir_all(scene.root().join(format!("d{}/e{}", number / 100_000, number / 1_000))).unwrap();
        }
        let name = format!("d{}/e{}/file-{number}", number / 100_000, number / 1_000);
        fs::File::create(scene.root().join(name)).unwrap();
    }
    let mut listing = scene.driver.list().await.unwrap();
    let mut page = Vec::new();
    loop {
        let next = listing.next().await.map(Result::unwrap);
        let end = next.is_none();
        page.extend(next.map(|(name, found)| (name, found, None)));
        if end || page.len() == 10_000 {
            scene.insert(std::mem::take(&mut page)).await;
        }
        if end {
            break;
        }
    }
    let (find, ours) = measure(&scene, files).await;
    println!("{files} files: find {find:.3} s, scan {ours:.3} s, peak {} MiB", peak_mib());
    assert!(peak_mib() < 256, "{} MiB", peak_mib());
}
