//! `haulier site`: the sites that hold the same objects.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use haulier_base::{Error, Result};
use reqwest::Method;
use serde_json::json;

use super::super::{Common, Exit, Failure, Outcome, Output};
use super::ReplicationApi;

const COLUMNS: &[(&str, &str)] =
    &[("ID", "id"), ("NAME", "name"), ("URI", "uri"), ("STATUS", "status"), ("TOKEN", "has_token")];

/// What can be done with sites.
#[derive(Subcommand)]
pub(crate) enum SiteCommand {
    /// Tell this site about another one; tell that one about this one too
    #[command(after_help = "Example:\n  haulier site add lyon https://lyon.example:3862 --site-token-file lyon.token")]
    Add(AddArgs),
    /// List the other sites
    #[command(after_help = "Example:\n  haulier site list")]
    List,
    /// Show one site
    #[command(after_help = "Example:\n  haulier site show lyon")]
    Show {
        /// The site
        id: String,
    },
    /// Forget a site, and the orders that wait for it
    #[command(after_help = "Example:\n  haulier site remove lyon")]
    Remove {
        /// The site
        id: String,
    },
    /// Say that a site is up, or that it is down for a while; its orders wait
    #[command(after_help = "Example:\n  haulier site status lyon DOWN")]
    Status {
        /// The site
        id: String,
        /// UP, DOWN, DELETED or UNKNOWN
        status: String,
    },
}

/// Arguments of `site add`.
#[derive(Args)]
pub(crate) struct AddArgs {
    /// What the site calls itself
    id: String,
    /// Where it listens
    uri: String,
    /// A name for people; the id when left out
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A file with the token that the site takes from this one
    #[arg(long, value_name = "FILE")]
    site_token_file: Option<PathBuf>,
}

/// Runs `haulier site`.
pub(crate) async fn run(common: &Common, command: SiteCommand, output: &Output) -> Outcome {
    let api = ReplicationApi::new(common, output)?;
    let (what, done) = match command {
        SiteCommand::Add(args) => ("cannot add the site", api.add_site(args).await),
        SiteCommand::List => ("cannot list the sites", api.list_sites().await),
        SiteCommand::Show { id } => ("cannot show the site", api.site(Method::GET, &id).await),
        SiteCommand::Remove { id } => ("cannot remove the site", api.site(Method::DELETE, &id).await),
        SiteCommand::Status { id, status } => ("cannot change the site", api.set_site(&id, &status).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl ReplicationApi<'_> {
    async fn add_site(&self, args: AddArgs) -> Result<Exit> {
        let token = match &args.site_token_file {
            None => None,
            Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
                let error = Error::from(error);
                Error::new(error.kind(), format!("the token file {} cannot be read: {error}", file.display()))
            })?),
        };
        let mut body = json!({
            "id": args.id, "name": args.name.as_ref().unwrap_or(&args.id), "uri": args.uri, "status": "UP",
        });
        if let Some(token) = token {
            body["token"] = token.trim().into();
        }
        let made = self.ask(Method::POST, self.own(&["sites"])?, Some(&body)).await?;
        Ok(self.shown(&made))
    }

    async fn list_sites(&self) -> Result<Exit> {
        let found = self.ask(Method::GET, self.own(&["sites"])?, None).await?;
        self.output.documents(found.as_array().map_or(&[], Vec::as_slice), COLUMNS);
        Ok(Exit::Done)
    }

    async fn site(&self, method: Method, id: &str) -> Result<Exit> {
        Ok(self.shown(&self.ask(method, self.own(&["sites", id])?, None).await?))
    }

    async fn set_site(&self, id: &str, status: &str) -> Result<Exit> {
        let mut topology = self.ask(Method::GET, self.client.url(&["administration", "topologies", id])?, None).await?;
        topology["status"] = status.to_uppercase().into();
        let url = self.client.url(&["administration", "topologies"])?;
        Ok(self.shown(&self.ask(Method::PUT, url, Some(&topology)).await?))
    }
}
