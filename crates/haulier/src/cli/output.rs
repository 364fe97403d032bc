//! What goes to standard output and standard error: tables, JSON, lines and progress.
#![expect(clippy::print_stderr, reason = "this is where the command line speaks")]

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Ndjson,
}

/// The way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    /// Prints in a format; quiet prints no progress and no remarks.
    pub(crate) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// The chosen format.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Text as it is.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            // The reader has gone, as `head` does: there is nobody left to tell.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => eprintln!("error: cannot write the result: {error}"),
            Ok(()) => {}
        }
    }

    /// One line of text.
    pub(crate) fn line(&self, text: &str) {
        self.raw(format!("{text}\n").as_bytes());
    }

    /// Several documents; the table shows the named columns.
    pub(crate) fn documents(&self, documents: &[Value], columns: &[(&str, &str)]) {
        match self.format {
            Format::Json => self.line(&pretty(&Value::from(documents.to_vec()))),
            Format::Ndjson => documents.iter().for_each(|document| self.line(&document.to_string())),
            Format::Table => {
                let mut table = new_table();
                table.set_header(columns.iter().map(|(title, _)| *title));
                for document in documents {
                    table.add_row(columns.iter().map(|(_, member)| cell(&document[*member])));
                }
                self.table(&table);
            }
        }
    }

    /// One document; the table shows one member a row.
    pub(crate) fn document(&self, document: &Value) {
        match self.format {
            Format::Json => self.line(&pretty(document)),
            Format::Ndjson => self.line(&document.to_string()),
            Format::Table => {
                let mut table = new_table();
                for (name, value) in document.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
                    table.add_row([name.clone(), cell(value)]);
                }
                self.table(&table);
            }
        }
    }

    fn table(&self, table: &Table) {
        for line in table.lines() {
            self.line(line.trim_end());
        }
    }

    /// A remark for a person, beside the result.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// One failure of several, beside the result; also when quiet.
    pub(crate) fn complaint(&self, text: &str) {
        eprintln!("error: {}", printable(text));
    }

    /// An error in its three parts.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.format == Format::Table {
            eprintln!("error: {}\n  why: {}\n  do:  {}", failure.what, failure.why, failure.what_to_do());
        } else {
            let kind = failure.why.kind().as_str();
            let error = json!({"error": {
                "code": kind, "what": failure.what, "why": failure.why.to_string(), "do": failure.what_to_do(),
            }});
            eprintln!("{error}");
        }
        tracing::debug!(error = ?failure.why, "the command failed");
    }

    /// A progress bar on a terminal; nothing elsewhere.
    pub(crate) fn progress(&self, total: Option<u64>) -> ProgressBar {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if self.quiet || !self.is_interactive() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            return bar;
        }
        let known = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
        let template = if total.is_some() { known } else { "{spinner} {bytes} {bytes_per_sec} {msg}" };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Whether somebody watches.
    pub(crate) fn is_interactive(&self) -> bool {
        std::io::stderr().is_terminal()
    }
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// Control characters from another side must not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
