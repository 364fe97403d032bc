//! Databases by way of their own tools, whose output is streamed; and commands of the user.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::repository::Stream;

/// So many bytes of what a program complains of are kept: the end.
const COMPLAINT_MAX: usize = 4 << 10;

/// Which database, and how to reach it. Passwords are in files that its own tools read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Database {
    /// PostgreSQL: a name or a connection string; none is all of them.
    Postgres { database: Option<String>, passfile: Option<PathBuf> },
    /// MySQL or `MariaDB`: a name, none is all of them; and a file of options.
    Mysql { database: Option<String>, options: Option<PathBuf> },
}

impl Database {
    /// What the dump is called in a snapshot.
    pub(crate) fn file(&self) -> PathBuf {
        let (kind, name) = match self {
            Self::Postgres { database, .. } => ("postgres", database),
            Self::Mysql { database, .. } => ("mysql", database),
        };
        // A connection string is no name.
        let plain = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let name = name.as_ref().map_or("all", |name| if plain(name) { name } else { "database" });
        PathBuf::from(format!("/{kind}/{name}.sql"))
    }

    /// Starts the dump.
    pub(super) fn dump(&self) -> Result<Stream> {
        let mut command = match self {
            Self::Postgres { database: Some(name), .. } => {
                let mut command = Command::new("pg_dump");
                command.args(["--no-password", "--clean", "--if-exists", "--dbname"]).arg(name);
                command
            }
            Self::Postgres { database: None, .. } => {
                let mut command = Command::new("pg_dumpall");
                command.args(["--no-password", "--clean", "--if-exists"]);
                command
            }
            Self::Mysql { database, options } => {
                let mut command = mysql("mysqldump", "mariadb-dump", options.as_ref());
                command.args(["--single-transaction", "--routines", "--events", "--triggers"]);
                match database {
                    Some(name) => command.args(["--databases", "--", name]),
                    None => command.arg("--all-databases"),
                };
                command
            }
        };
        self.secrets(&mut command);
        let mut child = start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let output = child.stdout.take().ok_or_else(|| Error::internal("the dump has no output"))?;
        let name = self.file();
        let finish = move || ended(child, &format!("the dump of {}", name.display()));
        Ok(Stream { reader: Box::new(output), finish: Box::new(finish) })
    }

    /// Starts the program that reads a dump, and has one written to it.
    pub(super) fn load(&self, write: impl FnOnce(&mut std::process::ChildStdin) -> Result<()>) -> Result<()> {
        let mut command = match self {
            Self::Postgres { database, .. } => {
                let mut command = Command::new("psql");
                command.args(["--no-password", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname"]);
                command.arg(database.as_deref().unwrap_or("postgres"));
                command
            }
            Self::Mysql { options, .. } => mysql("mysql", "mariadb", options.as_ref()),
        };
        self.secrets(&mut command);
        let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
        let mut input = child.stdin.take().ok_or_else(|| Error::internal("the program has no input"))?;
        let written = write(&mut input).and_then(|()| Ok(input.flush()?));
        drop(input);
        // What the program says is nearer to the cause than that it did not take its input.
        ended(child, "the database")?;
        written
    }

    fn secrets(&self, command: &mut Command) {
        if let Self::Postgres { passfile: Some(file), .. } = self {
            command.env("PGPASSFILE", file);
        }
    }
}

fn mysql(name: &str, newer: &str, options: Option<&PathBuf>) -> Command {
    let mut command = Command::new(if exists(newer) { newer } else { name });
    if let Some(options) = options {
        // Has to be the first argument.
        command.arg(format!("--defaults-extra-file={}", options.display()));
    }
    command
}

fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn start(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stderr(Stdio::piped()).spawn().map_err(|error| {
        let error = Error::from(error);
        Error::new(error.kind(), format!("{name} cannot be started: {error}")).caused_by(error)
    })
}

/// Waits for the end of a program; its complaint is the error.
fn ended(mut child: Child, what: &str) -> Result<()> {
    let complaint = child.stderr.take().map(last_words).unwrap_or_default();
    let status = child.wait()?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::unavailable(format!("{what} failed ({status}): {complaint}"))),
    }
}

fn last_words(mut stderr: ChildStderr) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * COMPLAINT_MAX {
            kept.drain(..kept.len() - COMPLAINT_MAX);
        }
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// Runs a command of the user.
pub(super) fn exec(command: &str) -> Result<()> {
    let child = start(Command::new("/bin/sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()))?;
    ended(child, "the command")
}
