//! `haulier config`: is it right, and what does it come to?

use clap::Subcommand;
use haulier_base::Error;

use super::{Exit, Failure, Format, Outcome, Output};
use crate::config::{Config, Faults, NodeArgs, process_environment};

/// What can be done with settings.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Tell every fault at once, with file and line
    #[command(after_help = "Example:\n  haulier config check --config /etc/haulier.toml")]
    Check(NodeArgs),
    /// Print the effective settings, secrets as ***
    #[command(after_help = "Example:\n  haulier config show --config /etc/haulier.toml")]
    Show(NodeArgs),
}

/// Loads the settings of a node for any command.
pub(crate) fn load(args: &NodeArgs) -> Result<Config, Failure> {
    Config::load(args, &process_environment).map_err(|faults| failure(&faults))
}

fn failure(faults: &Faults) -> Failure {
    let count = faults.0.len();
    let what = format!("the configuration has {count} fault{}", if count == 1 { "" } else { "s" });
    Failure::new(what, Error::invalid(faults.to_string().replace('\n', "\n       ")))
        .advice("correct them; haulier config check tells whether all is well")
}

/// Runs `haulier config`.
pub(crate) fn run(command: ConfigCommand, output: &Output) -> Outcome {
    match command {
        ConfigCommand::Check(args) => {
            let config = load(&args)?;
            config.remarks().iter().for_each(|remark| output.remark(remark));
            output.remark("the configuration is good");
        }
        ConfigCommand::Show(args) => {
            let config = load(&args)?;
            if output.format() == Format::Table {
                let text =
                    toml::to_string(&config).map_err(|error| Failure::new("cannot print", unprintable(error)))?;
                output.raw(text.as_bytes());
            } else {
                let value = serde_json::to_value(&config);
                output.document(&value.map_err(|error| Failure::new("cannot print", unprintable(error)))?);
            }
        }
    }
    Ok(Exit::Done)
}

fn unprintable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the settings cannot be written down").caused_by(error)
}
