//! The API under load: requests accepted durably, states read, tiny transfers carried out, a backlog taken up.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::report::{Bar, Report};
use super::timing::milliseconds;
use super::{Bench, load};
use crate::process::{Result, output};
use crate::server::Server;

const CONNECTIONS: usize = 64;
const WAITING: &[&str] = &["autostart = false"];
const TRANSFERS: &str = "/v1/transfers";

/// Requests per second that are on disk when they are answered, with many in the table.
pub(super) fn submit(bench: &Bench, report: &mut Report) -> Result<()> {
    let server = filled_server(bench, bench.scaled(1_000_000))?;
    let load = post(&server, bench.scaled(20_000), |_| "file:///dev/null".to_owned())?;
    let limit = format!("the disk's flushes, shared; p50 {}", milliseconds(load.p50));
    report.figure("transfers accepted durably, 1 M rows", load.per_second, "/s", Bar::AtLeast(1_000.0), &limit);
    report.figure("  p99", load.p99.as_secs_f64() * 1e3, "ms", Bar::AtMost(100.0), "");
    Ok(())
}

/// States read per second, with many in the table.
pub(super) fn status(bench: &Bench, report: &mut Report) -> Result<()> {
    let server = filled_server(bench, bench.scaled(1_000_000))?;
    let known = server.client()?.get(&format!("{TRANSFERS}?limit=1000"))?.json(200)?;
    let ids: Vec<&str> = known.as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    let load = load::run(server.port(), CONNECTIONS, bench.scaled(50_000), |client, number| {
        let id = ids[usize::try_from(number)? % ids.len()];
        client.get(&format!("{TRANSFERS}/{id}"))?.expect_status(200)?;
        Ok(())
    })?;
    let limit = format!("the cores, shared with the client; p50 {}", milliseconds(load.p50));
    report.figure("status reads, 1 M rows", load.per_second, "/s", Bar::AtLeast(5_000.0), &limit);
    report.figure("  p99", load.p99.as_secs_f64() * 1e3, "ms", Bar::AtMost(20.0), "");
    Ok(())
}

/// A backlog left by a crash: how soon the server answers, and how soon something moves.
pub(super) fn recovery(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut server = Server::start(&bench.binary, WAITING)?;
    post(&server, bench.scaled(100_000), |_| "file:///dev/null".to_owned())?;
    let started = Instant::now();
    server.crash_and_restart(&["autostart = true"])?;
    let ready = server.ready_after.as_secs_f64();
    report.figure("100,000 queued: ready", ready, "s", Bar::AtMost(5.0), "opening the database");
    let filter = r#"?limit=1&filter={%22state%22:[%22STATE_RUNNING%22,%22STATE_COMPLETE%22]}"#;
    let mut client = server.client()?;
    while client.get(&format!("{TRANSFERS}{filter}"))?.json(200)?.as_array().is_none_or(Vec::is_empty) {
        if started.elapsed() > Duration::from_secs(60) {
            return Err("nothing moved within a minute".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    report.figure("100,000 queued: moving", started.elapsed().as_secs_f64(), "s", Bar::AtMost(10.0), "the first claim");
    Ok(())
}

/// Posts many transfers of one small file; `target` names each destination.
fn post(server: &Server, count: u64, target: impl Fn(u64) -> String + Sync) -> Result<load::Load> {
    load::run(server.port(), CONNECTIONS, count, |client, number| {
        let target = target(number);
        let body = format!(r#"{{"source_url":"file:///etc/hostname","destination_url":"{target}"}}"#);
        client.post(TRANSFERS, &body)?.expect_status(201)?;
        Ok(())
    })
}

/// A server that starts nothing, with copies of one row in its table.
fn filled_server(bench: &Bench, rows: u64) -> Result<Server> {
    let mut server = Server::start(&bench.binary, WAITING)?;
    post(&server, 1, |_| "file:///dev/null".to_owned())?;
    server.between_runs(WAITING, |data| fill(&data.join("catalog.db"), rows))?;
    Ok(server)
}

/// Multiplies the one row by SQL, which takes seconds where the API would take many minutes.
fn fill(database: &Path, rows: u64) -> Result<()> {
    const PROGRAM: &str = r#"
import sqlite3, sys, uuid
db = sqlite3.connect(sys.argv[1])
columns = [row[1] for row in db.execute("PRAGMA table_info(transfers)") if row[1] not in ("seq", "id")]
names = ", ".join(columns)
db.create_function("fresh", 0, lambda: str(uuid.uuid4()))
db.execute(f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {int(sys.argv[2])})
  INSERT INTO transfers (id, {names}) SELECT fresh(), {names} FROM n, (SELECT * FROM transfers LIMIT 1)""")
db.commit()
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
"#;
    super::tool("python3", "python3")?;
    output(Command::new("python3").args(["-c", PROGRAM]).arg(database).arg(rows.to_string()))?;
    Ok(())
}
