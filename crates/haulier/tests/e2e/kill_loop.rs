//! Kills the real server at many moments; every acknowledged request must survive all of them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::Node;

const SIZES: [usize; 8] = [0, 1, 4_095, 65_536, 1_000_003, 1 << 20, 3_333_333, 8 << 20];
const POSTS_PER_LIFE: usize = 4;
const END_PATIENCE: Duration = Duration::from_secs(90);

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A transfer that was asked for, and what the server has said about it.
struct Asked {
    copy: PathBuf,
    bytes: Vec<u8>,
    acknowledged: bool,
    progress: u64,
    attempts: u64,
}

struct Story {
    folder: PathBuf,
    dice: Dice,
    /// By destination, because that is known before an answer is.
    asked: HashMap<String, Asked>,
}

impl Story {
    fn post(&mut self, node: &Node) -> bool {
        let source = self.dice.below(SIZES.len() as u64) as usize;
        let size = SIZES[source] as u64;
        let ranged = self.dice.below(3) == 0;
        let start = if ranged { self.dice.below(size + 1) } else { 0 };
        let end = if ranged { start + self.dice.below(size - start + 1) } else { size };
        // A slow one is more likely to be at work when the server dies.
        let options = if self.dice.below(4) == 0 { json!({"rate_bytes_per_second": 20_000_000}) } else { json!({}) };
        let copy = self.folder.join(format!("copies/{}", self.asked.len()));
        let url = format!("file://{}", copy.display());
        let request = json!({
            "source_url": format!("file://{}/{source}", self.folder.display()), "destination_url": url,
            "start_offset": start, "end_offset": if ranged { json!(end) } else { json!(-1) },
            "destination_options": options,
        });
        let bytes = content(source)[start as usize..end as usize].to_vec();
        let asked = Asked { copy, bytes, acknowledged: false, progress: 0, attempts: 0 };
        let asked = self.asked.entry(url).or_insert(asked);
        match node.ask("POST", "/v1/transfers", Some(&request)) {
            Ok((status, _, body)) => {
                assert_eq!(status, 201, "{body}");
                asked.acknowledged = true;
                true
            }
            Err(_) => false,
        }
    }

    /// Compares what the server says with what it said before and with the files; how many are complete, none when it died.
    fn look(&mut self, node: &Node) -> Option<usize> {
        let (status, _, body) = node.ask("GET", "/v1/transfers", None).ok()?;
        let shown: Vec<Value> = serde_json::from_str(&body).ok()?;
        assert_eq!(status, 200);
        let mut complete = 0;
        let mut seen = Vec::new();
        for transfer in &shown {
            let url = transfer["destination_url"].as_str().unwrap();
            let asked = self.asked.get_mut(url).expect("only what was asked for exists");
            asked.acknowledged = true;
            seen.push(url.to_owned());
            let progress = transfer["progress"].as_u64().unwrap();
            assert!(progress >= asked.progress, "fell from {}: {transfer}", asked.progress);
            asked.progress = progress;
            asked.attempts = transfer["attempts"].as_u64().unwrap();
            let there = at_destination(&asked.copy, transfer["id"].as_str().unwrap());
            assert!(progress <= there, "only {there} bytes are there: {transfer}");
            assert_ne!(transfer["state"], "STATE_ERROR", "{transfer}");
            complete += usize::from(transfer["state"] == "STATE_COMPLETE");
        }
        for (url, _) in self.asked.iter().filter(|(_, asked)| asked.acknowledged) {
            assert!(seen.contains(url), "the acknowledged transfer to {url} is lost");
        }
        Some(complete)
    }

    fn live(&mut self, life: Duration) {
        let Some(node) = Node::doomed(&self.folder, life) else { return };
        let mut posts = 0;
        while self.look(&node).is_some() {
            if posts < POSTS_PER_LIFE && !self.post(&node) {
                break;
            }
            posts += 1;
        }
        node.wait();
    }

    fn end_well(&mut self) {
        let node = Node::start(&self.folder, None);
        let begun = Instant::now();
        loop {
            let complete = self.look(&node).expect("nobody kills this one");
            let acknowledged = self.asked.values().filter(|asked| asked.acknowledged).count();
            if complete == acknowledged {
                break;
            }
            assert!(begun.elapsed() < END_PATIENCE, "{complete} of {acknowledged} are complete");
            std::thread::sleep(Duration::from_millis(100));
        }
        for asked in self.asked.values().filter(|asked| asked.acknowledged) {
            assert!(fs::read(&asked.copy).unwrap() == asked.bytes, "{} differs", asked.copy.display());
        }
        let names = fs::read_dir(self.folder.join("copies")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(node.terminate().code(), Some(0));
    }
}

/// How many bytes are at a destination, under its final name or an unfinished one.
fn at_destination(copy: &Path, id: &str) -> u64 {
    let folder = copy.parent().unwrap();
    let start = format!(".haulier-{id}-");
    let unfinished = || {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start));
        ours.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).max()
    };
    let finished = || fs::metadata(copy).ok().map(|meta| meta.len());
    // The name may change between two looks.
    finished().or_else(unfinished).or_else(finished).unwrap_or(0)
}

fn content(source: usize) -> Vec<u8> {
    let mut dice = Dice(0x9e37_79b9 + source as u64);
    (0..SIZES[source]).map(|_| dice.below(256) as u8).collect()
}

fn rounds() -> u64 {
    let mut settings = std::env::vars();
    settings
        .find_map(|(name, value)| (name == "HAULIER_KILL_ROUNDS").then_some(value))
        .map_or(50, |text| text.parse().expect("HAULIER_KILL_ROUNDS is a number"))
}

#[test]
fn kill_loop_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("copies")).unwrap();
    for source in 0..SIZES.len() {
        fs::write(folder.path().join(source.to_string()), content(source)).unwrap();
    }
    let mut story = Story { folder: folder.path().to_owned(), dice: Dice(3_862), asked: HashMap::new() };
    for _ in 0..rounds() {
        let life = Duration::from_millis(50 + story.dice.below(350));
        story.live(life);
    }
    let acknowledged = story.asked.values().filter(|asked| asked.acknowledged).count() as u64;
    assert!(acknowledged >= rounds() / 2, "only {acknowledged} transfers came to be");
    story.end_well();
    let resumed = story.asked.values().filter(|asked| asked.attempts > 1).count();
    assert!(resumed > 0 || rounds() < 50, "no kill met a transfer at work");
    println!("{acknowledged} transfers, {resumed} of them in more than one attempt");
}
