//! Many tiny transfers, posted one by one and carried out, beside the jobs of `rclone rcd`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::report::{Bar, Report, Rounds};
use super::timing::settle;
use super::{Bench, files, load, tool};
use crate::http::Client;
use crate::process::{Result, free_port};
use crate::server::{Background, Scratch, Server};

const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(300);

/// Posted and completed per second, as a ratio.
pub(super) fn tiny(bench: &Bench, report: &mut Report) -> Result<()> {
    tool("rclone", "rclone")?;
    let scratch = Scratch::new("tiny")?;
    let count = bench.scaled(2_000);
    let source = scratch.join("source");
    files::write_tree(&source, count, 1 << 10)?;
    let (mut ours, mut theirs) = (Rounds::new("/s"), Rounds::new("/s"));
    let prepare = |name: String| -> Result<_> {
        let target = scratch.join(&name);
        files::make_tree_folders(&target, count)?;
        settle().map(|()| target)
    };
    for round in 0..bench.rounds {
        ours.figures.push(haulier(bench, count, &source, &prepare(format!("ours-{round}"))?)?);
        theirs.figures.push(rclone(&scratch, count, &source, &prepare(format!("theirs-{round}"))?)?);
    }
    let limit = "rclone keeps jobs in memory and flushes nothing";
    report.beside("2,000 tiny transfers", &ours, ("rclone rcd", &theirs), Bar::AtLeast(1.0), limit);
    Ok(())
}

/// One transfer for each file of a tree, through the API, in transfers per second.
pub(super) fn haulier(bench: &Bench, count: u64, source: &Path, target: &Path) -> Result<f64> {
    let server = Server::start(&bench.binary, &[])?;
    let started = Instant::now();
    load::run(server.port(), CONNECTIONS, count, |client, number| {
        let name = files::tree_name(number);
        let body = serde_json::json!({
            "source_url": format!("file://{}/{name}", source.display()),
            "destination_url": format!("file://{}/{name}", target.display()),
        });
        client.post("/v1/transfers", &body.to_string())?.expect_status(201)?;
        Ok(())
    })?;
    let left = r#"/v1/transfers?limit=1&filter={%22state%22:[%22STATE_NEW%22,%22STATE_RUNNING%22]}"#;
    let mut client = server.client()?;
    wait_until(started, || {
        let waiting = client.get(left)?.json(200)?;
        Ok(waiting.as_array().is_some_and(Vec::is_empty))
    })?;
    let rate = per_second(count, started);
    let failed = r#"/v1/transfers?limit=1&filter={%22state%22:%22STATE_ERROR%22}"#;
    match client.get(failed)?.json(200)?.as_array().and_then(|failed| failed.first()) {
        Some(transfer) => Err(format!("a transfer failed: {transfer}").into()),
        None => Ok(rate),
    }
}

fn rclone(scratch: &Scratch, count: u64, source: &Path, target: &Path) -> Result<f64> {
    tool("rclone", "rclone")?;
    let port = free_port()?;
    let mut command = Command::new("rclone");
    command.args(["rcd", "--rc-no-auth", "--rc-addr", &format!("127.0.0.1:{port}")]);
    let _rcd = Background::start(&mut command, &scratch.join("rclone.log"))?;
    wait_until(Instant::now(), || Ok(Client::connect(port).is_ok()))?;
    let started = Instant::now();
    load::run(port, CONNECTIONS, count, |client, number| {
        let name = files::tree_name(number);
        let body = serde_json::json!({
            "srcFs": source, "srcRemote": name, "dstFs": target, "dstRemote": name, "_async": true,
        });
        client.post("/operations/copyfile", &body.to_string())?.expect_status(200)?;
        Ok(())
    })?;
    // Its counters forget most of a thousand jobs, so the files themselves say when all are there:
    // each gets its name when it is whole.
    let mut there = 0;
    wait_until(started, || {
        while there < count && target.join(files::tree_name(there)).exists() {
            there += 1;
        }
        Ok(there == count)
    })
    .map_err(|error| format!("rclone has copied {there} of {count} in order: {error}"))?;
    Ok(per_second(count, started))
}

fn wait_until(started: Instant, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    while !done()? {
        if started.elapsed() > PATIENCE {
            return Err(format!("not done within {PATIENCE:?}").into());
        }
        // Whoever asks all the time takes the time away from the work.
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a count of transfers is far below 2^52")]
fn per_second(count: u64, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}
