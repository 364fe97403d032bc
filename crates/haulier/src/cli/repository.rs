//! `haulier backup`: looks into repositories, restores from them, checks and tidies them; on this machine, without a
//! server.

mod read;
mod restore;
mod tidy;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use haulier_agent::repository::{Find, Repository};
use haulier_agent::{AgentConfig, Place, read_secret};
use haulier_base::{Error, Result};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::transfer::options_argument;
use super::{Failure, Outcome, Output};

/// What can be done with backups.
#[derive(Subcommand)]
pub(crate) enum BackupCommand {
    /// List the snapshots of a repository
    #[command(after_help = "Example:\n  haulier backup list --repository main --config agent.toml")]
    List(read::ListArgs),
    /// Show one snapshot
    #[command(after_help = "Example:\n  haulier backup show latest --repository main --config agent.toml")]
    Show(read::ShowArgs),
    /// List the files of a snapshot
    #[command(after_help = "Example:\n  haulier backup files latest /srv/docs --repository main --config agent.toml")]
    Files(read::FilesArgs),
    /// Restore a file, a folder or everything
    #[command(
        after_help = "Example:\n  haulier backup restore latest /srv/docs/a.txt --to /tmp/back --repository main --config agent.toml\n  haulier backup restore --as-of 2026-11-21T20:00:00Z --in-place --repository main --config agent.toml"
    )]
    Restore(restore::RestoreArgs),
    /// Check that a repository is whole
    #[command(after_help = "Example:\n  haulier backup check --read-data --repository main --config agent.toml")]
    Check(tidy::CheckArgs),
    /// Remove snapshots that are no longer wanted
    #[command(
        after_help = "Example:\n  haulier backup forget --keep-daily 7 --keep-weekly 4 --prune --repository main --config agent.toml"
    )]
    Forget(tidy::ForgetArgs),
}

/// Which repository is meant.
#[derive(Args, Clone, Debug)]
struct RepositoryArgs {
    /// The name of a repository in the agent's configuration, or a URL
    #[arg(short, long, value_name = "NAME|URL", env = "HAULIER_REPOSITORY", hide_env_values = true)]
    repository: String,
    /// The agent's configuration file
    #[arg(long, value_name = "FILE", env = "HAULIER_AGENT_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// A file that holds the password of the repository; else that of the configuration
    #[arg(long, value_name = "FILE", env = "HAULIER_PASSWORD_FILE", hide_env_values = true)]
    password_file: Option<PathBuf>,
    /// Options of the storage behind a URL, as JSON or as @FILE; secrets in a file only
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    options: String,
}

impl RepositoryArgs {
    fn place(&self) -> Result<Place> {
        let config = self.config.as_deref().map(AgentConfig::read).transpose()?.unwrap_or_default();
        let password = self.password_file.as_deref().map(read_secret).transpose()?;
        if !self.repository.contains(':') && !self.repository.starts_with('/') {
            let mut place = config.repository(&self.repository)?;
            if let Some(password) = password {
                place.password.clone_from(password.reveal());
            }
            return Ok(place);
        }
        let url = match url::Url::from_file_path(&self.repository) {
            Ok(url) => url.to_string(),
            Err(()) => self.repository.clone(),
        };
        let options = options_argument(&url, &self.options)?;
        config.place(&url, options, password)
    }

    /// Does something with the open repository, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        what: &str,
        act: impl FnOnce(&Repository) -> Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let failed = |error: Error| {
            let wrong = error.kind() == haulier_base::ErrorKind::Unauthenticated;
            let failure = Failure::new(what.to_owned(), error);
            if wrong { failure.advice("name the file of the right password with --password-file") } else { failure }
        };
        let place = self.place().map_err(failed)?;
        let handle = Handle::current();
        let work = tokio::task::spawn_blocking(move || act(&place.open(handle)?));
        tokio::select! {
            done = work => match done {
                Ok(done) => done.map_err(failed),
                Err(panic) => Err(failed(Error::internal(format!("the work crashed: {panic}")))),
            },
            () = super::interrupted() => {
                let released = tokio::task::spawn_blocking(haulier_agent::repository::let_go).await;
                let why = if released.is_ok() { "interrupted" } else { "interrupted; the lock of the repository stays" };
                Err(failed(Error::canceled(why)))
            }
        }
    }
}

/// Which snapshots are meant.
#[derive(Args, Clone, Debug, Default)]
struct FindArgs {
    /// Of that machine
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// With that name of a backup
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Of that path
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

impl FindArgs {
    fn find(&self, id: Option<&str>) -> Find {
        Find {
            id: id.map(str::to_owned),
            hostname: self.host.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
            as_of: None,
        }
    }
}

/// A snapshot as it is printed.
fn shown(snapshot: &haulier_agent::repository::SnapshotInfo) -> Value {
    json!({
        "id": snapshot.id,
        "short_id": snapshot.id.get(..8),
        "time": snapshot.begun().to_string(),
        "hostname": snapshot.hostname,
        "name": snapshot.name,
        "paths": snapshot.paths.join(", "),
        "level": snapshot.level,
        "files": snapshot.files,
        "size": snapshot.size,
    })
}

/// Runs `haulier backup`.
pub(crate) async fn run(command: BackupCommand, output: &Output) -> Outcome {
    match command {
        BackupCommand::List(args) => read::list(args, output).await,
        BackupCommand::Show(args) => read::show(args, output).await,
        BackupCommand::Files(args) => read::files(args, output).await,
        BackupCommand::Restore(args) => restore::run(args, output).await,
        BackupCommand::Check(args) => tidy::check(args, output).await,
        BackupCommand::Forget(args) => tidy::forget(args, output).await,
    }
}
