//! PostgreSQL through a pool, and `LISTEN`/`NOTIFY` as a hint between processes.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use haulier_base::{Error, ErrorKind, Result, Secret, Timestamp};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Column, Connection, PgConnection, PgPool, Postgres, Row as _, TypeInfo};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::migrate::{Applied, Migration};
use crate::sql::{Dialect, Null, Row, Sql, Value};
use crate::sqlite::Answer;

/// Connections of one process, the listener's among them.
const CONNECTIONS: u32 = 16;
/// How long a transaction waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(30);
/// How long the listener waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(1);
/// A transaction that says nothing for this long is rolled back, as on SQLite: shorter than a lease, so that what
/// a frozen process has locked is free when its leases are.
const MAX_SILENCE: &str = "10s";
const CHANNEL: &str = "haulier_wake";
/// Held while migrating, so that two processes that start together do it once.
const MIGRATION_LOCK: i64 = 0x6861_756c_6965_7201;

/// The pool of one database.
pub(crate) struct Server {
    pool: PgPool,
    begins: TaskTracker,
}

pub(crate) type Transaction = sqlx::Transaction<'static, Postgres>;

impl Server {
    /// Connects once, so that a wrong address is known at start.
    pub(crate) async fn connect(url: &Secret<String>) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_with(options(url)?)
            .await
            .map_err(translate)?;
        Ok(Self { pool, begins: TaskTracker::new() })
    }

    pub(crate) async fn begin(&self) -> Result<Transaction> {
        self.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    /// One snapshot for the whole transaction, as in SQLite.
    pub(crate) async fn read(&self) -> Result<Transaction> {
        self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// Begins in a task of its own, which goes on when the caller stops waiting: a connection whose `BEGIN` was
    /// sent and never awaited would go back to the pool inside a transaction, and the next one would be part of it.
    async fn begin_with(&self, begin: &'static str) -> Result<Transaction> {
        let pool = self.pool.clone();
        let begun = self.begins.spawn(async move { pool.begin_with(begin).await });
        begun
            .await
            .map_err(|error| Error::internal("a transaction could not begin").caused_by(error))?
            .map_err(translate)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Tells other processes when `asked` says so, until `stop`.
    pub(crate) fn notify(&self, asked: Arc<Notify>, stop: CancellationToken) -> impl Future<Output = ()> + 'static {
        let pool = self.pool.clone();
        async move {
            while stop.run_until_cancelled(asked.notified()).await.is_some() {
                let told = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&pool).await;
                if let Err(error) = told {
                    tracing::debug!(error = ?translate(error), "other processes were not woken; they poll");
                }
            }
        }
    }

    /// Wakes this process when another one says so, until `stop`.
    pub(crate) fn listen(&self, woken: Arc<Notify>, stop: CancellationToken) -> impl Future<Output = ()> + 'static {
        let pool = self.pool.clone();
        async move {
            while !stop.is_cancelled() {
                let heard = stop.run_until_cancelled(hear(&pool, &woken)).await;
                if let Some(Err(error)) = heard {
                    tracing::debug!(error = ?error, "not listening for wake-ups; polling goes on");
                }
                stop.run_until_cancelled(tokio::time::sleep(RECONNECT)).await;
            }
        }
    }
}

async fn hear(pool: &PgPool, woken: &Notify) -> Result<()> {
    let mut listener = PgListener::connect_with(pool).await.map_err(translate)?;
    listener.listen(CHANNEL).await.map_err(translate)?;
    loop {
        // Whatever was said while the connection was lost is gone: look once.
        woken.notify_waiters();
        while listener.try_recv().await.map_err(translate)?.is_some() {
            woken.notify_waiters();
        }
    }
}

fn options(url: &Secret<String>) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.reveal())
        .map_err(|_| Error::invalid("the database URL is not postgres://user@host:port/database"))?;
    Ok(options.application_name("haulier").options([("idle_in_transaction_session_timeout", MAX_SILENCE)]))
}

/// Runs one statement.
pub(crate) async fn run(connection: &mut PgConnection, sql: Sql, args: Vec<Value>) -> Result<Answer> {
    let text = sql.text(Dialect::Postgres);
    let mut bound = PgArguments::default();
    for value in args {
        bind(&mut bound, value).map_err(|error| Error::internal("an argument cannot be sent").caused_by(error))?;
    }
    let query = sqlx::query_with(AssertSqlSafe(text.clone()), bound);
    let failed = |error| translate(error).context("sql", &text);
    // One round trip either way; a statement without rows answers with its count only.
    let mut answer = Answer { rows: Vec::new(), changed: 0 };
    let mut columns: Option<Arc<[String]>> = None;
    #[expect(deprecated, reason = "the one call that gives both the rows and the count of changes")]
    let mut results = query.fetch_many(connection);
    while let Some(step) = results.next().await {
        match step.map_err(failed)? {
            sqlx::Either::Left(done) => answer.changed += done.rows_affected(),
            sqlx::Either::Right(row) => {
                let columns =
                    columns.get_or_insert_with(|| row.columns().iter().map(|c| c.name().to_owned()).collect());
                let values = (0..row.len()).map(|index| value(&row, index)).collect::<Result<_>>()?;
                answer.rows.push(Row::new(columns.clone(), values));
            }
        }
    }
    Ok(answer)
}

