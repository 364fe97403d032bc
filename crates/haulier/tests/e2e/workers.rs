//! Several processes on one PostgreSQL: what they do for each other when one dies, freezes or is asked to stop.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Cluster, RATE, RECOVERY_MAX, Watcher};
use crate::facts;
use crate::node::Node;

/// A lease that is given back must not be waited for; one that is not lasts 15 s.
const HANDOVER_MAX: Duration = Duration::from_secs(5);
/// Beyond the first checkpoint, and far from the end.
const MIDDLE: u64 = 3 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_take_over_from_one_that_was_killed() {
    const TRANSFERS: usize = 4;
    let cluster = Cluster::new(TRANSFERS).await;
    let node = cluster.node();
    // Too few slots for one of them to take everything.
    let workers = ["w1", "w2", "w3"].map(|site| (site, cluster.worker(site, 3)));
    let watcher = Watcher::start(&node);
    let ids: Vec<_> = (0..TRANSFERS).map(|object| node.submit(&cluster.web_request(object))).collect();
    node.wait_for_progress(&ids[0], MIDDLE);
    let holder = cluster.executor(&ids[0]).await.expect("somebody works on it");
    let mut orphans = Vec::new();
    for id in &ids {
        if cluster.executor(id).await.as_ref() == Some(&holder) {
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
    let successor = cluster.executor(&ids[0]).await.unwrap();
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
    let requests = (0..EACH).map(|n| cluster.web_request(n));
    let requests = requests.chain((0..EACH).map(|n| cluster.file_request(&format!("file-{n}"), limited.clone())));
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
        assert_eq!(cluster.executor(id).await.as_deref(), Some("successor"));
        cluster.assert_whole(&document);
        copies.push(PathBuf::from(document["destination_url"].as_str().unwrap().strip_prefix("file://").unwrap()));
    }
    // Whoever owns a complete file may use it: a late byte would show in this one whatever its clock says.
    fs::write(&copies[0], b"mine now").unwrap();
    let before: Vec<_> = copies.iter().map(|copy| fingerprint(copy)).collect();
    assert_eq!(successor.terminate().code(), Some(0));
    frozen.signal("CONT");

    // It recovers: nobody else is left to do this.
    let later = node.submit(&cluster.file_request("later", json!({})));
    cluster.assert_whole(&node.wait_for(&later, "STATE_COMPLETE"));
    assert_eq!(cluster.executor(&later).await.as_deref(), Some("frozen"));
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
    let ids: Vec<_> = (0..EACH).map(|object| node.submit(&cluster.web_request(object))).collect();
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
        assert_eq!(cluster.executor(id).await.as_deref(), Some("successor"));
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
    let id = node.submit(&cluster.web_request(0));
    node.wait_for_progress(&id, MIDDLE);
    let second = cluster.worker("second", 2);
    assert_eq!(cluster.executor(&id).await.as_deref(), Some("first"));

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
    let id = node.submit(&cluster.web_request(0));
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
