//! `haulier agent`, and the child process that does one of its actions.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use haulier_agent::{Agent, AgentConfig, ChildCommand};
use haulier_base::{Error, SystemClock};

use super::{Common, Exit, Failure, Outcome, Output, interrupted};

/// The hidden command that an agent starts itself with.
pub(super) const CHILD: &str = "agent-action";

/// Arguments of `agent`.
#[derive(Args)]
pub(crate) struct AgentArgs {
    /// The agent's configuration file
    #[arg(long, value_name = "FILE", env = "HAULIER_AGENT_CONFIG", hide_env_values = true)]
    config: PathBuf,
}

/// Runs `haulier agent`.
pub(crate) async fn run(common: &Common, args: &AgentArgs, output: &Output) -> Outcome {
    let failed = |error| Failure::new("the agent cannot start", error);
    let mut config = AgentConfig::read(&args.config).map_err(failed)?;
    if let Some(file) = &common.token_file {
        config.token = Some(haulier_agent::SecretFile { file: file.clone() });
    }
    let program = std::env::current_exe().map_err(|error| failed(Error::from(error)))?;
    let child = ChildCommand { program, arguments: vec![CHILD] };
    let client = config.client();
    let agent = Agent::new(config, common.server.as_deref(), Arc::new(SystemClock), child).map_err(failed)?;
    output.remark(&format!("haulier agent {client} is running"));
    agent.run(interrupted()).await.map_err(|error| Failure::new("the agent cannot go on", error))?;
    Ok(Exit::Done)
}
