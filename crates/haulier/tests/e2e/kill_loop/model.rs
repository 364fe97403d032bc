//! What was asked for and what was said about it: the model that the server and the disk are compared with.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::node::Node;
use crate::web::WebSource;

const SIZES: [usize; 9] = [0, 1, 4_095, 65_536, 1_000_003, 1 << 20, 3_333_333, 5 << 20, 8 << 20];
/// Sources from this one on are copied slowly most of the time, so that kills meet them half-way.
const LARGE: usize = 6;
/// Slow enough for a large source to last two checkpoints, quick enough not to pile up.
const RATES: [u64; 3] = [1_500_000, 2_500_000, 4_000_000];
const WEB_RATE: u64 = 3_000_000;
/// No more is asked for while so many transfers are not complete.
const UNDER_WAY_MAX: usize = 48;
/// Fewer than a node has slots, so that the quick ones get their turn.
const SLOW_MAX: usize = 10;
/// Complete transfers are taken off the server beyond this number, oldest first.
const COMPLETE_MAX: usize = 60;

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// How sure it is that the server knows a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Asked for; no answer came.
    Sent,
    /// The server said that it exists.
    Acknowledged,
    /// It was to be deleted; no answer came.
    DeleteSent,
    /// The server said that it is gone.
    Deleted,
}

/// Which file holds the bytes: a number may be used again, with a later birth.
type FileIdentity = (u64, Option<std::time::SystemTime>);

/// A transfer that was asked for, and what the server has said about it.
struct Asked {
    number: usize,
    slow: bool,
    copy: PathBuf,
    source: usize,
    range: std::ops::Range<usize>,
    standing: Standing,
    id: String,
    complete: bool,
    progress: u64,
    attempts: u64,
    /// At the last kill that found it half-way: its file, how much of it was safe, and the attempt.
    half_way: Option<(FileIdentity, u64, u64)>,
    resumes: u64,
}

/// What all the kills did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) acknowledged: u64,
    pub(super) deleted: u64,
    /// Transfers found half-way by kills, each time counted.
    pub(super) half_way: u64,
    /// Attempts after a kill that went on in the same file from a checkpoint.
    pub(super) resumes: u64,
    /// The safe bytes that these did not move again.
    pub(super) bytes_kept: u64,
}

pub(super) struct Model {
    folder: PathBuf,
    sources: Vec<Arc<Vec<u8>>>,
    web: WebSource,
    /// By destination, because that is known before an answer is.
    asked: HashMap<String, Asked>,
    made: usize,
    pub(super) tally: Tally,
}

impl Model {
    pub(super) fn new(folder: &Path) -> Self {
        fs::create_dir(folder.join("copies")).unwrap();
        let sources: Vec<_> = (0..SIZES.len()).map(|source| Arc::new(content(source))).collect();
        for (source, bytes) in sources.iter().enumerate() {
            fs::write(folder.join(source.to_string()), bytes.as_slice()).unwrap();
        }
        let web = WebSource::serve(sources.clone(), WEB_RATE);
        Self { folder: folder.to_owned(), sources, web, asked: HashMap::new(), made: 0, tally: Tally::default() }
    }

    pub(super) fn wants_more(&self) -> bool {
        self.asked.values().filter(|asked| asked.is_under_way()).count() < UNDER_WAY_MAX
    }

