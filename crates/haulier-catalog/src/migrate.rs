//! Brings a database up to date: numbered pairs of files, applied once each, in order.
//!
//! A database that a newer program has migrated is refused, and so is one whose history differs.

use haulier_base::{Clock, Error, Result, Timestamp};
use sha2::{Digest, Sha256};

use crate::args;
use crate::postgres::Migrator;
use crate::sql::{Dialect, Row, Value};
use crate::sqlite::SqliteFile;
use crate::url::DatabaseUrl;

macro_rules! migrations {
    ($($name:literal),* $(,)?) => {
        &[$(Migration {
            name: $name,
            sqlite: include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../../migrations/postgres/", $name, ".sql")),
        }),*]
    };
}

/// Every migration, in order. A new pair of files is one more line here; an old one never changes.
pub const MIGRATIONS: &[Migration] = migrations![
    "0001_foundation",
    "0002_transfers",
    "0003_access",
    "0004_transfer_proof",
    "0005_locations",
    "0006_sync",
    "0007_replication",
    "0008_sync_kind",
    "0009_backup",
];

/// A numbered pair of files.
#[derive(Debug)]
pub struct Migration {
    /// The name of both files, which starts with the number.
    pub name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

impl Migration {
    /// The number at the start of the name.
    pub fn version(&self) -> i64 {
        self.name.split('_').next().and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }

    fn checksum(&self, dialect: Dialect) -> String {
        hex::encode(Sha256::digest(self.text(dialect)))
    }

    /// The arguments of [`RECORD_APPLIED`].
    pub(crate) fn record(&self, dialect: Dialect, now: Timestamp) -> Vec<Value> {
        args![self.version(), self.name, self.checksum(dialect), now]
    }

    pub(crate) fn failed(&self, error: Error) -> Error {
        Error::new(error.kind(), format!("the migration {} failed", self.name)).caused_by(error)
    }
}

pub(crate) const CREATE_RECORD: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";
pub(crate) const LIST_APPLIED: &str = "SELECT version, name, checksum FROM schema_migrations ORDER BY version";
pub(crate) const RECORD_APPLIED: &str =
    "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";

/// A migration that a database says it has had.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    version: i64,
    name: String,
    checksum: String,
}

impl Applied {
    pub(crate) fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { version: row.int("version")?, name: row.text("name")?, checksum: row.text("checksum")? })
    }
}

/// How far a database is, and how far this program could bring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The names of the migrations the database has had.
    pub applied: Vec<String>,
    /// The names of all migrations this program knows.
    pub known: Vec<&'static str>,
}

impl Versions {
    fn of(applied: &[Applied]) -> Self {
        Self {
            applied: applied.iter().map(|migration| migration.name.clone()).collect(),
            known: MIGRATIONS.iter().map(|migration| migration.name).collect(),
        }
    }
}

/// What is still to be applied. Refuses a database from the future, or with another past.
fn pending(applied: &[Applied], dialect: Dialect) -> Result<&'static [Migration]> {
    for (index, had) in applied.iter().enumerate() {
        let Some(known) = MIGRATIONS.get(index) else {
            return Err(Error::conflict(format!(
                "the database is from a newer Haulier: it has had migration {}, this program knows {} only; \
                 run the newer program",
                had.name,
                MIGRATIONS.last().map_or("none", |last| last.name)
            )));
        };
        if (had.version, &had.checksum) != (known.version(), &known.checksum(dialect)) {
            return Err(Error::conflict(format!(
                "the database has had another migration {} than this program's {}",
                had.name, known.name
            )));
        }
    }
    Ok(&MIGRATIONS[applied.len()..])
}

/// Fails unless every migration was applied.
fn require_all(applied: &[Applied], dialect: Dialect) -> Result<()> {
    match pending(applied, dialect)?.first() {
        None => Ok(()),
        Some(first) => {
            Err(Error::conflict(format!("the database has not had migration {}: run `haulier db migrate`", first.name)))
        }
    }
}

