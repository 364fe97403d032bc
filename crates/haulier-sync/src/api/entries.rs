//! Wire types of entries: what they are, what they do, and how far that is (§1.3 to §1.5), and conversion.

use haulier_base::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{json_body, seconds};
use crate::meter::{human_size, minutes};
use crate::model::EntryName;
use crate::service::{EntryDocument, Progress, Stats, Status};
use crate::setup::NewEntry;

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
