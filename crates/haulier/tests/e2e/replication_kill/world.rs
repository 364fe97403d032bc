//! The clients: what they asked for, what they were told, and what may be there because of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{SITES, Sites};
use crate::kill_loop::Dice;
use crate::node::Client;

const CLIENT: &str = "people";
const BUCKET: &str = "kills";
/// Names that only the clients of one site touch, for each site.
const HOME_NAMES: u64 = 12;
/// Names that the clients of all sites create and delete without a look at each other.
const SHARED_NAMES: u64 = 4;
const SIZES: [usize; 6] = [0, 1, 4_096, 70_000, 1_200_000, 12_000_000];
const PATIENCE: Duration = Duration::from_secs(60);

/// SHA-256 in hexadecimal.
type Hash = String;

/// How much happened.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) acknowledged: u64,
    pub(super) unanswered: u64,
    pub(super) refused: u64,
    pub(super) reads: u64,
}

pub(super) struct World {
    /// Bytes are made from it, so that no two objects are alike.
    version: u64,
    /// What may be under a home name: more than one thing while it is not known whether a request was taken.
    home: BTreeMap<String, HashSet<Option<Hash>>>,
    /// What anybody ever sent under a name.
    ever: HashMap<String, HashSet<Hash>>,
    pub(super) tally: Tally,
}

impl World {
    /// Creates the bucket, and waits until all sites have it.
    pub(super) fn new(sites: &Sites) -> Self {
        let (status, said) = sites.node(0).by_client("POST", &path(None), CLIENT, b"").unwrap();
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&said));
        sites.wait_until_in_sync();
        Self { version: 0, home: BTreeMap::new(), ever: HashMap::new(), tally: Tally::default() }
    }

    /// A client does something, at any site but one.
    pub(super) fn work(&mut self, sites: &Sites, but: Option<usize>, dice: &mut Dice) {
        let at = usize::try_from(dice.below(3)).unwrap();
        if Some(at) == but {
            return;
        }
        let client = &sites.node(at).client;
        let shared = dice.below(5) == 0;
        let name = if shared { shared_name(dice) } else { home_name(at, dice) };
        match dice.below(10) {
            0..=4 => self.create(client, &name, shared, dice),
            5 | 6 => self.delete(client, &name, shared),
            _ => self.read(client, &home_name(usize::try_from(dice.below(3)).unwrap(), dice)),
        }
    }

    fn create(&mut self, client: &Client, name: &str, shared: bool, dice: &mut Dice) {
        let choice = if dice.below(5) == 0 { dice.below(SIZES.len() as u64) } else { dice.below(4) };
        let bytes = self.bytes(SIZES[usize::try_from(choice).unwrap()]);
        let hash = hash_of(&bytes);
        self.ever.entry(name.to_owned()).or_default().insert(hash.clone());
        let answer = client.by_client("POST", &path(Some(name)), CLIENT, &bytes);
        let known = self.home.entry(name.to_owned()).or_insert_with(|| HashSet::from([None]));
        match answer {
            Ok((201, _)) => {
                self.tally.acknowledged += 1;
                *known = HashSet::from([Some(hash)]);
            }
            // There is one already, whichever it is.
            Ok((409, _)) if shared || known.iter().any(Option::is_some) => {
                self.tally.refused += 1;
                known.remove(&None);
            }
            // An upload that was cut off by a kill is still being cleared away.
            Ok((406, _)) => self.tally.refused += 1,
            Ok((status, said)) => panic!("{name}: {status} {} for {known:?}", String::from_utf8_lossy(&said)),
            Err(_) => {
                self.tally.unanswered += 1;
                known.insert(Some(hash));
            }
        }
    }

    fn delete(&mut self, client: &Client, name: &str, shared: bool) {
        let answer = client.by_client("DELETE", &path(Some(name)), CLIENT, b"");
        let known = self.home.entry(name.to_owned()).or_insert_with(|| HashSet::from([None]));
        match answer {
            Ok((204, _)) => {
                self.tally.acknowledged += 1;
                *known = HashSet::from([None]);
            }
            Ok((404, _)) if shared || known.contains(&None) => {
                self.tally.refused += 1;
                *known = HashSet::from([None]);
            }
            Ok((409, _)) => self.tally.refused += 1,
            Ok((status, said)) => panic!("{name}: {status} {} for {known:?}", String::from_utf8_lossy(&said)),
            Err(_) => {
                self.tally.unanswered += 1;
                known.insert(None);
            }
        }
    }

    /// Whatever site answers: what it gives was sent by somebody, and is whole.
    fn read(&mut self, client: &Client, name: &str) {
        if let Ok((200, bytes)) = client.by_client("GET", &path(Some(name)), CLIENT, b"") {
            let whole = self.ever.get(name).is_some_and(|ever| ever.contains(&hash_of(&bytes)));
            assert!(whole, "{name} was read as {} bytes that nobody wrote", bytes.len());
            self.tally.reads += 1;
        }
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        self.version += 1;
        let block = format!("version {:012}\n", self.version).into_bytes();
        block.iter().copied().cycle().take(size).collect()
    }

    /// Waits until nothing is under way, and compares everything.
    pub(super) fn end_well(&mut self, sites: &Sites) {
        sites.wait_until_in_sync();
        let listings = [0, 1, 2].map(|at| listing(&sites.node(at).client));
        for (at, listing) in listings.iter().enumerate().skip(1) {
            let names: HashSet<_> = listing.keys().chain(listings[0].keys()).collect();
            for name in names {
                let (first, other) = (listings[0].get(name), listing.get(name));
                assert_eq!(first, other, "{name} at {} and at {}", SITES[0], SITES[at]);
            }
        }
        for (name, may_be) in &self.home {
            let there = listings[0].get(name).cloned();
            if name.starts_with("shared/") {
                let known = there.as_ref().is_none_or(|hash| self.ever[name].contains(hash));
                assert!(known, "{name}: nobody ever wrote what is in it");
            } else {
                assert!(may_be.contains(&there), "{name} is {there:?}, and should be one of {may_be:?}");
            }
        }
        for at in 0..3 {
            for (name, hash) in &listings[at] {
                let path = format!("/ccs/internal/{BUCKET}/{}", encoded(name));
                let (status, bytes) = sites.node(at).by_client("GET", &path, CLIENT, b"").unwrap();
                assert_eq!((status, &hash_of(&bytes)), (200, hash), "{name} at {}", SITES[at]);
            }
            nothing_is_left(sites, at, listings[at].len());
        }
        // What is known now is known for sure.
        for (name, may_be) in &mut self.home {
            *may_be = HashSet::from([listings[0].get(name).cloned()]);
        }
    }
}

