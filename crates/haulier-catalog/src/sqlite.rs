//! SQLite behind threads: one that writes, with group commit, and a few that read.
//!
//! The writer keeps one outer transaction open while transactions arrive, each in a savepoint of it.
//! `commit` answers only after the outer one is on disk, so many commits share one fsync.

mod connection;
mod group;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use haulier_base::{Error, ErrorKind, Result, Timestamp};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::migrate::{Applied, Migration};
use crate::sql::{Dialect, Row, Sql, Value};

/// Reading connections, each with a thread.
const READERS: usize = 4;
/// Transactions that may wait for their turn on the writer or on the readers; more wait outside.
const MAX_WAITING: usize = 4096;

/// What a statement gave back.
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    pub(crate) changed: u64,
}

/// One statement of a transaction.
pub(crate) struct Statement {
    pub(crate) sql: Sql,
    pub(crate) args: Vec<Value>,
    /// The error it is unless it changes, or finds, exactly one row.
    pub(crate) unless_one: Option<Error>,
}

/// A wish for a turn on a connection, or the end.
enum Request {
    /// The first step, and where the following ones come from.
    Turn(Step, mpsc::Receiver<Step>),
    Close,
}

/// What a transaction does in its turn: some statements in order, then an answer. Hanging up is a rollback.
enum Step {
    /// Answers what the last statement gave.
    Run(Vec<Statement>, oneshot::Sender<Result<Answer>>),
    Commit(Vec<Statement>, oneshot::Sender<Result<()>>),
}

/// A transaction. It takes its turn with the first step that needs an answer.
pub(crate) struct Unit {
    requests: mpsc::Sender<Request>,
    /// Once it has its turn.
    steps: Option<mpsc::Sender<Step>>,
    /// Statements that go along with the next step: each step costs two changes of thread, and everybody
    /// else waits meanwhile.
    waiting: Vec<Statement>,
    _turn: OwnedSemaphorePermit,
}

impl Unit {
    /// Runs one statement, after those that wait.
    pub(crate) async fn run(&mut self, sql: Sql, args: Vec<Value>) -> Result<Answer> {
        self.later(Statement { sql, args, unless_one: None });
        let (answer, answered) = oneshot::channel();
        let statements = std::mem::take(&mut self.waiting);
        self.step(Step::Run(statements, answer))?;
        answered.await.map_err(|_| turn_over())?
    }

    /// Runs one statement with the next step.
    pub(crate) fn later(&mut self, statement: Statement) {
        self.waiting.push(statement);
    }

    /// Ends the transaction; returns once it is on disk.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let statements = std::mem::take(&mut self.waiting);
        if statements.is_empty() && self.steps.is_none() {
            return Ok(());
        }
        self.step(Step::Commit(statements, answer))?;
        answered.await.map_err(|_| turn_over())?
    }

    fn step(&mut self, step: Step) -> Result<()> {
        if let Some(steps) = &self.steps {
            return steps.send(step).map_err(|_| turn_over());
        }
        let (steps, following) = mpsc::channel();
        self.requests.send(Request::Turn(step, following)).map_err(|_| closed())?;
        self.steps = Some(steps);
        Ok(())
    }
}

fn turn_over() -> Error {
    Error::unavailable("the transaction was rolled back: it held the catalogue for too long, or the catalogue closed")
}

fn closed() -> Error {
    Error::unavailable("the catalogue is closed")
}

/// The threads of one database file.
pub(crate) struct Sqlite {
    writer: Door,
    readers: Door,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Where turns on one kind of connection are asked for.
struct Door {
    requests: mpsc::Sender<Request>,
    waiting: Arc<Semaphore>,
}

impl Door {
    fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, arrivals) = mpsc::channel();
        (Self { requests, waiting: Arc::new(Semaphore::new(MAX_WAITING)) }, arrivals)
    }

    async fn enter(&self) -> Result<Unit> {
        let turn = self.waiting.clone().acquire_owned().await.map_err(|_| closed())?;
        Ok(Unit { requests: self.requests.clone(), steps: None, waiting: Vec::new(), _turn: turn })
    }
}

