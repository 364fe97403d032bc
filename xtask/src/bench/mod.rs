//! The bars: what Haulier must keep up with, each measured in one run beside what it is compared with.
//!
//! Measures the release build from outside, through its command line and its API.

mod copies;
mod files;
mod jobs;
mod load;
mod nginx;
mod queue;
mod report;
mod running;
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
    Row { name: "submit", run: queue::submit },
    Row { name: "status", run: queue::status },
    Row { name: "recovery", run: queue::recovery },
    Row { name: "tiny", run: jobs::tiny },
    Row { name: "memory", run: running::memory },
    Row { name: "resume", run: running::resume },
];

/// `cargo xtask bench [ROW...] [--scale N]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (scale, rows) = choose(arguments)?;
    step("cargo build --release -p haulier");
    let bench = Bench { binary: process::build("haulier", "release")?, scale };
    let mut report = Report::default();
    for row in rows {
        step(row.name);
        if let Err(error) = (row.run)(&bench, &mut report) {
            report.skip(row.name, &error.to_string());
        }
    }
    step(&format!("results at scale {scale}"));
    print!("{report}");
    match report.failures() {
        0 => Ok(()),
        count => Err(format!("{count} below the bar or not measured").into()),
    }
}

fn choose(arguments: &[String]) -> Result<(f64, Vec<&'static Row>)> {
    let mut scale = 1.0;
    let mut rows = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--scale" {
            let value = words.next().ok_or("--scale needs a number")?;
            scale = value.parse().map_err(|_| format!("--scale {value} is not a number"))?;
            if !(0.0001..=1.0).contains(&scale) {
                return Err("--scale goes from 0.0001 to 1".into());
            }
        } else {
            let row = ROWS.iter().find(|row| row.name == word).ok_or_else(|| {
                let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                format!("there is no row {word}; there are: {}", names.join(" "))
            })?;
            rows.push(row);
        }
    }
    if rows.is_empty() {
        rows.extend(ROWS);
    }
    Ok((scale, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> Result<(f64, Vec<&'static str>)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (scale, rows) = choose(&words)?;
        Ok((scale, rows.iter().map(|row| row.name).collect()))
    }

    #[test]
    fn rows_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().1.len(), ROWS.len());
        assert_eq!(chosen(&["http", "--scale", "0.1", "copy"]).unwrap(), (0.1, vec!["http", "copy"]));
    }

    #[test]
    fn a_wrong_word_is_named() {
        assert!(chosen(&["htp"]).unwrap_err().to_string().starts_with("there is no row htp; there are: copy"));
        assert!(chosen(&["--scale"]).is_err());
        assert!(chosen(&["--scale", "7"]).is_err());
    }
}
