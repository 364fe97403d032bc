//! The backup API: records taken and read, filtered lists over many documents, and what agents that poll cost.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::report::{Bar, Report};
use super::timing::{milliseconds, percentile};
use super::{Bench, load};
use crate::http::Client;
use crate::process::Result;
use crate::server::Server;

const CONNECTIONS: usize = 64;
/// What freezer-api did per second on such a machine, and how many times that is asked of us.
const THEIR_CREATES: f64 = 280.0;
const THEIR_GETS: f64 = 480.0;
const THEIR_LISTS: f64 = 490.0;
const TIMES: f64 = 20.0;
/// Filtered lists of each sort.
const SEARCHES: usize = 100;
/// Agents that ask for their jobs once a minute, and the seconds of one core in a minute.
const AGENTS: u64 = 10_000;
const ONE_CORE: f64 = 60.0;
/// What `/proc` counts processor time in, per second.
const TICKS: f64 = 100.0;

/// Records created, read and listed per second.
pub(super) fn api(bench: &Bench, report: &mut Report) -> Result<()> {
    let server = Server::start(&bench.binary, &[])?;
    let made = create(&server, bench.scaled(30_000))?;
    let limit = format!("the disk's flushes, shared; p50 {}", milliseconds(made.p50));
    report.figure("backup records created", made.per_second, "/s", Bar::AtLeast(THEIR_CREATES * TIMES), &limit);
    let known = server.client()?.get("/v1/backups?limit=1000")?.json(200)?;
    let ids: Vec<&str> =
        known["backups"].as_array().into_iter().flatten().filter_map(|one| one["backup_id"].as_str()).collect();
    let read = load::run(server.port(), CONNECTIONS, bench.scaled(50_000), |client, number| {
        let id = ids[usize::try_from(number)? % ids.len()];
        client.get(&format!("/v1/backups/{id}"))?.expect_status(200)?;
        Ok(())
    })?;
    let limit = format!("the cores, shared with the client; p50 {}", milliseconds(read.p50));
    report.figure("backup records read", read.per_second, "/s", Bar::AtLeast(THEIR_GETS * TIMES), &limit);
    let listed = load::run(server.port(), CONNECTIONS, bench.scaled(50_000), |client, _| {
        client.get("/v1/backups?limit=10")?.expect_status(200)?;
        Ok(())
    })?;
    let limit = format!("the cores, shared with the client; p50 {}", milliseconds(listed.p50));
    report.figure("lists of 10 backup records", listed.per_second, "/s", Bar::AtLeast(THEIR_LISTS * TIMES), &limit);
    Ok(())
}

/// Filtered lists over many jobs and records, one after another.
pub(super) fn search(bench: &Bench, report: &mut Report) -> Result<()> {
    let server = Server::start(&bench.binary, &[])?;
    let (jobs, records) = (bench.scaled(100_000), bench.scaled(1_000_000));
    load::run(server.port(), CONNECTIONS, jobs, |client, number| {
        client.post("/v1/jobs", &job(number).to_string())?.expect_status(201)?;
        Ok(())
    })?;
    for (name, ask) in [
        ("  what a scheduler polls", poll as fn(u64) -> Value),
        ("  by a status that half of them have", |_| json!({ "match": [{ "status": "completed" }] })),
        ("  by a word", |number| json!({ "match": [{ "_all": format!("host{}", number % 1000) }] })),
    ] {
        one(&server, report, &format!("{jobs} jobs:{name}"), "/v1/jobs/?limit=10", ask)?;
    }
    let made = create(&server, records)?;
    report.figure(&format!("{records} backup records created"), made.per_second, "/s", Bar::None, "");
    for (name, ask) in [
        (
            "  by host",
            (|number| json!({ "match": [{ "hostname": format!("host{}", number % 1000) }] })) as fn(u64) -> Value,
        ),
        (
            "  by container and level",
            |number| json!({ "match": [{ "container": format!("container{}", number % 50) }, { "curr_backup_level": 3 }] }),
        ),
        ("  by host and time", |number| {
            let host = format!("host{}", number % 1000);
            json!({ "match": [{ "hostname": host }], "time_after": 1_700_000_000, "time_before": 1_700_050_000 + number })
        }),
        (
            "  by what does not match",
            |_| json!({ "match_not": [{ "mode": "fs" }], "match": [{ "_all": "container7" }] }),
        ),
    ] {
        one(&server, report, &format!("{records} records:{name}"), "/v1/backups/?limit=10", ask)?;
    }
    Ok(())
}

