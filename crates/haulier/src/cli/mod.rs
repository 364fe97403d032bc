//! The command line: what can be said, and which function does it.

mod agent;
mod backup;
mod client;
mod completion;
mod config;
mod cp;
mod db;
mod exit;
mod location;
mod output;
mod reference;
mod replication;
mod repository;
mod sync;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use haulier_base::Error;

pub(crate) use config::load as load_config;
pub(crate) use exit::{Exit, Failure, Outcome};
pub(crate) use output::{Format, Output};

use crate::config::{NodeArgs, ServeArgs};
use crate::{serve, telemetry};

/// Transfer, replicate, sync, back up: one binary, open APIs, one engine.
#[derive(Parser)]
#[command(name = "haulier", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Example:\n  haulier serve --dev\n  haulier cp /bin/bash /tmp/bash")]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t, global = true, value_name = "FORMAT")]
    output: Format,
    /// Say more; give it twice or three times for even more
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet")]
    verbose: u8,
    /// Say errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// The server to talk to
    #[arg(long, value_name = "URL", env = "HAULIER_SERVER", hide_env_values = true, global = true)]
    server: Option<String>,
    /// A file that holds the token for the server
    #[arg(long, value_name = "FILE", env = "HAULIER_TOKEN_FILE", hide_env_values = true, global = true)]
    token_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node: APIs, scheduler and workers
    #[command(after_help = "Example:\n  haulier serve --dev\n  haulier serve --config /etc/haulier.toml")]
    Serve(ServeArgs),
    /// Lend a node that runs on PostgreSQL more hands
    #[command(after_help = "Example:\n  haulier worker --config /etc/haulier.toml")]
    Worker(NodeArgs),
    /// Run backup jobs on a client machine
    #[command(
        after_help = "Example:\n  haulier agent --server http://backup.example:3862 --config /etc/haulier-agent.toml"
    )]
    Agent(agent::AgentArgs),
    /// Do one action for an agent
    #[command(name = agent::CHILD, hide = true)]
    AgentAction,
    /// Look into backup repositories, restore from them, check and tidy them
    #[command(subcommand, after_help = "Example:\n  haulier backup list --repository main --config agent.toml")]
    Backup(repository::BackupCommand),
    /// Copy now, through a server or by this process itself
    Cp(cp::CpArgs),
    /// Create, follow and end transfers on a server
    #[command(subcommand, after_help = "Example:\n  haulier transfer create file:///bin/bash file:///tmp/bash --wait")]
    Transfer(transfer::TransferCommand),
    /// Give storage with credentials a name on a server, so that NAME:path works wherever a URL does
    #[command(
        subcommand,
        after_help = "Example:\n  haulier location create archive s3://bucket --options @archive.json"
    )]
    Location(location::LocationCommand),
    /// List, add, start and stop the storages that sync keeps in step
    #[command(subcommand, after_help = "Example:\n  haulier entry list")]
    Entry(sync::entry::EntryCommand),
    /// Say which entry holds which files
    #[command(subcommand, after_help = "Example:\n  haulier rule test docs/report.pdf")]
    Rule(sync::rule::RuleCommand),
    /// List the files that sync knows, and have old versions back
    #[command(subcommand, after_help = "Example:\n  haulier file versions docs/report.pdf")]
    File(sync::file::FileCommand),
    /// List and decide conflicts between entries
    #[command(subcommand, after_help = "Example:\n  haulier conflict list")]
    Conflict(sync::conflict::ConflictCommand),
    /// List, add and remove the sites that hold the same objects
    #[command(subcommand, after_help = "Example:\n  haulier site add lyon https://lyon.example:3862")]
    Site(replication::site::SiteCommand),
    /// Create, list and delete the buckets that objects lie in
    #[command(subcommand, after_help = "Example:\n  haulier bucket create photos")]
    Bucket(replication::bucket::BucketCommand),
    /// Put, get, list and delete objects that are kept at every site
    #[command(subcommand, after_help = "Example:\n  haulier object put photos 2026/sea.jpg sea.jpg")]
    Object(replication::object::ObjectCommand),
    /// Say how far other sites lag behind, and repair what differs
    #[command(subcommand, after_help = "Example:\n  haulier replica lag")]
    Replica(replication::replica::ReplicaCommand),
    /// List the machines that carry out jobs, and which of them are silent
    #[command(subcommand, after_help = "Example:\n  haulier client list")]
    Client(backup::client::ClientCommand),
    /// Create, list, start and stop what is done on a schedule, such as backups
    #[command(subcommand, after_help = "Example:\n  haulier job list")]
    Job(backup::job::JobCommand),
    /// Let jobs on several machines start together
    #[command(subcommand, after_help = "Example:\n  haulier session create --description night --at hour=3")]
    Session(backup::session::SessionCommand),
    /// Prepare and check the catalogue
    #[command(subcommand, after_help = "Example:\n  haulier db migrate --config /etc/haulier.toml")]
    Db(db::DbCommand),
    /// Check and show the settings of a node
    #[command(subcommand, after_help = "Example:\n  haulier config check --config /etc/haulier.toml")]
    Config(config::ConfigCommand),
    /// Print what a shell needs to complete commands
    #[command(after_help = "Example:\n  haulier completion bash > /etc/bash_completion.d/haulier")]
    Completion(completion::CompletionArgs),
    /// Write manual pages into a folder
    #[command(after_help = "Example:\n  haulier man /usr/local/share/man/man1")]
    Man(completion::ManArgs),
    /// Print settings and events as JSON
    #[command(hide = true)]
    Reference,
}

