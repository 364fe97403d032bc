//! Folders kept in step, beside the tools people keep them in step with today.
//!
//! Both ends are local folders. Times end when the other folder shows the whole file, which every tool here
//! renames into place when it is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::report::{Bar, Report, Rounds};
use super::running::peak_mib;
use super::timing::{milliseconds, percentile, seconds, settle, warm};
use super::{Bench, files, tool};
use crate::process::{Result, free_port, output};
use crate::server::{Background, Scratch, Server};

const PATIENCE: Duration = Duration::from_secs(1_800);
/// How often somebody looks whether a file has come: often enough for a figure in milliseconds, seldom enough not to
/// take the time away from the work.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long a small change takes from one folder to the other.
pub(super) fn latency(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("lsyncd", "lsyncd")?;
    let changes = bench.scaled(1_000);
    let pair = Pair::new("sync-latency")?;
    let server = pair.serve(bench)?;
    let ours = changes_seen(&pair, changes)?;
    drop(server);
    let pair = Pair::new("sync-latency")?;
    let lsyncd = pair.lsyncd()?;
    let theirs = changes_seen(&pair, changes)?;
    drop(lsyncd);
    for (share, name, bar) in [(0.5, "p50", 100.0), (0.99, "p99", 1_000.0)] {
        let limit = format!("lsyncd without delay, one way, no flush: {}", milliseconds(percentile(&theirs, share)));
        let ours = percentile(&ours, share).as_secs_f64() * 1e3;
        report.figure(&format!("sync latency {name}, {changes} changes"), ours, "ms", Bar::AtMost(bar), &limit);
    }
    Ok(())
}

/// Many small files and one large one, from a full folder to an empty one.
pub(super) fn initial(bench: &Bench, report: &mut Report) -> Result<()> {
    for (program, package) in [("rsync", "rsync"), ("unison", "unison"), ("syncthing", "syncthing")] {
        tool(program, package)?;
    }
    let count = bench.scaled(10_000);
    let mut times = [const { "s" }; 4].map(Rounds::new);
    for _ in 0..bench.rounds {
        let runs: [FirstSync; 4] = [first_sync, rsync, unison, syncthing];
        for (times, run) in times.iter_mut().zip(runs) {
            let pair = Pair::new("sync-initial")?;
            files::write_tree(&pair.a, count, 4 << 10)?;
            settle()?;
            times.figures.push(run(bench, &pair, count)?);
        }
    }
    let [ours, rsync, unison, syncthing] = times;
    let limit = format!("unison: {unison}, syncthing: {syncthing}");
    let row = format!("sync of {count} small files, from the start of the server");
    report.beside(&row, &ours, ("rsync -a --fsync", &rsync), Bar::AtMost(1.0), &limit);
    Ok(())
}

/// One large file that appears in a watched folder.
pub(super) fn large(bench: &Bench, report: &mut Report) -> Result<()> {
    let size = bench.scaled(1 << 30);
    let (mut ours, mut cp) = (Rounds::new("s"), Rounds::new("s"));
    for round in 0..bench.rounds {
        let pair = Pair::new("sync-large")?;
        let prepared = pair.scratch.join("prepared");
        files::write(&prepared, size, round as u64 + 1)?;
        settle()?;
        warm(&pair.scratch, size)?;
        let target = pair.scratch.join("copied");
        let mut commands = [Command::new("cp"), Command::new("sync")];
        commands[0].arg(&prepared).arg(&target);
        commands[1].arg(&target);
        cp.figures.push(seconds(&mut commands)?);
        let _server = pair.serve(bench)?;
        settle()?;
        warm(&pair.scratch, size)?;
        let started = Instant::now();
        fs::rename(&prepared, pair.a.join("large"))?;
        wait_until(|| Ok(pair.b.join("large").exists()))?;
        ours.figures.push(started.elapsed().as_secs_f64());
    }
    report.beside(
        "sync of one 1 GiB file",
        &ours,
        ("cp + sync", &cp),
        Bar::AtMost(1.2),
        "the disk, SHA-256 of one core",
    );
    Ok(())
}

