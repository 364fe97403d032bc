//! `haulier entry`: the storages that sync keeps in step.

use clap::{Args, Subcommand};
use haulier_base::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::transfer::json_argument;
use super::super::{Common, Exit, Failure, Format, Outcome, Output};
use super::{SyncApi, items};

const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("DRIVER", "driver"),
    ("STATUS", "status"),
    ("FILES LEFT", "files_left"),
    ("BYTES LEFT", "bytes_left"),
    ("PROBLEM", "problem"),
];

/// What can be done with entries.
#[derive(Subcommand)]
pub(crate) enum EntryCommand {
    /// List the entries, what they are doing and what is left to be done
    #[command(after_help = "Example:\n  haulier entry list")]
    List,
    /// Show one entry: its options, its status and how far its work is
    #[command(after_help = "Example:\n  haulier entry show A")]
    Show {
        /// The entry
        name: String,
    },
    /// Add an entry and start it
    #[command(
        after_help = "Example:\n  haulier entry add photos local_storage --options '{\"root\": \"/srv/photos\"}'"
    )]
    Add(AddArgs),
    /// Forget an entry that was added; its files stay
    #[command(after_help = "Example:\n  haulier entry remove photos")]
    Remove {
        /// The entry
        name: String,
        /// Also forget versions that only this entry has and others wait for
        #[arg(long)]
        force: bool,
    },
    /// Start an entry
    #[command(after_help = "Example:\n  haulier entry start A")]
    Start {
        /// The entry
        name: String,
    },
    /// Stop an entry: it is neither watched nor read nor written until it is started
    #[command(after_help = "Example:\n  haulier entry stop A")]
    Stop {
        /// The entry
        name: String,
    },
    /// Stop and start an entry, and scan it whole
    #[command(after_help = "Example:\n  haulier entry restart A --force")]
    Restart {
        /// The entry
        name: String,
        /// Believe deletions that were held back, and a root that is not the one it was
        #[arg(long)]
        force: bool,
    },
    /// Show what the work of an entry costs
    #[command(after_help = "Example:\n  haulier entry stats A")]
    Stats {
        /// The entry
        name: String,
    },
}

/// Arguments of `entry add`.
#[derive(Args)]
pub(crate) struct AddArgs {
    /// Its name
    name: String,
    /// local_storage, amazon_s3, sftp or webdav
    driver: String,
    /// Options of the driver, as JSON or as @FILE; give secrets in a file, so that no other user sees them
    #[arg(long, value_name = "JSON")]
    options: String,
}

/// Runs `haulier entry`.
pub(crate) async fn run(common: &Common, command: EntryCommand, output: &Output) -> Outcome {
    let api = SyncApi::new(common, output)?;
    let action = |name: String, verb: &'static str, force: bool| api.act(name, verb, force);
    let (what, done) = match command {
        EntryCommand::List => ("cannot list the entries", api.list_entries().await),
        EntryCommand::Show { name } => ("cannot show the entry", api.show_entry(&name).await),
        EntryCommand::Add(args) => ("cannot add the entry", api.add_entry(args).await),
        EntryCommand::Remove { name, force } => ("cannot remove the entry", api.remove_entry(&name, force).await),
        EntryCommand::Start { name } => ("cannot start the entry", action(name, "start", false).await),
        EntryCommand::Stop { name } => ("cannot stop the entry", action(name, "stop", false).await),
        EntryCommand::Restart { name, force } => ("cannot restart the entry", action(name, "restart", force).await),
        EntryCommand::Stats { name } => ("cannot show the figures", api.stats(&name).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl SyncApi<'_> {
    /// An entry with its status and progress.
    async fn whole(&self, mut entry: Value) -> Result<Value> {
        let name = entry["name"].as_str().unwrap_or_default().to_owned();
        let status = self.ask(Method::GET, self.api(&["entries", &name, "status"])?, None).await?;
        let progress = self.ask(Method::GET, self.own(&["entries", &name, "progress"])?, None).await?;
        for (member, value) in [&progress, &status].into_iter().flat_map(|from| from.as_object().into_iter().flatten())
        {
            if member != "time" {
                entry[member] = value.clone();
            }
        }
        Ok(entry)
    }

    async fn list_entries(&self) -> Result<Exit> {
        let mut answer = self.ask(Method::GET, self.api(&["entries"])?, None).await?;
        let mut found = Vec::new();
        for entry in items(answer["entries"].take())? {
            found.push(self.whole(entry).await?);
        }
        self.output.documents(&found, COLUMNS);
        Ok(Exit::Done)
    }

    async fn show_entry(&self, name: &str) -> Result<Exit> {
        let entry = self.ask(Method::GET, self.api(&["entries", name])?, None).await?;
        self.output.document(&self.whole(entry).await?);
        Ok(Exit::Done)
    }

    async fn add_entry(&self, args: AddArgs) -> Result<Exit> {
        let body = json!({ "name": args.name, "driver": args.driver, "options": json_argument(&args.options)? });
        self.show(Method::POST, self.own(&["entries"])?, Some(&body)).await
    }

    async fn remove_entry(&self, name: &str, force: bool) -> Result<Exit> {
        let mut url = self.own(&["entries", name])?;
        if force {
            url.query_pairs_mut().append_pair("force", "1");
        }
        self.show(Method::DELETE, url, None).await
    }

    async fn act(&self, name: String, verb: &str, force: bool) -> Result<Exit> {
        let mut url = self.api(&["entries", &name, verb])?;
        if force {
            url.query_pairs_mut().append_pair("force", "1");
        }
        self.show(Method::PUT, url, None).await
    }

    async fn stats(&self, name: &str) -> Result<Exit> {
        let stats = self.ask(Method::GET, self.api(&["entries", name, "stats"])?, None).await?;
        match self.output.format() {
            Format::Table => self.output.document(&stats["info"]),
            _ => self.output.document(&stats),
        }
        Ok(Exit::Done)
    }
}
