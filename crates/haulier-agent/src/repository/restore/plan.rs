//! What a restore has to do, from the folders of a snapshot and what is at the target already.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use haulier_base::{Error, Result};
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Node, PackId};
use rustic_core::{DataId, IndexedFull, IndexedFullStatus, LsOptions, Repository};

use super::ours;

/// One thing to put back.
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) node: Node,
    /// For a further name of a file: which item is that file.
    pub(super) same_as: Option<usize>,
}

/// A piece of content, in the repository and in the files that need it.
pub(super) struct Blob {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) compressed: bool,
    pub(super) id: DataId,
    /// Which item, and where in it.
    pub(super) targets: Vec<(usize, u64)>,
}

/// Everything to put back.
pub(super) struct Plan {
    /// Folders come before what is in them.
    pub(super) items: Vec<Item>,
    /// The content that is needed, in the order in which the repository holds it.
    pub(super) blobs: BTreeMap<(PackId, u32), Blob>,
    /// For each file, the ids and lengths of its pieces in order.
    pub(super) pieces: HashMap<usize, Vec<(DataId, u64)>>,
}

impl Plan {
    pub(super) fn read(repo: &Repository<IndexedFullStatus>, root: &Node, target: &Path) -> Result<Self> {
        let mut plan = Self { items: Vec::new(), blobs: BTreeMap::new(), pieces: HashMap::new() };
        let mut links = HashMap::new();
        if !root.is_dir() {
            plan.add(repo, target.to_owned(), root.clone(), &mut links)?;
            return Ok(plan);
        }
        plan.add(repo, target.to_owned(), root.clone(), &mut links)?;
        for entry in repo.ls(root, &LsOptions::default()).map_err(ours)? {
            let (path, node) = entry.map_err(ours)?;
            // A name that leads elsewhere can only come from somebody who means harm.
            if !path.components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(Error::corrupt(format!("the snapshot has an impossible path, {}", path.display())));
            }
            plan.add(repo, target.join(path), node, &mut links)?;
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        repo: &Repository<impl IndexedFull>,
        path: PathBuf,
        node: Node,
        links: &mut HashMap<(u64, u64), usize>,
    ) -> Result<()> {
        let index = self.items.len();
        let mut same_as = None;
        if node.is_file() && node.meta.links > 1 && node.meta.inode != 0 {
            same_as = links.get(&(node.meta.device_id, node.meta.inode)).copied();
            links.entry((node.meta.device_id, node.meta.inode)).or_insert(index);
        }
        if node.is_file() && same_as.is_none() {
            let mut offset = 0;
            let mut pieces = Vec::new();
            for id in node.content.iter().flatten() {
                let found = repo.get_index_entry(id).map_err(|error| {
                    Error::corrupt(format!("content of {} is missing in the repository", path.display()))
                        .caused_by(error)
                })?;
                let place = found.location;
                let length = u64::from(place.data_length());
                let blob = self.blobs.entry((found.pack, place.offset)).or_insert_with(|| Blob {
                    offset: place.offset,
                    length: place.length,
                    compressed: place.uncompressed_length.is_some(),
                    id: *id,
                    targets: Vec::new(),
                });
                blob.targets.push((index, offset));
                pieces.push((*id, length));
                offset += length;
            }
            self.pieces.insert(index, pieces);
        }
        self.items.push(Item { path, node, same_as });
        Ok(())
    }

    /// What at the target was changed after what would replace it.
    pub(super) fn newer(&self) -> Vec<&Path> {
        let is_newer = |item: &&Item| {
            let Ok(facts) = fs::symlink_metadata(&item.path) else { return false };
            if item.node.is_dir() && facts.is_dir() {
                return false;
            }
            let theirs = facts.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
            theirs.zip(item.node.meta.mtime).is_none_or(|(theirs, ours)| theirs > ours)
        };
        self.items.iter().filter(is_newer).map(|item| item.path.as_path()).collect()
    }

    /// Files, their bytes, and folders.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        let files = self.items.iter().filter(|item| !item.node.is_dir());
        let bytes = files.clone().filter(|item| item.same_as.is_none()).map(|item| item.node.meta.size).sum();
        let files = files.count() as u64;
        (files, bytes, self.items.len() as u64 - files)
    }
}
