//! Times: of a command, and where most of many times lie.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Result, output};

/// Runs commands one after another and gives the seconds they took together.
pub(super) fn seconds(commands: &mut [Command]) -> Result<f64> {
    let started = Instant::now();
    for command in commands {
        output(command)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Writes out what earlier runs left in memory, so that nobody's flush pays for it.
pub(super) fn settle() -> Result<()> {
    output(&mut Command::new("sync")).map(drop)
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
