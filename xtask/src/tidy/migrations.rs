//! Migrations come in pairs: the same number and name for both databases, counted without a gap.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Findings;
use crate::process::Result;

const DIALECTS: [&str; 2] = ["sqlite", "postgres"];

/// Compares the two folders.
pub(super) fn check(folder: &Path, findings: &mut Findings) -> Result<()> {
    let [sqlite, postgres] = DIALECTS.map(|dialect| names(&folder.join(dialect)));
    compare(&sqlite?, &postgres?, findings);
    Ok(())
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?)
}

fn compare(sqlite: &BTreeSet<String>, postgres: &BTreeSet<String>, findings: &mut Findings) {
    for (ours, theirs, missing) in [(sqlite, postgres, "postgres"), (postgres, sqlite, "sqlite")] {
        for name in ours.difference(theirs) {
            findings.fault(format!("migrations/{missing} has no {name}"));
        }
    }
    for (index, name) in sqlite.iter().enumerate() {
        let wanted = format!("{:04}_", index + 1);
        if !name.starts_with(&wanted) || !name.ends_with(".sql") {
            findings.fault(format!("migration {name} should be named {wanted}….sql"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(sqlite: &[&str], postgres: &[&str]) -> Vec<String> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut findings = Findings::default();
        compare(&set(sqlite), &set(postgres), &mut findings);
        findings.faults
    }

    #[test]
    fn pairs_are_fine() {
        let names = ["0001_foundation.sql", "0002_transfers.sql"];
        assert_eq!(faults(&names, &names), [""; 0]);
    }

    #[test]
    fn one_side_missing_is_a_fault() {
        assert_eq!(faults(&["0001_a.sql", "0002_b.sql"], &["0001_a.sql"]), ["migrations/postgres has no 0002_b.sql"]);
        assert_eq!(faults(&["0001_a.sql"], &["0001_b.sql"]).len(), 2);
    }

    #[test]
    fn gaps_and_doubles_are_faults() {
        assert_eq!(faults(&["0001_a.sql", "0003_b.sql"], &["0001_a.sql", "0003_b.sql"]).len(), 1);
        assert_eq!(faults(&["0001_a.sql", "0001_b.sql"], &["0001_a.sql", "0001_b.sql"]).len(), 1);
    }
}
