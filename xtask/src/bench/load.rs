//! Many requests at once, each on a connection that is kept, with the time of every answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::timing::percentile;
use crate::http::Client;
use crate::process::Result;

/// What a load gave.
pub(super) struct Load {
    pub(super) per_second: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Calls `ask` once for each number below `count`, from `connections` threads.
///
/// The first error ends the run: a figure made of refused requests would say nothing.
pub(super) fn run(
    port: u16,
    connections: usize,
    count: u64,
    ask: impl Fn(&mut Client, u64) -> Result<()> + Sync,
) -> Result<Load> {
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let times: std::result::Result<Vec<Vec<Duration>>, String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| one_connection(port, count, &next, &ask).map_err(|error| error.to_string())))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a connection's thread panicked".to_owned())))
            .collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    let mut times = times?.concat();
    times.sort();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
    let per_second = count as f64 / seconds;
    Ok(Load { per_second, p50: percentile(&times, 0.5), p99: percentile(&times, 0.99) })
}

fn one_connection(
    port: u16,
    count: u64,
    next: &AtomicU64,
    ask: &(impl Fn(&mut Client, u64) -> Result<()> + Sync),
) -> Result<Vec<Duration>> {
    let mut client = Client::connect(port)?;
    let mut times = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(times);
        }
        let asked = Instant::now();
        let answer = ask(&mut client, number);
        if answer.is_err() {
            // The others need not go on.
            next.store(count, Ordering::Relaxed);
        }
        answer?;
        times.push(asked.elapsed());
    }
}
