//! `haulier backup restore`.

use std::path::PathBuf;

use clap::Args;
use haulier_agent::repository::RestoreRequest;
use serde_json::json;

use super::{FindArgs, RepositoryArgs};
use crate::cli::{Exit, Failure, Outcome, Output};

/// Arguments of `backup restore`.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("where").required(true).args(["to", "in_place"])))]
pub(crate) struct RestoreArgs {
    /// The id of a snapshot, the beginning of it, or "latest"
    #[arg(default_value = "latest")]
    snapshot: String,
    /// The file or folder to restore; what was backed up when left out
    what: Option<PathBuf>,
    /// The folder that takes the file, or what the folder holds
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Restore to where it came from
    #[arg(long)]
    in_place: bool,
    /// Of the newest snapshot that is no later than this, such as 2026-11-21T20:00:00Z
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// Also replace files that were changed after the snapshot
    #[arg(long)]
    overwrite_newer: bool,
    /// Leave owners alone
    #[arg(long)]
    no_owner: bool,
    /// Only say how much would be restored
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: RepositoryArgs,
    #[command(flatten)]
    which: FindArgs,
}

pub(super) async fn run(args: RestoreArgs, output: &Output) -> Outcome {
    let mut find = args.which.find(Some(&args.snapshot));
    if let Some(date) = &args.as_of {
        let at = haulier_agent::instant(date).map_err(|error| Failure::new("cannot restore", error))?;
        find.as_of = Some(at);
    }
    let request = RestoreRequest {
        find,
        path: args.what.clone(),
        target: args.to.clone(),
        overwrite_newer: args.overwrite_newer,
        no_owner: args.no_owner,
        dry_run: args.dry_run,
    };
    let done = args.at.with("cannot restore", move |repository| repository.restore(&request)).await;
    let restored = done.map_err(|failure| match failure.why.kind() {
        haulier_base::ErrorKind::Conflict if failure.why.message().contains("changed after") => {
            failure.advice("name another folder with --to, or give --overwrite-newer")
        }
        _ => failure,
    })?;
    for warning in &restored.warnings {
        output.complaint(warning);
    }
    output.document(&json!({
        "snapshot": restored.snapshot,
        "target": restored.target,
        "files": restored.files,
        "bytes": restored.bytes,
        "unchanged": restored.unchanged,
        "directories": restored.directories,
        "warnings": restored.warnings.len(),
        "dry_run": args.dry_run,
    }));
    Ok(if restored.warnings.is_empty() { Exit::Done } else { Exit::Partial })
}
