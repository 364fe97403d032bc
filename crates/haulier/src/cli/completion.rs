//! Shell completions and manual pages, both made from the arguments' own definition.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use haulier_base::Error;

use super::{Cli, Exit, Failure, Outcome, Output};

/// Arguments of `completion`.
#[derive(Args)]
pub(crate) struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Args)]
pub(crate) struct ManArgs {
    /// The folder; it is created when missing
    dir: PathBuf,
}

/// Prints a completion script.
pub(crate) fn completion(args: &CompletionArgs, output: &Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "haulier", &mut script);
    output.raw(&script);
    Ok(Exit::Done)
}

/// Writes one page for each command.
pub(crate) fn man(args: &ManArgs, output: &Output) -> Outcome {
    std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.dir))
        .map_err(|error| Failure::new(format!("cannot write to {}", args.dir.display()), Error::from(error)))?;
    output.remark(&format!("manual pages are in {}", args.dir.display()));
    Ok(Exit::Done)
}
