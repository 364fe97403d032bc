//! A PostgreSQL that lives as long as a test run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::process::{Result, free_port, is_root, output, run, step};

const VERSIONS: &str = "/usr/lib/postgresql";

/// A server on a free loopback port with its data in a fresh folder; dropping it removes both.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    as_postgres: bool,
}

impl Postgres {
    /// Starts one, installing PostgreSQL first where there is none.
    pub(crate) fn start() -> Result<Self> {
        let programs = match installed() {
            Some(programs) => programs,
            None => {
                debian::install(&["postgresql-15"]).or_else(|_| debian::install(&["postgresql"]))?;
                installed().ok_or(format!("no initdb below {VERSIONS} after installing"))?
            }
        };
        let port = free_port()?;
        step(&format!("PostgreSQL for the tests on 127.0.0.1:{port}"));
        let server = Self {
            programs,
            folder: std::env::temp_dir().join(format!("haulier-postgres-{}-{port}", std::process::id())),
            port,
            // PostgreSQL refuses to run as root; anybody else runs it as themselves.
            as_postgres: is_root(),
        };
        server.prepare()?;
        Ok(server)
    }

    /// How the tests reach it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn prepare(&self) -> Result<()> {
        fs::create_dir(&self.folder)?;
        if self.as_postgres {
            run(Command::new("chown").arg("postgres").arg(&self.folder))?;
        }
        let folder = self.folder.display();
        output(
            &mut self
                .command("initdb", &format!("-D {folder}/data -A trust -U postgres -E UTF8 --no-locale --no-sync")),
        )?;
        // These tests are about logic. What a crash of the machine leaves behind is tried elsewhere, with fsync on.
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} \
             -c max_connections=300 -c fsync=off -c synchronous_commit=off -c full_page_writes=off",
            self.port
        );
        // Not `output`: the server would inherit the pipe and keep it open.
        run(&mut self.command("pg_ctl", &format!("-D {folder}/data -o '{options}' -l {folder}/log -s -w start")))
    }

    fn command(&self, program: &str, arguments: &str) -> Command {
        let line = format!("{}/{program} {arguments}", self.programs.display());
        let mut command = if self.as_postgres {
            let mut command = Command::new("su");
            command.args(["postgres", "-s", "/bin/sh", "-c", &line]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", &line]);
            command
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stop = format!("-D {}/data -s -m immediate -w stop", self.folder.display());
        if self.folder.join("data/postmaster.pid").exists()
            && let Err(error) = run(&mut self.command("pg_ctl", &stop))
        {
            eprintln!("PostgreSQL could not be stopped: {error}");
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} could not be removed: {error}", self.folder.display());
        }
    }
}

/// The programs of the newest version there is.
fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir(Path::new(VERSIONS)).ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("initdb").is_file().then_some((version, programs))
        })
        .max()
        .map(|(_, programs)| programs)
}
