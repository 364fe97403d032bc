//! A room with real folders, whose tasks run by themselves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use haulier_base::Result;
use haulier_catalog::queue;
use haulier_mover::ByteBudget;
use haulier_storage::{StorageConfig, Storages};
use haulier_testkit::catalog::TestCatalog;
use haulier_work::{Handlers, Runner, RunnerConfig};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::attend::{Attend, OpenEntry};
use crate::carry::Carrier;
use crate::driver::{Driver, DriverConfig, Drivers};
use crate::hold::Held;
use crate::model::{EntryName, FileName, FileState};
use crate::plan::ConflictPolicy;
use crate::progress::Passes;
use crate::referee::Referee;
use crate::store::entries::{self, Entry, Wanted};
use crate::store::rules::RuleLists;
use crate::store::{copies, files, rules};
use crate::tasks::{ATTEND, EntryTask};

/// A machine under load is given so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks; the clock of the catalogue goes on by as much.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Files by name, with what is in them.
pub(crate) type Tree = BTreeMap<String, String>;

/// A tree as written in a test.
pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// Everything a story needs.
pub(crate) struct Room {
    pub(crate) test: TestCatalog,
    running: Option<(CancellationToken, JoinSet<()>)>,
}

#[derive(Debug)]
struct Opener(Drivers);

#[async_trait]
impl OpenEntry for Opener {
    async fn open(&self, entry: &Entry) -> Result<Driver> {
        let (name, options) = (entry.name.clone(), entry.options.clone());
        self.0.open(&DriverConfig { entry: name, driver: entry.driver.clone(), options, configured: true }).await
    }
}

impl Room {
    /// Entries that hold everything, all of them: the folders may be filled before [`Room::start`].
    pub(crate) async fn new(test: TestCatalog, names: &[&str]) -> Self {
        Self::with_rules(test, names, json!([{ "match": {}, "sync": names }])).await
    }

    pub(crate) async fn with_rules(test: TestCatalog, names: &[&str], list: Value) -> Self {
        let room = Self { test, running: None };
        let mut tx = room.test.catalog.begin("test").await.unwrap();
        let now = tx.now();
        let lists = RuleLists { stored: list.clone(), applied: list.clone(), configured: list, changed_at: now };
        rules::put(&mut tx, &lists).await.unwrap();
        for (position, name) in names.iter().enumerate() {
            fs::create_dir_all(room.path(name, "")).unwrap();
            let entry = Entry {
                name: EntryName::new(*name).unwrap(),
                position: i64::try_from(position).unwrap(),
                driver: "local_storage".to_owned(),
                options: json!({ "root": room.path(name, "") }),
                configured: true,
                wanted: Wanted::Stopped,
                started_at: None,
                attended_at: None,
                scanned_at: None,
                root_id: None,
                held: None,
                problem: None,
                problem_at: None,
                carrying: false,
                created_at: now,
            };
            entries::insert(&mut tx, &entry).await.unwrap();
        }
        tx.commit().await.unwrap();
        room
    }

    /// Entries that hold everything, started and scanned.
    pub(crate) async fn started(test: TestCatalog, names: &[&str]) -> Self {
        let mut room = Self::new(test, names).await;
        room.start().await;
        room
    }

    /// Starts all entries, as a server does, and waits until each was scanned.
    pub(crate) async fn start(&mut self) {
        self.start_unready().await;
        self.until("scanned", async |room| {
            let all = room.entries().await;
            all.iter().all(|entry| entry.is_ready() || entry.problem.is_some())
        })
        .await;
    }

    pub(crate) async fn start_unready(&mut self) {
        self.test.clock.advance(Duration::from_millis(1));
        let mut tx = self.test.catalog.begin("test").await.unwrap();
        let now = tx.now();
        for entry in entries::list(&mut tx).await.unwrap() {
            entries::set_wanted(&mut tx, &entry.name, Wanted::Active).await.unwrap();
            queue::enqueue(&mut tx, EntryTask::new_task(ATTEND, &entry.name, now)).await.unwrap();
        }
        tx.commit().await.unwrap();
        self.run();
    }

    /// Lets the tasks run.
    pub(crate) fn run(&mut self) {
        let catalog = self.test.catalog.clone();
        let storages = Storages::new(StorageConfig::default()).unwrap();
        let opener: Arc<dyn OpenEntry> = Arc::new(Opener(Drivers::new(storages)));
        let policy = ConflictPolicy::KeepBoth;
        let referee = Referee::new(catalog.clone(), policy);
        let attend = Attend {
            catalog: catalog.clone(),
            referee: referee.clone(),
            opener: opener.clone(),
            catalogue_id: "test".to_owned(),
            passes: Passes::default(),
        };
        let budget = Arc::new(ByteBudget::new(None));
        let keep_for = Duration::from_secs(3600);
        let carrier = Carrier { catalog: catalog.clone(), referee, opener, budget, policy, keep_for };
        let handlers = Handlers::new().register(Arc::new(attend)).register(Arc::new(carrier));
        // The clock is moved by hours, and nobody is to lose a lease by that.
        let config = RunnerConfig { lease: Duration::from_secs(1_000_000), ..RunnerConfig::default() };
        let runner = Runner::new(catalog, handlers, config);
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        running.spawn(runner.run(stop.clone()));
        self.running = Some((stop, running));
    }

