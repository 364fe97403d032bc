//! `haulier client`, `job` and `session`: the backup API as commands.

pub(crate) mod client;
pub(crate) mod job;
pub(crate) mod session;

use std::collections::HashMap;

use haulier_base::{Error, Result};
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

use super::client::{Client, items};
use super::{Common, Exit, Failure, Output};

/// So many alarms of each sort are asked for.
const ALARMS: &str = "100000";

/// Which documents are listed.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Which {
    /// List at most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Leave out so many before
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    offset: u32,
    /// Only those with this word in any text, or where FIELD has VALUE; may be given several times
    #[arg(long, value_name = "WORD|FIELD=VALUE")]
    find: Vec<String>,
}

impl Which {
    /// What a search asks for.
    fn clauses(&self) -> Vec<Value> {
        let clause = |text: &String| match text.split_once('=') {
            Some((field, value)) => Value::Object(Map::from_iter([(field.to_owned(), value.into())])),
            None => json!({ "_all": text }),
        };
        self.find.iter().map(clause).collect()
    }
}

/// A server's backup API and where to print.
struct BackupApi<'a> {
    client: Client,
    output: &'a Output,
}

impl<'a> BackupApi<'a> {
    fn new(common: &Common, output: &'a Output) -> Result<Self, Failure> {
        let client = Client::new(common).map_err(|error| Failure::new("cannot talk to the server", error))?;
        Ok(Self { client, output })
    }

    fn url(&self, segments: &[&str]) -> Result<Url> {
        self.client.url(&[&["v1"], segments].concat())
    }

    async fn ask(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value> {
        Ok(self.client.send(method, url, body, None).await?.body)
    }

    /// The documents of a collection for which more clauses hold than those of the command line.
    async fn list(&self, plural: &str, which: &Which, more: Vec<Value>) -> Result<Vec<Value>> {
        let mut url = self.url(&[plural])?;
        url.query_pairs_mut()
            .append_pair("limit", &which.limit.to_string())
            .append_pair("offset", &which.offset.to_string());
        let clauses: Vec<_> = which.clauses().into_iter().chain(more).collect();
        let body = if clauses.is_empty() { json!({}) } else { json!({ "match": clauses }) };
        items(self.ask(Method::GET, url, Some(&body)).await?[plural].take())
    }

    async fn show(&self, plural: &str, id: &str) -> Result<Exit> {
        let found = self.ask(Method::GET, self.url(&[plural, id])?, None).await?;
        self.output.document(&found);
        Ok(Exit::Done)
    }

    /// Deletes what is there: the API itself takes no notice of what is not, and a person wants to know.
    async fn delete(&self, plural: &str, id: &str) -> Result<Exit> {
        self.ask(Method::GET, self.url(&[plural, id])?, None).await?;
        self.ask(Method::DELETE, self.url(&[plural, id])?, None).await?;
        Ok(Exit::Done)
    }

    /// What is wrong, by the identifiers of what it is about: a word and a sentence.
    async fn alarms(&self, member: &str) -> Result<HashMap<String, (String, String)>> {
        let mut url = self.client.url(&["haulier", "v1", "backup", "health"])?;
        url.query_pairs_mut().append_pair("limit", ALARMS);
        let mut health = self.ask(Method::GET, url, None).await?;
        let mut found: HashMap<String, (String, String)> = HashMap::new();
        for alarm in items(health["alarms"].take())? {
            let text = |name: &str| alarm[name].as_str().unwrap_or_default().to_owned();
            if member == "client_id" && alarm["alarm"] != "silent" {
                continue;
            }
            let Some(id) = alarm[member].as_str() else { continue };
            let entry = found.entry(id.to_owned()).or_default();
            for (known, new) in [(&mut entry.0, text("alarm")), (&mut entry.1, text("why"))] {
                if !known.is_empty() {
                    known.push_str("; ");
                }
                known.push_str(&new);
            }
        }
        Ok(found)
    }
}

/// `KEY=VALUE` pairs as an object. A value that is JSON, such as a number, keeps its type.
fn pairs(texts: &[String]) -> Result<Map<String, Value>> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| Error::invalid(format!("{text:?} is no KEY=VALUE")))?;
        Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
    };
    texts.iter().map(pair).collect()
}

/// When a job or a session runs.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct When {
    /// Run again and again, such as "5 minutes" or "1 days", or "continuous"
    #[arg(long, value_name = "SPAN", conflicts_with = "date")]
    interval: Option<String>,
    /// Run once at a date, such as 2026-11-21T20:00:00
    #[arg(long, value_name = "DATE")]
    date: Option<String>,
    /// Not before this date
    #[arg(long, value_name = "DATE")]
    start_date: Option<String>,
    /// Not after this date
    #[arg(long, value_name = "DATE")]
    end_date: Option<String>,
    /// Run by a calendar: year, month, day, week, day_of_week, hour, minute or second, such as hour=3
    #[arg(long, value_name = "FIELD=VALUE", conflicts_with_all = ["interval", "date"])]
    at: Vec<String>,
}

impl When {
    fn schedule(&self) -> Result<Value> {
        let mut schedule = Map::new();
        let given = [
            ("schedule_interval", &self.interval),
            ("schedule_date", &self.date),
            ("schedule_start_date", &self.start_date),
            ("schedule_end_date", &self.end_date),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                schedule.insert(name.to_owned(), value.as_str().into());
            }
        }
        for text in &self.at {
            let (field, value) =
                text.split_once('=').ok_or_else(|| Error::invalid(format!("{text:?} is no FIELD=VALUE")))?;
            schedule.insert(format!("schedule_{field}"), value.into());
        }
        Ok(schedule.into())
    }
}
