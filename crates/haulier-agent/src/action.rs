//! What the document of an action asks for, in the words of a repository. Refuses what cannot be done, clearly.

use std::path::{Path, PathBuf};

use haulier_base::{Error, Result, Timestamp};
use serde_json::{Map, Value, json};

use crate::config::{AgentConfig, read_secret};
use crate::repository::{BackupRequest, BackupSummary, Find, Keep, RestoreRequest};
use crate::work::{Database, Order, Place, Work};

/// Microseconds of a day.
const DAY: f64 = 86_400e6;

/// The members of one action.
struct Action<'a>(&'a Map<String, Value>);

impl<'a> Action<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A number, or its digits.
    fn number(&self, name: &str) -> Result<Option<f64>> {
        match self.0.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(Value::String(text)) => match text.trim().parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Error::invalid(format!("{name} is \"{text}\", which is no number"))),
            },
            Some(_) => Err(Error::invalid(format!("{name} is no number"))),
        }
    }

    fn count(&self, name: &str) -> Result<Option<u32>> {
        match self.number(name)? {
            None => Ok(None),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
            Some(number) if number >= 0.0 && number <= f64::from(u32::MAX) => Ok(Some(number as u32)),
            Some(_) => Err(Error::invalid(format!("{name} is no count"))),
        }
    }

    fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => ["true", "1", "yes"].contains(&text.to_ascii_lowercase().as_str()),
            Some(Value::Number(number)) => number.as_i64() == Some(1),
            _ => false,
        }
    }

    /// A text, or a list of them.
    fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::String(text)) if !text.is_empty() => vec![text.clone()],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

/// What a child has to do for an action.
///
/// # Errors
/// `Invalid`, `Forbidden`: what cannot be done, and why.
pub(crate) fn order(config: &AgentConfig, action: &Value, run: &str, now: Timestamp) -> Result<Order> {
    let members = action.as_object().ok_or_else(|| Error::invalid("the action has no freezer_action"))?;
    let action = Action(members);
    let kind = action.text("action").unwrap_or("backup");
    if kind == "exec" {
        if !config.allow_exec {
            return Err(Error::forbidden("this agent runs no commands: its settings do not have allow_exec = true"));
        }
        let command = action.text("command").ok_or_else(|| Error::invalid("the action has no command"))?;
        return Ok(Order { place: None, work: Work::Exec { command: command.to_owned() } });
    }
    let database = mode(&action)?;
    let place = Some(place(config, &action)?);
    let name = action.text("backup_name").unwrap_or_default().to_owned();
    let work = match kind {
        "backup" => Work::Backup { request: backup(&action, name, database.as_ref(), run)?, database },
        "restore" => Work::Restore { request: restore(&action, config, name, database.as_ref())?, database },
        "info" => Work::Info,
        "admin" => {
            let name = Some(name).filter(|name| !name.is_empty());
            let find = Find { name, hostname: Some(config.host()), ..Find::default() };
            Work::Admin { find, keep: keep(&action, now)? }
        }
        other => return Err(Error::invalid(format!("there is no action \"{other}\""))),
    };
    Ok(Order { place, work })
}

fn mode(action: &Action<'_>) -> Result<Option<Database>> {
    let database = action.text("database").map(str::to_owned);
    if database.as_ref().is_some_and(|name| carries_password(name)) {
        return Err(Error::invalid("the database is named with a password: put it into a postgres_passfile"));
    }
    match action.text("mode").unwrap_or("fs") {
        "fs" => Ok(None),
        "postgres" | "postgresql" => {
            Ok(Some(Database::Postgres { database, passfile: action.text("postgres_passfile").map(PathBuf::from) }))
        }
        "mysql" | "mariadb" => {
            Ok(Some(Database::Mysql { database, options: action.text("mysql_conf").map(PathBuf::from) }))
        }
        other => Err(Error::invalid(format!(
            "this agent cannot back up the mode \"{other}\": it knows fs, postgres, mysql and mariadb"
        ))),
    }
}

