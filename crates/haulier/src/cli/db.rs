//! `haulier db`: bring the catalogue up to date, and look whether it is sound.

use std::sync::Arc;

use clap::Subcommand;
use haulier_base::SystemClock;
use haulier_catalog::Catalog;
use serde_json::json;

use super::config::load;
use super::{Exit, Failure, Outcome, Output};
use crate::app;
use crate::config::NodeArgs;

/// What can be done with the catalogue.
#[derive(Subcommand)]
pub(crate) enum DbCommand {
    /// Apply the migrations that are missing
    #[command(after_help = "Example:\n  haulier db migrate --config /etc/haulier.toml")]
    Migrate(NodeArgs),
    /// Look for damage; 7 is the exit code when there is some
    #[command(after_help = "Example:\n  haulier db check --config /etc/haulier.toml")]
    Check(NodeArgs),
}

/// Runs `haulier db`.
pub(crate) async fn run(command: DbCommand, output: &Output) -> Outcome {
    match command {
        DbCommand::Migrate(args) => {
            let catalog = app::open_catalog(&load(&args)?).await;
            let catalog = catalog.map_err(|error| Failure::new("cannot migrate the catalogue", error))?;
            catalog.close().await.map_err(|error| Failure::new("cannot close the catalogue", error))?;
            output.remark("the catalogue is up to date");
            Ok(Exit::Done)
        }
        DbCommand::Check(args) => {
            let config = load(&args)?;
            let report = async {
                let catalog = Catalog::open(&app::database_url(&config)?, Arc::new(SystemClock)).await?;
                let report = catalog.check().await?;
                catalog.close().await?;
                Ok(report)
            };
            let report = report.await.map_err(|error| Failure::new("cannot check the catalogue", error))?;
            output.document(&json!({ "sound": report.is_sound(), "problems": report.problems }));
            Ok(if report.is_sound() { Exit::Done } else { Exit::Corrupt })
        }
    }
}
