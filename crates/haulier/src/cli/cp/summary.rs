//! What came of the copy of a tree: counts, failures as they happen, and one report at the end.

use std::time::Instant;

use haulier_base::{Error, ErrorKind};
use indicatif::ProgressBar;
use serde_json::json;

use crate::cli::{Exit, Format, Output};

/// Counts of files, links and objects; folders are not counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) copied: u64,
    pub(super) skipped: u64,
    pub(super) failed: u64,
    /// Of what was copied.
    pub(super) bytes: u64,
}

impl Tally {
    /// Counts a failure, and tells it unless somebody interrupted.
    pub(super) fn fail(&mut self, error: &Error, output: &Output, bar: &ProgressBar) {
        if error.kind() != ErrorKind::Canceled {
            self.failed += 1;
            bar.suspend(|| output.complaint(&error.to_string()));
        }
    }

    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match (self.failed, self.copied + self.skipped) {
            (0, _) => Exit::Done,
            (_, 0) => Exit::Failed,
            _ => Exit::Partial,
        }
    }

    /// The one report at the end.
    pub(super) fn report(&self, began: Instant, output: &Output) {
        let Self { copied, skipped, failed, bytes } = self;
        let seconds = began.elapsed().as_secs_f64();
        let rate = (*bytes as f64 / seconds.max(1e-6)) as u64;
        match output.format() {
            Format::Table => output.line(&format!(
                "{copied} copied  {skipped} skipped  {failed} failed  {bytes} bytes  {seconds:.1} s  {rate} B/s"
            )),
            _ => output.document(&json!({
                "copied": copied, "skipped": skipped, "failed": failed, "bytes": bytes,
                "seconds": seconds, "bytes_per_second": rate,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_how_much_worked() {
        let exit = |copied, skipped, failed| Tally { copied, skipped, failed, bytes: 0 }.exit();
        assert_eq!((exit(0, 0, 0), exit(1, 1, 0)), (Exit::Done, Exit::Done));
        assert_eq!((exit(1, 0, 1), exit(0, 1, 1)), (Exit::Partial, Exit::Partial));
        assert_eq!(exit(0, 0, 2), Exit::Failed);
    }
}
