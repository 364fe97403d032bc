//! `haulier client`: the machines that carry out jobs.

use clap::Subcommand;
use haulier_base::Result;

use super::super::{Common, Exit, Failure, Outcome, Output};
use super::{BackupApi, Which};

const COLUMNS: &[(&str, &str)] = &[
    ("CLIENT", "client_id"),
    ("HOST", "hostname"),
    ("DESCRIPTION", "description"),
    ("HEALTH", "health"),
    ("WHY", "why"),
];

/// What can be done with clients. They register themselves.
#[derive(Subcommand)]
pub(crate) enum ClientCommand {
    /// List the clients, and which of them are silent
    #[command(after_help = "Example:\n  haulier client list")]
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Show one client
    #[command(after_help = "Example:\n  haulier client show alpha.example")]
    Show {
        /// The client
        id: String,
    },
    /// Forget a client; its jobs and backups stay
    #[command(after_help = "Example:\n  haulier client delete alpha.example")]
    Delete {
        /// The client
        id: String,
    },
}

/// Runs `haulier client`.
pub(crate) async fn run(common: &Common, command: ClientCommand, output: &Output) -> Outcome {
    let api = BackupApi::new(common, output)?;
    let (what, done) = match command {
        ClientCommand::List { which } => ("cannot list the clients", api.list_clients(&which).await),
        ClientCommand::Show { id } => ("cannot show the client", api.show("clients", &id).await),
        ClientCommand::Delete { id } => ("cannot delete the client", api.delete("clients", &id).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl BackupApi<'_> {
    async fn list_clients(&self, which: &Which) -> Result<Exit> {
        let mut found = self.list("clients", which, Vec::new()).await?;
        let alarms = self.alarms("client_id").await?;
        for document in &mut found {
            let mut client = document["client"].take();
            let alarm = client["client_id"].as_str().and_then(|id| alarms.get(id));
            client["health"] = alarm.map_or("ok", |(word, _)| word).into();
            client["why"] = alarm.map(|(_, why)| why.as_str()).into();
            *document = client;
        }
        self.output.documents(&found, COLUMNS);
        Ok(Exit::Done)
    }
}