/// The bytes in a site's store are those of its objects and of the losers that it keeps.
fn nothing_is_left(sites: &Sites, at: usize, objects: usize) {
    let begun = Instant::now();
    let folder = sites.folder().join(format!("data-{}/objects", SITES[at]));
    loop {
        let (status, kept) = sites.node(at).json("GET", "/haulier/v1/replication/conflicts?limit=1000", None);
        assert_eq!(status, 200, "{kept}");
        let kept = kept["conflicts"].as_array().map_or(0, Vec::len);
        let files = files_in(&folder);
        if files.len() == objects + kept {
            return;
        }
        let what = format!("{} files for {objects} objects and {kept} losers", files.len());
        assert!(begun.elapsed() < PATIENCE, "site {}: {what}: {files:?}", SITES[at]);
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn files_in(folder: &Path) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files.push(entry.path().display().to_string()),
            }
        }
    }
    files
}

/// The READY objects of a site, with their hashes.
fn listing(client: &Client) -> BTreeMap<String, Hash> {
    let (status, body) = client.by_client("PUT", &path(None), CLIENT, b"").unwrap();
    assert_eq!(status, 200);
    let rows = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let rows = rows.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    let text = |row: &Value, member: &str| row[member].as_str().unwrap().to_owned();
    rows.filter(|row| row["status"] == "READY").map(|row| (text(&row, "name"), text(&row, "hash"))).collect()
}

fn path(name: Option<&str>) -> String {
    name.map_or(format!("/cloudclonestore/{BUCKET}"), |name| format!("/cloudclonestore/{BUCKET}/{}", encoded(name)))
}

fn encoded(name: &str) -> String {
    name.replace(' ', "%20")
}

fn home_name(at: usize, dice: &mut Dice) -> String {
    let folder = ["", "deep/er/", "with spaces/"][usize::try_from(dice.below(3)).unwrap()];
    format!("home-{}/{folder}o{}", SITES[at], dice.below(HOME_NAMES / 3))
}

fn shared_name(dice: &mut Dice) -> String {
    format!("shared/s{}", dice.below(SHARED_NAMES))
}

fn hash_of(bytes: &[u8]) -> Hash {
    hex::encode(Sha256::digest(bytes))
}
