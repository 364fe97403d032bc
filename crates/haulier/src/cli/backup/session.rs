//! `haulier session`: jobs that start together.

use clap::{Args, Subcommand};
use haulier_base::Result;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::{Common, Exit, Failure, Outcome, Output};
use super::{BackupApi, When, Which};

const COLUMNS: &[(&str, &str)] = &[
    ("SESSION", "session_id"),
    ("DESCRIPTION", "description"),
    ("STATUS", "status"),
    ("RESULT", "result"),
    ("TAG", "session_tag"),
    ("JOBS", "job_count"),
];

/// What can be done with sessions.
#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions
    #[command(after_help = "Example:\n  haulier session list")]
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Show one session and its jobs
    #[command(after_help = "Example:\n  haulier session show 0f3a9c41")]
    Show {
        /// The session
        id: String,
    },
    /// Create a session; its schedule becomes that of each job that is added
    #[command(after_help = "Example:\n  haulier session create --description night --at hour=3")]
    Create(CreateArgs),
    /// Add a job to a session
    #[command(after_help = "Example:\n  haulier session add 0f3a9c41 5d8e6b7a")]
    Add {
        /// The session
        id: String,
        /// The job
        job: String,
    },
    /// Take a job out of a session, and stop it
    #[command(after_help = "Example:\n  haulier session remove 0f3a9c41 5d8e6b7a")]
    Remove {
        /// The session
        id: String,
        /// The job
        job: String,
    },
    /// Delete a session; its jobs stay
    #[command(after_help = "Example:\n  haulier session delete 0f3a9c41")]
    Delete {
        /// The session
        id: String,
    },
}

/// Arguments of `session create`.
#[derive(Args)]
pub(crate) struct CreateArgs {
    /// A text for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// How long after the first job the others may start with it, seconds
    #[arg(long, value_name = "SECONDS")]
    hold_off: Option<u32>,
    #[command(flatten)]
    when: When,
}

/// Runs `haulier session`.
pub(crate) async fn run(common: &Common, command: SessionCommand, output: &Output) -> Outcome {
    let api = BackupApi::new(common, output)?;
    let (what, done) = match command {
        SessionCommand::List { which } => ("cannot list the sessions", api.list_sessions(&which).await),
        SessionCommand::Show { id } => ("cannot show the session", api.show("sessions", &id).await),
        SessionCommand::Create(args) => ("cannot create the session", api.create_session(&args).await),
        SessionCommand::Add { id, job } => ("cannot add the job", api.member(Method::PUT, &id, &job).await),
        SessionCommand::Remove { id, job } => ("cannot remove the job", api.member(Method::DELETE, &id, &job).await),
        SessionCommand::Delete { id } => ("cannot delete the session", api.delete("sessions", &id).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl BackupApi<'_> {
    async fn list_sessions(&self, which: &Which) -> Result<Exit> {
        let mut found = self.list("sessions", which, Vec::new()).await?;
        for session in &mut found {
            session["job_count"] = session["jobs"].as_object().map_or(0, Map::len).into();
        }
        self.output.documents(&found, COLUMNS);
        Ok(Exit::Done)
    }

    async fn create_session(&self, args: &CreateArgs) -> Result<Exit> {
        let mut session = json!({ "schedule": args.when.schedule()? });
        if let Some(description) = &args.description {
            session["description"] = description.as_str().into();
        }
        if let Some(seconds) = args.hold_off {
            session["hold_off"] = seconds.into();
        }
        let made: Value = self.ask(Method::POST, self.url(&["sessions"])?, Some(&session)).await?;
        self.output.document(&made);
        Ok(Exit::Done)
    }

    async fn member(&self, method: Method, id: &str, job: &str) -> Result<Exit> {
        self.ask(method, self.url(&["sessions", id, "jobs", job])?, None).await?;
        Ok(Exit::Done)
    }
}
