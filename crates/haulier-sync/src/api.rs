//! Wire types of sync contract §1 and of `/haulier/v1/sync`, reading of bodies and queries, and conversion.

use haulier_base::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::meter::{human_size, minutes};
use crate::model::EntryName;
use crate::rules::Step;
use crate::service::{
    ConflictDocument, Effect, EntryDocument, Explanation, FileDocument, Progress, Stats, Status, VersionDocument,
};
use crate::setup::NewEntry;

/// How many files a page has when nobody says (§1.2).
const FILES_DEFAULT: u64 = 20;
/// How many items a page of our own lists has at most, and when nobody says.
const PAGE_MAX: usize = 1000;

/// Seconds since 1970 (§1).
fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// A file (§1.2).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileView {
    /// UUID, version 5, of the name.
    #[schema(format = Uuid)]
    fid: String,
    /// From the root of its entries, without a leading slash.
    #[schema(example = "photos/foo.jpg")]
    filename: String,
    /// Bytes of the current version.
    size: u64,
    /// Entries that should hold it.
    owners: Vec<String>,
    /// Those of them that hold the current version.
    uptodate: Vec<String>,
    /// By its name; `application/octet-stream` when unknown.
    mimetype: &'static str,
    /// When the bytes were last changed, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<f64>,
    /// SHA-256 of the current version; absent until it was read for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// The entry that the current version came from.
    origin: String,
}

impl From<FileDocument> for FileView {
    fn from(file: FileDocument) -> Self {
        Self {
            fid: file.fid.to_string(),
            filename: file.filename,
            size: file.size_bytes,
            owners: file.owners,
            uptodate: file.uptodate,
            mimetype: file.mimetype,
            mtime: file.modified_at.map(seconds),
            hash: file.content,
            origin: file.origin,
        }
    }
}

/// A page of files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// In the order of their ids.
    files: Vec<FileView>,
}

/// An entry (§1.3).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryView {
    /// Its name.
    name: String,
    /// Its driver.
    #[schema(example = "local_storage")]
    driver: String,
    /// As configured; secrets as `***`.
    #[schema(value_type = Object)]
    options: Value,
}

impl From<EntryDocument> for EntryView {
    fn from(entry: EntryDocument) -> Self {
        Self { name: entry.name, driver: entry.driver, options: entry.options }
    }
}

/// All entries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryList {
    /// In the order of the configuration.
    pub(crate) entries: Vec<EntryView>,
}

/// What an entry is doing (§1.4).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusView {
    /// Its name.
    name: String,
    /// `active`, `stopped`, `starting` or `stopping`.
    #[schema(example = "active")]
    status: &'static str,
    /// When this was so, seconds since 1970.
    time: f64,
    /// What is wrong; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Deletions that wait for a restart with `force=1`; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    held: Option<Value>,
}

impl From<Status> for StatusView {
    fn from(status: Status) -> Self {
        Self {
            name: status.name,
            status: status.phase.as_str(),
            time: seconds(status.time),
            problem: status.problem,
            held: status.held,
        }
    }
}

/// The answer to an action (§1.4).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionView {
    name: String,
    /// `ok`, after the effect.
    #[schema(example = "ok")]
    status: &'static str,
    /// Seconds since 1970.
    time: f64,
}

impl ActionView {
    pub(crate) fn new(name: String, at: Timestamp) -> Self {
        Self { name, status: "ok", time: seconds(at) }
    }
}

/// Figures of an entry (§1.5).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsView {
    info: StatsInfo,
    name: String,
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Seconds since 1970.
    time: f64,
}

/// The figures themselves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsInfo {
    /// Seconds since the entry was started.
    age: f64,
    /// Percent of one processor that the entry's own tasks used since the last call.
    cpu: f64,
    /// When the server process began, seconds since 1970.
    create_time: f64,
    /// When the entry was started, seconds since 1970.
    started: f64,
    /// Time of processors that the entry's own tasks used: minutes, seconds, hundredths.
    #[schema(example = "0:00.19")]
    ctime: String,
    /// Percent of the machine's memory that the server process has.
    mem: f64,
    /// What of the server process is in memory.
    #[schema(example = "18M")]
    mem_info1: String,
    /// Address space of the server process.
    #[schema(example = "212M")]
    mem_info2: String,
}

impl From<Stats> for StatsView {
    fn from(stats: Stats) -> Self {
        let info = StatsInfo {
            age: stats.age.as_secs_f64(),
            cpu: (stats.cpu * 100.0).round() / 100.0,
            create_time: seconds(stats.created_at),
            started: seconds(stats.started_at),
            ctime: minutes(stats.cpu_time),
            mem: stats.memory_share,
            mem_info1: human_size(stats.resident_bytes),
            mem_info2: human_size(stats.virtual_bytes),
        };
        Self { info, name: stats.name, status: "ok", time: seconds(stats.time) }
    }
}

