//! The table that a run prints, and which of its lines fall short.

use std::fmt;

/// What is asked of a figure.
#[derive(Clone, Copy)]
pub(super) enum Bar {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Bar {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Bar::AtMost(limit) => figure <= limit,
            Bar::AtLeast(limit) => figure >= limit,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::AtMost(limit) => write!(f, "<= {limit}"),
            Bar::AtLeast(limit) => write!(f, ">= {limit}"),
        }
    }
}

struct Line {
    what: String,
    /// What was measured on both sides, in words.
    measured: String,
    figure: f64,
    unit: &'static str,
    bar: Bar,
}

/// What a run found.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<Line>,
    skipped: Vec<String>,
}

impl Report {
    /// Adds a figure and says it at once: a long run should not be silent until its end.
    pub(super) fn add(&mut self, what: &str, measured: String, figure: f64, unit: &'static str, bar: Bar) {
        println!("{what}: {figure:.2}{unit} (bar {bar}); {measured}");
        self.lines.push(Line { what: what.to_owned(), measured, figure, unit, bar });
    }

    /// Adds a ratio of two times, of which the first is ours.
    pub(super) fn ratio(&mut self, what: &str, ours: f64, other: &str, theirs: f64, limit: f64) {
        let measured = format!("{ours:.2} s, {other} {theirs:.2} s");
        self.add(what, measured, ours / theirs, " x", Bar::AtMost(limit));
    }

    /// Notes a row that could not be measured, and why.
    pub(super) fn skip(&mut self, what: &str, why: &str) {
        println!("{what}: not measured: {why}");
        self.skipped.push(format!("{what}: {why}"));
    }

    /// How many lines are below their bar or were not measured.
    pub(super) fn failures(&self) -> usize {
        self.lines.iter().filter(|line| !line.bar.is_met(line.figure)).count() + self.skipped.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<46} {:>14} {:>10}  {:<5} measured", "", "figure", "bar", "")?;
        for line in &self.lines {
            let figure = format!("{:.2}{}", line.figure, line.unit);
            let verdict = if line.bar.is_met(line.figure) { "met" } else { "MISS" };
            let bar = line.bar.to_string();
            writeln!(f, "{:<46} {figure:>14} {bar:>10}  {verdict:<5} {}", line.what, line.measured)?;
        }
        for skipped in &self.skipped {
            writeln!(f, "not measured: {skipped}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_below_its_bar_is_counted() {
        let mut report = Report::default();
        report.ratio("copy", 1.2, "cp", 1.0, 1.3);
        assert_eq!(report.failures(), 0);
        report.ratio("copy", 1.4, "cp", 1.0, 1.3);
        report.add("submit", String::new(), 900.0, "/s", Bar::AtLeast(1_000.0));
        report.skip("tiny", "no rclone");
        assert_eq!(report.failures(), 3);
        let shown = report.to_string();
        assert_eq!(shown.matches("MISS").count(), 2, "{shown}");
        assert!(shown.contains("not measured: tiny: no rclone"), "{shown}");
    }
}
