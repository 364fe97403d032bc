//! Carriers between real folders, with a pair of eyes that looks when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use haulier_catalog::queue::NewTask;
use haulier_storage::{StorageConfig, Storages};
use haulier_testkit::both_databases;
use haulier_testkit::catalog::TestCatalog;
use haulier_testkit::crash::CutOff;
use haulier_work::{Handlers, Runner, RunnerConfig};
use serde_json::json;

use super::*;
use crate::driver::{DriverConfig, Drivers};
use crate::store::rules::{self, RuleLists};
use crate::tasks::prune_task;

const EYES: &str = "sync.test.eyes";
/// Longer than a lease.
const LEASE_OVER: Duration = Duration::from_secs(20);

/// Some entries with folders of their own, each of which holds every file.
struct Scene<'a> {
    test: &'a TestCatalog,
    carrier: Carrier,
    folder: PathBuf,
}

#[derive(Debug)]
struct Opener(Drivers);

#[async_trait]
impl OpenEntry for Opener {
    async fn open(&self, entry: &Entry) -> Result<Driver> {
        let config = DriverConfig {
            entry: entry.name.clone(),
            driver: entry.driver.clone(),
            options: entry.options.clone(),
            configured: true,
        };
        self.0.open(&config).await
    }
}

/// Looks at all that an entry has and should have, and tells.
struct Eyes(Carrier);

#[async_trait]
impl TaskHandler for Eyes {
    fn kind(&self) -> &'static str {
        EYES
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let at = entry_of(payload)?;
        let mut tx = self.0.catalog.read().await?;
        let entry = entries::find(&mut tx, &at).await?.expect("a test knows its entries");
        let known = copies::page_known(&mut tx, &at, None, 100_000).await?;
        drop(tx);
        let driver = self.0.opener.open(&entry).await?;
        let listed: Vec<_> = driver.list().await?.try_collect().await?;
        let names: BTreeSet<_> =
            listed.into_iter().map(|(name, _)| name).chain(known.into_iter().map(|known| known.name)).collect();
        let hands = Hands::new(&self.0, ctx, &at, &driver);
        shift::look_again(&hands, &at, names.into_iter().collect()).await?;
        let tx = ctx.begin("test.eyes").await?;
        ctx.finish(tx, Settlement::Done).await
    }

    async fn give_up(&self, _ctx: &TaskContext, _tx: &mut Tx, _payload: Value, why: &Error) -> Result<()> {
        panic!("the eyes never fail: {why:?}")
    }
}

fn entry(name: &str) -> EntryName {
    EntryName::new(name).unwrap()
}

impl<'a> Scene<'a> {
    async fn new(test: &'a TestCatalog, names: &[&str]) -> Self {
        let folder = test.folder().join("entries");
        let drivers = Drivers::new(Storages::new(StorageConfig::default()).unwrap());
        let all: BTreeSet<_> = names.iter().map(|name| entry(name)).collect();
        let carrier = Carrier {
            catalog: test.catalog.clone(),
            referee: Referee::new(test.catalog.clone(), ConflictPolicy::KeepBoth),
            opener: Arc::new(Opener(drivers)),
            budget: Arc::new(ByteBudget::new(None)),
            policy: ConflictPolicy::KeepBoth,
            keep_for: Duration::from_secs(30 * 24 * 3600),
        };
        let scene = Self { test, carrier, folder };
        let mut tx = test.catalog.begin("test").await.unwrap();
        for (position, name) in (0..).zip(&all) {
            fs::create_dir_all(scene.at(name.as_str(), "")).unwrap();
            let now = tx.now();
            let row = Entry {
                name: name.clone(),
                position,
                driver: "local_storage".to_owned(),
                options: json!({ "root": scene.at(name.as_str(), "") }),
                configured: true,
                wanted: Wanted::Active,
                started_at: Some(now),
                attended_at: Some(now),
                scanned_at: Some(now),
                root_id: None,
                held: None,
                problem: None,
                problem_at: None,
                carrying: false,
                created_at: now,
            };
            entries::insert(&mut tx, &row).await.unwrap();
            entries::set_wanted(&mut tx, name, Wanted::Active).await.unwrap();
            entries::set_scanned(&mut tx, name, now).await.unwrap();
        }
        let everything = json!([{ "match": {}, "sync": all.iter().map(EntryName::as_str).collect::<Vec<_>>() }]);
        let (stored, applied, configured) = (everything.clone(), everything, json!([]));
        let changed_at = tx.now();
        rules::put(&mut tx, &RuleLists { stored, applied, configured, changed_at }).await.unwrap();
        tx.commit().await.unwrap();
        scene
    }

