//! One SQLite connection: how it is opened, and one statement on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Error, Result};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};

use super::{Answer, translate};
use crate::sql::{Dialect, Null, Row, Sql, Value};

/// Older libraries may damage the write-ahead log when two connections use it.
const OLDEST_SAFE: i32 = 3_051_003;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;
/// The log may grow to so many pages of 4 KiB before they are moved into the file: hot pages are then moved
/// once and not with every fourth megabyte, while the writer and everybody behind it waits.
const CHECKPOINT_PAGES: i64 = 4000;
/// Inner pages of the indexes of a million rows stay in memory.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// Only outside tools, such as a backup with `sqlite3`, ever make us wait.
const BUSY: Duration = Duration::from_secs(10);

/// Opens the one connection that writes. Every commit is on disk before it answers.
pub(super) fn open_writer(path: &Path) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(translate)?;
    if mode != "wal" {
        return Err(Error::unavailable("this file system does not support SQLite's write-ahead log")
            .context("path", path.display()));
    }
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864;")
        .map_err(translate)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(translate)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(translate)?;
    Ok(connection)
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection> {
    if rusqlite::version_number() < OLDEST_SAFE {
        return Err(Error::internal(format!("SQLite {} is too old to be safe", rusqlite::version())));
    }
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(translate)?;
    connection.busy_timeout(BUSY).map_err(translate)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Sorting a few hundred rows needs no file.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(translate)?;
    Ok(connection)
}

/// Runs one statement to its end.
pub(super) fn run(connection: &Connection, sql: Sql, args: &[Value]) -> Result<Answer> {
    let text = sql.text(Dialect::Sqlite);
    let failed = |error| translate(error).context("sql", &text);
    let mut statement = connection.prepare_cached(&text).map_err(failed)?;
    if statement.parameter_count() != args.len() {
        let expected = statement.parameter_count();
        return Err(Error::internal(format!("the statement takes {expected} arguments, not {}", args.len()))
            .context("sql", &text));
    }
    for (index, value) in args.iter().enumerate() {
        // SQLite numbers `$n` by first appearance, so it is looked up by name.
        let name = format!("${}", index + 1);
        let place = statement.parameter_index(&name).map_err(failed)?;
        let place =
            place.ok_or_else(|| Error::internal(format!("the statement has no {name}")).context("sql", &text))?;
        statement.raw_bind_parameter(place, value).map_err(failed)?;
    }
    let width = statement.column_count();
    if width == 0 {
        let changed = statement.raw_execute().map_err(failed)?;
        return Ok(Answer { rows: Vec::new(), changed: changed as u64 });
    }
    let columns: Arc<[String]> = statement.column_names().map(str::to_owned).collect();
    let mut rows = Vec::new();
    let mut found = statement.raw_query();
    while let Some(row) = found.next().map_err(failed)? {
        let values =
            (0..width).map(|index| row.get_ref(index).map_err(failed).and_then(value)).collect::<Result<_>>()?;
        rows.push(Row::new(columns.clone(), values));
    }
    Ok(Answer { changed: rows.len() as u64, rows })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Bool(flag) => ValueRef::Integer((*flag).into()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Null(_) => ValueRef::Null,
        }))
    }
}

fn value(found: ValueRef<'_>) -> Result<Value> {
    match found {
        ValueRef::Null => Ok(Value::Null(Null::Text)),
        ValueRef::Integer(number) => Ok(Value::Int(number)),
        ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes.to_owned())),
        ValueRef::Text(bytes) => String::from_utf8(bytes.to_owned())
            .map(Value::Text)
            .map_err(|error| Error::corrupt("the catalogue holds a text that is not UTF-8").caused_by(error)),
        ValueRef::Real(_) => Err(Error::internal("the catalogue holds a fraction: cast it to BIGINT")),
    }
}