    /// Asks for a transfer, perhaps one that lasts for sure; false when the server died of it.
    pub(super) fn post(&mut self, node: &Node, dice: &mut Dice, to_last: bool) -> bool {
        let source = dice.below(SIZES.len() as u64) as usize;
        let source = if to_last { SIZES.len() - 1 } else { source };
        let size = SIZES[source] as u64;
        let ranged = dice.below(3) == 0 && !to_last;
        let start = if ranged { dice.below(size / 3 + 1) } else { 0 };
        let end = if ranged { start + dice.below(size - start + 1) } else { size };
        let may_be_slow = self.asked.values().filter(|asked| asked.slow && asked.is_under_way()).count() < SLOW_MAX;
        let slow = to_last || may_be_slow && source >= LARGE && dice.below(4) > 0;
        let from_web = dice.below(3) == 0 && (slow || source < LARGE);
        let rate = RATES[dice.below(RATES.len() as u64) as usize];
        let copy = self.folder.join(format!("copies/{}", self.made));
        let (number, url) = (self.made, format!("file://{}", copy.display()));
        self.made += 1;
        let request = json!({
            "source_url": if from_web { self.web.url(source) } else { format!("file://{}/{source}", self.folder.display()) },
            "destination_url": url,
            "start_offset": start, "end_offset": if ranged { json!(end) } else { json!(-1) },
            "destination_options": if slow { json!({"rate_bytes_per_second": rate}) } else { json!({}) },
        });
        let asked = self.asked.entry(url).or_insert(Asked {
            number,
            slow,
            copy,
            source,
            range: start as usize..end as usize,
            standing: Standing::Sent,
            id: String::new(),
            complete: false,
            progress: 0,
            attempts: 0,
            half_way: None,
            resumes: 0,
        });
        match node.ask("POST", "/v1/transfers", Some(&request)) {
            Ok((status, _, body)) => {
                assert_eq!(status, 201, "{body}");
                asked.standing = Standing::Acknowledged;
                true
            }
            Err(_) => false,
        }
    }

    /// Compares what the server says with what it said before and with the files; none when it died.
    /// Gives how many transfers got further than they ever were without being complete.
    pub(super) fn look(&mut self, node: &Node) -> Option<usize> {
        let (status, _, body) = node.ask("GET", "/v1/transfers", None).ok()?;
        let shown: Vec<Value> = serde_json::from_str(&body).ok()?;
        assert_eq!(status, 200);
        let mut seen = Vec::new();
        let mut moved = 0;
        for transfer in &shown {
            let url = transfer["destination_url"].as_str().unwrap();
            let asked = self.asked.get_mut(url).expect("only what was asked for exists");
            assert_ne!(asked.standing, Standing::Deleted, "came back: {transfer}");
            if asked.standing == Standing::Sent {
                asked.standing = Standing::Acknowledged;
            }
            seen.push(url.to_owned());
            let before = (asked.progress, asked.complete);
            asked.compare(transfer, &self.sources, &mut self.tally);
            moved += usize::from(asked.progress > before.0 && !asked.complete);
        }
        for (url, asked) in &mut self.asked {
            let there = seen.contains(url);
            assert!(there || asked.standing != Standing::Acknowledged, "the acknowledged transfer to {url} is lost");
            if asked.standing == Standing::DeleteSent {
                asked.standing = if there { Standing::Acknowledged } else { Standing::Deleted };
            }
        }
        Some(moved)
    }

    /// Deletes the oldest of many complete transfers and their files; false when the server died of it.
    pub(super) fn thin_out(&mut self, node: &Node) -> bool {
        let mut complete: Vec<_> = self.asked.values_mut().filter(|asked| asked.is_kept() && asked.complete).collect();
        complete.sort_by_key(|asked| asked.number);
        let surplus = complete.len().saturating_sub(COMPLETE_MAX);
        for asked in complete.into_iter().take(surplus) {
            asked.standing = Standing::DeleteSent;
            let Ok((status, _, body)) = node.ask("DELETE", &format!("/v1/transfers/{}", asked.id), None) else {
                return false;
            };
            assert_eq!(status, 204, "{body}");
            asked.standing = Standing::Deleted;
            self.tally.deleted += 1;
            fs::remove_file(&asked.copy).unwrap();
        }
        true
    }