/// Does what the arguments say; the exit code says how it ended.
pub(crate) fn run() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let default_level =
        if matches!(command, Command::Serve(_) | Command::Worker(_) | Command::Agent(_)) { "info" } else { "warn" };
    telemetry::start(default_level, common.verbose, common.quiet);
    let output = Output::new(common.output, common.quiet);
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(&common, command, &output));
            // Reads from a device that never answers must not hold the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::new("cannot start", Error::from(error))),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit().into()
        }
    }
}

async fn dispatch(common: &Common, command: Command, output: &Output) -> Outcome {
    match command {
        Command::Serve(args) => serve::serve(&args, output).await,
        Command::Worker(args) => serve::worker(&args, output).await,
        Command::Agent(args) => agent::run(common, &args, output).await,
        // Its answer is on its standard output, also when it failed.
        Command::AgentAction => std::process::exit(i32::from(!haulier_agent::serve_child().await)),
        Command::Backup(command) => repository::run(command, output).await,
        Command::Cp(args) => cp::run(common, args, output).await,
        Command::Transfer(command) => transfer::run(common, command, output).await,
        Command::Location(command) => location::run(common, command, output).await,
        Command::Entry(command) => sync::entry::run(common, command, output).await,
        Command::Rule(command) => sync::rule::run(common, command, output).await,
        Command::File(command) => sync::file::run(common, command, output).await,
        Command::Conflict(command) => sync::conflict::run(common, command, output).await,
        Command::Site(command) => replication::site::run(common, command, output).await,
        Command::Bucket(command) => replication::bucket::run(common, command, output).await,
        Command::Object(command) => replication::object::run(common, command, output).await,
        Command::Replica(command) => replication::replica::run(common, command, output).await,
        Command::Client(command) => backup::client::run(common, command, output).await,
        Command::Job(command) => backup::job::run(common, command, output).await,
        Command::Session(command) => backup::session::run(common, command, output).await,
        Command::Db(command) => db::run(command, output).await,
        Command::Config(command) => config::run(command, output),
        Command::Completion(args) => completion::completion(&args, output),
        Command::Man(args) => completion::man(&args, output),
        Command::Reference => reference::run(output),
    }
}

/// Resolves when the user presses Ctrl-C or the process is asked to end.
pub(crate) async fn interrupted() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
