//! The people and their three folders: what they wrote, what may be seen, and what must be there in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kill_loop::Dice;
use crate::node::Node;

const ENTRIES: [&str; 3] = ["A", "B", "C"];
/// Names that only the people at one entry write.
const HOME_NAMES: u64 = 10;
/// Names that people at all entries write, so that they get into conflicts.
const SHARED_NAMES: u64 = 3;
/// From the empty file to one that is being copied when the server dies.
const SIZES: [usize; 7] = [0, 1, 700, 4_096, 300_000, 9 << 20, 17 << 20];
const SCAN_PATIENCE: Duration = Duration::from_secs(60);

type Hash = [u8; 32];
/// A folder's files by name: what is in each.
type Tree = BTreeMap<String, Hash>;

/// How much happened.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) works: u64,
    /// Versions of home files that were seen at an entry which they were not written at.
    pub(super) seen_arrived: u64,
    pub(super) conflicts: usize,
}

pub(super) struct World {
    roots: [PathBuf; 3],
    /// Bytes are made from it, so that no two versions are alike.
    version: u64,
    /// Home files: what was ever written under a name, and what is there now.
    ever: HashMap<String, HashSet<Hash>>,
    now: HashMap<String, Option<Hash>>,
    /// Shared files: the last that was written, by name and entry.
    shared: HashMap<(String, usize), Hash>,
    arrived: HashSet<(usize, Hash)>,
    pub(super) tally: Tally,
}

impl World {
    /// Makes the folders, and the configuration of a server that keeps them in step.
    pub(super) fn new(folder: &Path) -> Self {
        let mut config = String::new();
        for name in ENTRIES {
            let root = folder.join(name);
            fs::create_dir(&root).unwrap();
            let root = root.display();
            config +=
                &format!("[sync.entries.{name}]\ndriver = \"local_storage\"\noptions = {{ root = \"{root}\" }}\n");
        }
        config += "[[sync.rules]]\nmatch = { path = \"/\" }\nsync = [\"A\", \"B\", \"C\"]\n";
        fs::write(folder.join("sync.toml"), config).unwrap();
        Self {
            roots: ENTRIES.map(|name| folder.join(name)),
            version: 0,
            ever: HashMap::new(),
            now: HashMap::new(),
            shared: HashMap::new(),
            arrived: HashSet::new(),
            tally: Tally::default(),
        }
    }

    /// Somebody does something.
    pub(super) fn work(&mut self, dice: &mut Dice) {
        self.tally.works += 1;
        let at = usize::try_from(dice.below(3)).unwrap();
        let name = home_name(at, dice.below(HOME_NAMES));
        match dice.below(10) {
            0..=5 => self.write_home(at, &name, dice),
            6 => self.delete_home(at, &name),
            7 => self.rename_home(at, &name, &home_name(at, dice.below(HOME_NAMES))),
            _ => {
                let number = dice.below(SHARED_NAMES);
                self.write_shared(at, number, dice);
            }
        }
    }

    fn write_home(&mut self, at: usize, name: &str, dice: &mut Dice) {
        let bytes = self.bytes(dice);
        let hash = hash_of(&bytes);
        self.ever.entry(name.to_owned()).or_default().insert(hash);
        self.now.insert(name.to_owned(), Some(hash));
        self.put(at, name, &bytes, dice);
    }

    fn delete_home(&mut self, at: usize, name: &str) {
        if self.now.get(name).is_some_and(Option::is_some) {
            fs::remove_file(self.roots[at].join(name)).unwrap();
            self.now.insert(name.to_owned(), None);
        }
    }

    fn rename_home(&mut self, at: usize, from: &str, to: &str) {
        let Some(Some(hash)) = self.now.get(from).copied() else { return };
        if from == to {
            return;
        }
        self.ever.entry(to.to_owned()).or_default().insert(hash);
        let target = self.roots[at].join(to);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(self.roots[at].join(from), target).unwrap();
        self.now.insert(from.to_owned(), None);
        self.now.insert(to.to_owned(), Some(hash));
    }

    /// People at two entries write the same file, and neither sees what the other does.
    pub(super) fn disagree(&mut self, dice: &mut Dice) {
        let (one, name) = (usize::try_from(dice.below(3)).unwrap(), dice.below(SHARED_NAMES));
        self.write_shared(one, name, dice);
        self.write_shared((one + 1) % 3, name, dice);
    }

    fn write_shared(&mut self, at: usize, number: u64, dice: &mut Dice) {
        let name = format!("shared/s{number}");
        let bytes = self.bytes(dice);
        self.shared.insert((name.clone(), at), hash_of(&bytes));
        self.put(at, &name, &bytes, dice);
    }

    /// Writes a file as programs do: beside it and renamed, or, when it is short, in one go.
    fn put(&mut self, at: usize, name: &str, bytes: &[u8], dice: &mut Dice) {
        let path = self.roots[at].join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if bytes.len() < 5_000 && dice.below(2) == 0 {
            // A reader may find the file as it is between being emptied and being written.
            self.ever.entry(name.to_owned()).or_default().insert(hash_of(&[]));
            fs::write(path, bytes).unwrap();
        } else {
            let beside = path.with_file_name(".haulier-people.part");
            fs::write(&beside, bytes).unwrap();
            fs::rename(beside, path).unwrap();
        }
    }

    fn bytes(&mut self, dice: &mut Dice) -> Vec<u8> {
        // Large ones are rare: they take the disk's time away from everything else.
        let choice = if dice.below(4) == 0 { dice.below(SIZES.len() as u64) } else { dice.below(4) };
        let size = SIZES[usize::try_from(choice).unwrap()];
        self.version += 1;
        let block = format!("version {:012}\n", self.version).into_bytes();
        block.iter().copied().cycle().take(size).collect()
    }

