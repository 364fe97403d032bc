//! Times: of a command, and where most of many times lie.

use std::process::Command;
use std::time::{Duration, Instant};

use super::files;
use crate::process::{Result, output};
use crate::server::Scratch;

/// Runs commands one after another and gives the seconds they took together.
pub(super) fn seconds(commands: &mut [Command]) -> Result<f64> {
    let started = Instant::now();
    for command in commands {
        output(command)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// What a command took.
pub(super) struct Spent {
    pub(super) seconds: f64,
    /// User and system time together.
    pub(super) cpu_seconds: f64,
    /// The most memory it held.
    pub(super) peak_mib: f64,
}

/// Runs a command below `time`, which also tells what the kernel counted for it.
pub(super) fn spent(command: &mut Command) -> Result<Spent> {
    let counted = std::env::temp_dir().join(format!("haulier-bench-time-{}", std::process::id()));
    let mut timed = Command::new("time");
    timed.args(["--quiet", "--format", "%U %S %M", "--output"]).arg(&counted);
    timed.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        timed.env(name, value.unwrap_or_default());
    }
    let seconds = seconds(std::slice::from_mut(&mut timed))?;
    let text = std::fs::read_to_string(&counted)?;
    std::fs::remove_file(&counted)?;
    let figures = text.split_whitespace().map(str::parse::<f64>).collect::<std::result::Result<Vec<_>, _>>()?;
    let [user, system, peak_kib] = figures[..] else { return Err(format!("time told {text}").into()) };
    Ok(Spent { seconds, cpu_seconds: user + system, peak_mib: peak_kib / 1024.0 })
}

/// Writes out what earlier runs left in memory, so that nobody's flush pays for it.
pub(super) fn settle() -> Result<()> {
    output(&mut Command::new("sync")).map(drop)
}

/// Has the machine hand out so many bytes of memory, and gives them back: in a virtual machine the first who touches a
/// page may wait for the host, and nobody who is measured should be that one.
pub(super) fn warm(scratch: &Scratch, bytes: u64) -> Result<()> {
    let file = scratch.join("warm");
    files::write(&file, bytes, 1)?;
    files::remove(&file)
}

/// The middle one of an odd number of runs, so that one disturbed run decides nothing.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The time below which a share of all times lie.
pub(super) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list that fits in memory"
    )]
    let index = (sorted.len() as f64 * share) as usize;
    sorted[index.min(sorted.len() - 1)]
}

/// A time as one reads it.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn percentiles_stay_inside() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 0.5), Duration::from_millis(51));
        assert_eq!(percentile(&times, 0.99), Duration::from_millis(100));
        assert_eq!(percentile(&times[..1], 0.99), Duration::from_millis(1));
    }
}
