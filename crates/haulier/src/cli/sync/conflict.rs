//! `haulier conflict`: files that two entries had changed.

use clap::Subcommand;
use haulier_base::Result;
use reqwest::Method;
use serde_json::json;

use super::super::{Common, Exit, Failure, Outcome, Output};
use super::SyncApi;

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("NAME", "filename"),
    ("WINNER", "winner"),
    ("LOSER", "loser"),
    ("KEPT AS", "aside"),
    ("RESOLUTION", "resolution"),
];

/// What can be done with conflicts.
#[derive(Subcommand)]
pub(crate) enum ConflictCommand {
    /// List conflicts that nobody has decided, oldest first
    #[command(after_help = "Example:\n  haulier conflict list")]
    List {
        /// Decided ones too
        #[arg(long)]
        all: bool,
    },
    /// Show one conflict
    #[command(after_help = "Example:\n  haulier conflict show 0192f0c1-…")]
    Show {
        /// The conflict
        id: String,
    },
    /// Decide a conflict; what is replaced or removed by it is kept as an old version
    #[command(after_help = "Example:\n  haulier conflict resolve 0192f0c1-… --keep winner")]
    Resolve {
        /// The conflict
        id: String,
        /// What stays: what is in place, the version that lost, or both
        #[arg(long, value_parser = ["winner", "loser", "both"])]
        keep: String,
    },
}

/// Runs `haulier conflict`.
pub(crate) async fn run(common: &Common, command: ConflictCommand, output: &Output) -> Outcome {
    let api = SyncApi::new(common, output)?;
    let (what, done) = match command {
        ConflictCommand::List { all } => ("cannot list the conflicts", api.list_conflicts(all).await),
        ConflictCommand::Show { id } => ("cannot show the conflict", api.show_conflict(&id).await),
        ConflictCommand::Resolve { id, keep } => ("cannot resolve the conflict", api.resolve(&id, &keep).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl SyncApi<'_> {
    async fn list_conflicts(&self, all: bool) -> Result<Exit> {
        let mut url = self.own(&["conflicts"])?;
        if all {
            url.query_pairs_mut().append_pair("all", "true");
        }
        let found = self.client.pages(url, "conflicts", "after").await?;
        self.output.documents(&found, COLUMNS);
        Ok(Exit::Done)
    }

    async fn show_conflict(&self, id: &str) -> Result<Exit> {
        self.show(Method::GET, self.own(&["conflicts", id])?, None).await
    }

    async fn resolve(&self, id: &str, keep: &str) -> Result<Exit> {
        self.show(Method::POST, self.own(&["conflicts", id, "resolve"])?, Some(&json!({ "keep": keep }))).await
    }
}