    /// Looks at every home file where it was not written: it is always one that was, and whole.
    pub(super) fn look(&mut self) {
        for (at, root) in self.roots.iter().enumerate() {
            for (name, hash) in tree(root) {
                let Some(home) = home_of(&name).filter(|home| *home != at) else { continue };
                // A conflict copy of a home file would mean that a server took its own work for somebody's.
                let ever = self.ever.get(&name);
                assert!(
                    ever.is_some_and(|ever| ever.contains(&hash)),
                    "{name} at {}: nobody at {} ever wrote what is in it",
                    ENTRIES[at],
                    ENTRIES[home]
                );
                if self.arrived.insert((at, hash)) {
                    self.tally.seen_arrived += 1;
                }
            }
        }
    }

    /// Whether the folders are alike and hold what was written last.
    pub(super) fn is_in_step(&mut self) -> Result<(), String> {
        let [a, b, c] = [0, 1, 2].map(|at| tree(&self.roots[at]));
        for (name, other) in [("B", &b), ("C", &c)] {
            if let Some(difference) = difference(&a, other) {
                return Err(format!("A and {name} differ in {difference}"));
            }
        }
        for (name, now) in &self.now {
            if a.get(name) != now.as_ref() {
                return Err(format!("{name} is not what was written last"));
            }
        }
        self.tally.conflicts = a.keys().filter(|name| name.contains(".sync-conflict-")).count();
        for root in &self.roots {
            if let Some(left) =
                all_files(root).into_iter().find(|name| name.ends_with(".part") || name.ends_with("-tmp"))
            {
                return Err(format!("{left} was left in {}", root.display()));
            }
        }
        Ok(())
    }

    /// What the server says of its files is what is in the folders.
    pub(super) fn compare_with_api(&self, node: &Node) {
        let begun = Instant::now();
        let folder: BTreeSet<String> = tree(&self.roots[0]).into_keys().collect();
        // The last answer to a copy may still be on its way into the catalogue.
        loop {
            let (status, answer) = node.json("GET", "/api/v1.0/files?limit=100000", None);
            assert_eq!(status, 200, "{answer}");
            let files = answer["files"].as_array().unwrap();
            let known: BTreeSet<String> =
                files.iter().map(|file| file["filename"].as_str().unwrap().to_owned()).collect();
            let all = serde_json::json!(ENTRIES);
            let in_step = files.iter().all(|file| file["owners"] == all && file["uptodate"] == all);
            if known == folder && in_step {
                return;
            }
            let odd: Vec<&Value> = files.iter().filter(|file| file["uptodate"] != all).collect();
            assert!(begun.elapsed() < SCAN_PATIENCE, "{known:?} for {folder:?}; not in step: {odd:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last version that each of the people wrote is under its name, beside it, or kept.
    pub(super) fn nothing_is_lost(&self) {
        let there: HashSet<Hash> =
            self.roots.iter().flat_map(|root| all_files_with_hashes(root).into_values()).collect();
        for ((name, at), hash) in &self.shared {
            assert!(there.contains(hash), "the last version of {name} from {} is nowhere", ENTRIES[*at]);
        }
    }

    /// Which file is behind each name, and when it was last written.
    pub(super) fn identities(&self) -> BTreeMap<String, (u64, i64, i64)> {
        let mut found = BTreeMap::new();
        for (root, entry) in self.roots.iter().zip(ENTRIES) {
            for name in tree(root).into_keys() {
                let meta = fs::metadata(root.join(&name)).unwrap();
                found.insert(format!("{entry}/{name}"), (meta.ino(), meta.mtime(), meta.mtime_nsec()));
            }
        }
        found
    }

    /// Waits until a server that was just started has scanned all entries.
    pub(super) fn wait_for_scan(&self, node: &Node) {
        let begun = Instant::now();
        for name in ENTRIES {
            let path = format!("/haulier/v1/sync/entries/{name}/progress");
            let scanned = || node.json("GET", &path, None).1["scanned"] == true;
            while !scanned() {
                assert!(begun.elapsed() < SCAN_PATIENCE, "{name} is not scanned");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn home_name(at: usize, number: u64) -> String {
    let folder = ["", "deep/er/", "with spaces and \u{e9}/"][usize::try_from(number % 3).unwrap()];
    format!("home-{}/{folder}f{number}", ENTRIES[at])
}

fn home_of(name: &str) -> Option<usize> {
    let home = name.strip_prefix("home-")?.split('/').next()?;
    ENTRIES.iter().position(|entry| *entry == home)
}

fn difference(one: &Tree, other: &Tree) -> Option<String> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().find(|name| one.get(*name) != other.get(*name)).cloned()
}

/// The files that are synced.
fn tree(root: &Path) -> Tree {
    let mut tree = all_files_with_hashes(root);
    tree.retain(|name, _| !name.starts_with(".haulier/") && !name.ends_with(".part"));
    tree
}

fn all_files_with_hashes(root: &Path) -> Tree {
    // What goes away between the listing and the reading is not there.
    all_files(root)
        .into_iter()
        .filter_map(|name| Some((name.clone(), hash_of(&fs::read(root.join(&name)).ok()?))))
        .collect()
}

fn all_files(root: &Path) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries.flatten() {
            let name = format!("{folder}{}", entry.file_name().to_str().unwrap());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(format!("{name}/")),
                _ => files.push(name),
            }
        }
    }
    files
}

fn hash_of(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}
