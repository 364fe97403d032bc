//! Object stores: large and small objects to and from S3, beside the tools people use for that.
//!
//! Every tool works on SeaweedFS in the same run, each round on a fresh one. The server takes most of the processor,
//! so the time of each client's own work is told too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clients::{Client, Place};
use super::report::{Bar, Report, Rounds};
use super::timing::{seconds, settle, spent};
use super::{Bench, files, tool};
use crate::process::{Result, output};
use crate::server::Scratch;
use crate::servers::Seaweed;

const SMALL_BYTES: u64 = 4 << 10;

/// One kind of job, and what each client took for it.
struct Job {
    name: &'static str,
    taken: Vec<Taken>,
}

struct Taken {
    seconds: Rounds,
    /// User and system time of the client.
    cpu_seconds: Rounds,
    /// The most memory the client held, in MiB.
    peak_mib: Rounds,
}

impl Taken {
    fn nothing() -> Self {
        Self { seconds: Rounds::new("s"), cpu_seconds: Rounds::new("s"), peak_mib: Rounds::new("MiB") }
    }

    fn shown(&self) -> String {
        format!("{} CPU, {}", self.cpu_seconds, self.peak_mib)
    }
}

impl Job {
    fn new(name: &'static str, clients: &[Client]) -> Self {
        Self { name, taken: clients.iter().map(|_| Taken::nothing()).collect() }
    }

    /// Runs a client and keeps what it took. A local target is flushed: by us as we go, after others by `sync`.
    fn measure(&mut self, clients: &[Client], turn: usize, from: &Place, to: &Place, tree: bool) -> Result<()> {
        settle()?;
        let client = &clients[turn];
        let (taken, mut command) = (&mut self.taken[turn], client.copy(from, to, tree)?);
        let spent = spent(&mut command).map_err(|error| format!("{}, {}: {error}", self.name, client.name()))?;
        let flushed = match to {
            Place::File(path) if !client.is_ours() => {
                let mut sync = Command::new("sync");
                sync.args(tree.then_some("--file-system")).arg(path);
                seconds(&mut [sync])?
            }
            _ => 0.0,
        };
        taken.seconds.figures.push(spent.seconds + flushed);
        taken.cpu_seconds.figures.push(spent.cpu_seconds);
        taken.peak_mib.figures.push(spent.peak_mib);
        Ok(())
    }

    /// A line for each of the others, with the time as the figure that counts.
    fn report(&self, clients: &[Client], report: &mut Report) {
        let ours = &self.taken[0];
        for (client, theirs) in clients.iter().zip(&self.taken).skip(1) {
            let limit = format!("ours {}; theirs {}", ours.shown(), theirs.shown());
            report.beside(self.name, &ours.seconds, (client.name(), &theirs.seconds), Bar::AtMost(1.0), &limit);
        }
    }
}

/// The clients in another order each round, so that none always comes first.
fn turns(clients: &[Client], round: usize) -> impl Iterator<Item = usize> + use<> {
    let count = clients.len();
    (0..count).map(move |turn| (turn + round) % count)
}

/// One object of 2 GiB: from a file, to a file, and to another key of the store.
pub(super) fn large(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("time", "time")?;
    let scratch = Scratch::new("s3-large")?;
    let source = scratch.join("source");
    files::write(&source, bench.scaled(2 << 30), 5)?;
    let clients = Client::all(&bench.binary)?;
    let mut jobs = ["file to S3, 2 GiB", "S3 to file, 2 GiB", "S3 to S3, 2 GiB"].map(|name| Job::new(name, &clients));
    let (target, object) = (scratch.join("target"), |name: &str| Place::Object(name.to_owned()));
    for turn in (0..bench.rounds).flat_map(|round| turns(&clients, round)) {
        // A store for each: a full one would need the disk of all, since it keeps for a while what was deleted.
        let store = Seaweed::start()?;
        let clients = Client::at(&clients, &scratch, &store)?;
        warm_up(&clients[turn], &scratch)?;
        jobs[0].measure(&clients, turn, &Place::File(source.clone()), &object("up"), false)?;
        jobs[1].measure(&clients, turn, &object("up"), &Place::File(target.clone()), false)?;
        output(Command::new("cmp").arg(&source).arg(&target))?;
        files::remove(&target)?;
        jobs[2].measure(&clients, turn, &object("up"), &object("copy"), false)?;
    }
    jobs.iter().for_each(|job| job.report(&clients, report));
    Ok(())
}

/// Many small objects: from a folder, and to a folder.
pub(super) fn small(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("time", "time")?;
    let scratch = Scratch::new("s3-small")?;
    let (source, count) = (scratch.join("source"), bench.scaled(10_000));
    files::write_tree(&source, count, SMALL_BYTES)?;
    let clients = Client::all(&bench.binary)?;
    let names = ["folder to S3, 10,000 x 4 KiB", "S3 to folder, 10,000 x 4 KiB"];
    let mut jobs = names.map(|name| Job::new(name, &clients));
    for round in 0..bench.rounds {
        let store = Seaweed::start()?;
        let clients = Client::at(&clients, &scratch, &store)?;
        warm_up(&clients[0], &scratch)?;
        let object = |turn: usize| Place::Object(format!("up-{}", clients[turn].name()));
        for turn in turns(&clients, round) {
            jobs[0].measure(&clients, turn, &Place::File(source.clone()), &object(turn), true)?;
        }
        for turn in turns(&clients, round) {
            let target = scratch.join(&format!("down-{round}-{}", clients[turn].name()));
            fs::create_dir(&target)?;
            jobs[1].measure(&clients, turn, &object(0), &Place::File(target.clone()), true)?;
            same_trees(&source, &target)?;
        }
    }
    jobs.iter().for_each(|job| job.report(&clients, report));
    Ok(())
}

/// Has the store lay out its volumes, which the first to put something would wait for.
fn warm_up(client: &Client, scratch: &Scratch) -> Result<()> {
    let file = scratch.join("first");
    fs::write(&file, b"first")?;
    output(&mut client.copy(&Place::File(file), &Place::Object("first".to_owned()), false)?).map(drop)
}

/// That a tool was quick means nothing when it left something out.
fn same_trees(source: &Path, target: &PathBuf) -> Result<()> {
    output(Command::new("diff").args(["--recursive", "--brief"]).arg(source).arg(target)).map(drop)
}
