//! Copies beside the tools people use for them today: every time includes the flush.

use std::path::Path;
use std::process::Command;

use super::report::Report;
use super::timing::{median, seconds};
use super::{Bench, files, jobs, nginx::Nginx, tool};
use crate::process::Result;
use crate::server::Scratch;

const ROUNDS: usize = 3;

/// One large file, with and without verification, against `cp` and `sync`.
pub(super) fn one_file(bench: &Bench, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("copy")?;
    let (source, target) = (scratch.join("source"), scratch.join("target"));
    files::write(&source, bench.scaled(4 << 30), 1)?;
    let cp = || vec![command("cp", [source.as_path(), &target]), command("sync", [target.as_path()])];
    let ours = |verify: &str| vec![bench.cp(&["--verify", verify], &source, &target)];
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    // In turn, so that a slow moment of the machine meets all three.
    for _ in 0..ROUNDS {
        for (times, mut commands) in times.iter_mut().zip([cp(), ours("sha256"), ours("none")]) {
            files::remove(&target)?;
            times.push(seconds(&mut commands)?);
        }
    }
    let [cp, verified, plain] = times.map(median);
    report.ratio("copy one 4 GiB file, verified", verified, "cp + sync", cp, 1.3);
    report.ratio("copy one 4 GiB file, verify=none", plain, "cp + sync", cp, 1.05);
    Ok(())
}

/// Many small files against `rsync`, which flushes each.
pub(super) fn small_files(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("rsync", "rsync")?;
    let scratch = Scratch::new("small")?;
    let (source, target) = (scratch.join("source"), scratch.join("target"));
    let count = bench.scaled(10_000);
    files::write_tree(&source, count, 4 << 10)?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        files::remove(&target)?;
        let mut rsync = Command::new("rsync");
        rsync.args(["-a", "--fsync"]).arg(source.join("")).arg(target.join(""));
        times[0].push(seconds(&mut [rsync])?);
        files::remove(&target)?;
        times[1].push(seconds(&mut [bench.cp(&["-r"], &source, &target)])?);
        files::remove(&target)?;
        files::make_tree_folders(&target, count)?;
        #[expect(clippy::cast_precision_loss, reason = "a count of files is far below 2^52")]
        times[2].push(count as f64 / jobs::haulier(bench, count, &source, &target)?);
    }
    let [rsync, ours, api] = times.map(median);
    report.ratio("10,000 small files", ours, "rsync -a --fsync", rsync, 1.0);
    report.ratio("10,000 small files, one transfer each", api, "rsync -a --fsync", rsync, 1.0);
    Ok(())
}

/// One large object from nginx, against curl and `sync`.
pub(super) fn http(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("curl", "curl")?;
    let scratch = Scratch::new("http")?;
    let nginx = Nginx::start(&scratch)?;
    files::write(&nginx.file("source"), bench.scaled(2 << 30), 2)?;
    let (url, target) = (nginx.url("source"), scratch.join("target"));
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        files::remove(&target)?;
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-o"]).arg(&target).arg(&url);
        times[0].push(seconds(&mut [curl, command("sync", [target.as_path()])])?);
        files::remove(&target)?;
        times[1].push(seconds(&mut [bench.cp(&[], Path::new(&url), &target)])?);
    }
    let [curl, ours] = times.map(median);
    report.ratio("http to file, 2 GiB", ours, "curl + sync", curl, 1.0);
    Ok(())
}

fn command<const N: usize>(program: &str, arguments: [&Path; N]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
