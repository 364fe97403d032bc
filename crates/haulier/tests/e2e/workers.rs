//! Several processes on one PostgreSQL: what they do for each other when one dies, freezes or is asked to stop.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use haulier_catalog::{Catalog, DatabaseUrl};
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::{Value, json};

use crate::facts::{self, Recorded};
use crate::node::{Node, Process, Scratch};
use crate::web::WebSource;

/// From a worker's death to the end of its transfers: the lease, the poll, and the bytes that were missing.
const RECOVERY_MAX: Duration = Duration::from_secs(45);
/// A lease that is given back must not be waited for; one that is not lasts 15 s.
const HANDOVER_MAX: Duration = Duration::from_secs(5);
const SIZE: usize = 20 << 20;
/// A source lasts ten seconds.
const RATE: u64 = 2 << 20;
/// Beyond the first checkpoint, and far from the end.
const MIDDLE: u64 = 3 << 20;

/// A catalogue, a node and workers that share it, and a slow source.
struct Cluster {
    scratch: Scratch,
    catalog: TestCatalog,
    database: String,
    bytes: Arc<Vec<u8>>,
    web: WebSource,
}

impl Cluster {
    async fn new(objects: usize) -> Self {
        let (scratch, catalog) = (Scratch::new(), TestCatalog::new(Database::Postgres).await);
        let DatabaseUrl::Postgres(url) = &catalog.url else { panic!("not PostgreSQL") };
        let database = url.reveal().clone();
        let bytes: Vec<u8> = (0..SIZE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let bytes = Arc::new(bytes);
        fs::create_dir(scratch.path().join("copies")).unwrap();
        fs::write(scratch.path().join("source"), bytes.as_slice()).unwrap();
        // It takes requests and leaves all work to the workers.
        fs::write(scratch.path().join("node.toml"), "[transfer]\nautostart = false\n").unwrap();
        let web = WebSource::serve(vec![bytes.clone(); objects], RATE);
        Self { scratch, catalog, database, bytes, web }
    }

    fn node(&self) -> Node {
        Node::with_config(self.scratch.path(), Some(&self.database), "node", "node.toml")
    }

    fn worker(&self, site: &str, slots: usize) -> Process {
        let config = format!("{site}.toml");
        fs::write(self.scratch.path().join(&config), format!("[transfer]\nslots = {slots}\n")).unwrap();
        Process::worker(self.scratch.path(), site, &self.database, &config)
    }

    fn copy(&self, name: &str) -> PathBuf {
        self.scratch.path().join("copies").join(name)
    }

    fn from_web(&self, object: usize) -> Value {
        let copy = self.copy(&format!("web-{object}"));
        json!({"source_url": self.web.url(object), "destination_url": format!("file://{}", copy.display())})
    }

    fn from_file(&self, name: &str, options: Value) -> Value {
        let (source, copy) = (self.scratch.path().join("source"), self.copy(name));
        json!({
            "source_url": format!("file://{}", source.display()),
            "destination_url": format!("file://{}", copy.display()),
            "destination_options": options,
        })
    }

    /// Waits until the transfer's row is as wished, and gives it.
    async fn wait_for(&self, id: &str, wished: impl Fn(&Recorded) -> bool) -> Recorded {
        let begun = Instant::now();
        loop {
            let recorded = facts::transfer(&self.catalog.catalog, id).await;
            if wished(&recorded) {
                return recorded;
            }
            assert!(begun.elapsed() < RECOVERY_MAX, "{recorded:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn assert_whole(&self, document: &Value) {
        assert_eq!(document["progress"], SIZE, "{document}");
        assert!(document["checksum"].as_str().unwrap().starts_with("sha256:"), "{document}");
        let copy = document["destination_url"].as_str().unwrap().strip_prefix("file://").unwrap();
        assert!(fs::read(copy).unwrap() == *self.bytes, "{copy} differs");
    }

    /// The names of temporary files.
    fn unfinished(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scratch.path().join("copies")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).collect()
    }

    /// How often the source was read, on average.
    fn reads_of_source(&self, object: usize) -> f64 {
        self.web.sent(object) as f64 / SIZE as f64
    }
}

/// A client that looks at transfers all the time and never wants to see one fall back.
struct Watcher {
    end: Arc<AtomicBool>,
    looks: std::thread::JoinHandle<usize>,
}

impl Watcher {
    fn start(node: &Node) -> Self {
        let client = node.client.clone();
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let looks = std::thread::spawn(move || {
            let (mut seen, mut looks) = (HashMap::new(), 0);
            while !ended.load(Ordering::Relaxed) {
                let (_, list) = client.json("GET", "/v1/transfers", None);
                for transfer in list.as_array().unwrap() {
                    let progress = transfer["progress"].as_u64().unwrap();
                    let before = seen.insert(transfer["id"].to_string(), progress).unwrap_or(0);
                    assert!(progress >= before, "fell from {before}: {transfer}");
                }
                looks += 1;
                std::thread::sleep(Duration::from_millis(25));
            }
            looks
        });
        Self { end, looks }
    }

    fn finish(self) {
        self.end.store(true, Ordering::Relaxed);
        let looks = self.looks.join().expect("progress never fell");
        assert!(looks > 20, "only {looks} looks");
    }
}

async fn executor(catalog: &Catalog, id: &str) -> Option<String> {
    facts::transfer(catalog, id).await.executor
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_take_over_from_one_that_was_killed() {
    const TRANSFERS: usize = 4;
    let cluster = Cluster::new(TRANSFERS).await;
    let node = cluster.node();
    // Too few slots for one of them to take everything.
    let workers = ["w1", "w2", "w3"].map(|site| (site, cluster.worker(site, 3)));
    let watcher = Watcher::start(&node);
    let ids: Vec<_> = (0..TRANSFERS).map(|object| node.submit(&cluster.from_web(object))).collect();
    node.wait_for_progress(&ids[0], MIDDLE);
    let holder = executor(&cluster.catalog.catalog, &ids[0]).await.expect("somebody works on it");
    let mut orphans = Vec::new();
    for id in &ids {
        if executor(&cluster.catalog.catalog, id).await.as_ref() == Some(&holder) {
            orphans.push(id);
        }
    }
    let victim = &workers.iter().find(|(site, _)| *site == holder).expect("a worker, not the node, holds it").1;
    victim.kill();
    let killed = Instant::now();

    for id in &ids {
        cluster.assert_whole(&node.wait_for(id, "STATE_COMPLETE"));
    }
    let took = killed.elapsed();
    assert!(took < RECOVERY_MAX, "{took:?}");
    watcher.finish();
    for (object, id) in ids.iter().enumerate() {
        let (reads, document) = (cluster.reads_of_source(object), node.show(id));
        let orphan = orphans.contains(&id);
        assert_eq!(document["attempts"], if orphan { 2 } else { 1 }, "{document}");
        // What came after the last checkpoint is read again, and nothing else.
        assert!((1.0..if orphan { 1.2 } else { 1.001 }).contains(&reads), "read {reads:.3} times, {document}");
    }
    let successor = executor(&cluster.catalog.catalog, &ids[0]).await.unwrap();
    assert!(successor != holder && successor != "node", "{successor} after {holder}");
    assert_eq!(cluster.unfinished(), [""; 0]);
    assert_eq!(facts::leftovers(&cluster.catalog.catalog).await, (0, 0));
    println!("{} of {TRANSFERS} were orphans; all complete {took:?} after the kill", orphans.len());
}

/// Everything about a file that a write of even the same bytes would change.
fn fingerprint(path: &Path) -> (u64, u64, i64, i64, i64, i64) {
    let meta = fs::metadata(path).unwrap();
    (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_were_frozen_write_nothing_when_they_thaw() {
    const EACH: usize = 4;
    let cluster = Cluster::new(EACH).await;
    let (node, frozen) = (cluster.node(), cluster.worker("frozen", 16));
    let watcher = Watcher::start(&node);
    let limited = json!({"rate_bytes_per_second": RATE});
    let requests = (0..EACH).map(|n| cluster.from_web(n));
    let requests = requests.chain((0..EACH).map(|n| cluster.from_file(&format!("file-{n}"), limited.clone())));
    let ids: Vec<_> = requests.map(|request| node.submit(&request)).collect();
    for id in &ids {
        node.wait_for_progress(id, MIDDLE);
    }
    frozen.signal("STOP");
    let successor = cluster.worker("successor", 16);

    // Its leases run out, and what it had begun is done by another before it moves again.
    let mut copies = Vec::new();
    for id in &ids {
        let document = node.wait_for(id, "STATE_COMPLETE");
        assert_eq!(executor(&cluster.catalog.catalog, id).await.as_deref(), Some("successor"));
        cluster.assert_whole(&document);
        copies.push(PathBuf::from(document["destination_url"].as_str().unwrap().strip_prefix("file://").unwrap()));
    }
    // Whoever owns a complete file may use it: a late byte would show in this one whatever its clock says.
    fs::write(&copies[0], b"mine now").unwrap();
    let before: Vec<_> = copies.iter().map(|copy| fingerprint(copy)).collect();
    assert_eq!(successor.terminate().code(), Some(0));
    frozen.signal("CONT");

    // It recovers: nobody else is left to do this.
    let later = node.submit(&cluster.from_file("later", json!({})));
    cluster.assert_whole(&node.wait_for(&later, "STATE_COMPLETE"));
    assert_eq!(executor(&cluster.catalog.catalog, &later).await.as_deref(), Some("frozen"));
    watcher.finish();
    // After its end nothing of it can be under way.
    assert_eq!(frozen.terminate().code(), Some(0));
    for (copy, before) in copies.iter().zip(before) {
        assert_eq!(fingerprint(copy), before, "{} was touched", copy.display());
    }
    assert_eq!(fs::read(&copies[0]).unwrap(), b"mine now");
    for copy in &copies[1..] {
        assert!(fs::read(copy).unwrap() == *cluster.bytes, "{} differs", copy.display());
    }
    assert_eq!(cluster.unfinished(), [""; 0]);
    assert_eq!(facts::leftovers(&cluster.catalog.catalog).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_were_frozen_early_take_nothing_away_when_they_thaw() {
    const EACH: usize = 2;
    let cluster = Cluster::new(EACH).await;
    let (node, frozen) = (cluster.node(), cluster.worker("frozen", 16));
    let ids: Vec<_> = (0..EACH).map(|object| node.submit(&cluster.from_web(object))).collect();
    // It has begun to write, and nothing is saved that would tell its file from a new one.
    while cluster.unfinished().len() < EACH {
        std::thread::sleep(Duration::from_millis(2));
    }
    frozen.signal("STOP");
    for id in &ids {
        assert_eq!(node.show(id)["progress"], 0, "frozen too late");
    }
    let successor = cluster.worker("successor", 16);
    for id in &ids {
        node.wait_for_progress(id, MIDDLE);
    }
    frozen.signal("CONT");

    for id in &ids {
        let document = node.wait_for(id, "STATE_COMPLETE");
        cluster.assert_whole(&document);
        assert_eq!(document["attempts"], 2, "the successor was disturbed: {document}");
        assert_eq!(executor(&cluster.catalog.catalog, id).await.as_deref(), Some("successor"));
    }
    assert_eq!(frozen.terminate().code(), Some(0));
    assert_eq!(successor.terminate().code(), Some(0));
    assert_eq!(cluster.unfinished(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_asked_to_stop_hand_over_at_once() {
    let cluster = Cluster::new(1).await;
    let (node, first) = (cluster.node(), cluster.worker("first", 2));
    let watcher = Watcher::start(&node);
    let id = node.submit(&cluster.from_web(0));
    node.wait_for_progress(&id, MIDDLE);
    let second = cluster.worker("second", 2);
    assert_eq!(executor(&cluster.catalog.catalog, &id).await.as_deref(), Some("first"));

    first.signal("TERM");
    let asked = Instant::now();
    let taken = cluster.wait_for(&id, |recorded| recorded.executor.as_deref() == Some("second")).await;
    let handover = asked.elapsed();
    assert!(handover < HANDOVER_MAX, "{handover:?}");
    assert_eq!(first.wait().code(), Some(0));
    assert_eq!(taken.task_attempt, Some(1), "the attempt is given back: {taken:?}");
    assert!(taken.progress >= MIDDLE, "{taken:?}");

    cluster.assert_whole(&node.wait_for(&id, "STATE_COMPLETE"));
    watcher.finish();
    // The last checkpoint is the point at which the first one stopped.
    let reads = cluster.reads_of_source(0);
    assert!((1.0..1.1).contains(&reads), "read {reads:.3} times");
    assert_eq!(cluster.unfinished(), [""; 0]);
    assert_eq!(second.terminate().code(), Some(0));
    assert_eq!(node.terminate().code(), Some(0));
    println!("handed over within {handover:?}, the source read {reads:.3} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_go_on_with_what_a_stopped_node_had_begun() {
    let cluster = Cluster::new(1).await;
    let node = Node::start(cluster.scratch.path(), Some(&cluster.database));
    let id = node.submit(&cluster.from_web(0));
    node.wait_for_progress(&id, MIDDLE);
    let worker = cluster.worker("worker", 2);
    node.process.signal("TERM");
    let asked = Instant::now();
    let taken = cluster.wait_for(&id, |recorded| recorded.executor.as_deref() == Some("worker")).await;
    let handover = asked.elapsed();
    assert!(handover < HANDOVER_MAX, "{handover:?}");
    assert_eq!(node.process.wait().code(), Some(0));
    assert_eq!(taken.task_attempt, Some(1), "the attempt is given back: {taken:?}");

    cluster.wait_for(&id, |recorded| recorded.state == "STATE_COMPLETE").await;
    let node = cluster.node();
    cluster.assert_whole(&node.show(&id));
    let reads = cluster.reads_of_source(0);
    assert!((1.0..1.1).contains(&reads), "read {reads:.3} times");
    assert_eq!(worker.terminate().code(), Some(0));
}
