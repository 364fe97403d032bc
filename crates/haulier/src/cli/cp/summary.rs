//! What came of the copy of a tree: counts, failures as they happen, and one report at the end.
//!
//! A dry run lists what would be copied, one by one, however much that is.

use std::time::Instant;

use haulier_base::{Error, ErrorKind, Result};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::many::Done;
use crate::cli::output::printable;
use crate::cli::{Exit, Format, Output};

/// Counts of files, links and objects; folders are not counted.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    output: &'a Output,
    bar: ProgressBar,
    began: Instant,
    dry_run: bool,
    /// In a dry run, what would be copied.
    pub(super) copied: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    /// Of what was copied.
    pub(super) bytes: u64,
}

impl<'a> Summary<'a> {
    pub(super) fn begin(output: &'a Output, dry_run: bool) -> Self {
        let (bar, began) = (output.progress(None), Instant::now());
        Self { output, bar, began, dry_run, copied: 0, skipped: 0, failed: 0, bytes: 0 }
    }

    /// Counts what was done for one entry, and tells what has to be told at once.
    pub(super) fn take(&mut self, done: Result<Done>) {
        match done {
            Ok(Done::Copied(bytes)) => {
                (self.copied, self.bytes) = (self.copied + 1, self.bytes + bytes);
                self.bar.set_position(self.bytes);
            }
            Ok(Done::WouldCopy(name, bytes)) => {
                self.bar.suspend(|| self.list(&name, bytes));
                (self.copied, self.bytes) = (self.copied + 1, self.bytes + bytes.unwrap_or(0));
            }
            Ok(Done::There) => self.skipped += 1,
            Ok(Done::Uncounted) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// A failure counts, and is told, unless somebody interrupted.
    pub(super) fn fail(&mut self, error: &Error) {
        if error.kind() != ErrorKind::Canceled {
            self.failed += 1;
            self.bar.suspend(|| self.output.complaint(&error.to_string()));
        }
    }

    /// One line of a dry run.
    fn list(&self, name: &str, bytes: Option<u64>) {
        let document = json!({ "name": name, "bytes": bytes });
        match self.output.format() {
            Format::Table => {
                let bytes = bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
                self.output.line(&format!("would copy {bytes:>14}  {}", printable(name)));
            }
            Format::Ndjson => self.output.line(&document.to_string()),
            // One document, of which only one entry is in memory at a time.
            Format::Json if self.copied == 0 => self.output.line(&format!("{LIST_HEAD}\n    {document}")),
            Format::Json => self.output.line(&format!("    ,{document}")),
        }
    }

    /// The one report at the end, and how the command ends.
    pub(super) fn end(self) -> Exit {
        self.bar.finish_and_clear();
        let Self { copied, skipped, failed, bytes, .. } = self;
        match (self.output.format(), self.dry_run) {
            (Format::Table, true) => self
                .output
                .line(&format!("dry run: {copied} would be copied  {skipped} skipped  {failed} failed  {bytes} bytes")),
            (Format::Table, false) => {
                let (seconds, rate) = self.pace();
                self.output.line(&format!(
                    "{copied} copied  {skipped} skipped  {failed} failed  {bytes} bytes  {seconds:.1} s  {rate} B/s"
                ));
            }
            (Format::Json, true) => {
                let head = if copied == 0 { format!("{LIST_HEAD}\n") } else { String::new() };
                let counts = self.counts().to_string();
                self.output.line(&format!("{head}  ],\n  {}", &counts[1..]));
            }
            _ => self.output.document(&self.counts()),
        }
        match (failed, copied + skipped) {
            (0, _) => Exit::Done,
            (_, 0) => Exit::Failed,
            _ => Exit::Partial,
        }
    }

    fn counts(&self) -> Value {
        let Self { copied, skipped, failed, bytes, .. } = self;
        if self.dry_run {
            return json!({
                "dry_run": true, "copied": 0, "would_copy": copied, "skipped": skipped, "failed": failed,
                "bytes": bytes,
            });
        }
        let (seconds, rate) = self.pace();
        json!({
            "copied": copied, "skipped": skipped, "failed": failed, "bytes": bytes,
            "seconds": seconds, "bytes_per_second": rate,
        })
    }

    fn pace(&self) -> (f64, u64) {
        let seconds = self.began.elapsed().as_secs_f64();
        (seconds, (self.bytes as f64 / seconds.max(1e-6)) as u64)
    }
}

const LIST_HEAD: &str = "{\n  \"objects\": [";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_how_much_worked() {
        let output = Output::new(Format::Table, true);
        let exit =
            |copied, skipped, failed| Summary { copied, skipped, failed, ..Summary::begin(&output, false) }.end();
        assert_eq!((exit(0, 0, 0), exit(1, 1, 0)), (Exit::Done, Exit::Done));
        assert_eq!((exit(1, 0, 1), exit(0, 1, 1)), (Exit::Partial, Exit::Partial));
        assert_eq!(exit(0, 0, 2), Exit::Failed);
    }
}
