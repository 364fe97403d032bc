//! A catalogue on PostgreSQL, processes that share it, a slow source, and a client that never looks away.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use haulier_catalog::DatabaseUrl;
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::{Value, json};

use crate::facts::{self, Recorded};
use crate::node::{Node, Process, Scratch};
use crate::web::WebSource;

/// From a worker's death to the end of its transfers: the lease, the poll, and the bytes that were missing.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(45);
pub(crate) const SIZE: usize = 20 << 20;
/// A source lasts ten seconds.
pub(crate) const RATE: u64 = 2 << 20;

/// A catalogue, a node and workers that share it, and a slow source.
pub(crate) struct Cluster {
    pub(crate) scratch: Scratch,
    pub(crate) catalog: TestCatalog,
    pub(crate) database: String,
    pub(crate) bytes: Arc<Vec<u8>>,
    web: WebSource,
}

impl Cluster {
    pub(crate) async fn new(objects: usize) -> Self {
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

    pub(crate) fn node(&self) -> Node {
        Node::with_config(self.scratch.path(), Some(&self.database), "node", "node.toml")
    }

    pub(crate) fn worker(&self, site: &str, slots: usize) -> Process {
        let config = format!("{site}.toml");
        fs::write(self.scratch.path().join(&config), format!("[transfer]\nslots = {slots}\n")).unwrap();
        Process::worker(self.scratch.path(), site, &self.database, &config)
    }

    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        self.scratch.path().join("copies").join(name)
    }

    pub(crate) fn web_request(&self, object: usize) -> Value {
        let copy = self.copy(&format!("web-{object}"));
        json!({"source_url": self.web.url(object), "destination_url": format!("file://{}", copy.display())})
    }

    pub(crate) fn file_request(&self, name: &str, options: Value) -> Value {
        let (source, copy) = (self.scratch.path().join("source"), self.copy(name));
        json!({
            "source_url": format!("file://{}", source.display()),
            "destination_url": format!("file://{}", copy.display()),
            "destination_options": options,
        })
    }

    /// Waits until the transfer's row is as wished, and gives it.
    pub(crate) async fn wait_for(&self, id: &str, wished: impl Fn(&Recorded) -> bool) -> Recorded {
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

    pub(crate) fn assert_whole(&self, document: &Value) {
        assert_eq!(document["progress"], SIZE, "{document}");
        assert!(document["checksum"].as_str().unwrap().starts_with("sha256:"), "{document}");
        let copy = document["destination_url"].as_str().unwrap().strip_prefix("file://").unwrap();
        assert!(fs::read(copy).unwrap() == *self.bytes, "{copy} differs");
    }

    /// The names of temporary files.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scratch.path().join("copies")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).collect()
    }

    /// The site that works on a transfer, or worked on it last.
    pub(crate) async fn executor(&self, id: &str) -> Option<String> {
        facts::transfer(&self.catalog.catalog, id).await.executor
    }

    /// How often the source was read, on average.
    pub(crate) fn reads_of_source(&self, object: usize) -> f64 {
        self.web.sent(object) as f64 / SIZE as f64
    }
}

/// A client that looks at transfers all the time and never wants to see one fall back.
pub(crate) struct Watcher {
    end: Arc<AtomicBool>,
    looks: std::thread::JoinHandle<usize>,
}

impl Watcher {
    pub(crate) fn start(node: &Node) -> Self {
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

    pub(crate) fn finish(self) {
        self.end.store(true, Ordering::Relaxed);
        let looks = self.looks.join().expect("progress never fell");
        assert!(looks > 20, "only {looks} looks");
    }
}
