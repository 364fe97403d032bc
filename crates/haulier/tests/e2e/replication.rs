//! Replication as its users meet it: three sites, the command line, an outage.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node::haulier;
use crate::replication_kill::{SITES, Sites};

const PATIENCE: Duration = Duration::from_secs(60);

struct Terminal<'a> {
    sites: &'a Sites,
    at: usize,
}

impl Terminal<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let server = self.sites.node(self.at).url();
        haulier(self.sites.folder()).args(arguments).args(["--server", &server]).output().unwrap()
    }

    /// A command that has to work; what it prints.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    fn code(&self, arguments: &[&str]) -> Option<i32> {
        self.run(arguments).status.code()
    }
}

fn at(sites: &Sites, at: usize) -> Terminal<'_> {
    Terminal { sites, at }
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn three_sites_an_outage_and_the_command_line() {
    let mut sites = Sites::new(None);
    let folder = sites.folder().to_owned();
    let (small, large) = (b"by the sea".to_vec(), vec![7_u8; 9_000_000]);
    std::fs::write(folder.join("small"), &small).unwrap();
    std::fs::write(folder.join("large"), &large).unwrap();

    let made = at(&sites, 0).json(&["bucket", "create", "photos"]);
    assert_eq!((&made["id"], &made["status"]), (&"photos".into(), &"READY".into()));
    assert_eq!(at(&sites, 0).code(&["bucket", "create", "photos"]), Some(5));
    let stored = at(&sites, 0).json(&["object", "put", "photos", "2026/sea one.txt", "small", "--metadata", "who=Zoë"]);
    assert_eq!((&stored["size"], &stored["metadata"]["who"]), (&10.into(), &"Zoë".into()));

    // At once, wherever it is; it is passed through if it has to be.
    for (here, site) in SITES.iter().enumerate() {
        let got = format!("got-{site}");
        at(&sites, here).says(&["object", "get", "photos", "2026/sea one.txt", &got]);
        assert_eq!(read(&folder, &got), small);
    }
    sites.wait_until_in_sync();
    assert_eq!(at(&sites, 0).code(&["replica", "lag", "--check"]), Some(0));

    // One site is away while others write and delete.
    sites.nodes[2] = None;
    at(&sites, 0).says(&["object", "put", "photos", "large", "large"]);
    at(&sites, 1).says(&["object", "delete", "photos", "2026/sea one.txt"]);
    assert_eq!(at(&sites, 0).code(&["replica", "lag", "--check"]), Some(6), "it is not in sync, and says so");
    let lag = at(&sites, 0).json(&["replica", "lag"]);
    let behind = lag.as_array().unwrap().iter().find(|row| row["site"] == "c" && row["bucket"] == "photos").unwrap();
    assert_eq!((&behind["orders_pending"], &behind["bytes_pending"]), (&1.into(), &9_000_000.into()));

    sites.start(2);
    sites.wait_until_in_sync();
    at(&sites, 2).says(&["object", "get", "photos", "large", "large-c"]);
    assert_eq!(read(&folder, "large-c"), large);
    for here in 0..3 {
        assert_eq!(at(&sites, here).code(&["object", "get", "photos", "2026/sea one.txt", "gone"]), Some(3));
        let names = at(&sites, here).json(&["object", "list", "photos"]);
        let names: Vec<_> = names.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["large"]);
    }
    assert!(!folder.join("gone").exists());

    // Bytes that rot are found and brought back.
    damage(&folder.join("data-b/objects"));
    let begun = Instant::now();
    let run = at(&sites, 0).json(&["replica", "reconcile", "photos", "--deep", "--wait"]);
    assert_eq!(run["actions"], 1, "{run}");
    loop {
        at(&sites, 1).says(&["object", "get", "photos", "large", "large-b"]);
        if at(&sites, 1).code(&["replica", "lag", "--check"]) == Some(0) && read(&folder, "large-b") == large {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it was not repaired");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Flips a bit in the only file.
fn damage(objects: &Path) {
    let folders = std::fs::read_dir(objects).unwrap().flatten();
    let files: Vec<_> = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let mut bytes = std::fs::read(file.path()).unwrap();
    bytes[4_000_000] ^= 1;
    std::fs::write(file.path(), bytes).unwrap();
}