fn bind(bound: &mut PgArguments, value: Value) -> Result<(), sqlx::error::BoxDynError> {
    match value {
        Value::Text(text) => bound.add(text),
        Value::Int(number) => bound.add(number),
        Value::Bool(flag) => bound.add(flag),
        Value::Bytes(bytes) => bound.add(bytes),
        Value::Null(Null::Text) => bound.add(None::<String>),
        Value::Null(Null::Int) => bound.add(None::<i64>),
        Value::Null(Null::Bool) => bound.add(None::<bool>),
        Value::Null(Null::Bytes) => bound.add(None::<Vec<u8>>),
    }
}

fn value(row: &PgRow, index: usize) -> Result<Value> {
    let column = row.column(index);
    let unread = |error| Error::internal("a column cannot be read").context("column", column.name()).caused_by(error);
    let value = match column.type_info().name() {
        "TEXT" | "VARCHAR" | "NAME" => row.try_get::<Option<String>, _>(index).map(|v| v.map(Value::Text)),
        "INT8" => row.try_get::<Option<i64>, _>(index).map(|v| v.map(Value::Int)),
        "INT4" => row.try_get::<Option<i32>, _>(index).map(|v| v.map(|v| Value::Int(v.into()))),
        "BOOL" => row.try_get::<Option<bool>, _>(index).map(|v| v.map(Value::Bool)),
        "BYTEA" => row.try_get::<Option<Vec<u8>>, _>(index).map(|v| v.map(Value::Bytes)),
        "VOID" => Ok(None),
        other => {
            let message = format!("column \"{}\" is {other}: cast it to TEXT, BIGINT or BOOLEAN", column.name());
            return Err(Error::internal(message));
        }
    };
    Ok(value.map_err(unread)?.unwrap_or(Value::Null(Null::Text)))
}

/// Sorts the driver's errors by what can be done about them.
pub(crate) fn translate(error: sqlx::Error) -> Error {
    let (kind, message) = match &error {
        sqlx::Error::Database(refused) => sort(refused.code().as_deref().unwrap_or_default()),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => (ErrorKind::Unavailable, "the database cannot be reached"),
        _ => (ErrorKind::Internal, "the catalogue could not run a statement"),
    };
    Error::new(kind, message).caused_by(error)
}

/// SQLSTATE codes, by class where the class says enough.
fn sort(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "23505" => (ErrorKind::Conflict, "there is such a record already"),
        "23503" => (ErrorKind::Conflict, "another record depends on this, or is missing"),
        "40001" | "40P01" | "55P03" => (ErrorKind::Unavailable, "the catalogue is busy"),
        "53100" => (ErrorKind::NoSpace, "no space left for the catalogue"),
        "28000" | "28P01" => (ErrorKind::Forbidden, "the database refuses this user"),
        "3D000" => (ErrorKind::NotFound, "the database does not exist"),
        "XX001" | "XX002" => (ErrorKind::Corrupt, "the database is damaged"),
        _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            (ErrorKind::Unavailable, "the database cannot be reached")
        }
        _ => (ErrorKind::Internal, "the catalogue could not run a statement"),
    }
}

/// A connection of its own that holds the migration lock; closing it gives the lock back.
pub(crate) struct Migrator(PgConnection);

impl Migrator {
    pub(crate) async fn connect(url: &Secret<String>) -> Result<Self> {
        let mut connection = PgConnection::connect_with(&options(url)?).await.map_err(translate)?;
        let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK);
        lock.execute(&mut connection).await.map_err(translate)?;
        Ok(Self(connection))
    }

    /// The migrations this database has had.
    pub(crate) async fn applied(&mut self) -> Result<Vec<Applied>> {
        run(&mut self.0, Sql::both(crate::migrate::CREATE_RECORD), Vec::new()).await?;
        let listed = run(&mut self.0, Sql::both(crate::migrate::LIST_APPLIED), Vec::new()).await?;
        listed.rows.iter().map(Applied::from_row).collect()
    }

    /// Applies one migration and records it, in one transaction.
    pub(crate) async fn apply(&mut self, migration: &'static Migration, now: Timestamp) -> Result<()> {
        let mut tx = self.0.begin().await.map_err(translate)?;
        let text = sqlx::raw_sql(migration.text(Dialect::Postgres));
        text.execute(&mut *tx).await.map_err(|error| migration.failed(translate(error)))?;
        let args = migration.record(Dialect::Postgres, now);
        run(&mut tx, Sql::both(crate::migrate::RECORD_APPLIED), args).await?;
        tx.commit().await.map_err(translate)
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.0.close().await.map_err(translate)
    }
}
