//! Servers that the tests of connectors run against: installed where they are missing, alive as long as a test run.

mod apache;
mod ceph;
mod exact;
mod mariadb;
mod nginx;
mod seaweed;
mod sshd;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::debian;
use crate::postgres::Postgres;
use crate::process::{Result, find, output, root, run, step};

use apache::Apache;
pub(crate) use ceph::Ceph;
pub(crate) use exact::{ExactS3, PROGRAM as EXACT_S3};
use mariadb::MariaDb;
use nginx::Nginx;
pub(crate) use seaweed::Seaweed;
use sshd::Sshd;

/// Tells the tests of S3 what their server does otherwise than S3: a list of
/// `odd_keys`, `checksums` and `encoded_sources`.
const S3_LACKS: &str = "HAULIER_TEST_S3_LACKS";
/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(90);
/// How long a server may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a server may take to stop before it is killed; what it holds is thrown away.
const STOP_MAX: Duration = Duration::from_secs(2);

/// The servers that tests need, each known to them by an environment variable. One that is set already is another's
/// server, so none is started.
pub(crate) struct Servers {
    variables: Vec<(&'static str, String)>,
    _running: Vec<Box<dyn std::any::Any>>,
}

impl Servers {
    /// Starts what is missing; all of it ends when this is dropped.
    pub(crate) fn start() -> Result<Self> {
        let mut servers = Self { variables: Vec::new(), _running: Vec::new() };
        servers.add("HAULIER_TEST_POSTGRES", Postgres::start, |server| Ok(server.url()))?;
        servers.add("HAULIER_TEST_S3", Seaweed::start, |server| Ok(server.settings()))?;
        // It has no content at keys that end with a slash, and no keys with dots as a part.
        servers.variables.push((S3_LACKS, "odd_keys".to_owned()));
        servers.add("HAULIER_TEST_SFTP", Sshd::start, Sshd::settings)?;
        servers.add("HAULIER_TEST_WEBDAV", Apache::start, |server| Ok(server.settings()))?;
        servers.add("HAULIER_TEST_NGINX", Nginx::start, |server| Ok(server.settings()))?;
        servers.add("HAULIER_TEST_MARIADB", MariaDb::start, |server| Ok(server.settings().display().to_string()))?;
        servers.add("HAULIER_TEST_RESTIC", restic, |program| Ok(program.display().to_string()))?;
        servers.add("HAULIER_TEST_FREEZER", freezer_client, |python| Ok(python.display().to_string()))?;
        Ok(servers)
    }

    /// Only an object store, known to the tests in the place of the usual one, and what it cannot do.
    pub(crate) fn only_s3<Server: 'static>(
        server: Server,
        settings: impl FnOnce(&Server) -> String,
        lacks: &'static str,
    ) -> Self {
        let variables = vec![("HAULIER_TEST_S3", settings(&server)), (S3_LACKS, lacks.to_owned())];
        Self { variables, _running: vec![Box::new(server)] }
    }

    fn add<Server: 'static>(
        &mut self,
        variable: &'static str,
        start: impl FnOnce() -> Result<Server>,
        settings: impl FnOnce(&Server) -> Result<String>,
    ) -> Result<()> {
        if std::env::var_os(variable).is_none() {
            let server = start()?;
            self.variables.push((variable, settings(&server)?));
            self._running.push(Box::new(server));
        }
        Ok(())
    }

    /// Tells a command where they are.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }
}

/// The program whose repositories ours are, and what its tests look at attributes with.
fn restic() -> Result<PathBuf> {
    program("getfattr", "attr")?;
    program("setfacl", "acl")?;
    program("restic", "restic")
}

/// A Python that has the client library of Freezer, the last one that speaks version 1 of its API, and beside it the
/// programs of its clients and of its scheduler.
fn freezer_client() -> Result<PathBuf> {
    let program = wheel("python-freezerclient==6.3.0", "freezer")?;
    wheel("freezer==16.0.0", "freezer-scheduler")?;
    // The scheduler uses a module that Python has no more since 3.12, and that this one brings along.
    wheel("setuptools==80.9.0", "python")?;
    Ok(program.with_file_name("python"))
}

/// A program of a Python wheel, installed into an environment of our own below `target/`.
pub(crate) fn wheel(requirement: &str, program: &str) -> Result<PathBuf> {
    let folder = root().join("target/servers/python");
    let file = folder.join("bin").join(program);
    // The version is part of what is looked for, so that a newer requirement is met too.
    let mark = folder.join(format!(".{requirement}"));
    if file.is_file() && mark.is_file() {
        return Ok(file);
    }
    step(&format!("pip install {requirement}"));
    let python = folder.join("bin/python");
    if !python.is_file() {
        if find("python3").is_none() || output(Command::new("python3").args(["-c", "import ensurepip"])).is_err() {
            debian::install(&["python3-venv"])?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    // Not the program `pip`, in which the folder is written down that it was installed into.
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]))?;
    if !file.is_file() {
        return Err(format!("{requirement} has no program {program}").into());
    }
    std::fs::write(mark, b"")?;
    Ok(file)
}

/// Whether a server grants a request without a body at this moment.
fn answers(port: u16, method: &str, path: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    ask().is_ok_and(|line| line.split(' ').nth(1).is_some_and(|status| status.starts_with('2')))
}

/// A running program whose complaints go to a file.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log)?;
        let (out, err) = (file.try_clone()?, file);
        Ok(Self(command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?))
    }

    /// Waits until a question is answered with yes; fails with the end of the log when the program ends or takes too long.
    fn wait_until(&mut self, log: &Path, ready: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            let ended = self.0.try_wait()?;
            if ended.is_some() || begun.elapsed() > START_MAX {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let last: Vec<_> = text.lines().rev().take(10).collect();
                let what = ended.map_or_else(|| "does not answer".to_owned(), |status| format!("ended: {status}"));
                let lines: Vec<_> = last.into_iter().rev().collect();
                return Err(format!("the server {what}\n{}", lines.join("\n")).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let asked = run(Command::new("kill").arg(self.0.id().to_string())).is_ok();
        let begun = Instant::now();
        while asked && begun.elapsed() < STOP_MAX {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(50)),
                _ => return,
            }
        }
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("a server could not be stopped: {error}");
        }
    }
}

/// A program, from a package where it is missing.
fn program(name: &str, package: &str) -> Result<PathBuf> {
    if find(name).is_none() {
        debian::install(&[package])?;
    }
    find(name).ok_or_else(|| format!("{package} brought no {name}").into())
}

/// Waits until somebody listens on a port.
fn wait_for(port: u16, log: &Path) -> Result<()> {
    for _ in 0..1000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = std::fs::read_to_string(log).unwrap_or_default();
    Err(format!("nobody listens on port {port}:\n{said}").into())
}