/// A start at which nothing has changed, and the memory it takes.
pub(super) fn unchanged(bench: &Bench, report: &mut Report) -> Result<()> {
    let count = bench.scaled(100_000);
    let pair = Pair::new("sync-unchanged")?;
    files::write_tree(&pair.a, count, 64)?;
    let (mut ours, mut find) = (Rounds::new("s"), Rounds::new("s"));
    let settings = pair.settings(r#"sync = ["A"]"#);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut server = Server::start(&bench.binary, &settings)?;
    let mut scanned = scanned_at(&server, "")?;
    for _ in 0..bench.rounds {
        let mut command = Command::new("find");
        command.arg(&pair.a);
        find.figures.push(seconds(std::slice::from_mut(&mut command))?);
        server.crash_and_restart(&settings)?;
        let started = Instant::now();
        scanned = scanned_at(&server, &scanned)?;
        ours.figures.push(started.elapsed().as_secs_f64() + server.ready_after.as_secs_f64());
    }
    let mut with_stat = Command::new("find");
    with_stat.arg(&pair.a).args(["-size", "+0"]);
    let limit = format!("start of the server included; find that asks for sizes: {:.2} s", seconds(&mut [with_stat])?);
    report.beside(&format!("start over {count} unchanged files"), &ours, ("find", &find), Bar::AtMost(2.0), &limit);
    Ok(())
}

/// The most memory that an index of many files takes, from the first scan on.
pub(super) fn index(bench: &Bench, report: &mut Report) -> Result<()> {
    let count = bench.scaled(1_000_000);
    let pair = Pair::new("sync-index")?;
    files::write_tree(&pair.a, count, 1)?;
    let settings = pair.settings(r#"sync = ["A"]"#);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut server = Server::start(&bench.binary, &settings)?;
    let first = scanned_at(&server, "")?;
    let indexed = peak_mib(&server)?;
    server.crash_and_restart(&settings)?;
    scanned_at(&server, &first)?;
    let limit = format!("first scan: {indexed:.0} MiB");
    let most = peak_mib(&server)?.max(indexed);
    report.figure(&format!("memory, {count} indexed files"), most, "MiB", Bar::AtMost(256.0), &limit);
    Ok(())
}

/// Fills the empty folder of a pair from the full one, which holds so many files, and gives the seconds.
type FirstSync = fn(&Bench, &Pair, u64) -> Result<f64>;

/// Two empty folders.
struct Pair {
    scratch: Scratch,
    a: PathBuf,
    b: PathBuf,
}

impl Pair {
    fn new(name: &str) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let (a, b) = (scratch.join("a"), scratch.join("b"));
        fs::create_dir_all(&a)?;
        fs::create_dir_all(&b)?;
        Ok(Self { scratch, a, b })
    }

    /// The lines of a configuration that keeps the folders in step as one rule says.
    fn settings(&self, rule: &str) -> Vec<String> {
        let entry = |name: &str, root: &Path| {
            [
                format!("[sync.entries.{name}]"),
                "driver = \"local_storage\"".to_owned(),
                format!("options = {{ root = \"{}\" }}", root.display()),
            ]
        };
        let rule = ["[[sync.rules]]".to_owned(), "match = { path = \"/\" }".to_owned(), rule.to_owned()];
        [entry("A", &self.a), entry("B", &self.b), rule].concat()
    }

    /// A server that keeps them in step, both ways, and has scanned both.
    fn serve(&self, bench: &Bench) -> Result<Server> {
        let settings = self.settings(r#"sync = ["A", "B"]"#);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let server = Server::start(&bench.binary, &settings)?;
        wait_until(|| {
            Ok(["A", "B"].iter().all(|name| progress(&server, name).is_ok_and(|now| now["scanned"] == true)))
        })?;
        Ok(server)
    }

    fn lsyncd(&self) -> Result<Background> {
        let mut command = Command::new("lsyncd");
        command.args(["-nodaemon", "-delay", "0", "-rsync"]).arg(&self.a).arg(&self.b);
        let started = Background::start(&mut command, &self.scratch.join("lsyncd.log"))?;
        fs::write(self.a.join("first"), "first")?;
        // It may start to watch after the first file was there.
        wait_until(|| Ok(self.b.join("first").exists()))?;
        Ok(started)
    }
}

/// Writes small files one after another, and gives the time each took to appear, sorted.
fn changes_seen(pair: &Pair, changes: u64) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..changes {
        let name = format!("change-{number}");
        fs::write(pair.a.join(&name), format!("change {number}\n"))?;
        let started = Instant::now();
        wait_until(|| Ok(pair.b.join(&name).exists()))?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times)
}

fn first_sync(bench: &Bench, pair: &Pair, count: u64) -> Result<f64> {
    let settings = pair.settings(r#"sync = ["A", "B"]"#);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let started = Instant::now();
    let _server = Server::start(&bench.binary, &settings)?;
    wait_for_tree(&pair.b, count)?;
    Ok(started.elapsed().as_secs_f64())
}

fn rsync(_bench: &Bench, pair: &Pair, _count: u64) -> Result<f64> {
    let mut command = Command::new("rsync");
    command.args(["-a", "--fsync"]).arg(pair.a.join("")).arg(&pair.b);
    seconds(&mut [command])
}

fn unison(_bench: &Bench, pair: &Pair, _count: u64) -> Result<f64> {
    let mut command = Command::new("unison");
    command.args(["-batch", "-silent", "-ui", "text"]).arg(&pair.a).arg(&pair.b);
    command.env("UNISON", pair.scratch.join("unison"));
    seconds(&mut [command])
}

/// Two Syncthing processes, which need to be introduced to each other first.
fn syncthing(_bench: &Bench, pair: &Pair, count: u64) -> Result<f64> {
    let homes = ["st-a", "st-b"].map(|name| pair.scratch.join(name));
    let mut ids = Vec::new();
    for home in &homes {
        output(Command::new("syncthing").args(["generate", "--no-default-folder", "--home"]).arg(home))?;
        let id = output(Command::new("syncthing").args(["--device-id", "--home"]).arg(home))?;
        ids.push(id.trim().to_owned());
    }
    let ports = [free_port()?, free_port()?];
    for (at, (home, folder)) in homes.iter().zip([&pair.a, &pair.b]).enumerate() {
        fs::write(home.join("config.xml"), syncthing_config(&ids, ports, at, folder, free_port()?))?;
    }
    let started = Instant::now();
    let mut running = Vec::new();
    for (at, home) in homes.iter().enumerate() {
        let mut command = Command::new("syncthing");
        command.args(["serve", "--no-browser", "--no-restart", "--no-upgrade", "--home"]).arg(home);
        command.env("STNODEFAULTFOLDER", "1").env("STNOUPGRADE", "1");
        running.push(Background::start(&mut command, &pair.scratch.join(&format!("st-{at}.log")))?);
    }
    wait_for_tree(&pair.b, count)?;
    Ok(started.elapsed().as_secs_f64())
}

fn syncthing_config(ids: &[String], ports: [u16; 2], at: usize, folder: &Path, gui: u16) -> String {
    let device = |number: usize| {
        format!(
            r#"<device id="{}" name="{number}"><address>tcp://127.0.0.1:{}</address></device>"#,
            ids[number], ports[number]
        )
    };
    format!(
        r#"<configuration version="36">
  <folder id="f" label="f" path="{}" type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1">
    <device id="{}"></device><device id="{}"></device><markerName>.</markerName>
  </folder>
  {}{}
  <gui enabled="true"><address>127.0.0.1:{gui}</address></gui>
  <options>
    <listenAddress>tcp://127.0.0.1:{}</listenAddress>
    <globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
    <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><startBrowser>false</startBrowser>
    <reconnectionIntervalS>1</reconnectionIntervalS><urAccepted>-1</urAccepted><crashReportingEnabled>false</crashReportingEnabled>
  </options>
</configuration>
"#,
        folder.display(),
        ids[0],
        ids[1],
        device(0),
        device(1),
        ports[at]
    )
}

/// Every file gets its name when it is whole, so the names say when all are there.
fn wait_for_tree(folder: &Path, count: u64) -> Result<()> {
    let mut there = 0;
    wait_until(|| {
        while there < count && folder.join(files::tree_name(there)).exists() {
            there += 1;
        }
        Ok(there == count)
    })
    .map_err(|error| format!("{there} of {count} are there in order: {error}").into())
}

/// When the entry A was scanned, once that is not the earlier time any more.
fn scanned_at(server: &Server, earlier: &str) -> Result<String> {
    let mut at = String::new();
    wait_until(|| {
        at = progress(server, "A")?["scanned_at"].as_str().unwrap_or_default().to_owned();
        Ok(!at.is_empty() && at != earlier)
    })?;
    Ok(at)
}

fn progress(server: &Server, name: &str) -> Result<Value> {
    server.client()?.get(&format!("/haulier/v1/sync/entries/{name}/progress"))?.json(200)
}

fn wait_until(mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !done()? {
        if started.elapsed() > PATIENCE {
            return Err(format!("not done within {PATIENCE:?}").into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
