//! `haulier backup check` and `forget`.

use clap::Args;
use haulier_agent::repository::{Forgotten, Keep};
use haulier_base::{Clock as _, Error, SystemClock};
use serde_json::json;

use super::{FindArgs, RepositoryArgs, shown};
use crate::cli::{Exit, Failure, Outcome, Output};

const COLUMNS: &[(&str, &str)] =
    &[("REMOVED", "short_id"), ("TIME", "time"), ("HOST", "hostname"), ("NAME", "name"), ("PATHS", "paths")];
const DAY_MICROS: i64 = 86_400_000_000;

/// Arguments of `backup check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    at: RepositoryArgs,
    /// Also read all data and compare it with its checksums
    #[arg(long)]
    read_data: bool,
}

/// Arguments of `backup forget`.
#[derive(Args)]
pub(crate) struct ForgetArgs {
    /// The snapshots to remove; else the rules say which
    snapshots: Vec<String>,
    #[command(flatten)]
    at: RepositoryArgs,
    #[command(flatten)]
    which: FindArgs,
    /// Keep so many of the newest snapshots
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest of so many days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest of so many weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest of so many months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest of so many years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep what is no older than so many days
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    /// Also remove what no snapshot needs any more: it is marked now, and removed by a later run
    #[arg(long)]
    prune: bool,
    /// Only say what would be removed
    #[arg(long, conflicts_with = "prune")]
    dry_run: bool,
}

pub(super) async fn check(args: CheckArgs, output: &Output) -> Outcome {
    let read_data = args.read_data;
    let checked = args.at.with("cannot check the repository", move |repository| repository.check(read_data)).await?;
    for error in &checked.errors {
        output.complaint(error);
    }
    output.document(&json!({
        "whole": checked.errors.is_empty(),
        "data_read": read_data,
        "errors": checked.errors.len(),
        "warnings": checked.warnings,
    }));
    Ok(if checked.errors.is_empty() { Exit::Done } else { Exit::Corrupt })
}

pub(super) async fn forget(args: ForgetArgs, output: &Output) -> Outcome {
    let since = args.older_than.map(|days| SystemClock.now().as_micros().saturating_sub(i64::from(days) * DAY_MICROS));
    let keep = Keep {
        last: args.keep_last,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        yearly: args.keep_yearly,
        since,
    };
    if args.snapshots.is_empty() == keep.is_empty() && !(args.prune && keep.is_empty()) {
        let why = Error::invalid("neither snapshots nor rules say what goes, or both do");
        return Err(Failure::new("cannot forget", why).advice("name snapshots, or give one of the --keep rules"));
    }
    let (find, ids, dry_run, prune) = (args.which.find(None), args.snapshots.clone(), args.dry_run, args.prune);
    let work = args.at.with("cannot forget", move |repository| {
        let mut forgotten = match (ids.is_empty(), keep.is_empty()) {
            (false, _) => repository.forget_these(&ids, dry_run)?,
            (true, false) => repository.forget(&find, &keep, dry_run)?,
            (true, true) => Forgotten::default(),
        };
        if prune {
            let pruned = repository.prune()?;
            (forgotten.freed, forgotten.unused) = (pruned.freed, pruned.unused);
        }
        Ok(forgotten)
    });
    let forgotten = work.await?;
    let removed: Vec<_> = forgotten.removed.iter().map(shown).collect();
    output.documents(&removed, COLUMNS);
    let would = if args.dry_run { "would be " } else { "" };
    output.remark(&format!("{} snapshots {would}removed, {} kept", removed.len(), forgotten.kept));
    if prune {
        output.remark(&format!("{} bytes freed, {} bytes marked to go later", forgotten.freed, forgotten.unused));
    }
    Ok(Exit::Done)
}