fn carries_password(name: &str) -> bool {
    let in_url =
        name.split_once("://").and_then(|(_, rest)| rest.split_once('@')).is_some_and(|(who, _)| who.contains(':'));
    in_url || name.contains("password=")
}

fn place(config: &AgentConfig, action: &Action<'_>) -> Result<Place> {
    let container = action.text("container").ok_or_else(|| Error::invalid("the action has no container"))?;
    if config.repositories.contains_key(container) {
        return config.repository(container);
    }
    let password = action.text("encrypt_pass_file").map(|file| read_secret(Path::new(file))).transpose()?;
    let storage = action.text("storage").unwrap_or("local");
    let options = config.storages.get(storage).cloned().unwrap_or_else(|| json!({}));
    let (url, options) = match storage {
        "local" if container.starts_with('/') => (file_url(container)?, options),
        "local" => {
            return Err(Error::invalid(format!(
                "the container \"{container}\" is no repository of this agent's settings and no absolute path"
            )));
        }
        "s3" => (format!("s3://{container}"), options),
        "ssh" | "sftp" => ssh(action, container, options)?,
        "webdav" | "webdavs" if container.starts_with("webdav") => (container.to_owned(), options),
        "webdav" | "webdavs" => return Err(Error::invalid("the container of a webdav storage is a webdavs: URL")),
        other => {
            return Err(Error::invalid(format!(
                "this agent has no connector for the storage \"{other}\": it knows local, s3, ssh and webdav"
            )));
        }
    };
    config.place(&url, options, password)
}

fn file_url(path: &str) -> Result<String> {
    let url = url::Url::from_file_path(path);
    url.map(String::from).map_err(|()| Error::invalid(format!("the container \"{path}\" is no path")))
}

fn ssh(action: &Action<'_>, container: &str, mut options: Value) -> Result<(String, Value)> {
    let host = action.text("ssh_host").ok_or_else(|| Error::invalid("the action has no ssh_host"))?;
    let user = action.text("ssh_username").map(|user| format!("{user}@")).unwrap_or_default();
    let port = action.count("ssh_port")?.unwrap_or(22);
    if let (Some(file), Some(members)) = (action.text("ssh_key"), options.as_object_mut()) {
        let key = read_secret(Path::new(file))?;
        members.insert("private_key".to_owned(), Value::from(format!("{}\n", key.reveal())));
    }
    Ok((format!("sftp://{user}{host}:{port}/{}", container.trim_start_matches('/')), options))
}

fn backup(action: &Action<'_>, name: String, database: Option<&Database>, run: &str) -> Result<BackupRequest> {
    let path = match (database, action.text("path_to_backup").or(action.text("src_file"))) {
        (Some(database), _) => database.file(),
        (None, Some(path)) if path.starts_with('/') => PathBuf::from(path),
        (None, Some(path)) => return Err(Error::invalid(format!("path_to_backup \"{path}\" is not absolute"))),
        (None, None) => return Err(Error::invalid("the action has no path_to_backup")),
    };
    Ok(BackupRequest {
        path,
        name,
        exclude: action.list("exclude"),
        include: action.list("include"),
        one_file_system: action.flag("one_file_system"),
        max_level: action.count("max_level")?,
        always_level: action.count("always_level")?,
        full: action.flag("no_incremental"),
        run: Some(run.to_owned()),
    })
}