/// A list of rules (§3.1).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleList {
    /// In order; each `{"match": …, "sync": […], "ban": […]}`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) rules: Value,
}

/// The answer to a change of the rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// With `dry_run=true`: what would happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<EffectView>,
}

impl Done {
    pub(crate) fn new(tried: Option<Effect>) -> Self {
        Self { status: "ok", dry_run: tried.map(EffectView::from) }
    }
}

/// What rules would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EffectView {
    /// Copies that would be made.
    copies: u64,
    /// Bytes of them.
    bytes: u64,
    /// Copies that would be deleted: always 0, because a rule deletes nothing.
    deletes: u64,
    /// Copies that would stay where they are and not be updated any more.
    released: u64,
}

impl From<Effect> for EffectView {
    fn from(effect: Effect) -> Self {
        let Effect { copies, bytes, deletes, released } = effect;
        Self { copies, bytes, deletes, released }
    }
}

/// An error (§1.1).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// `error`.
    #[schema(example = "error")]
    pub(crate) status: &'static str,
    /// Why.
    #[schema(example = "entry A not found")]
    pub(crate) reason: String,
}

/// An entry to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddEntry {
    /// 1 to 128 bytes without `:` and `/`.
    name: String,
    /// `local_storage`, `amazon_s3`, `sftp` or `webdav`.
    driver: String,
    /// As the driver takes them.
    #[schema(value_type = Object)]
    options: Value,
}

impl AddEntry {
    pub(crate) fn read(body: &[u8]) -> Result<NewEntry> {
        let Self { name, driver, options } = json_body(body)?;
        let name = EntryName::new(name).map_err(|error| Error::invalid(format!("name: {}", error.message())))?;
        Ok(NewEntry { name, driver, options })
    }
}

/// How far the work at an entry is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressView {
    name: String,
    /// Whether the scan that follows a start is over.
    scanned: bool,
    /// RFC 3339; when the last whole scan ended.
    scanned_at: Option<String>,
    /// RFC 3339; since when changes are watched.
    attended_at: Option<String>,
    /// Names still to be fetched, deleted or touched here.
    files_left: u64,
    /// Bytes still to be fetched.
    bytes_left: u64,
    /// The scan under way; null when none is.
    pass: Option<PassView>,
    /// Names that could not be brought to their state so far, 100 at most.
    problems: Vec<ProblemView>,
}

/// A scan under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PassView {
    /// RFC 3339.
    began_at: String,
    /// Files that were known when it began.
    files_known: u64,
    /// Files looked at.
    files_seen: u64,
    /// Files that needed a closer look.
    files_examined: u64,
    /// Bytes read for it.
    bytes_read: u64,
}

/// A name that could not be brought to its state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemView {
    filename: String,
    why: String,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        let pass = |pass: crate::progress::Pass| PassView {
            began_at: pass.began_at.to_string(),
            files_known: pass.files_known,
            files_seen: pass.files_seen,
            files_examined: pass.files_examined,
            bytes_read: pass.bytes_read,
        };
        Self {
            name: progress.name,
            scanned: progress.scanned,
            scanned_at: progress.scanned_at.map(|at| at.to_string()),
            attended_at: progress.attended_at.map(|at| at.to_string()),
            files_left: progress.files_left,
            bytes_left: progress.bytes_left,
            pass: progress.pass.map(pass),
            problems: progress.problems.into_iter().map(|(filename, why)| ProblemView { filename, why }).collect(),
        }
    }
}

/// Why a file belongs where it does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationView {
    filename: String,
    /// The entry that the change is thought to come from; it is the first owner.
    from: String,
    mimetype: &'static str,
    /// Whether these are the rules in force, and not those that are only stored.
    in_force: bool,
    /// Rule by rule, in order.
    steps: Vec<StepView>,
    /// Who owns it in the end.
    owners: Vec<String>,
}

/// What one rule does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    #[serde(flatten)]
    step: Step,
    /// The rule itself.
    #[schema(value_type = Object)]
    text: Value,
}