impl Sqlite {
    /// Opens the file for this process alone and starts the threads.
    pub(crate) fn start(file: SqliteFile) -> Result<Self> {
        let SqliteFile { connection, path, lock } = file;
        let mut threads = Vec::with_capacity(READERS + 1);
        let (readers, arrivals) = Door::new();
        let arrivals = Arc::new(Mutex::new(arrivals));
        for _ in 0..READERS {
            let (connection, arrivals) = (connection::open_reader(&path)?, arrivals.clone());
            threads.push(spawn("catalog-reader", move || group::serve_reads(&connection, &arrivals))?);
        }
        let (writer, arrivals) = Door::new();
        threads.push(spawn("catalog-writer", move || {
            group::serve_writes(&connection, &arrivals);
            // The lock is given back only after the last write is done.
            drop(connection);
            drop(lock);
        })?);
        Ok(Self { writer, readers, threads: Mutex::new(threads) })
    }

    /// A transaction on the writer.
    pub(crate) async fn begin(&self) -> Result<Unit> {
        self.writer.enter().await
    }

    /// A transaction on a reader.
    pub(crate) async fn read(&self) -> Result<Unit> {
        self.readers.enter().await
    }

    /// Serves whoever waits already, then ends the threads and gives the file back.
    pub(crate) async fn close(&self) -> Result<()> {
        for _ in 0..READERS {
            let _ = self.readers.requests.send(Request::Close);
        }
        let _ = self.writer.requests.send(Request::Close);
        let threads = match self.threads.lock() {
            Ok(mut threads) => std::mem::take(&mut *threads),
            Err(poisoned) => std::mem::take(&mut *poisoned.into_inner()),
        };
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok())).await;
        match joined {
            Ok(true) => Ok(()),
            _ => Err(Error::internal("a thread of the catalogue ended with a panic")),
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Ok(std::thread::Builder::new().name(name.to_owned()).spawn(run)?)
}

/// A database file that this process has for itself, before its threads are started.
pub(crate) struct SqliteFile {
    connection: Connection,
    path: std::path::PathBuf,
    lock: File,
}

impl SqliteFile {
    /// Takes the file's lock and opens the writing connection; makes the file if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let lock = take_lock(path)?;
        // Locations may hold credentials: only the owner may read a file that we make.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { connection: connection::open_writer(path)?, path: path.to_owned(), lock })
    }

    /// The migrations this database has had.
    pub(crate) fn applied(&self) -> Result<Vec<Applied>> {
        let list = |sql| connection::run(&self.connection, Sql::both(sql), &[]);
        list(crate::migrate::CREATE_RECORD)?;
        list(crate::migrate::LIST_APPLIED)?.rows.iter().map(Applied::from_row).collect()
    }

    /// Applies one migration and records it, in one transaction.
    pub(crate) fn apply(&mut self, migration: &Migration, now: Timestamp) -> Result<()> {
        let tx = self.connection.transaction().map_err(translate)?;
        tx.execute_batch(migration.text(Dialect::Sqlite)).map_err(|error| migration.failed(translate(error)))?;
        let args = migration.record(Dialect::Sqlite, now);
        connection::run(&tx, Sql::both(crate::migrate::RECORD_APPLIED), &args)?;
        tx.commit().map_err(translate)
    }
}

/// Two processes that write one SQLite catalogue would run the same tasks twice.
fn take_lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::conflict(format!(
            "the catalogue {} is in use by another process; stop it first, or use PostgreSQL for several processes",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Sorts SQLite's errors by what can be done about them.
fn translate(error: rusqlite::Error) -> Error {
    use rusqlite::ffi::{self, ErrorCode as C};
    let Some(&failure) = error.sqlite_error() else {
        return Error::internal("the catalogue could not run a statement").caused_by(error);
    };
    let unique = [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY, ffi::SQLITE_CONSTRAINT_ROWID];
    let (kind, message) = match failure.code {
        C::ConstraintViolation if unique.contains(&failure.extended_code) => {
            (ErrorKind::Conflict, "there is such a record already")
        }
        C::ConstraintViolation if failure.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY => {
            (ErrorKind::Conflict, "another record depends on this, or is missing")
        }
        C::DatabaseBusy | C::DatabaseLocked => (ErrorKind::Unavailable, "the catalogue is busy"),
        C::DiskFull => (ErrorKind::NoSpace, "no space left for the catalogue"),
        C::SystemIoFailure | C::CannotOpen => {
            (ErrorKind::Unavailable, "the catalogue's file cannot be read or written")
        }
        C::DatabaseCorrupt | C::NotADatabase => (ErrorKind::Corrupt, "the catalogue's file is damaged"),
        _ => (ErrorKind::Internal, "the catalogue could not run a statement"),
    };
    Error::new(kind, message).caused_by(error)
}
