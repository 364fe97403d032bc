//! Looks whether everything in a repository is there and whole.

use haulier_base::Result;
use rustic_core::CheckOptions;
use serde::{Deserialize, Serialize};

use super::{Repository, ours};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// What is damaged or missing; empty when all is well.
    pub errors: Vec<String>,
    /// What is odd and harms nobody.
    pub warnings: Vec<String>,
}

impl Repository {
    /// Checks that everything that snapshots name is there; with `read_data`, that its bytes are right too.
    ///
    /// # Errors
    /// When the repository cannot be read at all.
    pub fn check(&self, read_data: bool) -> Result<Checked> {
        let lock = self.lock(false)?;
        let mut options = CheckOptions::default();
        options.read_data = read_data;
        let found = self.opened.check(options).map_err(ours)?;
        lock.check()?;
        let mut checked = Checked::default();
        for (level, finding) in found.0 {
            // The type of the level is the library's own; its name is all there is to see of it.
            match format!("{level:?}").as_str() {
                "Warn" => checked.warnings.push(finding.to_string()),
                _ => checked.errors.push(finding.to_string()),
            }
        }
        Ok(checked)
    }
}
