//! `haulier file`: the files that sync knows, and their old versions.

use clap::Subcommand;
use haulier_base::Result;
use reqwest::Method;

use super::super::{Common, Exit, Failure, Format, Outcome, Output};
use super::{SyncApi, items, joined};

/// How many files one page brings.
const PAGE: u64 = 1000;
const COLUMNS: &[(&str, &str)] =
    &[("NAME", "filename"), ("SIZE", "size"), ("OWNERS", "owners"), ("UP TO DATE", "uptodate")];
const VERSION_COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("NAME", "filename"),
    ("ENTRY", "entry"),
    ("SIZE", "size_bytes"),
    ("REASON", "reason"),
    ("KEPT", "kept_at"),
];

/// What can be done with files.
#[derive(Subcommand)]
pub(crate) enum FileCommand {
    /// List the files of all entries
    #[command(after_help = "Example:\n  haulier file list --limit 20")]
    List {
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Show one file
    #[command(after_help = "Example:\n  haulier file show docs/report.pdf")]
    Show {
        /// Its name
        name: String,
    },
    /// List old versions, oldest first
    #[command(after_help = "Example:\n  haulier file versions docs/report.pdf")]
    Versions {
        /// Only those of this file
        name: Option<String>,
    },
    /// Put an old version back in its place
    #[command(after_help = "Example:\n  haulier file restore 0192f0c1-…")]
    Restore {
        /// The version, as `file versions` lists it
        id: String,
    },
}

/// Runs `haulier file`.
pub(crate) async fn run(common: &Common, command: FileCommand, output: &Output) -> Outcome {
    let api = SyncApi::new(common, output)?;
    let (what, done) = match command {
        FileCommand::List { limit } => ("cannot list the files", api.list_files(limit).await),
        FileCommand::Show { name } => ("cannot show the file", api.show_file(&name).await),
        FileCommand::Versions { name } => ("cannot list the versions", api.versions(name.as_deref()).await),
        FileCommand::Restore { id } => ("cannot restore the version", api.restore(&id).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl SyncApi<'_> {
    async fn list_files(&self, limit: Option<u64>) -> Result<Exit> {
        let mut found = Vec::new();
        loop {
            let want = limit.map_or(PAGE, |limit| PAGE.min(limit.saturating_sub(found.len() as u64)));
            let mut url = self.api(&["files"])?;
            let (offset, limit) = (found.len().to_string(), want.to_string());
            url.query_pairs_mut().append_pair("offset", &offset).append_pair("limit", &limit);
            let mut page = items(self.ask(Method::GET, url, None).await?["files"].take())?;
            let last = (page.len() as u64) < PAGE;
            if self.output.format() == Format::Table {
                for file in &mut page {
                    (file["owners"], file["uptodate"]) = (joined(&file["owners"]), joined(&file["uptodate"]));
                }
            }
            found.extend(page);
            if last {
                break;
            }
        }
        self.output.documents(&found, COLUMNS);
        Ok(Exit::Done)
    }

    async fn show_file(&self, name: &str) -> Result<Exit> {
        let name = name.trim_start_matches('/');
        let ids = self.ask(Method::GET, self.api(&["files", "id", name])?, None).await?;
        let fid = ids[name].as_str().unwrap_or_default();
        self.show(Method::GET, self.api(&["files", fid, "metadata"])?, None).await
    }

    async fn versions(&self, name: Option<&str>) -> Result<Exit> {
        let mut url = self.own(&["versions"])?;
        if let Some(name) = name {
            url.query_pairs_mut().append_pair("name", name);
        }
        let found = self.client.pages(url, "versions", "after").await?;
        self.output.documents(&found, VERSION_COLUMNS);
        Ok(Exit::Done)
    }

    async fn restore(&self, id: &str) -> Result<Exit> {
        self.show(Method::POST, self.own(&["versions", id, "restore"])?, None).await
    }
}
