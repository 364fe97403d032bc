//! `haulier location`: named storage with credentials, as commands over the API.

use clap::{Args, Subcommand};
use haulier_base::Result;
use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::transfer::options_argument;
use super::{Common, Exit, Failure, Format, Outcome, Output};

const COLUMNS: &[(&str, &str)] = &[("NAME", "name"), ("URL", "url"), ("ORIGIN", "origin"), ("CREATED", "created_at")];
const STEP_COLUMNS: &[(&str, &str)] = &[("STEP", "step"), ("OK", "ok"), ("MS", "took_ms"), ("ERROR", "error")];

/// What can be done with locations.
#[derive(Subcommand)]
pub(crate) enum LocationCommand {
    /// Give a place a name
    #[command(after_help = "Example:\n  haulier location create archive s3://bucket/prefix --options @archive.json")]
    Create(CreateArgs),
    /// List the locations you may use
    #[command(after_help = "Example:\n  haulier location list")]
    List,
    /// Show one location, without its secrets
    #[command(after_help = "Example:\n  haulier location show archive")]
    Show {
        /// The location
        name: String,
    },
    /// Forget a location; what it names stays
    #[command(after_help = "Example:\n  haulier location delete archive")]
    Delete {
        /// The location
        name: String,
    },
    /// Open a location and look into it
    #[command(after_help = "Example:\n  haulier location test archive --write")]
    Test {
        /// The location
        name: String,
        /// Also write, read and delete a small object
        #[arg(long)]
        write: bool,
    },
}

/// Arguments of `location create`.
#[derive(Args)]
pub(crate) struct CreateArgs {
    /// 2 to 63 lower-case letters, digits or "-"
    name: String,
    /// What NAME:path appends its path to
    url: String,
    /// Options of the storage, as JSON or as @FILE; secrets in a file only
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    options: String,
}

/// Runs `haulier location`.
pub(crate) async fn run(common: &Common, command: LocationCommand, output: &Output) -> Outcome {
    let client = Client::new(common).map_err(|error| Failure::new("cannot talk to the server", error))?;
    let locations = LocationsApi { client, output };
    let (what, done) = match command {
        LocationCommand::Create(args) => ("cannot create the location", locations.create(args).await),
        LocationCommand::List => ("cannot list the locations", locations.list().await),
        LocationCommand::Show { name } => ("cannot show the location", locations.show(&name).await),
        LocationCommand::Delete { name } => ("cannot delete the location", locations.delete(&name).await),
        LocationCommand::Test { name, write } => ("cannot test the location", locations.test(&name, write).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

struct LocationsApi<'a> {
    client: Client,
    output: &'a Output,
}

impl LocationsApi<'_> {
    fn url(&self, rest: &[&str]) -> Result<url::Url> {
        self.client.url(&[&["haulier", "v1", "locations"], rest].concat())
    }

    async fn create(&self, args: CreateArgs) -> Result<Exit> {
        let options = options_argument(&args.url, &args.options)?;
        let body = json!({ "name": args.name, "url": args.url, "options": options });
        let made = self.client.send(Method::POST, self.url(&[])?, Some(&body), None).await?;
        self.output.document(&made.body);
        Ok(Exit::Done)
    }

    async fn list(&self) -> Result<Exit> {
        let found = self.client.pages(self.url(&[])?, "locations", "after").await?;
        self.output.documents(&found, COLUMNS);
        Ok(Exit::Done)
    }

    async fn show(&self, name: &str) -> Result<Exit> {
        let found = self.client.send(Method::GET, self.url(&[name])?, None, None).await?;
        self.output.document(&found.body);
        Ok(Exit::Done)
    }

    async fn delete(&self, name: &str) -> Result<Exit> {
        self.client.send(Method::DELETE, self.url(&[name])?, None, None).await?;
        Ok(Exit::Done)
    }

    async fn test(&self, name: &str, write: bool) -> Result<Exit> {
        let body = json!({ "write": write });
        let trial = self.client.send(Method::POST, self.url(&[name, "test"])?, Some(&body), None).await?.body;
        match (self.output.format(), trial["steps"].as_array()) {
            (Format::Table, Some(steps)) => self.output.documents(steps, STEP_COLUMNS),
            _ => self.output.document(&trial),
        }
        Ok(if trial["ok"] == true { Exit::Done } else { Exit::Failed })
    }
}
