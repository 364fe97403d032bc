//! A Haulier server started from its binary, with its data in a folder that goes with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::process::{Result, free_port};

const START_LIMIT: Duration = Duration::from_secs(120);

/// A folder that is removed when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one. `HAULIER_BENCH_DIR` says on which file system; it is the temporary folder otherwise.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let top = std::env::var_os("HAULIER_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = top.join(format!("haulier-{name}-{}-{}", std::process::id(), free_port()?));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// A name inside it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

/// A program in the background; dropping it kills it.
pub(crate) struct Background(Child);

impl Background {
    /// Starts a program whose output goes to a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
        Ok(Self(child))
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `haulier serve --dev`.
pub(crate) struct Server {
    // Before the folder, so that the process is gone when its data goes.
    process: Background,
    binary: PathBuf,
    scratch: Scratch,
    port: u16,
    /// What it calls itself.
    site: String,
    /// From starting the process to its first good answer.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts one on an empty folder; `settings` are lines of its `[transfer]` section.
    pub(crate) fn start(binary: &Path, settings: &[&str]) -> Result<Self> {
        Self::start_site(binary, "local", settings)
    }

    /// The same, as a site of that name.
    pub(crate) fn start_site(binary: &Path, site: &str, settings: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("server")?;
        let port = free_port()?;
        let (process, ready_after) = launch(binary, &scratch, port, site, settings)?;
        Ok(Self { process, binary: binary.to_owned(), scratch, port, site: site.to_owned(), ready_after })
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Kills it without a word and starts it again on the same data.
    pub(crate) fn crash_and_restart(&mut self, settings: &[&str]) -> Result<()> {
        self.process.kill()?;
        (self.process, self.ready_after) = launch(&self.binary, &self.scratch, self.port, &self.site, settings)?;
        Ok(())
    }

    /// Stops it, lets something happen to its data, and starts it again.
    pub(crate) fn between_runs(&mut self, settings: &[&str], happen: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.process.kill()?;
        happen(&self.data())?;
        (self.process, self.ready_after) = launch(&self.binary, &self.scratch, self.port, &self.site, settings)?;
        Ok(())
    }

    /// A new connection to it.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(self.port)
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> PathBuf {
        self.scratch.join("data")
    }
}

fn launch(
    binary: &Path,
    scratch: &Scratch,
    port: u16,
    site: &str,
    settings: &[&str],
) -> Result<(Background, Duration)> {
    let config = scratch.join("haulier.toml");
    fs::write(&config, format!("[transfer]\n{}\n", settings.join("\n")))?;
    let log = scratch.join("log");
    let started = Instant::now();
    let mut process = Background::start(
        Command::new(binary)
            .args(["serve", "--dev", "--listen", &format!("127.0.0.1:{port}"), "--site", site])
            .arg("--data-dir")
            .arg(scratch.join("data"))
            .arg("--config")
            .arg(&config)
            .env("RUST_LOG", "warn"),
        &log,
    )?;
    while !is_ready(port) {
        if process.has_ended() || started.elapsed() > START_LIMIT {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("the server did not start:\n{said}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((process, started.elapsed()))
}

fn is_ready(port: u16) -> bool {
    Client::connect(port).and_then(|mut client| client.get("/readyz")).is_ok_and(|answer| answer.status == 200)
}