/// Applies what is missing, and says how far the database was before.
pub async fn migrate(url: &DatabaseUrl, clock: &dyn Clock) -> Result<Versions> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let (path, now) = (path.clone(), clock.now());
            blocking(move || migrate_file(&mut SqliteFile::open(&path)?, now)).await
        }
        DatabaseUrl::Postgres(url) => {
            let mut migrator = Migrator::connect(url).await?;
            let applied = migrator.applied().await?;
            for migration in pending(&applied, Dialect::Postgres)? {
                migrator.apply(migration, clock.now()).await?;
            }
            migrator.close().await?;
            Ok(Versions::of(&applied))
        }
    }
}

/// How far a database is; changes nothing but the table that records it.
pub async fn versions(url: &DatabaseUrl) -> Result<Versions> {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let path = path.clone();
            blocking(move || Ok(Versions::of(&SqliteFile::open(&path)?.applied()?))).await
        }
        DatabaseUrl::Postgres(url) => {
            let mut migrator = Migrator::connect(url).await?;
            let applied = migrator.applied().await?;
            migrator.close().await?;
            Ok(Versions::of(&applied))
        }
    }
}

/// Opens a SQLite file that has had, or now gets, every migration.
pub(crate) fn open_file(path: &std::path::Path, migrate_at: Option<Timestamp>) -> Result<SqliteFile> {
    let mut file = SqliteFile::open(path)?;
    match migrate_at {
        Some(now) => migrate_file(&mut file, now).map(|_| ())?,
        None => require_all(&file.applied()?, Dialect::Sqlite)?,
    }
    Ok(file)
}

fn migrate_file(file: &mut SqliteFile, now: Timestamp) -> Result<Versions> {
    let applied = file.applied()?;
    for migration in pending(&applied, Dialect::Sqlite)? {
        file.apply(migration, now)?;
    }
    Ok(Versions::of(&applied))
}

/// Fails unless a PostgreSQL database has had every migration.
pub(crate) async fn require_migrated(url: &haulier_base::Secret<String>) -> Result<()> {
    let mut migrator = Migrator::connect(url).await?;
    let applied = migrator.applied().await?;
    migrator.close().await?;
    require_all(&applied, Dialect::Postgres)
}

/// Runs what waits for the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("the catalogue could not be opened").caused_by(error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(count: usize) -> Vec<Applied> {
        let had = |m: &Migration| Applied {
            version: m.version(),
            name: m.name.to_owned(),
            checksum: m.checksum(Dialect::Sqlite),
        };
        MIGRATIONS.iter().take(count).map(had).collect()
    }

    #[test]
    fn numbers_rise_by_one() {
        let versions: Vec<_> = MIGRATIONS.iter().map(Migration::version).collect();
        assert_eq!(versions, (1..=MIGRATIONS.len() as i64).collect::<Vec<_>>());
    }

    #[test]
    fn only_what_is_missing_is_pending() {
        let names: Vec<_> = pending(&applied(1), Dialect::Sqlite).unwrap().iter().map(|m| m.name).collect();
        assert_eq!(names, MIGRATIONS[1..].iter().map(|m| m.name).collect::<Vec<_>>());
        assert_eq!(
            require_all(&applied(0), Dialect::Sqlite).unwrap_err().message(),
            "the database has not had migration 0001_foundation: run `haulier db migrate`"
        );
    }

    #[test]
    fn another_past_and_the_future_are_refused() {
        let mut changed = applied(1);
        changed[0].checksum = "00".to_owned();
        assert!(pending(&changed, Dialect::Sqlite).unwrap_err().message().contains("another migration"));
        let mut newer = applied(MIGRATIONS.len());
        newer.push(Applied { version: 999, name: "0999_future".to_owned(), checksum: String::new() });
        assert!(pending(&newer, Dialect::Sqlite).unwrap_err().message().contains("newer Haulier"));
    }
}
