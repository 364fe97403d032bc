//! `haulier entry`, `rule`, `file` and `conflict`: the sync API as commands.

pub(crate) mod conflict;
pub(crate) mod entry;
pub(crate) mod file;
pub(crate) mod rule;

use haulier_base::Result;
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, items};
use super::{Common, Exit, Failure, Output};

/// A server's sync API and where to print.
struct SyncApi<'a> {
    client: Client,
    output: &'a Output,
}

impl<'a> SyncApi<'a> {
    fn new(common: &Common, output: &'a Output) -> Result<Self, Failure> {
        let client = Client::new(common).map_err(|error| Failure::new("cannot talk to the server", error))?;
        Ok(Self { client, output })
    }

    /// A path of the contract's API.
    fn api(&self, rest: &[&str]) -> Result<url::Url> {
        self.client.url(&[&["api", "v1.0"], rest].concat())
    }

    /// A path of our own.
    fn own(&self, rest: &[&str]) -> Result<url::Url> {
        self.client.url(&[&["haulier", "v1", "sync"], rest].concat())
    }

    async fn ask(&self, method: Method, url: url::Url, body: Option<&Value>) -> Result<Value> {
        Ok(self.client.send(method, url, body, None).await?.body)
    }

    /// One request whose answer is printed as it is.
    async fn show(&self, method: Method, url: url::Url, body: Option<&Value>) -> Result<Exit> {
        let answer = self.ask(method, url, body).await?;
        if !answer.is_null() {
            self.output.document(&answer);
        }
        Ok(Exit::Done)
    }
}

/// A list of texts as one cell.
fn joined(list: &Value) -> Value {
    let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    Value::from(names.collect::<Vec<_>>().join(", "))
}
