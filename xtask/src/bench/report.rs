//! The table that a run prints and the file it leaves, and which of its lines fall short.

use std::fmt;
use std::path::Path;

use serde_json::json;

use super::timing::median;
use crate::process::Result;

/// What is asked of a figure.
#[derive(Clone, Copy)]
pub(super) enum Bar {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
    /// Nothing: it is there to be seen.
    None,
}

impl Bar {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Bar::AtMost(limit) => figure <= limit,
            Bar::AtLeast(limit) => figure >= limit,
            Bar::None => true,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::AtMost(limit) => write!(f, "<= {limit}"),
            Bar::AtLeast(limit) => write!(f, ">= {limit}"),
            Bar::None => write!(f, "-"),
        }
    }
}

/// The rounds of one thing that was measured: seconds, or so many per second.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    pub(super) unit: &'static str,
    pub(super) figures: Vec<f64>,
}

impl Rounds {
    pub(super) fn new(unit: &'static str) -> Self {
        Self { unit, figures: Vec::new() }
    }

    fn median(&self) -> f64 {
        median(self.figures.clone())
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", shown(self.median(), self.unit))
    }
}

fn shown(figure: f64, unit: &str) -> String {
    let digits = if figure >= 100.0 { 0 } else { 2 };
    format!("{figure:.digits$} {unit}")
}

struct Line {
    row: String,
    ours: Rounds,
    /// What it was compared with, and its rounds.
    tool: Option<(&'static str, Rounds)>,
    bar: Bar,
    /// What it cannot go beyond, in words.
    limit: String,
}

impl Line {
    fn ratio(&self) -> Option<f64> {
        self.tool.as_ref().map(|(_, theirs)| self.ours.median() / theirs.median())
    }

    /// The number that the bar is about.
    fn figure(&self) -> f64 {
        self.ratio().unwrap_or_else(|| self.ours.median())
    }

    fn verdict(&self) -> &'static str {
        match self.bar {
            Bar::None => "-",
            bar if bar.is_met(self.figure()) => "pass",
            _ => "FAIL",
        }
    }

    fn cells(&self) -> [String; 7] {
        let tool = self.tool.as_ref().map_or_else(|| "-".to_owned(), |(name, theirs)| format!("{name}: {theirs}"));
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let [row, limit] = [&self.row, &self.limit].map(Clone::clone);
        [row, self.ours.to_string(), tool, ratio, self.bar.to_string(), self.verdict().to_owned(), limit]
    }
}

/// What a run found.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<Line>,
    skipped: Vec<(String, String)>,
}

impl Report {
    /// Adds a figure and says it at once: a long run should not be silent until its end.
    pub(super) fn figure(&mut self, row: &str, figure: f64, unit: &'static str, bar: Bar, limit: &str) {
        self.add(row, Rounds { unit, figures: vec![figure] }, None, bar, limit);
    }

    /// Adds rounds of ours beside those of a tool; the bar is about the ratio of their medians.
    pub(super) fn beside(&mut self, row: &str, ours: &Rounds, tool: (&'static str, &Rounds), bar: Bar, limit: &str) {
        self.add(row, ours.clone(), Some((tool.0, tool.1.clone())), bar, limit);
    }

    fn add(&mut self, row: &str, ours: Rounds, tool: Option<(&'static str, Rounds)>, bar: Bar, limit: &str) {
        let line = Line { row: row.to_owned(), ours, tool, bar, limit: limit.to_owned() };
        println!("{}", line.cells().join(" | "));
        println!("  rounds: ours {:.3?}, tool {:.3?}", line.ours.figures, line.tool.as_ref().map(|(_, t)| &t.figures));
        self.lines.push(line);
    }

    /// Notes a row that could not be measured, and why.
    pub(super) fn skip(&mut self, row: &str, why: &str) {
        println!("{row}: not measured: {why}");
        self.skipped.push((row.to_owned(), why.to_owned()));
    }

    /// How many lines are below their bar or were not measured.
    pub(super) fn failures(&self) -> usize {
        self.lines.iter().filter(|line| !line.bar.is_met(line.figure())).count() + self.skipped.len()
    }

    /// Writes every figure of every round to a file.
    pub(super) fn write(&self, file: &Path, scale: f64) -> Result<()> {
        let lines = self.lines.iter().map(|line| {
            json!({
                "row": line.row, "unit": line.ours.unit, "ours": line.ours.median(), "ours_rounds": line.ours.figures,
                "tool": line.tool.as_ref().map(|(name, _)| name),
                "theirs": line.tool.as_ref().map(|(_, theirs)| theirs.median()),
                "theirs_rounds": line.tool.as_ref().map(|(_, theirs)| &theirs.figures),
                "ratio": line.ratio(), "bar": line.bar.to_string(), "verdict": line.verdict(), "limit": line.limit,
            })
        });
        let skipped = self.skipped.iter().map(|(row, why)| json!({ "row": row, "why": why }));
        let document = json!({
            "scale": scale, "lines": lines.collect::<Vec<_>>(), "skipped": skipped.collect::<Vec<_>>(),
        });
        Ok(std::fs::write(file, format!("{document:#}\n"))?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["row", "ours", "tool", "ratio", "bar", "", "limit"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.lines.iter().map(Line::cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        for row in &rows {
            let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        for (row, why) in &self.skipped {
            writeln!(f, "{row}: not measured: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(figures: &[f64]) -> Rounds {
        Rounds { unit: "s", figures: figures.to_vec() }
    }

    #[test]
    fn a_line_below_its_bar_is_counted() {
        let mut report = Report::default();
        let cp = rounds(&[1.0, 0.9, 9.0]);
        report.beside("copy", &rounds(&[1.2]), ("cp", &cp), Bar::AtMost(1.3), "");
        assert_eq!(report.failures(), 0);
        report.beside("copy", &rounds(&[1.4]), ("cp", &cp), Bar::AtMost(1.3), "");
        report.figure("submit", 900.0, "/s", Bar::AtLeast(1_000.0), "the disk");
        report.skip("tiny", "no rclone");
        assert_eq!(report.failures(), 3);
        let shown = report.to_string();
        assert_eq!(shown.matches("FAIL").count(), 2, "{shown}");
        assert!(shown.contains("tiny: not measured: no rclone"), "{shown}");
        assert!(shown.contains("1.40 s  cp: 1.00 s  1.40   <= 1.3"), "{shown}");
    }

    #[test]
    fn the_file_holds_every_round() {
        let mut report = Report::default();
        report.beside("copy", &rounds(&[1.0, 2.0, 3.0]), ("cp", &rounds(&[2.0])), Bar::AtMost(1.3), "reflink");
        let file = std::env::temp_dir().join(format!("haulier-bench-report-{}.json", std::process::id()));
        report.write(&file, 0.5).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(written["lines"][0]["ours_rounds"], serde_json::json!([1.0, 2.0, 3.0]));
        assert_eq!((&written["lines"][0]["ratio"], &written["lines"][0]["verdict"]), (&1.0.into(), &"pass".into()));
    }
}
