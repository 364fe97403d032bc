//! The bars: what Haulier must keep up with, each measured in one run beside what it is compared with.
//!
//! Measures the release build from outside, through its command line and its API.

mod backup;
mod clients;
mod copies;
mod files;
mod jobs;
mod load;
mod nginx;
mod queue;
mod replication;
mod report;
mod running;
mod stores;
mod sync;
mod timing;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::process::{self, Result, step};
use report::Report;

/// What every row is given.
struct Bench {
    /// The release build of `haulier`.
    binary: PathBuf,
    /// Sizes and counts are multiplied by this.
    scale: f64,
    /// How often each thing is measured; the median counts.
    rounds: usize,
}

impl Bench {
    /// A count at this run's scale, at least one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts are small, and a scale is about right by nature"
    )]
    fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }

    /// Our own copy, by itself and not through a server.
    fn cp(&self, options: &[&str], source: &Path, target: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["cp", "-q"]).args(options).arg(source).arg(target);
        command
    }
}

/// Where a tool to compare with is, installing its package where it is missing.
fn tool(program: &str, package: &str) -> Result<PathBuf> {
    if process::find(program).is_none() {
        debian::install(&[package])?;
    }
    process::find(program).ok_or_else(|| format!("{program} cannot be had here").into())
}

/// One measurement: its name and the function that adds its lines to the report.
struct Row {
    name: &'static str,
    run: fn(&Bench, &mut Report) -> Result<()>,
}

const ROWS: &[Row] = &[
    Row { name: "copy", run: copies::one_file },
    Row { name: "small-files", run: copies::small_files },
    Row { name: "http", run: copies::http },
    Row { name: "s3-large", run: stores::large },
    Row { name: "s3-small", run: stores::small },
    Row { name: "submit", run: queue::submit },
    Row { name: "status", run: queue::status },
    Row { name: "recovery", run: queue::recovery },
    Row { name: "tiny", run: jobs::tiny },
    Row { name: "memory", run: running::memory },
    Row { name: "resume", run: running::resume },
    Row { name: "sync-latency", run: sync::latency },
    Row { name: "sync-initial", run: sync::initial },
    Row { name: "sync-large", run: sync::large },
    Row { name: "sync-unchanged", run: sync::unchanged },
    Row { name: "sync-index", run: sync::index },
    Row { name: "backup-api", run: backup::api },
    Row { name: "backup-search", run: backup::search },
    Row { name: "backup-polls", run: backup::polls },
    Row { name: "objects", run: replication::objects },
    Row { name: "replication-lag", run: replication::lag },
    Row { name: "replication-catch-up", run: replication::catch_up },
];

/// What a command line asks for.
struct Choice {
    scale: f64,
    rounds: usize,
    json: PathBuf,
    /// A build to measure; none is the workspace's own, built first.
    binary: Option<PathBuf>,
    rows: Vec<&'static Row>,
}

/// `cargo xtask bench [ROW...] [--scale N] [--rounds N] [--json FILE] [--binary FILE]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Choice { scale, rounds, json, binary, rows } = choose(arguments)?;
    let binary = match binary {
        Some(binary) => binary,
        None => {
            step("cargo build --release -p haulier");
            process::build("haulier", "release")?
        }
    };
    let bench = Bench { binary, scale, rounds };
    let mut report = Report::default();
    for row in rows {
        step(row.name);
        if let Err(error) = (row.run)(&bench, &mut report) {
            report.skip(row.name, &error.to_string());
        }
    }
    step(&format!("results at scale {scale}, medians of {rounds}; every figure is in {}", json.display()));
    report.write(&json, scale)?;
    print!("{report}");
    match report.failures() {
        0 => Ok(()),
        count => Err(format!("{count} below the bar or not measured").into()),
    }
}

fn choose(arguments: &[String]) -> Result<Choice> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| process::root().join("target"), PathBuf::from);
    let mut choice = Choice { scale: 1.0, rounds: 3, json: target.join("bench.json"), binary: None, rows: Vec::new() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--scale" => choice.scale = number(word, value()?, 0.0001..=1.0)?,
            "--rounds" => choice.rounds = number(word, value()?, 1..=99)?,
            "--json" => choice.json = value()?.into(),
            "--binary" => choice.binary = Some(value()?.into()),
            _ => choice.rows.push(ROWS.iter().find(|row| row.name == word).ok_or_else(|| {
                let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                format!("there is no row {word}; there are: {}", names.join(" "))
            })?),
        }
    }
    if choice.rows.is_empty() {
        choice.rows.extend(ROWS);
    }
    Ok(choice)
}

fn number<N>(option: &str, text: &str, range: std::ops::RangeInclusive<N>) -> Result<N>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{option} goes from {} to {}, not {text}", range.start(), range.end()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> Result<Choice> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        choose(&words)
    }

    #[test]
    fn rows_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().rows.len(), ROWS.len());
        let choice = chosen(&["http", "--scale", "0.1", "copy", "--rounds", "5"]).unwrap();
        let names: Vec<_> = choice.rows.iter().map(|row| row.name).collect();
        assert_eq!((choice.scale, choice.rounds, names), (0.1, 5, vec!["http", "copy"]));
    }

    #[test]
    fn a_wrong_word_is_named() {
        let refused = |words: &[&str]| chosen(words).err().unwrap().to_string();
        assert!(refused(&["htp"]).starts_with("there is no row htp; there are: copy"));
        assert_eq!(refused(&["--scale"]), "--scale needs a value");
        assert_eq!(refused(&["--scale", "7"]), "--scale goes from 0.0001 to 1, not 7");
        assert_eq!(refused(&["--rounds", "0"]), "--rounds goes from 1 to 99, not 0");
    }
}