    /// Stops the process, as it were. What was attended is to be attended again.
    pub(crate) async fn halt(&mut self) {
        let Some((stop, running)) = self.running.take() else { return };
        stop.cancel();
        running.join_all().await;
    }

    /// Comes up again after [`Room::halt`], and waits until each entry was scanned anew.
    pub(crate) async fn resume(&mut self) {
        self.test.clock.advance(Duration::from_secs(1));
        let before = self.test.catalog.now();
        self.run();
        self.until("scanned again", async |room| {
            let all = room.entries().await;
            all.iter().all(|entry| entry.scanned_at.is_some_and(|at| at >= before))
        })
        .await;
    }

    pub(crate) async fn entries(&self) -> Vec<Entry> {
        entries::list(&mut self.test.catalog.read().await.unwrap()).await.unwrap()
    }

    pub(crate) async fn entry(&self, name: &str) -> Entry {
        self.entries().await.into_iter().find(|entry| entry.name.as_str() == name).unwrap()
    }

    pub(crate) async fn held(&self, name: &str) -> Option<Held> {
        Held::read(self.entry(name).await.held.as_ref())
    }

    /// What the catalogue knows of a name.
    pub(crate) async fn state(&self, name: &str) -> Option<FileState> {
        let fid = FileName::new(name).unwrap().fid();
        files::find(&mut self.test.catalog.read().await.unwrap(), &fid).await.unwrap()
    }

    pub(crate) fn path(&self, entry: &str, name: &str) -> PathBuf {
        let root = self.test.folder().join("roots").join(entry);
        if name.is_empty() { root } else { root.join(name) }
    }

    pub(crate) fn write(&self, entry: &str, name: &str, text: &str) {
        let path = self.path(entry, name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn rename(&self, entry: &str, from: &str, to: &str) {
        fs::rename(self.path(entry, from), self.path(entry, to)).unwrap();
    }

    pub(crate) fn remove(&self, entry: &str, name: &str) {
        fs::remove_file(self.path(entry, name)).unwrap();
    }

    pub(crate) fn inode(&self, entry: &str, name: &str) -> u64 {
        fs::symlink_metadata(self.path(entry, name)).unwrap().ino()
    }

    /// Every regular file of an entry, unfinished ones included, but for our own folder.
    pub(crate) fn tree(&self, entry: &str) -> Tree {
        let mut tree = Tree::new();
        let root = self.path(entry, "");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(found) = fs::read_dir(folder) else { continue };
            for item in found.flatten() {
                let (path, Ok(kind)) = (item.path(), item.file_type()) else { continue };
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                if kind.is_dir() && name != ".haulier" {
                    folders.push(path);
                } else if kind.is_file() {
                    tree.insert(name, read(&path));
                }
            }
        }
        tree
    }

    /// Waits until something is so, while time passes.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self).await {
            if began.elapsed() > PATIENCE {
                let (mut told, names) = (String::new(), self.entries().await);
                for entry in names {
                    told += &format!("\n{entry:?}\n  {:?}", self.tree(entry.name.as_str()));
                }
                panic!("not {what}:{told}");
            }
            sleep(LOOK_EVERY).await;
            self.test.clock.advance(LOOK_EVERY);
        }
    }

    /// Waits until each of these entries holds exactly this, and nothing is to be done any more.
    pub(crate) async fn until_all(&self, names: &[&str], expected: &Tree) {
        let what = format!("all of {names:?} with {expected:?}");
        self.until(&what, async |room| names.iter().all(|name| room.tree(name) == *expected) && room.is_quiet().await)
            .await;
    }

    /// Whether nothing is pending anywhere.
    pub(crate) async fn is_quiet(&self) -> bool {
        let mut tx = self.test.catalog.read().await.unwrap();
        for entry in entries::list(&mut tx).await.unwrap() {
            if copies::totals(&mut tx, &entry.name).await.unwrap().files > 0 {
                return false;
            }
        }
        true
    }

    /// Has everything scanned once more, by letting an hour pass, and waits for it.
    pub(crate) async fn scan_again(&self) {
        self.test.clock.advance(Duration::from_secs(3601));
        let before = self.test.catalog.now();
        self.until("scanned after an hour", async |room| {
            room.entries().await.iter().all(|entry| entry.scanned_at.is_some_and(|at| at >= before))
        })
        .await;
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
