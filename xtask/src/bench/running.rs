//! Transfers on the way: the memory they take, and what a crash in the middle costs.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::nginx::Nginx;
use super::report::{Bar, Report};
use super::{Bench, files};
use crate::process::Result;
use crate::server::{Scratch, Server};

const MIB: f64 = 1_048_576.0;
/// Four parts of 16 MiB each, which a running transfer may hold beside its own 8 MiB.
const PARTS_MIB: f64 = 64.0;
const TOGETHER: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(600);

/// The most memory the server has held, idle and with several transfers running.
pub(super) fn memory(bench: &Bench, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("memory")?;
    let nginx = Nginx::start(&scratch)?;
    files::write(&nginx.file("source"), bench.scaled(256 << 20), 3)?;
    let server = Server::start(&bench.binary, &[])?;
    let idle = peak_mib(&server)?;
    report.figure("memory idle", idle, "MiB", Bar::AtMost(64.0), "the program itself");
    let ids = (0..TOGETHER)
        .map(|number| submit(&server, &nginx.url("slow/source"), &scratch, &format!("target-{number}")))
        .collect::<Result<Vec<_>>>()?;
    for id in &ids {
        wait_for(&server, id, |transfer| transfer["state"] == "STATE_COMPLETE")?;
    }
    let each = (peak_mib(&server)? - idle) / f64::from(TOGETHER);
    let limit = format!("{TOGETHER} at once, parts in flight included");
    report.figure("memory per running transfer", each, "MiB", Bar::AtMost(8.0 + PARTS_MIB), &limit);
    Ok(())
}

/// The bytes sent twice after `kill -9` in the middle of a copy.
pub(super) fn resume(bench: &Bench, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new("resume")?;
    let nginx = Nginx::start(&scratch)?;
    let size = bench.scaled(1 << 30);
    let source = nginx.file("source");
    files::write(&source, size, 4)?;
    let mut server = Server::start(&bench.binary, &[])?;
    let id = submit(&server, &nginx.url("slow/source"), &scratch, "target")?;
    let halfway = |transfer: &Value| transfer["progress"].as_u64().is_some_and(|safe| safe >= size / 3);
    let before = wait_for(&server, &id, halfway)?;
    server.crash_and_restart(&[])?;
    wait_for(&server, &id, |transfer| transfer["state"] == "STATE_COMPLETE")?;
    if fs::metadata(scratch.join("target"))?.len() != size {
        return Err("the resumed copy has another length".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "file sizes here are far below 2^52")]
    let again = nginx.sent_bytes()?.saturating_sub(size) as f64 / MIB;
    let limit = format!("parts in flight; killed at {} of {size} bytes safe", before["progress"]);
    report.figure("sent again after kill -9", again, "MiB", Bar::AtMost(PARTS_MIB), &limit);
    Ok(())
}

fn submit(server: &Server, url: &str, scratch: &Scratch, name: &str) -> Result<String> {
    let target = scratch.join(name);
    let body = serde_json::json!({
        "source_url": url,
        "destination_url": format!("file://{}", target.display()),
    });
    let transfer = server.client()?.post("/v1/transfers", &body.to_string())?.json(201)?;
    Ok(transfer["id"].as_str().ok_or("a transfer without an id")?.to_owned())
}

/// Asks for a transfer until it is as wanted; one that failed is an error.
fn wait_for(server: &Server, id: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let started = Instant::now();
    let mut client = server.client()?;
    while started.elapsed() < PATIENCE {
        let transfer = client.get(&format!("/v1/transfers/{id}"))?.json(200)?;
        if wanted(&transfer) {
            return Ok(transfer);
        }
        if transfer["state"] == "STATE_ERROR" || transfer["state"] == "STATE_COMPLETE" {
            return Err(format!("the transfer ended early: {transfer}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("transfer {id} did not get there in {PATIENCE:?}").into())
}

/// The most memory a server has held until now.
pub(super) fn peak_mib(server: &Server) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next())
        .ok_or("no VmHWM in /proc")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}