impl From<Explanation> for ExplanationView {
    fn from(why: Explanation) -> Self {
        let steps = why.steps.into_iter().zip(why.rules).map(|(step, text)| StepView { step, text });
        Self {
            filename: why.filename,
            from: why.from,
            mimetype: why.mimetype,
            in_force: why.in_force,
            steps: steps.collect(),
            owners: why.owners.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A conflict.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConflictView {
    pub(crate) id: String,
    filename: String,
    fid: String,
    /// Whose version is in place.
    winner: String,
    /// Whose version lost.
    loser: String,
    /// Under which name that one is kept; null when the policy dropped it.
    aside: Option<String>,
    /// RFC 3339.
    happened_at: String,
    /// RFC 3339; null until it is decided.
    resolved_at: Option<String>,
    /// `winner`, `loser`, `both`, or `newest` when the policy decided.
    resolution: Option<String>,
}

impl From<ConflictDocument> for ConflictView {
    fn from(conflict: ConflictDocument) -> Self {
        Self {
            id: conflict.id,
            filename: conflict.filename,
            fid: conflict.fid,
            winner: conflict.winner,
            loser: conflict.loser,
            aside: conflict.aside,
            happened_at: conflict.happened_at.to_string(),
            resolved_at: conflict.resolved_at.map(|at| at.to_string()),
            resolution: conflict.resolution,
        }
    }
}

/// A page of conflicts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConflictList {
    pub(crate) conflicts: Vec<ConflictView>,
    /// What to give as `after` for the next page; null when this is the last.
    pub(crate) next: Option<String>,
}

/// How a conflict is decided.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveConflict {
    /// `winner` keeps what is in place and removes the other version; `loser` puts the other version in place; `both`
    /// leaves both as they are.
    #[schema(example = "winner")]
    pub(crate) keep: String,
}

/// An old version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionView {
    pub(crate) id: String,
    filename: String,
    /// The entry that has it.
    entry: String,
    /// Where it is, from the root of the entry.
    place: String,
    size_bytes: u64,
    /// SHA-256, if it was read.
    hash: Option<String>,
    /// `replaced` or `deleted`.
    reason: &'static str,
    /// RFC 3339.
    kept_at: String,
}

impl From<VersionDocument> for VersionView {
    fn from(version: VersionDocument) -> Self {
        Self {
            id: version.id,
            filename: version.filename,
            entry: version.entry,
            place: version.place,
            size_bytes: version.size_bytes,
            hash: version.content,
            reason: version.reason,
            kept_at: version.kept_at.to_string(),
        }
    }
}

/// A page of old versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionList {
    pub(crate) versions: Vec<VersionView>,
    /// What to give as `after` for the next page; null when this is the last.
    pub(crate) next: Option<String>,
}

/// Reads a body as JSON of a known shape.
pub(crate) fn json_body<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::invalid(format!("the body is not what is asked for: {error}")))
}

/// Reads the body of `PUT /rules`; what is inside the list is checked later.
pub(crate) fn read_rules(body: &[u8]) -> Result<Value> {
    let document: Value =
        serde_json::from_slice(body).map_err(|error| Error::invalid(format!("the body is not JSON: {error}")))?;
    let Value::Object(mut members) = document else {
        return Err(Error::invalid("the body is JSON but not an object such as {\"rules\": []}"));
    };
    let rules = members.remove("rules").ok_or_else(|| Error::invalid("rules: is missing"))?;
    match Map::keys(&members).next() {
        Some(other) => Err(Error::invalid(format!("unknown member {other:?}; known is rules"))),
        None => Ok(rules),
    }
}

/// The options of a query; of those that are given twice the last one counts.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// One option.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `1` and `true` are yes.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        match self.text(name) {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(Error::invalid(format!("{name}: {other:?} is neither true nor false"))),
        }
    }

    /// A number from 0 on; a number too large to count with is as good as the largest.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(Some(text.parse().unwrap_or(u64::MAX))),
            false => Err(Error::invalid(format!("{name}: {text:?} is not an integer of 0 or more"))),
        }
    }

    /// `offset` and `limit` of `GET /files` (§1.2).
    pub(crate) fn files(&self) -> Result<(u64, u64)> {
        Ok((self.number("offset")?.unwrap_or(0), self.number("limit")?.unwrap_or(FILES_DEFAULT)))
    }

    /// `after` and `limit` of our own lists.
    pub(crate) fn page(&self) -> Result<(&str, usize)> {
        let limit = match self.number("limit")? {
            Some(0) => return Err(Error::invalid("limit: must be at least 1")),
            Some(limit) => usize::try_from(limit).unwrap_or(PAGE_MAX).min(PAGE_MAX),
            None => PAGE_MAX,
        };
        Ok((self.text("after").unwrap_or_default(), limit))
    }
}

/// `{"<name>": "<fid>"}` (§1).
pub(crate) fn id_of(name: &str) -> Value {
    json!({ name: crate::model::Fid::of_text(name).as_str() })
}
