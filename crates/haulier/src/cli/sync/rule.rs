//! `haulier rule`: which entry holds which files.

use clap::Subcommand;
use haulier_base::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::transfer::json_argument;
use super::super::{Common, Exit, Failure, Format, Outcome, Output};
use super::{SyncApi, items, joined};

const COLUMNS: &[(&str, &str)] = &[("MATCH", "match"), ("SYNC", "sync"), ("BAN", "ban")];
const STEP_COLUMNS: &[(&str, &str)] =
    &[("RULE", "rule"), ("MATCHES", "matches"), ("WHY NOT", "why_not"), ("OWNERS", "owners"), ("TEXT", "text")];

/// What can be done with rules.
#[derive(Subcommand)]
pub(crate) enum RuleCommand {
    /// List the rules as they were put; they need not be in force
    #[command(after_help = "Example:\n  haulier rule list")]
    List,
    /// Store a list of rules, which is in force after a reload
    #[command(
        after_help = "Example:\n  haulier rule set '[{\"match\": {\"path\": \"/docs/\"}, \"sync\": [\"A\", \"B\"]}]'"
    )]
    Set {
        /// The list, as JSON or as @FILE
        rules: String,
        /// Store nothing, and say how much would be copied
        #[arg(long)]
        dry_run: bool,
    },
    /// Put the stored rules in force
    #[command(after_help = "Example:\n  haulier rule reload --dry-run")]
    Reload {
        /// Change nothing, and say how much would be copied
        #[arg(long)]
        dry_run: bool,
    },
    /// Say which rules decide about a name, and why
    #[command(after_help = "Example:\n  haulier rule test docs/report.pdf --entry A")]
    Test {
        /// The name of a file, which need not exist
        path: String,
        /// The entry that its change comes from; that of the file's last version when it is left out
        #[arg(long, value_name = "NAME")]
        entry: Option<String>,
        /// Its size in bytes; that of the file when it is left out
        #[arg(long, value_name = "N")]
        size: Option<u64>,
        /// Ask the stored rules, also when they are not in force
        #[arg(long)]
        stored: bool,
    },
}

/// Runs `haulier rule`.
pub(crate) async fn run(common: &Common, command: RuleCommand, output: &Output) -> Outcome {
    let api = SyncApi::new(common, output)?;
    let (what, done) = match command {
        RuleCommand::List => ("cannot list the rules", api.list_rules().await),
        RuleCommand::Set { rules, dry_run } => ("cannot store the rules", api.set_rules(&rules, dry_run).await),
        RuleCommand::Reload { dry_run } => ("cannot reload the rules", api.reload(dry_run).await),
        RuleCommand::Test { path, entry, size, stored } => {
            ("cannot test the rules", api.test(&path, entry.as_deref(), size, stored).await)
        }
    };
    done.map_err(|error| Failure::new(what, error))
}

impl SyncApi<'_> {
    async fn list_rules(&self) -> Result<Exit> {
        let mut rules = items(self.ask(Method::GET, self.api(&["rules"])?, None).await?["rules"].take())?;
        if self.output.format() == Format::Table {
            for rule in &mut rules {
                (rule["sync"], rule["ban"]) = (joined(&rule["sync"]), joined(&rule["ban"]));
            }
        }
        self.output.documents(&rules, COLUMNS);
        Ok(Exit::Done)
    }

    async fn set_rules(&self, rules: &str, dry_run: bool) -> Result<Exit> {
        let rules = json_argument(rules)?;
        // A whole document is as good as its list.
        let body = if rules["rules"].is_array() { rules } else { json!({ "rules": rules }) };
        self.change(self.api(&["rules"])?, dry_run, Some(&body)).await
    }

    async fn reload(&self, dry_run: bool) -> Result<Exit> {
        self.change(self.api(&["rules", "reload"])?, dry_run, None).await
    }

    async fn change(&self, mut url: url::Url, dry_run: bool, body: Option<&Value>) -> Result<Exit> {
        if dry_run {
            url.query_pairs_mut().append_pair("dry_run", "true");
        }
        let answer = self.ask(Method::PUT, url, body).await?;
        self.output.document(if dry_run { &answer["dry_run"] } else { &answer });
        Ok(Exit::Done)
    }

    async fn test(&self, path: &str, entry: Option<&str>, size: Option<u64>, stored: bool) -> Result<Exit> {
        let mut url = self.own(&["rules", "explain"])?;
        url.query_pairs_mut().append_pair("name", path);
        if let Some(entry) = entry {
            url.query_pairs_mut().append_pair("entry", entry);
        }
        if let Some(size) = size {
            url.query_pairs_mut().append_pair("size", &size.to_string());
        }
        if stored {
            url.query_pairs_mut().append_pair("stored", "true");
        }
        let mut why = self.ask(Method::GET, url, None).await?;
        if self.output.format() != Format::Table {
            self.output.document(&why);
            return Ok(Exit::Done);
        }
        let mut steps = items(why["steps"].take())?;
        steps.iter_mut().for_each(|step| step["owners"] = joined(&step["owners"]));
        self.output.documents(&steps, STEP_COLUMNS);
        why["owners"] = joined(&why["owners"]);
        self.output.document(&why);
        Ok(Exit::Done)
    }
}
