//! Objects put and got at one site, beside SeaweedFS's S3; how far a second site lags behind, and how fast it catches
//! up after an outage.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::report::{Bar, Report, Rounds};
use super::running::peak_mib;
use super::timing::{milliseconds, percentile, settle};
use super::{Bench, load};
use crate::http::Client;
use crate::process::Result;
use crate::server::Server;
use crate::servers::Seaweed;

const CONNECTIONS: usize = 32;
const CLIENT: (&str, &str) = ("x-clonecloudstore-client-id", "bench");
const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 64 << 20;
/// How many objects a second come in while the lag is measured.
const PER_SECOND: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(600);

/// A place that takes objects: its port, the path that they lie below, and how they are put there.
struct Store<'a> {
    port: u16,
    below: &'a str,
    put: &'a str,
}

impl Store<'_> {
    /// Puts and gets `count` objects of `bytes` each, from so many connections: how many a second.
    fn measure(&self, connections: usize, count: u64, bytes: usize, round: usize) -> Result<[f64; 2]> {
        // Random enough that nobody compresses it away.
        let content: Vec<u8> = (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let path = |number: u64| format!("{}/{bytes}-{round}/{number}", self.below);
        let created = |status: u16| status == 200 || status == 201;
        let put = load::run(self.port, connections, count, |client, number| {
            let answer = client.send(self.put, &path(number), &[CLIENT], &content)?;
            if created(answer.status) { Ok(()) } else { answer.expect_status(201).map(drop) }
        })?;
        let get = load::run(self.port, connections, count, |client, number| {
            let body = client.send("GET", &path(number), &[CLIENT], b"")?.expect_status(200)?;
            if body == content { Ok(()) } else { Err("an object came back as another".into()) }
        })?;
        Ok([put.per_second, get.per_second])
    }
}

/// Objects of 4 KiB and of 64 MiB: put, durable and hashed, and got.
pub(super) fn objects(bench: &Bench, report: &mut Report) -> Result<()> {
    let names = ["PUT 4 KiB", "GET 4 KiB", "PUT 64 MiB", "GET 64 MiB"];
    let (mut ours, mut theirs) = (names.map(|_| Rounds::new("/s")), names.map(|_| Rounds::new("/s")));
    let mut peak = 0.0;
    for round in 0..bench.rounds {
        settle()?;
        let server = Server::start(&bench.binary, &[])?;
        bucket(&server)?;
        let here = Store { port: server.port(), below: "/cloudclonestore/bench", put: "POST" };
        sizes(bench, &here, round, &mut ours)?;
        peak = peak_mib(&server)?;
        drop(server);
        settle()?;
        let (_store, port, below) = Seaweed::start_open()?;
        // It lays out its volumes with the first object.
        Client::connect(port)?.send("PUT", &format!("{below}/first"), &[], b"first")?.expect_status(200)?;
        sizes(bench, &Store { port, below: &below, put: "PUT" }, round, &mut theirs)?;
    }
    for ((name, ours), theirs) in names.iter().zip(&ours).zip(&theirs) {
        let limit = format!("flushes and SHA-256, the cores shared with the client; peak {peak:.0} MiB");
        report.beside(name, ours, ("SeaweedFS S3, unflushed", theirs), Bar::AtLeast(0.8), &limit);
    }
    Ok(())
}

fn sizes(bench: &Bench, store: &Store<'_>, round: usize, figures: &mut [Rounds; 4]) -> Result<()> {
    let small = store.measure(CONNECTIONS, bench.scaled(10_000), SMALL_BYTES, round)?;
    let large = store.measure(2, bench.scaled(32), LARGE_BYTES, round)?;
    for (rounds, figure) in figures.iter_mut().zip(small.into_iter().chain(large)) {
        rounds.figures.push(figure);
    }
    Ok(())
}

fn bucket(server: &Server) -> Result<()> {
    server.client()?.send("POST", "/cloudclonestore/bench", &[CLIENT], b"")?.expect_status(201).map(drop)
}

