//! `haulier job`: what clients are to do, and when.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use haulier_base::{Error, Result, Timestamp};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::{Common, Exit, Failure, Outcome, Output};
use super::{BackupApi, When, Which, pairs};

const COLUMNS: &[(&str, &str)] = &[
    ("JOB", "job_id"),
    ("CLIENT", "client_id"),
    ("DESCRIPTION", "description"),
    ("STATUS", "status"),
    ("RESULT", "result"),
    ("STARTED", "started"),
    ("HEALTH", "health"),
    ("WHY", "why"),
];

/// What can be done with jobs.
#[derive(Subcommand)]
pub(crate) enum JobCommand {
    /// List the jobs: how they ended last, and which of them somebody should look at
    #[command(after_help = "Example:\n  haulier job list --client alpha.example")]
    List {
        #[command(flatten)]
        which: Which,
        /// Only those of this client
        #[arg(long, value_name = "ID")]
        client: Option<String>,
    },
    /// Show one job
    #[command(after_help = "Example:\n  haulier job show 5d8e6b7a")]
    Show {
        /// The job
        id: String,
    },
    /// Create a job
    #[command(after_help = "Example:\n  haulier job create --client alpha.example --name home --path /home \
                            --container file:///srv/backups --interval \"1 days\"")]
    Create(Box<CreateArgs>),
    /// Ask the client to start a job, also one that is completed
    #[command(after_help = "Example:\n  haulier job start 5d8e6b7a")]
    Start {
        /// The job
        id: String,
    },
    /// Ask the client to run a job no more; a run under way goes on to its end
    #[command(after_help = "Example:\n  haulier job stop 5d8e6b7a")]
    Stop {
        /// The job
        id: String,
    },
    /// Ask the client to break off a job's run
    #[command(after_help = "Example:\n  haulier job abort 5d8e6b7a")]
    Abort {
        /// The job
        id: String,
    },
    /// Delete a job; the backups it made stay
    #[command(after_help = "Example:\n  haulier job delete 5d8e6b7a")]
    Delete {
        /// The job
        id: String,
    },
}

/// Arguments of `job create`.
#[derive(Args)]
pub(crate) struct CreateArgs {
    /// The client that is to do it
    #[arg(long, value_name = "ID", required_unless_present = "document")]
    client: Option<String>,
    /// A file with the whole job as JSON; "-" is standard input. What else is given goes before it
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// An id for the job, in place of one that the server makes
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// A text for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// backup, restore, info, admin or exec
    #[arg(long, value_name = "ACTION", default_value = "backup")]
    action: String,
    /// What is backed up: fs, postgres, mysql
    #[arg(long, value_name = "MODE", default_value = "fs")]
    mode: String,
    /// The name of the backup
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The folder or file to back up
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Where the backup goes
    #[arg(long, value_name = "PLACE")]
    container: Option<String>,
    /// The sort of that place: local, s3, sftp, webdav
    #[arg(long, value_name = "STORAGE")]
    storage: Option<String>,
    /// Anything else of the action; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How often to try again when it failed
    #[arg(long, value_name = "NUMBER")]
    max_retries: Option<u32>,
    #[command(flatten)]
    when: When,
}

/// Runs `haulier job`.
pub(crate) async fn run(common: &Common, command: JobCommand, output: &Output) -> Outcome {
    let api = BackupApi::new(common, output)?;
    let (what, done) = match command {
        JobCommand::List { which, client } => ("cannot list the jobs", api.list_jobs(&which, client).await),
        JobCommand::Show { id } => ("cannot show the job", api.show("jobs", &id).await),
        JobCommand::Create(args) => ("cannot create the job", api.create_job(*args).await),
        JobCommand::Start { id } => ("cannot start the job", api.event(&id, "start").await),
        JobCommand::Stop { id } => ("cannot stop the job", api.event(&id, "stop").await),
        JobCommand::Abort { id } => ("cannot abort the job", api.event(&id, "abort").await),
        JobCommand::Delete { id } => ("cannot delete the job", api.delete("jobs", &id).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl BackupApi<'_> {
    async fn list_jobs(&self, which: &Which, client: Option<String>) -> Result<Exit> {
        let of_client = client.map(|client| json!({ "client_id": client })).into_iter().collect();
        let mut found = self.list("jobs", which, of_client).await?;
        let alarms = self.alarms("job_id").await?;
        for job in &mut found {
            let schedule = &job["job_schedule"];
            let word = |name: &str| schedule[name].as_str().filter(|word| !word.is_empty()).map(str::to_owned);
            let (status, result) = (word("status"), word("result"));
            let begun = schedule["time_started"].as_i64().filter(|seconds| *seconds > 0);
            let begun = begun.map(|seconds| Timestamp::from_micros(seconds.saturating_mul(1_000_000)).to_string());
            let alarm = job["job_id"].as_str().and_then(|id| alarms.get(id));
            let health = alarm.map_or("ok", |(word, _)| word);
            let why = alarm.map(|(_, why)| why.as_str());
            let more = [
                ("status", Value::from(status)),
                ("result", result.into()),
                ("started", begun.into()),
                ("health", health.into()),
                ("why", why.into()),
            ];
            if let Some(job) = job.as_object_mut() {
                job.extend(more.map(|(name, value)| (name.to_owned(), value)));
            }
        }
        self.output.documents(&found, COLUMNS);
        Ok(Exit::Done)
    }

    async fn create_job(&self, args: CreateArgs) -> Result<Exit> {
        let mut job = match &args.document {
            None => Map::new(),
            Some(file) => read_document(file)?,
        };
        if args.document.is_none() {
            job.insert("job_actions".to_owned(), json!([action(&args)?]));
        }
        let given = [("client_id", args.client), ("description", args.description)];
        job.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        let schedule = args.when.schedule()?;
        if args.document.is_none() || schedule.as_object().is_some_and(|schedule| !schedule.is_empty()) {
            job.insert("job_schedule".to_owned(), schedule);
        }
        let url = match &args.id {
            None => self.url(&["jobs"])?,
            Some(id) => self.url(&["jobs", id])?,
        };
        let made = self.ask(Method::POST, url, Some(&Value::Object(job))).await?;
        self.output.document(&made);
        Ok(Exit::Done)
    }

    async fn event(&self, id: &str, event: &str) -> Result<Exit> {
        let url = self.url(&["jobs", id, "event"])?;
        let body = Value::Object(Map::from_iter([(event.to_owned(), Value::Null)]));
        let answer = self.ask(Method::POST, url, Some(&body)).await?;
        self.output.document(&answer);
        Ok(Exit::Done)
    }
}

/// The one action of a job that is put together from arguments.
fn action(args: &CreateArgs) -> Result<Value> {
    let mut action = Map::from_iter([
        ("action".to_owned(), args.action.as_str().into()),
        ("mode".to_owned(), args.mode.as_str().into()),
    ]);
    // A restore says where to, and by the word of its own.
    let path = if args.action == "restore" { "restore_abs_path" } else { "path_to_backup" };
    let given =
        [("backup_name", &args.name), (path, &args.path), ("container", &args.container), ("storage", &args.storage)];
    action.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.into()))));
    action.extend(pairs(&args.set)?);
    let mut whole = json!({ "freezer_action": action });
    if let Some(retries) = args.max_retries {
        whole["max_retries"] = retries.into();
    }
    Ok(whole)
}

fn read_document(file: &std::path::Path) -> Result<Map<String, Value>> {
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| {
        let error = Error::from(error);
        Error::new(error.kind(), format!("{}: {error}", file.display()))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Error::invalid(format!("{}: is no JSON object: {error}", file.display())).caused_by(error))
}
