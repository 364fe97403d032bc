//! `Catalog` and `Tx`: open, begin, read, commit, wake.
//!
//! A transaction is short: nobody awaits storage or the network inside one, since on SQLite
//! everybody else waits behind it.

use std::sync::Arc;
use std::time::Instant;

use haulier_base::{Clock, Error, Result, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::leases;
use crate::migrate;
use crate::postgres::{self, Server, Transaction};
use crate::queue;
use crate::sql::{Dialect, Row, Sql, Value};
use crate::sqlite::{Answer, Sqlite, Statement, Unit};
use crate::url::DatabaseUrl;

/// A transaction slower than this is logged with its name.
const SLOW_MS: u128 = 1000;

/// The facts of one Haulier: cheap to clone, shared by all rooms.
#[derive(Clone)]
pub struct Catalog(Arc<Shared>);

struct Shared {
    backend: Backend,
    clock: Arc<dyn Clock>,
    woken: Arc<Notify>,
    /// Asks the background task to wake other processes.
    tell: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the background tasks when nobody holds the catalogue any more.
    _stop_on_drop: DropGuard,
}

enum Backend {
    Sqlite(Sqlite),
    Postgres(Server),
}

/// What an integrity check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// One sentence per problem; empty when all is well.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl Catalog {
    /// Opens a migrated database. Refuses one from the future and one that lacks a migration.
    pub async fn open(url: &DatabaseUrl, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(url, clock, false).await
    }

    /// Applies the missing migrations, then opens the database.
    pub async fn open_and_migrate(url: &DatabaseUrl, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(url, clock, true).await
    }

    async fn open_with(url: &DatabaseUrl, clock: Arc<dyn Clock>, migrate: bool) -> Result<Self> {
        let backend = match url {
            DatabaseUrl::Sqlite(path) => {
                let (path, migrate_at) = (path.clone(), migrate.then(|| clock.now()));
                let open = move || Sqlite::start(migrate::open_file(&path, migrate_at)?);
                Backend::Sqlite(migrate::blocking(open).await?)
            }
            DatabaseUrl::Postgres(server) => {
                match migrate {
                    true => migrate::migrate(url, &*clock).await.map(|_| ())?,
                    false => migrate::require_migrated(server).await?,
                }
                Backend::Postgres(Server::connect(server).await?)
            }
        };
        let stop = CancellationToken::new();
        let (woken, tell, tasks) = (Arc::new(Notify::new()), Arc::new(Notify::new()), TaskTracker::new());
        if let Backend::Postgres(server) = &backend {
            tasks.spawn(server.listen(woken.clone(), stop.clone()));
            tasks.spawn(server.notify(tell.clone(), stop.clone()));
        }
        let _stop_on_drop = stop.clone().drop_guard();
        let catalog = Self(Arc::new(Shared { backend, clock, woken, tell, tasks, stop, _stop_on_drop }));
        if let Backend::Sqlite(_) = catalog.0.backend {
            catalog.release_the_dead().await?;
        }
        Ok(catalog)
    }

    /// This process has the SQLite file for itself, so whoever held a lease or a role in it is gone:
    /// their work goes on now, not when their time runs out.
    async fn release_the_dead(&self) -> Result<()> {
        let mut tx = self.begin("catalog.release").await?;
        let released = queue::release_all(&mut tx).await?;
        leases::release_all(&mut tx).await?;
        tx.commit().await?;
        if released > 0 {
            tracing::info!(tasks = released, "the tasks of the process before this one go on");
        }
        Ok(())
    }

    /// The present instant of this catalogue's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }

    /// Which database this is. Rooms need not know; give [`Sql`] two texts instead of asking.
    pub fn dialect(&self) -> Dialect {
        match self.0.backend {
            Backend::Sqlite(_) => Dialect::Sqlite,
            Backend::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Opens a transaction that may write. The name appears in logs.
    ///
    /// On SQLite it takes its turn with the first statement whose answer is awaited: one transaction
    /// at a time, and one that says nothing for ten seconds in its turn is rolled back.
    /// Never begin a second one while holding a first.
    pub async fn begin(&self, name: &'static str) -> Result<Tx> {
        let began = Instant::now();
        let inner = match &self.0.backend {
            Backend::Sqlite(sqlite) => Inner::Sqlite(sqlite.begin().await?),
            Backend::Postgres(server) => Inner::Postgres(server.begin().await?),
        };
        Ok(self.transaction(inner, name, began))
    }

    /// Opens a transaction that only reads, all of it as of one moment.
    pub async fn read(&self) -> Result<Tx> {
        let began = Instant::now();
        let inner = match &self.0.backend {
            Backend::Sqlite(sqlite) => Inner::Sqlite(sqlite.read().await?),
            Backend::Postgres(server) => Inner::Postgres(server.read().await?),
        };
        Ok(self.transaction(inner, "read", began))
    }

    fn transaction(&self, inner: Inner, name: &'static str, began: Instant) -> Tx {
        Tx { inner, now: self.now(), name, began, failed: false }
    }

    /// Says that there is something to claim or to read: a hint, which may be lost.
    pub fn wake_workers(&self) {
        self.0.woken.notify_waiters();
        self.0.tell.notify_one();
    }

    /// Resolves on the next wake after this call, so call it before looking for work.
    pub fn woken(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.woken.clone().notified_owned()
    }

    /// Ends the background tasks and gives the database back. Transactions that have begun may end.
    pub async fn close(&self) -> Result<()> {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        match &self.0.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(server) => {
                server.close().await;
                Ok(())
            }
        }
    }

    /// Looks for damage. Slow on a large database.
    pub async fn check(&self) -> Result<CheckReport> {
        const INTEGRITY: Sql = Sql::each(
            "SELECT integrity_check AS problem FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
            "SELECT 'the index ' || CAST(indexrelid::regclass AS TEXT) || ' is not valid' AS problem
             FROM pg_index WHERE NOT indisvalid",
        );
        const REFERENCES: Sql = Sql::each(
            "SELECT 'a row of ' || \"table\" || ' refers to a missing row of ' || parent AS problem
             FROM pragma_foreign_key_check",
            "SELECT 'the constraint ' || CAST(conname AS TEXT) || ' is not validated' AS problem
             FROM pg_constraint WHERE NOT convalidated",
        );
        const LEASES: Sql = Sql::both(
            "SELECT 'task ' || id || ' is leased to nobody' AS problem FROM tasks
             WHERE state = 'leased' AND (lease_token IS NULL OR lease_until IS NULL)",
        );
        let mut tx = self.read().await?;
        let mut problems = Vec::new();
        for question in [INTEGRITY, REFERENCES, LEASES] {
            for row in tx.fetch_all(question, Vec::new()).await? {
                problems.push(row.text("problem")?);
            }
        }
        Ok(CheckReport { problems })
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("dialect", &self.dialect()).finish_non_exhaustive()
    }
}

/// A transaction. Dropping it rolls back.
///
/// After a statement has failed nothing more can be done in it, on either database.
pub struct Tx {
    inner: Inner,
    now: Timestamp,
    name: &'static str,
    began: Instant,
    failed: bool,
}

enum Inner {
    Sqlite(Unit),
    Postgres(Transaction),
}

impl Tx {
    /// The instant at which this transaction began: the same for all it writes.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Runs a statement; says how many rows it changed, or gave back.
    pub async fn execute(&mut self, sql: Sql, args: Vec<Value>) -> Result<u64> {
        Ok(self.run(sql, args).await?.changed)
    }

    /// Runs a statement and reads all its rows.
    pub async fn fetch_all(&mut self, sql: Sql, args: Vec<Value>) -> Result<Vec<Row>> {
        Ok(self.run(sql, args).await?.rows)
    }

    /// Runs a statement and reads its first row.
    pub async fn fetch_optional(&mut self, sql: Sql, args: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.run(sql, args).await?.rows.into_iter().next())
    }

    /// Runs a statement whose answer nobody needs, at the latest with the commit.
    ///
    /// On SQLite it travels with the next statement that is awaited, or with the commit, and its error comes
    /// there; on PostgreSQL it is run at once. Later statements see what it did either way.
    pub async fn execute_later(&mut self, sql: Sql, args: Vec<Value>) -> Result<()> {
        self.later(Statement { sql, args, unless_one: None }).await
    }

    /// As [`Tx::execute_later`], for a statement that must change, or find, exactly one row: else the
    /// transaction fails with the given error.
    pub async fn expect_one_later(&mut self, sql: Sql, args: Vec<Value>, otherwise: Error) -> Result<()> {
        self.later(Statement { sql, args, unless_one: Some(otherwise) }).await
    }

    async fn later(&mut self, statement: Statement) -> Result<()> {
        self.usable()?;
        if let Inner::Sqlite(unit) = &mut self.inner {
            unit.later(statement);
            return Ok(());
        }
        let Statement { sql, args, unless_one } = statement;
        let changed = self.execute(sql, args).await?;
        match unless_one {
            Some(error) if changed != 1 => {
                self.failed = true;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    async fn run(&mut self, sql: Sql, args: Vec<Value>) -> Result<Answer> {
        self.usable()?;
        // A caller that stops waiting half way leaves the transaction in an unknown state.
        self.failed = true;
        let answer = match &mut self.inner {
            Inner::Sqlite(unit) => unit.run(sql, args).await?,
            Inner::Postgres(tx) => postgres::run(tx, sql, args).await?,
        };
        self.failed = false;
        Ok(answer)
    }

    fn usable(&self) -> Result<()> {
        match self.failed {
            false => Ok(()),
            true => Err(Error::internal("a statement of this transaction failed, so it was rolled back")
                .context("transaction", self.name)),
        }
    }

    /// Makes it true: on disk, and seen by everybody, once this returns.
    pub async fn commit(self) -> Result<()> {
        self.usable()?;
        match self.inner {
            Inner::Sqlite(unit) => unit.commit().await?,
            Inner::Postgres(tx) => tx.commit().await.map_err(postgres::translate)?,
        }
        let took_ms = self.began.elapsed().as_millis();
        if took_ms >= SLOW_MS {
            tracing::warn!(transaction = self.name, took_ms, "slow transaction");
        }
        Ok(())
    }
}