/// Two sites that know each other.
fn two_sites(bench: &Bench) -> Result<[Server; 2]> {
    let sites = [Server::start_site(&bench.binary, "a", &[])?, Server::start_site(&bench.binary, "b", &[])?];
    for (here, there) in [(0, 1), (1, 0)] {
        let id = ["a", "b"][there];
        let topology = serde_json::json!({
            "id": id, "name": id, "status": "UP", "uri": format!("http://127.0.0.1:{}", sites[there].port()),
        });
        sites[here].client()?.post("/administration/topologies", &topology.to_string())?.expect_status(201)?;
    }
    bucket(&sites[0])?;
    Ok(sites)
}

fn put_small(client: &mut Client, number: u64) -> Result<()> {
    let (path, content) = (object(number), format!("{number:01024}"));
    client.send("POST", &path, &[CLIENT], content.as_bytes())?.expect_status(201).map(drop)
}

fn object(number: u64) -> String {
    format!("/cloudclonestore/bench/lag/{number}")
}

/// Whether a site itself holds an object.
fn holds(client: &mut Client, number: u64) -> Result<bool> {
    let path = format!("/ccs/internal/bench/lag/{number}");
    let answer = client.send("GET", &path, &[CLIENT, ("Accept", "application/json")], b"")?;
    Ok(answer.status == 200 && answer.json(200)?["status"] == "READY")
}

/// From the answer to a client at one site to the object at the other, at a steady rate.
pub(super) fn lag(bench: &Bench, report: &mut Report) -> Result<()> {
    let sites = two_sites(bench)?;
    let count = bench.scaled(2_000);
    let (sender, put) = mpsc::channel::<(u64, Instant)>();
    let mut there = sites[1].client()?;
    let watcher = std::thread::spawn(move || -> std::result::Result<Vec<Duration>, String> {
        let mut times = Vec::new();
        for (number, at) in put {
            while !holds(&mut there, number).map_err(|error| error.to_string())? {
                if at.elapsed() > PATIENCE {
                    return Err(format!("object {number} did not come within {PATIENCE:?}"));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            times.push(at.elapsed());
        }
        Ok(times)
    });
    let (mut here, started) = (sites[0].client()?, Instant::now());
    for number in 0..count {
        let due = started + (Duration::from_secs(1) / PER_SECOND) * u32::try_from(number)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        put_small(&mut here, number)?;
        sender.send((number, Instant::now()))?;
    }
    drop(sender);
    let mut times = watcher.join().map_err(|_| "the watcher panicked")??;
    times.sort();
    for (share, name, bar) in [(0.5, "p50", 500.0), (0.99, "p99", 2_000.0)] {
        let figure = percentile(&times, share);
        let limit = format!("two commits and a flush; the most {}", milliseconds(percentile(&times, 1.0)));
        let row = format!("replication lag {name}, {PER_SECOND} objects/s");
        report.figure(&row, figure.as_secs_f64() * 1e3, "ms", Bar::AtMost(bar), &limit);
    }
    Ok(())
}

/// A site was away while many small objects were put at the other.
pub(super) fn catch_up(bench: &Bench, report: &mut Report) -> Result<()> {
    let [here, mut there] = two_sites(bench)?;
    // The bucket is there before the outage.
    let mut client = there.client()?;
    let started = Instant::now();
    while client.send("GET", "/ccs/internal/bench", &[CLIENT], b"")?.status != 200 {
        if started.elapsed() > PATIENCE {
            return Err("the bucket did not come".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(client);
    there.kill()?;
    let count = bench.scaled(100_000);
    load::run(here.port(), CONNECTIONS, count, put_small)?;
    let started = Instant::now();
    there.crash_and_restart(&[])?;
    let mut at_here = here.client()?;
    loop {
        let status = at_here.get("/haulier/v1/replication/status")?.json(200)?;
        if status["in_sync"] == true {
            break;
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("not in sync after {PATIENCE:?}: {status}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let seconds = started.elapsed().as_secs_f64();
    let mut at_there = there.client()?;
    for number in [0, count / 2, count - 1] {
        if !holds(&mut at_there, number)? {
            return Err(format!("in sync, it says, but object {number} is not there").into());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of objects is far below 2^52")]
    let rate = count as f64 / seconds;
    let limit = format!(
        "start and back-off included; peak {:.0} MiB here, {:.0} MiB there",
        peak_mib(&here)?,
        peak_mib(&there)?
    );
    report.figure(&format!("catch-up of {count} objects"), rate, "/s", Bar::AtLeast(1_000.0), &limit);
    Ok(())
}