fn restore(
    action: &Action<'_>,
    config: &AgentConfig,
    name: String,
    database: Option<&Database>,
) -> Result<RestoreRequest> {
    let as_of = action.text("restore_from_date").map(instant).transpose()?;
    let path = match database {
        Some(database) => Some(database.file()),
        None => action.text("path_to_backup").map(PathBuf::from),
    };
    let find = Find {
        id: action.text("snapshot").map(str::to_owned),
        hostname: Some(action.text("restore_from_host").map_or_else(|| config.host(), str::to_owned)),
        name: Some(name).filter(|name| !name.is_empty()),
        path: database.map(|database| database.file().display().to_string()),
        as_of,
    };
    let target = match (action.text("restore_abs_path"), database) {
        (Some(target), _) if target.starts_with('/') => Some(PathBuf::from(target)),
        (Some(target), _) => return Err(Error::invalid(format!("restore_abs_path \"{target}\" is not absolute"))),
        (None, Some(_)) => None,
        (None, None) if action.flag("in_place") => None,
        (None, None) => {
            return Err(Error::invalid("the action has no restore_abs_path; in_place = true restores to where it was"));
        }
    };
    Ok(RestoreRequest { find, path, target, overwrite_newer: action.flag("overwrite"), ..RestoreRequest::default() })
}

fn keep(action: &Action<'_>, now: Timestamp) -> Result<Keep> {
    let days = action.number("remove_older_than")?;
    #[expect(clippy::cast_possible_truncation, reason = "a float becomes the nearest integer there is")]
    let older = days.map(|days| now.as_micros().saturating_sub((days * DAY) as i64));
    let from_date = action.text("remove_from_date").map(instant).transpose()?;
    Ok(Keep {
        last: action.count("keep_last")?,
        daily: action.count("keep_daily")?,
        weekly: action.count("keep_weekly")?,
        monthly: action.count("keep_monthly")?,
        yearly: action.count("keep_yearly")?,
        since: older.or(from_date),
    })
}

/// A date with `Z` or an offset, or in the zone of this machine: microseconds since 1970.
///
/// # Errors
/// `Invalid` when it is no date.
pub fn instant(text: &str) -> Result<i64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_microsecond());
    }
    let local = text.parse::<jiff::civil::DateTime>().and_then(|at| at.to_zoned(jiff::tz::TimeZone::system()));
    local
        .map(|at| at.timestamp().as_microsecond())
        .map_err(|_| Error::invalid(format!("\"{text}\" is no date such as 2026-11-21T20:00:00")))
}

/// The record of a backup, with the members that Freezer's own agent leaves and what it does not know.
pub(crate) fn record(config: &AgentConfig, action: &Value, job_id: &str, run: &str, summary: &BackupSummary) -> Value {
    let given = |name: &str| action.get(name).cloned().unwrap_or_else(|| Value::from(""));
    let name = action["backup_name"].as_str().filter(|name| !name.is_empty()).unwrap_or(job_id);
    let mut record = json!({
        "action": "backup",
        "backup_name": name,
        "container": given("container"),
        "hostname": config.host(),
        "job_id": job_id,
        "run_id": run,
        "client_version": env!("CARGO_PKG_VERSION"),
        "client_os": "linux",
        "backup_media": action["mode"].as_str().unwrap_or("fs"),
        "mode": action["mode"].as_str().unwrap_or("fs"),
        "storage": action["storage"].as_str().unwrap_or("local"),
        "path_to_backup": given("path_to_backup"),
        "fs_real_path": given("path_to_backup"),
        "curr_backup_level": summary.level,
        "level": summary.level,
        "time_stamp": summary.started,
        "timestamp": summary.started,
        "encrypted": true,
        "compression": "zstd",
        "snapshot_id": summary.snapshot,
        "backup_size_uncompressed": summary.size,
        "backup_size_compressed": summary.added,
        "total_fs_files": summary.files,
        "total_directories": summary.directories,
        "files_read": summary.files_read,
        "unreadable_files": summary.unreadable,
        "changed_files": summary.changed,
        "troubles": summary.troubles.iter().take(20).collect::<Vec<_>>(),
    });
    let kept = ["max_level", "always_level", "proxy", "log_file", "ssh_host", "ssh_port", "ssh_username", "ssh_key"];
    let more = kept.into_iter().chain(["dry_run", "consistency_checksum", "container_segments"]);
    if let Some(members) = record.as_object_mut() {
        members.extend(more.map(|name| (name.to_owned(), given(name))));
    }
    record
}

#[cfg(test)]
mod tests;
