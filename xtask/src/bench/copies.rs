//! Copies beside the tools people use for them today: every time includes the flush.
//!
//! Sources are in the page cache: what is compared is the copying, not the reading of a cold disk.

use std::path::Path;
use std::process::Command;

use super::report::{Bar, Report, Rounds};
use super::timing::{seconds, settle};
use super::{Bench, files, jobs, nginx::Nginx, tool};
use crate::process::Result;
use crate::server::Scratch;

/// One large file, with and without verification, against `cp` and `sync`.
pub(super) fn one_file(bench: &Bench, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("copy")?;
    let (source, target) = (scratch.join("source"), scratch.join("target"));
    files::write(&source, bench.scaled(4 << 30), 1)?;
    let cp = || vec![command("cp", [source.as_path(), &target]), command("sync", [target.as_path()])];
    let ours = |verify: &str| vec![bench.cp(&["--verify", verify], &source, &target)];
    let mut times = [const { "s" }; 3].map(Rounds::new);
    // In turn, so that a slow moment of the machine meets all three.
    for _ in 0..bench.rounds {
        for (times, mut commands) in times.iter_mut().zip([cp(), ours("sha256"), ours("none")]) {
            files::remove(&target)?;
            settle()?;
            times.figures.push(seconds(&mut commands)?);
        }
    }
    files::remove(&target)?;
    let [cp, verified, plain] = times;
    let tool = ("cp + sync", &cp);
    report.beside("copy 4 GiB, verified", &verified, tool, Bar::AtMost(1.3), "copy_file_range, SHA-256 of one core");
    report.beside("copy 4 GiB, verify=none", &plain, tool, Bar::AtMost(1.05), "copy_file_range, the disk");
    Ok(())
}

/// Many small files against `rsync`, which flushes each.
pub(super) fn small_files(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("rsync", "rsync")?;
    let scratch = Scratch::new("small")?;
    let source = scratch.join("source");
    let count = bench.scaled(10_000);
    files::write_tree(&source, count, 4 << 10)?;
    let mut times = [const { "s" }; 4].map(Rounds::new);
    for round in 0..bench.rounds {
        // Each into a folder of its own, since a file system is slow to hand out what was just deleted.
        let rsync = |name: &str, options: &[&str]| {
            let mut rsync = Command::new("rsync");
            rsync.args(options).arg(source.join("")).arg(scratch.join(name));
            rsync
        };
        let commands = [
            rsync(&format!("flushed-{round}"), &["-a", "--fsync"]),
            rsync(&format!("plain-{round}"), &["-a"]),
            bench.cp(&["-r"], &source, &scratch.join(&format!("ours-{round}"))),
        ];
        for (times, mut command) in times.iter_mut().zip(commands) {
            settle()?;
            times.figures.push(seconds(std::slice::from_mut(&mut command))?);
        }
        let target = scratch.join(&format!("api-{round}"));
        files::make_tree_folders(&target, count)?;
        settle()?;
        #[expect(clippy::cast_precision_loss, reason = "a count of files is far below 2^52")]
        times[3].figures.push(count as f64 / jobs::haulier(bench, count, &source, &target)?);
    }
    let [flushed, plain, ours, api] = times;
    let (tool, limit) = (("rsync -a --fsync", &flushed), format!("rsync -a: {plain}"));
    report.beside("10,000 small files, cp -r", &ours, tool, Bar::AtMost(1.0), &limit);
    report.beside("10,000 small files, one transfer each", &api, tool, Bar::AtMost(1.0), &limit);
    Ok(())
}

/// One large object from nginx, against curl and `sync`.
pub(super) fn http(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("curl", "curl")?;
    let scratch = Scratch::new("http")?;
    let nginx = Nginx::start(&scratch)?;
    files::write(&nginx.file("source"), bench.scaled(2 << 30), 2)?;
    let (url, target) = (nginx.url("source"), scratch.join("target"));
    let mut times = [const { "s" }; 3].map(Rounds::new);
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-o"]).arg(&target).arg(&url);
        vec![curl, command("sync", [target.as_path()])]
    };
    let ours = |verify: &str| vec![bench.cp(&["--verify", verify], Path::new(&url), &target)];
    for _ in 0..bench.rounds {
        for (times, mut commands) in times.iter_mut().zip([curl(), ours("sha256"), ours("none")]) {
            files::remove(&target)?;
            settle()?;
            times.figures.push(seconds(&mut commands)?);
        }
    }
    let [curl, verified, plain] = times;
    let tool = ("curl + sync", &curl);
    report.beside("http to file, 2 GiB, verified", &verified, tool, Bar::AtMost(1.0), "loopback, SHA-256 of one core");
    report.beside("http to file, 2 GiB, verify=none", &plain, tool, Bar::None, "loopback, the disk");
    Ok(())
}

fn command<const N: usize>(program: &str, arguments: [&Path; N]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
