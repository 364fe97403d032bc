//! A MariaDB for the tests of database backups, reached through its socket.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::program;
use crate::process::{Result, is_root, output, run, step};
use crate::server::{Background, Scratch};

/// How long it may take to answer.
const START_MAX: Duration = Duration::from_secs(60);

/// A running one; dropping it ends it and removes its files.
pub(crate) struct MariaDb {
    _process: Background,
    folder: Scratch,
}

impl MariaDb {
    /// Makes an empty one and starts it.
    pub(crate) fn start() -> Result<Self> {
        let install = program("mariadb-install-db", "mariadb-server")?;
        let server = program("mariadbd", "mariadb-server")?;
        let folder = Scratch::new("mariadb")?;
        step("MariaDB for the tests");
        let (data, socket) = (folder.join("data"), folder.join("socket"));
        let mut command = Command::new(install);
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        output(if is_root() { command.arg("--user=root") } else { &mut command })?;
        let mut command = Command::new(server);
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        command
            .arg(format!("--socket={}", socket.display()))
            .args(["--skip-networking", "--innodb-buffer-pool-size=16M"]);
        if is_root() {
            command.arg("--user=root");
        }
        let process = Background::start(&mut command, &folder.join("log"))?;
        // Tests run as other users than the one who started it.
        fs::write(folder.join("client.cnf"), format!("[client]\nsocket={}\nuser=root\n", socket.display()))?;
        let started = Self { _process: process, folder };
        let begun = Instant::now();
        while run(started.client().arg("-e").arg("select 1").stdout(std::process::Stdio::null())).is_err() {
            if begun.elapsed() > START_MAX {
                return Err(fs::read_to_string(started.folder.join("log"))?.into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(started)
    }

    fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.arg(format!("--defaults-file={}", self.settings().display()));
        command.stderr(std::process::Stdio::null());
        command
    }

    /// The file of options that its own tools reach it with.
    pub(crate) fn settings(&self) -> PathBuf {
        self.folder.join("client.cnf")
    }
}
