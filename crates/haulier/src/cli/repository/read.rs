//! `haulier backup list`, `show` and `files`.

use std::path::PathBuf;

use clap::Args;
use haulier_base::Timestamp;
use serde_json::json;

use super::{FindArgs, RepositoryArgs, shown};
use crate::cli::{Exit, Outcome, Output};

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "short_id"),
    ("TIME", "time"),
    ("HOST", "hostname"),
    ("NAME", "name"),
    ("PATHS", "paths"),
    ("LEVEL", "level"),
    ("FILES", "files"),
    ("SIZE", "size"),
];
const FILE_COLUMNS: &[(&str, &str)] =
    &[("MODE", "mode"), ("KIND", "kind"), ("SIZE", "size"), ("MODIFIED", "modified"), ("PATH", "path")];

/// Arguments of `backup list`.
#[derive(Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    at: RepositoryArgs,
    #[command(flatten)]
    which: FindArgs,
}

/// Arguments of `backup show`.
#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The id of a snapshot, the beginning of it, or "latest"
    snapshot: String,
    #[command(flatten)]
    at: RepositoryArgs,
    #[command(flatten)]
    which: FindArgs,
}

/// Arguments of `backup files`.
#[derive(Args)]
pub(crate) struct FilesArgs {
    /// The id of a snapshot, the beginning of it, or "latest"
    snapshot: String,
    /// A folder of the snapshot; all of it when left out
    below: Option<PathBuf>,
    #[command(flatten)]
    at: RepositoryArgs,
    #[command(flatten)]
    which: FindArgs,
}

pub(super) async fn list(args: ListArgs, output: &Output) -> Outcome {
    let find = args.which.find(None);
    let found = args.at.with("cannot list snapshots", move |repository| repository.snapshots(&find)).await?;
    let documents: Vec<_> = found.iter().map(shown).collect();
    output.documents(&documents, COLUMNS);
    Ok(Exit::Done)
}

pub(super) async fn show(args: ShowArgs, output: &Output) -> Outcome {
    let find = args.which.find(Some(&args.snapshot));
    let found = args.at.with("cannot show the snapshot", move |repository| repository.snapshot(&find)).await?;
    let mut document = shown(&found);
    document["tags"] = json!(found.tags);
    output.document(&document);
    Ok(Exit::Done)
}

pub(super) async fn files(args: FilesArgs, output: &Output) -> Outcome {
    let find = args.which.find(Some(&args.snapshot));
    let below = args.below.unwrap_or_else(|| PathBuf::from("/"));
    let listed = args.at.with("cannot list the files", move |repository| {
        let mut documents = Vec::new();
        repository.files(&find, &below, |file| {
            documents.push(json!({
                "path": file.path,
                "kind": file.kind,
                "size": file.size,
                "mode": file.mode.map(|mode| format!("{mode:04o}")),
                "uid": file.uid,
                "gid": file.gid,
                "modified": file.modified.map(|at| Timestamp::from_micros(at).to_string()),
                "target": file.target,
            }));
            Ok(())
        })?;
        Ok(documents)
    });
    output.documents(&listed.await?, FILE_COLUMNS);
    Ok(Exit::Done)
}