    fn at(&self, entry: &str, name: &str) -> PathBuf {
        self.folder.join(entry).join(name)
    }

    fn write(&self, entry: &str, name: &str, text: &str) {
        let path = self.at(entry, name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As most programs save: a new file in place of the old one.
        let saved = path.with_extension("saving");
        fs::write(&saved, text).unwrap();
        fs::rename(saved, path).unwrap();
    }

    fn read(&self, entry: &str, name: &str) -> Option<String> {
        fs::read_to_string(self.at(entry, name)).ok()
    }

    fn runner(&self, wrap: impl Fn(Arc<dyn TaskHandler>) -> Arc<dyn TaskHandler>) -> Runner {
        let handlers = Handlers::new()
            .register(Arc::new(Eyes(self.carrier.clone())))
            .register(Arc::new(Prune(self.carrier.clone())))
            .register(wrap(Arc::new(self.carrier.clone())));
        let config = RunnerConfig { holder: "test".to_owned(), ..RunnerConfig::default() };
        Runner::new(self.test.catalog.clone(), handlers, config)
    }

    async fn ask_eyes(&self, names: &[&str]) {
        let mut tx = self.test.catalog.begin("test").await.unwrap();
        for name in names {
            let now = tx.now();
            let task = NewTask::now(EYES, "sync", *name, json!(EntryTask { entry: (*name).to_owned() }), now);
            queue::enqueue(&mut tx, task).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn run(&self) {
        self.runner(|carrier| carrier).run_until_idle().await.unwrap();
    }

    /// Looks at entries, and carries out what follows.
    async fn look(&self, names: &[&str]) {
        self.ask_eyes(names).await;
        self.run().await;
    }

    /// Has old versions looked through.
    async fn prune(&self) {
        let mut tx = self.test.catalog.begin("test").await.unwrap();
        let now = tx.now();
        queue::enqueue(&mut tx, prune_task(now)).await.unwrap();
        tx.commit().await.unwrap();
        self.run().await;
    }

    /// What an operator does; nothing attends the entries here, so they are scanned at once.
    async fn want(&self, name: &str, wanted: Wanted) {
        let mut tx = self.test.catalog.begin("test").await.unwrap();
        entries::set_wanted(&mut tx, &entry(name), wanted).await.unwrap();
        let now = tx.now();
        entries::set_scanned(&mut tx, &entry(name), now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Everything below an entry's root but what is ours, by name; unfinished files show up too.
    fn files(&self, entry: &str) -> BTreeMap<String, String> {
        fn walk(folder: &Path, root: &Path, into: &mut BTreeMap<String, String>) {
            for path in fs::read_dir(folder).unwrap().map(|found| found.unwrap().path()) {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if name == ".haulier" || path.is_symlink() {
                } else if path.is_dir() {
                    walk(&path, root, into);
                } else {
                    into.insert(name, fs::read_to_string(&path).unwrap_or_default());
                }
            }
        }
        let (root, mut files) = (self.at(entry, ""), BTreeMap::new());
        walk(&root, &root, &mut files);
        files
    }

    fn contents(&self, entry: &str) -> BTreeSet<String> {
        self.files(entry).into_values().collect()
    }

    /// The old versions of an entry, from the catalogue; each is where its row says.
    async fn kept(&self, at: &str) -> Vec<(String, String)> {
        let rows = kept_rows::list(&mut self.test.catalog.read().await.unwrap(), None, "", 1000).await.unwrap().items;
        let rows = rows.into_iter().filter(|row| row.entry == entry(at));
        rows.map(|row| (row.name.to_string(), self.read(at, &row.place).expect("it is where its row says"))).collect()
    }

    async fn problems(&self, at: &str) -> Vec<String> {
        let mut tx = self.test.catalog.read().await.unwrap();
        let problems = copies::problems(&mut tx, &entry(at), 100).await.unwrap();
        problems.into_iter().map(|(name, problem)| format!("{name}: {problem}")).collect()
    }
}

both_databases! {
    async fn files_arrive_with_time_and_mode_and_a_second_look_changes_nothing(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B", "C"]).await;
        for (name, text) in [("a", "one"), ("deep/er/b", "two"), ("empty", ""), ("new\nline \u{1F600}:", "odd")] {
            scene.write("A", name, text);
        }
        fs::set_permissions(scene.at("A", "a"), fs::Permissions::from_mode(0o640)).unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::options().write(true).open(scene.at("A", "a")).unwrap().set_modified(old).unwrap();
        scene.write("A", "large", &"x".repeat(9 << 20));
        scene.look(&["A"]).await;
        for at in ["B", "C"] {
            assert_eq!(scene.files(at), scene.files("A"));
            let found = fs::metadata(scene.at(at, "a")).unwrap();
            assert_eq!((found.permissions().mode() & 0o777, found.modified().unwrap()), (0o640, old));
        }
        let before: Vec<_> = ["A", "B", "C"].map(|at| fs::metadata(scene.at(at, "a")).unwrap().ctime_nsec()).into();
        scene.look(&["A", "B", "C"]).await;
        let after: Vec<_> = ["A", "B", "C"].map(|at| fs::metadata(scene.at(at, "a")).unwrap().ctime_nsec()).into();
        assert_eq!(before, after);
        assert_eq!(scene.kept("B").await, []);
    }

    async fn what_is_replaced_or_deleted_is_kept_and_empty_folders_go(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B"]).await;
        scene.write("A", "deep/f", "first");
        scene.look(&["A"]).await;
        scene.write("A", "deep/f", "the second");
        scene.look(&["A"]).await;
        assert_eq!(scene.read("B", "deep/f").as_deref(), Some("the second"));
        assert_eq!(scene.kept("B").await, [("deep/f".to_owned(), "first".to_owned())]);
        fs::remove_file(scene.at("A", "deep/f")).unwrap();
        scene.look(&["A"]).await;
        assert!(!scene.at("B", "deep").exists());
        assert_eq!(scene.kept("B").await.last().unwrap().1, "the second");
        assert_eq!(scene.files("A"), BTreeMap::new());
    }

    async fn old_versions_go_when_their_time_is_over_and_not_before(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B"]).await;
        let half = scene.carrier.keep_for / 2;
        for text in ["first", "second", "third"] {
            scene.write("A", "f", text);
            scene.look(&["A"]).await;
            test.clock.advance(half);
        }
        let f = |text: &str| ("f".to_owned(), text.to_owned());
        assert_eq!(scene.kept("B").await, [f("first"), f("second")]);
        let places = || fs::read_dir(scene.at("B", ".haulier/kept")).map_or(0, Iterator::count);
        scene.prune().await;
        assert_eq!(scene.kept("B").await, [f("first"), f("second")], "kept for exactly as long as asked for");
        test.clock.advance(Duration::from_secs(1));
        scene.prune().await;
        assert_eq!((scene.kept("B").await, places()), (vec![f("second")], 1));
        // What is stopped is not touched.
        test.clock.advance(half);
        scene.want("B", Wanted::Stopped).await;
        scene.prune().await;
        assert_eq!((scene.kept("B").await, places()), (vec![f("second")], 1));
        scene.want("B", Wanted::Active).await;
        scene.prune().await;
        assert_eq!((scene.kept("B").await, places()), (vec![], 0));
        assert_eq!(scene.read("B", "f").as_deref(), Some("third"));
    }

    async fn a_change_nobody_has_seen_is_not_overwritten(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B"]).await;
        scene.write("A", "f", "first");
        scene.look(&["A"]).await;
        scene.write("B", "f", "changed at B");
        scene.write("A", "f", "changed at A");
        scene.look(&["A"]).await;
        scene.look(&["A", "B"]).await;
        for at in ["A", "B"] {
            let contents: BTreeSet<_> = ["changed at A", "changed at B"].map(str::to_owned).into();
            assert_eq!(scene.contents(at), contents, "{:?}", scene.files(at));
            assert!(scene.read(at, "f").is_some());
        }
        assert_eq!(scene.files("A"), scene.files("B"));
    }

    async fn a_deletion_does_not_take_a_change_with_it(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B"]).await;
        scene.write("A", "f", "first");
        scene.look(&["A"]).await;
        fs::remove_file(scene.at("A", "f")).unwrap();
        scene.write("B", "f", "changed at B");
        scene.look(&["A"]).await;
        assert_eq!(scene.read("B", "f").as_deref(), Some("changed at B"));
        assert_eq!(scene.read("A", "f").as_deref(), Some("changed at B"));
    }

    async fn a_renamed_file_is_renamed_and_a_touched_one_touched(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B"]).await;
        scene.write("A", "old/f", "some content");
        scene.write("A", "t", "touched");
        scene.look(&["A"]).await;
        let inode = |name: &str| fs::metadata(scene.at("B", name)).unwrap().ino();
        let (moved, touched) = (inode("old/f"), inode("t"));
        fs::create_dir(scene.at("A", "new")).unwrap();
        fs::rename(scene.at("A", "old/f"), scene.at("A", "new/g")).unwrap();
        fs::set_permissions(scene.at("A", "t"), fs::Permissions::from_mode(0o600)).unwrap();
        scene.look(&["A"]).await;
        assert_eq!((inode("new/g"), inode("t")), (moved, touched));
        assert!(!scene.at("B", "old").exists());
        assert_eq!(fs::metadata(scene.at("B", "t")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(scene.kept("B").await, []);
    }

    async fn one_that_cannot_be_brought_keeps_no_other_back(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B"]).await;
        let outside = test.folder().join("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, scene.at("B", "trap")).unwrap();
        scene.write("B", "f/inside", "a folder is here");
        scene.write("A", "trap/x", "trapped");
        scene.write("A", "f", "a file is here");
        scene.write("A", "good", "good");
        scene.ask_eyes(&["A"]).await;
        let runner = scene.runner(|carrier| carrier);
        let stop = tokio_util::sync::CancellationToken::new();
        let ((), ()) = tokio::join!(runner.run(stop.clone()), async {
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            while scene.problems("B").await.len() < 2 || scene.read("B", "good").is_none() {
                assert!(std::time::Instant::now() < deadline, "{:?}", scene.problems("B").await);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let problems = scene.problems("B").await.join("\n");
            assert!(problems.contains("trap/x: a symbolic link is in the way"), "{problems}");
            assert!(problems.contains("f: the path is a directory"), "{problems}");
            fs::remove_file(scene.at("B", "trap")).unwrap();
            fs::remove_dir_all(scene.at("B", "f")).unwrap();
            while scene.read("B", "f").is_none() || scene.read("B", "trap/x").is_none() {
                assert!(std::time::Instant::now() < deadline, "{:?}", scene.problems("B").await);
                test.clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        });
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    }

    async fn a_carrier_cut_off_anywhere_loses_nothing_and_ends_the_same(test: TestCatalog) {
        let scene = Scene::new(&test, &["A", "B"]).await;
        let mut cuts = 0;
        for polls in 0..400 {
            let [edited, deleted, conflict] = ["edited", "deleted", "conflict"].map(|what| format!("{polls}/{what}"));
            for name in [&edited, &deleted, &conflict] {
                scene.write("A", name, &format!("first {name}"));
            }
            scene.look(&["A"]).await;
            scene.write("A", &edited, &format!("second {edited}"));
            fs::remove_file(scene.at("A", &deleted)).unwrap();
            scene.write("A", &conflict, &format!("A's {conflict}"));
            scene.write("B", &conflict, &format!("B's {conflict}"));
            scene.ask_eyes(&["A"]).await;
            let cut = Arc::new(AtomicBool::new(false));
            let cutting = scene.runner(|inner| Arc::new(CutOff::after_polls(inner, polls, cut.clone())));
            cutting.run_until_idle().await.unwrap();
            test.clock.advance(LEASE_OVER);
            scene.run().await;
            // What a start does: everything is looked at.
            scene.look(&["A", "B"]).await;
            test.clock.advance(LEASE_OVER);
            scene.look(&["A", "B"]).await;
            assert_eq!(scene.files("A"), scene.files("B"), "cut off after {polls} polls");
            assert_eq!(scene.read("B", &edited), Some(format!("second {edited}")), "cut off after {polls} polls");
            assert!(!scene.at("B", &deleted).exists(), "cut off after {polls} polls");
            let (contents, kept) = (scene.contents("B"), scene.kept("B").await);
            for version in [format!("A's {conflict}"), format!("B's {conflict}")] {
                assert!(contents.contains(&version), "cut off after {polls} polls: {version} is lost");
            }
            for version in [format!("first {edited}"), format!("first {deleted}")] {
                assert!(kept.iter().any(|(_, text)| *text == version), "cut off after {polls} polls: {version}");
            }
            let leftover = |name: &String| name.contains(".haulier-");
            assert!(!scene.files("B").keys().any(leftover), "cut off after {polls} polls: {:?}", scene.files("B"));
            cuts += u32::from(cut.load(Ordering::SeqCst));
            if !cut.load(Ordering::SeqCst) {
                assert!(cuts > 5, "only {cuts} cuts");
                return;
            }
        }
        panic!("a run still did not get through");
    }
}
