//! `haulier transfer`: the transfer API as commands.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use haulier_base::{Error, ErrorKind, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::Client;
use super::{Common, Exit, Failure, Format, Outcome, Output, interrupted};

/// How often a followed transfer is asked for.
const WATCH_EVERY: Duration = Duration::from_millis(300);
/// How long a followed transfer's server may be away before following ends.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// How many transfers one page brings.
const PAGE: usize = 1000;
const COLUMNS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("STATE", "state"),
    ("PROGRESS", "progress"),
    ("SOURCE", "source_url"),
    ("DESTINATION", "destination_url"),
];

/// What can be done with transfers.
#[derive(Subcommand)]
pub(crate) enum TransferCommand {
    /// Ask for a copy of one object
    #[command(after_help = "Example:\n  haulier transfer create file:///bin/bash file:///tmp/bash --wait")]
    Create(Box<CreateArgs>),
    /// List transfers, oldest first
    #[command(after_help = "Example:\n  haulier transfer list --state error --limit 20")]
    List {
        /// Only those in this state, such as running or STATE_ERROR; may be given several times
        #[arg(long)]
        state: Vec<String>,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one transfer
    #[command(after_help = "Example:\n  haulier transfer show 3f0c8a52-…")]
    Show {
        /// The transfer
        id: String,
    },
    /// Follow one transfer to its end
    #[command(after_help = "Example:\n  haulier transfer watch 3f0c8a52-… --timeout 60")]
    Watch {
        /// The transfer
        id: String,
        /// Stop following after this many seconds
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Stop one transfer
    #[command(after_help = "Example:\n  haulier transfer cancel 3f0c8a52-… --wait")]
    Cancel {
        /// The transfer
        id: String,
        /// Wait until it has stopped, 30 s at most
        #[arg(long)]
        wait: bool,
    },
    /// Let a failed transfer go on where it stopped
    #[command(after_help = "Example:\n  haulier transfer restart 3f0c8a52-…")]
    Restart {
        /// The transfer
        id: String,
    },
    /// Forget a finished transfer; what it copied stays
    #[command(after_help = "Example:\n  haulier transfer delete 3f0c8a52-…")]
    Delete {
        /// The transfer
        id: String,
    },
}

/// Arguments of `transfer create`.
#[derive(Args)]
pub(crate) struct CreateArgs {
    /// Where the bytes come from
    source: String,
    /// Where they go
    destination: String,
    /// First byte to copy
    #[arg(long, value_name = "N", default_value_t = 0)]
    start_offset: i64,
    /// End of the copy, exclusive; -1 is the end of the source
    #[arg(long, value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    end_offset: i64,
    /// Options of the source, as JSON or as @FILE
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    source_options: String,
    /// Options of the destination, as JSON or as @FILE
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    destination_options: String,
    /// Follow it to its end
    #[arg(long)]
    wait: bool,
    /// Stop following after this many seconds
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
    /// The same key within a day gives the same transfer
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Runs `haulier transfer`.
pub(crate) async fn run(common: &Common, command: TransferCommand, output: &Output) -> Outcome {
    let client = Client::new(common).map_err(|error| Failure::new("cannot talk to the server", error))?;
    let transfers = TransfersApi { client, output: *output };
    match command {
        TransferCommand::Create(args) => transfers.create_as_asked(*args).await,
        TransferCommand::List { state, limit } => {
            transfers.list(&state, limit).await.map_err(|error| Failure::new("cannot list the transfers", error))
        }
        TransferCommand::Show { id } => {
            let shown = transfers.get(&id).await;
            output.document(&shown.map_err(|error| Failure::new(format!("cannot show transfer {id}"), error))?);
            Ok(Exit::Done)
        }
        TransferCommand::Watch { id, timeout } => transfers.watch(&id, timeout).await,
        TransferCommand::Cancel { id, wait } => {
            let body = json!({"xferaction": "cancel", "async": !wait});
            let done = transfers.change("cancel", &id, Some(&body)).await?;
            Ok(if wait && !done { Exit::TimedOut } else { Exit::Done })
        }
        TransferCommand::Restart { id } => {
            transfers.change("restart", &id, Some(&json!({"xferaction": "restart"}))).await?;
            Ok(Exit::Done)
        }
        TransferCommand::Delete { id } => {
            transfers.change("delete", &id, None).await?;
            Ok(Exit::Done)
        }
    }
}

/// The transfers of one server.
pub(crate) struct TransfersApi {
    pub(crate) client: Client,
    pub(crate) output: Output,
}

impl TransfersApi {
    async fn create_as_asked(&self, args: CreateArgs) -> Outcome {
        let what = "cannot create the transfer";
        let options = |text: &str| json_argument(text).map_err(|error| Failure::new(what, error));
        let body = json!({
            "source_url": args.source, "destination_url": args.destination,
            "start_offset": args.start_offset, "end_offset": args.end_offset,
            "source_options": options(&args.source_options)?,
            "destination_options": options(&args.destination_options)?,
        });
        let made = self.create(&body, args.idempotency_key.as_deref()).await;
        let made = made.map_err(|error| Failure::new(what, error))?;
        let id = made["id"].as_str().unwrap_or_default();
        if args.wait {
            return self.watch(id, args.timeout).await;
        }
        match self.output.format() {
            Format::Table => self.output.line(id),
            _ => self.output.document(&made),
        }
        Ok(Exit::Done)
    }

    /// Asks for a transfer; its document.
    pub(crate) async fn create(&self, body: &Value, key: Option<&str>) -> Result<Value> {
        let url = self.client.url(&["v1", "transfers"])?;
        Ok(self.client.send(Method::POST, url, Some(body), key).await?.body)
    }

    async fn get(&self, id: &str) -> Result<Value> {
        let url = self.client.url(&["v1", "transfers", id])?;
        Ok(self.client.send(Method::GET, url, None, None).await?.body)
    }

    async fn list(&self, states: &[String], limit: Option<usize>) -> Result<Exit> {
        let mut left = limit.unwrap_or(usize::MAX);
        let mut url = self.client.url(&["v1", "transfers"])?;
        url.query_pairs_mut().append_pair("limit", &PAGE.min(left).to_string());
        if !states.is_empty() {
            let states: Vec<_> = states.iter().map(|state| state_name(state)).collect();
            url.query_pairs_mut().append_pair("filter", &json!({ "state": states }).to_string());
        }
        let mut documents = Vec::new();
        loop {
            let answer = self.client.send(Method::GET, url, None, None).await?;
            let Value::Array(page) = answer.body else {
                return Err(Error::internal("the server's answer is not a list"));
            };
            let page: Vec<Value> = page.into_iter().take(left).collect();
            left -= page.len();
            // Lines need not wait for the last page.
            if self.output.format() == Format::Ndjson {
                self.output.documents(&page, COLUMNS);
            } else {
                documents.extend(page);
            }
            match answer.next {
                Some(next) if left > 0 => url = next,
                _ => break,
            }
        }
        if self.output.format() != Format::Ndjson {
            self.output.documents(&documents, COLUMNS);
        }
        Ok(Exit::Done)
    }

    /// An action, or a delete when there is no body; true when its effect is complete.
    async fn change(&self, verb: &str, id: &str, body: Option<&Value>) -> Result<bool, Failure> {
        let sent = async {
            match body {
                Some(_) => {
                    let url = self.client.url(&["v1", "transfers", id, "action"])?;
                    self.client.send(Method::POST, url, body, None).await
                }
                None => {
                    let url = self.client.url(&["v1", "transfers", id])?;
                    self.client.send(Method::DELETE, url, None, None).await
                }
            }
        };
        let answer = sent.await.map_err(|error| {
            // The form of the request is ours, so a 400 can only speak of the transfer's state.
            let error = match error.kind() {
                ErrorKind::Invalid => Error::conflict(error.message()),
                _ => error,
            };
            Failure::new(format!("cannot {verb} transfer {id}"), error)
        })?;
        let done = answer.status == StatusCode::NO_CONTENT;
        self.output.remark(&format!("{verb}: {}", if done { "done" } else { "under way" }));
        Ok(done)
    }

    /// Follows a transfer to its end, or to the end of the caller's patience.
    pub(crate) async fn watch(&self, id: &str, timeout: Option<u64>) -> Outcome {
        let failed = |error| Failure::new(format!("cannot follow transfer {id}"), error);
        let deadline = timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut bar = None;
        let mut last_seen = Instant::now();
        let mut last_line = String::new();
        loop {
            let transfer = match self.get(id).await {
                // A server that restarts is worth waiting for; the transfer goes on by itself.
                Err(error) if error.is_temporary() && last_seen.elapsed() < AWAY_MAX => Value::Null,
                other => other.map_err(failed)?,
            };
            if let Some(state) = transfer["state"].as_str() {
                last_seen = Instant::now();
                let progress = transfer["progress"].as_u64().unwrap_or(0);
                bar.get_or_insert_with(|| self.output.progress(length_of(&transfer))).set_position(progress);
                let line = format!("{state} {progress}");
                if !self.output.is_interactive() && line != last_line {
                    self.output.remark(&line);
                    last_line = line;
                }
                if let Some(exit) = end_of(state) {
                    bar.iter().for_each(indicatif::ProgressBar::finish_and_clear);
                    self.output.document(&transfer);
                    return Ok(exit);
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.output.remark(&format!("transfer {id} goes on; haulier transfer watch {id} follows it again"));
                return Ok(Exit::TimedOut);
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH_EVERY) => {}
                () = interrupted() => {
                    self.output.remark(&format!("transfer {id} goes on; haulier transfer cancel {id} stops it"));
                    return Ok(Exit::Interrupted);
                }
            }
        }
    }
}

/// How a state ends a watch; none while the transfer is under way.
fn end_of(state: &str) -> Option<Exit> {
    match state {
        "STATE_COMPLETE" => Some(Exit::Done),
        "STATE_ERROR" | "STATE_CANCELED" => Some(Exit::Failed),
        _ => None,
    }
}

/// How many bytes a transfer moves, when its document says so.
fn length_of(transfer: &Value) -> Option<u64> {
    let end = transfer["end_offset"].as_u64()?;
    Some(end.saturating_sub(transfer["start_offset"].as_u64()?))
}

/// `error` and `STATE_ERROR` mean the same.
fn state_name(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("STATE_") { upper } else { format!("STATE_{upper}") }
}

/// JSON as it stands, or from a file after `@`; files keep secrets out of the process list.
pub(super) fn json_argument(text: &str) -> Result<Value> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            let error = Error::from(error);
            Error::new(error.kind(), format!("{path} cannot be read: {error}"))
        })?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Error::invalid(format!("the argument is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_understood_in_both_forms() {
        assert_eq!(state_name("error"), "STATE_ERROR");
        assert_eq!(state_name("STATE_NEW"), "STATE_NEW");
    }

    #[test]
    fn options_come_from_text_or_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("options.json");
        std::fs::write(&path, "{\"a\": 1}").unwrap();
        assert_eq!(json_argument(&format!("@{}", path.display())).unwrap(), json!({"a": 1}));
        assert_eq!(json_argument("{").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(json_argument("@/no/such").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