    /// Looks at what a killed server left, while nothing can change it. `recorded` is progress by destination.
    pub(super) fn inspect_the_dead(&mut self, recorded: &[(String, u64)]) {
        for (url, progress) in recorded {
            let asked = self.asked.get_mut(url).expect("only what was asked for exists");
            assert!(*progress >= asked.progress, "{url}: {progress} is recorded, {} was told", asked.progress);
            let left = asked.left();
            let bytes = left.as_ref().map_or(Vec::new(), |(path, _)| fs::read(path).unwrap());
            let wanted = &self.sources[asked.source][asked.range.clone()];
            let safe = *progress as usize;
            assert!(bytes.len() >= safe, "{url}: {safe} bytes are called safe, {} are there", bytes.len());
            assert!(bytes[..safe] == wanted[..safe], "{url}: the {safe} safe bytes are not the source's");
            if let Some((_, meta)) = left.filter(|_| safe > 0 && safe < wanted.len()) {
                asked.half_way = Some((identity(&meta), *progress, asked.attempts));
                self.tally.half_way += 1;
            }
        }
    }

    /// Whether everything that was acknowledged is complete.
    pub(super) fn is_done(&self) -> bool {
        self.asked.values().filter(|asked| asked.is_kept()).all(|asked| asked.complete)
    }

    /// Compares every destination with its source, for the last time.
    pub(super) fn compare_all(&mut self) {
        for asked in self.asked.values().filter(|asked| asked.is_kept()) {
            asked.assert_whole(&self.sources);
        }
        let names = fs::read_dir(self.folder.join("copies")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
        self.tally.acknowledged = self.asked.values().filter(|asked| asked.standing != Standing::Sent).count() as u64;
    }
}

impl Asked {
    /// Whether the server must know it.
    fn is_kept(&self) -> bool {
        self.standing == Standing::Acknowledged
    }

    fn is_under_way(&self) -> bool {
        self.is_kept() && !self.complete
    }

    fn compare(&mut self, transfer: &Value, sources: &[Arc<Vec<u8>>], tally: &mut Tally) {
        self.id = transfer["id"].as_str().unwrap().to_owned();
        let progress = transfer["progress"].as_u64().unwrap();
        assert!(progress >= self.progress, "fell from {}: {transfer}", self.progress);
        assert_ne!(transfer["state"], "STATE_ERROR", "{transfer}");
        self.progress = progress;
        self.attempts = transfer["attempts"].as_u64().unwrap();
        let left = self.left();
        let there = left.as_ref().map_or(0, |(_, meta)| meta.len());
        assert!(progress <= there, "only {there} bytes are there: {transfer}");
        if let (Some((file, safe, attempt)), Some((_, meta))) = (self.half_way, left)
            && self.attempts > attempt
            && progress > safe
        {
            // Whoever starts over makes another file.
            assert_eq!(identity(&meta), file, "{safe} safe bytes were thrown away: {transfer}");
            self.half_way = None;
            self.resumes += 1;
            tally.resumes += 1;
            tally.bytes_kept += safe;
        }
        if transfer["state"] == "STATE_COMPLETE" && !self.complete {
            self.complete = true;
            assert_eq!(progress as usize, self.range.len(), "{transfer}");
            self.assert_whole(sources);
        }
    }

    fn assert_whole(&self, sources: &[Arc<Vec<u8>>]) {
        let wanted = &sources[self.source][self.range.clone()];
        assert!(fs::read(&self.copy).unwrap() == wanted, "{} differs", self.copy.display());
    }

    /// The file that holds what was moved, under its final name or an unfinished one.
    fn left(&self) -> Option<(PathBuf, Metadata)> {
        let folder = self.copy.parent().unwrap();
        let end = format!("-{}.part", self.number);
        let unfinished = || {
            let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
            let mut ours = entries.filter(|path| path.to_string_lossy().ends_with(&end));
            ours.find_map(|path| fs::metadata(&path).ok().map(|meta| (path, meta)))
        };
        let finished = || fs::metadata(&self.copy).ok().map(|meta| (self.copy.clone(), meta));
        // The name may change between two looks.
        finished().or_else(unfinished).or_else(finished)
    }
}

fn identity(meta: &Metadata) -> FileIdentity {
    (meta.ino(), meta.created().ok())
}

fn content(source: usize) -> Vec<u8> {
    let mut dice = Dice(0x9e37_79b9 + source as u64);
    (0..SIZES[source]).map(|_| dice.below(256) as u8).collect()
}
