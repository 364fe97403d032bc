//! What a reviewer should not have to say twice, as a program.
//!
//! Reads manifests and texts; compiles nothing.

mod files;
mod floors;
mod migrations;

use std::fs;
use std::path::Path;

use crate::process::{Result, root};

/// What was found. Warnings are shown; faults also fail.
#[derive(Debug, Default, PartialEq)]
struct Findings {
    warnings: Vec<String>,
    faults: Vec<String>,
}

impl Findings {
    fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }
}

/// Checks the whole workspace.
pub(crate) fn run() -> Result<()> {
    let mut findings = Findings::default();
    floors::check(&floors::packages()?, &mut findings);
    migrations::check(&root().join("migrations"), &mut findings)?;
    visit(root(), &mut |path| {
        let shown = path.strip_prefix(root()).unwrap_or(path);
        files::check_name(shown, &mut findings);
        if shown.extension().is_some_and(|extension| extension == "rs") {
            files::check_text(shown, &fs::read_to_string(path)?, &mut findings);
        }
        Ok(())
    })?;
    for warning in &findings.warnings {
        println!("look again: {warning}");
    }
    for fault in &findings.faults {
        println!("fault: {fault}");
    }
    match findings.faults.len() {
        0 => Ok(()),
        count => Err(format!("{count} faults").into()),
    }
}

/// Calls `see` for every file of ours below a folder, in a settled order.
fn visit(folder: &Path, see: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, ".git" | "target" | "haulier-data") {
                visit(&path, see)?;
            }
        } else {
            see(&path)?;
        }
    }
    Ok(())
}
