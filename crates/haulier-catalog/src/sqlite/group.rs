//! The turns: what the writing thread and the reading threads do all day.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use haulier_base::{Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Answer, Request, Statement, Step, connection, translate};

/// Transactions in one outer transaction, at most.
const MAX_UNITS: usize = 512;
/// How long an outer transaction takes further ones in.
const MAX_OPEN: Duration = Duration::from_millis(20);
/// How long a transaction may be silent in its turn, since everybody else waits behind it.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The first step of a transaction, and where the following ones come from.
type Turn = (Step, Receiver<Step>);
type Commit = oneshot::Sender<Result<()>>;

/// Serves writing transactions until it is told to close or everybody is gone.
pub(super) fn serve_writes(connection: &Connection, arrivals: &Receiver<Request>) {
    while let Ok(Request::Turn(step, following)) = arrivals.recv() {
        if !serve_group(connection, (step, following), arrivals) {
            break;
        }
    }
    // Statistics for the query planner; a failure costs speed only.
    let _ = connection.execute_batch("PRAGMA optimize");
}

/// Serves one outer transaction. False when the catalogue is to close.
fn serve_group(connection: &Connection, first: Turn, arrivals: &Receiver<Request>) -> bool {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        refuse(first.0, translate(error));
        return true;
    }
    let opened = Instant::now();
    let mut commits = Vec::new();
    let mut units = 1;
    let mut turn = first;
    let go_on = loop {
        commits.extend(serve_unit(connection, turn));
        // After a full disk or an I/O error SQLite gives up the outer transaction as well.
        if connection.is_autocommit() {
            let lost = Error::unavailable("the catalogue could not write, and rolled back");
            answer_all(commits, Err(lost));
            return true;
        }
        if units >= MAX_UNITS || opened.elapsed() >= MAX_OPEN {
            break true;
        }
        match arrivals.try_recv() {
            Ok(Request::Turn(step, following)) => (turn, units) = ((step, following), units + 1),
            Ok(Request::Close) => break false,
            Err(_) => break true,
        }
    };
    let outcome = match commits.is_empty() {
        true => connection.execute_batch("ROLLBACK"),
        false => connection.execute_batch("COMMIT"),
    };
    if outcome.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    answer_all(commits, outcome.map_err(translate));
    go_on
}

/// Serves one transaction in a savepoint. Gives back whom to tell once the outer one is on disk.
fn serve_unit(connection: &Connection, turn: Turn) -> Option<Commit> {
    let commit = serve_steps(connection, turn, "SAVEPOINT unit");
    // The savepoint is gone already when SQLite rolled back everything; the caller looks for that.
    if commit.is_none() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK TO unit");
    }
    let released = match connection.is_autocommit() {
        true => Ok(()),
        false => connection.execute_batch("RELEASE unit"),
    };
    match (commit, released) {
        (Some(commit), Err(error)) => {
            let _ = connection.execute_batch("ROLLBACK TO unit; RELEASE unit");
            let _ = commit.send(Err(translate(error)));
            None
        }
        (commit, _) => commit,
    }
}

/// Serves reading transactions, each on one snapshot of what is committed.
pub(super) fn serve_reads(connection: &Connection, arrivals: &Mutex<Receiver<Request>>) {
    loop {
        let request = match arrivals.lock() {
            Ok(arrivals) => arrivals.recv(),
            Err(_) => return,
        };
        let Ok(Request::Turn(step, following)) = request else { return };
        let commit = serve_steps(connection, (step, following), "BEGIN");
        let ended = connection.execute_batch("ROLLBACK").map_err(translate);
        if let Some(commit) = commit {
            let _ = commit.send(ended);
        }
    }
}

/// Lets one transaction do its steps. None when it failed, hung up, fell silent or never began.
fn serve_steps(connection: &Connection, (first, following): Turn, begin: &str) -> Option<Commit> {
    if let Err(error) = connection.execute_batch(begin) {
        refuse(first, translate(error));
        return None;
    }
    let mut step = first;
    loop {
        match step {
            Step::Run(statements, answer) => {
                let _ = answer.send(run_all(connection, statements));
            }
            Step::Commit(statements, answer) => match run_all(connection, statements) {
                Ok(_) => return Some(answer),
                Err(error) => {
                    let _ = answer.send(Err(error));
                    return None;
                }
            },
        }
        step = match following.recv_timeout(MAX_SILENCE) {
            Ok(next) => next,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("a transaction was rolled back: it was silent for {} s", MAX_SILENCE.as_secs());
                return None;
            }
        };
    }
}

/// Runs statements in order up to the first that fails; gives what the last one gave.
fn run_all(connection: &Connection, statements: Vec<Statement>) -> Result<Answer> {
    let mut last = Answer { rows: Vec::new(), changed: 0 };
    for Statement { sql, args, unless_one } in statements {
        last = connection::run(connection, sql, &args)?;
        match unless_one {
            Some(error) if last.changed != 1 => return Err(error),
            _ => {}
        }
    }
    Ok(last)
}

fn refuse(step: Step, error: Error) {
    match step {
        Step::Run(_, answer) => drop(answer.send(Err(error))),
        Step::Commit(_, answer) => drop(answer.send(Err(error))),
    }
}

fn answer_all(commits: Vec<Commit>, outcome: Result<()>) {
    for commit in commits {
        let outcome = match &outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::new(error.kind(), error.message()).context("commit", format!("{error:?}"))),
        };
        let _ = commit.send(outcome);
    }
}
