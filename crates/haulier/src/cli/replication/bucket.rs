//! `haulier bucket`: what objects lie in.

use clap::Subcommand;
use haulier_base::Result;
use reqwest::Method;
use serde_json::Value;

use super::super::{Common, Exit, Failure, Outcome, Output};
use super::{AsClient, ReplicationApi};

const COLUMNS: &[(&str, &str)] =
    &[("NAME", "id"), ("CLIENT", "clientId"), ("SITE", "site"), ("STATUS", "status"), ("CREATED", "creation")];

/// What can be done with buckets.
#[derive(Subcommand)]
pub(crate) enum BucketCommand {
    /// Create a bucket, here and at every other site
    #[command(after_help = "Example:\n  haulier bucket create photos --client studio")]
    Create {
        /// 3 to 63 of a-z, 0-9 and "-"; unique at all sites
        name: String,
        #[command(flatten)]
        client: AsClient,
    },
    /// List the client's buckets
    #[command(after_help = "Example:\n  haulier bucket list --client studio")]
    List {
        #[command(flatten)]
        client: AsClient,
    },
    /// Show one bucket
    #[command(after_help = "Example:\n  haulier bucket show photos --client studio")]
    Show {
        /// The bucket
        name: String,
        #[command(flatten)]
        client: AsClient,
    },
    /// Delete an empty bucket, here and at every other site
    #[command(after_help = "Example:\n  haulier bucket delete photos --client studio")]
    Delete {
        /// The bucket
        name: String,
        #[command(flatten)]
        client: AsClient,
    },
}

/// Runs `haulier bucket`.
pub(crate) async fn run(common: &Common, command: BucketCommand, output: &Output) -> Outcome {
    let api = ReplicationApi::new(common, output)?;
    let (what, done) = match command {
        BucketCommand::Create { name, client } => {
            ("cannot create the bucket", api.bucket(Method::POST, &name, &client).await)
        }
        BucketCommand::List { client } => ("cannot list the buckets", api.buckets(&client).await),
        BucketCommand::Show { name, client } => {
            ("cannot show the bucket", api.bucket(Method::GET, &name, &client).await)
        }
        BucketCommand::Delete { name, client } => {
            ("cannot delete the bucket", api.bucket(Method::DELETE, &name, &client).await)
        }
    };
    done.map_err(|error| Failure::new(what, error))
}

impl ReplicationApi<'_> {
    async fn bucket(&self, method: Method, name: &str, client: &AsClient) -> Result<Exit> {
        let request = self.by(client, method, self.stored(name, None)?)?;
        Ok(self.shown(&self.json(request).await?))
    }

    async fn buckets(&self, client: &AsClient) -> Result<Exit> {
        let request = self.by(client, Method::GET, self.client.url(&["cloudclonestore"])?)?;
        let found = self.json(request).await?;
        self.output.documents(found.as_array().map_or(&[] as &[Value], Vec::as_slice), COLUMNS);
        Ok(Exit::Done)
    }
}