/// What agents that poll once a minute cost the server, each with a job of its own and a new connection for each poll.
pub(super) fn polls(bench: &Bench, report: &mut Report) -> Result<()> {
    let server = Server::start(&bench.binary, &[])?;
    let agents = bench.scaled(AGENTS);
    load::run(server.port(), CONNECTIONS, agents, |client, number| {
        let id = format!("p1_host{number}");
        client.post("/v1/clients/", &json!({ "client_id": id, "hostname": "host" }).to_string())?.expect_status(201)?;
        let mut job = job(2 * number + 1);
        job["client_id"] = id.into();
        client.post("/v1/jobs/", &job.to_string())?.expect_status(201)?;
        Ok(())
    })?;
    let before = cpu_seconds(&server)?;
    let polled = load::run(server.port(), CONNECTIONS, agents, |_, number| {
        let body = json!({ "match_not": [{ "status": "completed" }],
            "match": [{ "client_id": format!("p1_host{number}") }] });
        let mut client = server.client()?;
        let found = client.send("GET", "/v1/jobs/?limit=10", &[], body.to_string().as_bytes())?.json(200)?;
        match found["jobs"].as_array().map(Vec::len) {
            Some(1) => Ok(()),
            _ => Err(format!("a poll found {found}").into()),
        }
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a count of agents is far below 2^52")]
    let spent = (cpu_seconds(&server)? - before) / agents as f64 * AGENTS as f64;
    let limit = format!("{:.0} polls a second; p99 {}", polled.per_second, milliseconds(polled.p99));
    report.figure(&format!("{AGENTS} agents polling, a minute"), spent, "s CPU", Bar::AtMost(ONE_CORE), &limit);
    Ok(())
}

/// The processor time that a server has used.
fn cpu_seconds(server: &Server) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id()))?;
    // Its name, in brackets, may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')').ok_or("no name in /proc")?.1.split_whitespace().collect();
    let ticks = |place: usize| -> Result<f64> { Ok(fields.get(place).ok_or("too little in /proc")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

fn one(server: &Server, report: &mut Report, name: &str, path: &str, ask: fn(u64) -> Value) -> Result<()> {
    let mut client = server.client()?;
    let mut times = Vec::with_capacity(SEARCHES);
    for number in 0..SEARCHES as u64 {
        let body = ask(number * 7919).to_string();
        let begun = Instant::now();
        list(&mut client, path, &body)?;
        times.push(begun.elapsed());
    }
    times.sort();
    let p99: Duration = percentile(&times, 0.99);
    let limit = format!("p50 {}", milliseconds(percentile(&times, 0.5)));
    report.figure(&format!("{name}, p99"), p99.as_secs_f64() * 1e3, "ms", Bar::AtMost(10.0), &limit);
    Ok(())
}

fn list(client: &mut Client, path: &str, body: &str) -> Result<()> {
    client.send("GET", path, &[("Content-Type", "application/json")], body.as_bytes())?.expect_status(200)?;
    Ok(())
}

fn create(server: &Server, count: u64) -> Result<load::Load> {
    load::run(server.port(), CONNECTIONS, count, |client, number| {
        client.post("/v1/backups/", &record(number).to_string())?.expect_status(201)?;
        Ok(())
    })
}

/// What an agent posts, with values that are as rare as in a large installation.
fn record(number: u64) -> Value {
    json!({
        "action": "backup", "always_level": "", "backup_media": "fs", "backup_name": format!("name{}", number % 200),
        "client_os": "linux", "client_version": "16.0.0", "compression": "gzip", "consistency_checksum": "",
        "container": format!("container{}", number % 50), "container_segments": "", "curr_backup_level": number % 8,
        "dry_run": "", "hostname": format!("host{}", number % 1000), "job_id": format!("job{}", number % 5000),
        "log_file": "/var/log/freezer.log", "max_level": 7, "mode": "fs", "path_to_backup": "/home", "proxy": "",
        "ssh_host": "", "ssh_key": "", "ssh_port": 22, "ssh_username": "", "storage": "local",
        "time_stamp": 1_700_000_000 + number, "vol_snap_path": "",
    })
}

fn job(number: u64) -> Value {
    let status = if number.is_multiple_of(2) { "completed" } else { "scheduled" };
    json!({
        "client_id": format!("p1_host{}", number % 1000), "description": format!("job {number} of host{}", number % 1000),
        "job_actions": [{ "max_retries": 5, "freezer_action": { "action": "backup", "mode": "fs",
            "container": format!("container{}", number % 50), "backup_name": format!("name{number}"),
            "path_to_backup": "/home", "storage": "local" } }],
        "job_schedule": { "schedule_interval": "1 days", "status": status },
    })
}

/// What a scheduler asks every minute.
fn poll(number: u64) -> Value {
    json!({ "match_not": [{ "status": "completed" }], "match": [{ "client_id": format!("p1_host{}", number % 1000) }] })
}
