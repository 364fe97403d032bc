//! `haulier site`, `bucket`, `object` and `replica`: the replication API as commands.

pub(crate) mod bucket;
pub(crate) mod object;
pub(crate) mod replica;
pub(crate) mod site;

use haulier_base::{Error, Result};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use url::Url;

use super::client::{Client, broken_off};
use super::{Common, Exit, Failure, Output};

/// The header that says who is asking.
const CLIENT_ID: &str = "x-clonecloudstore-client-id";

/// As which client buckets and objects are touched.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct AsClient {
    /// The client id: 3 to 63 of a-z, 0-9 and "-"
    #[arg(long = "client", value_name = "ID", env = "HAULIER_CLIENT_ID", default_value = "haulier")]
    id: String,
}

/// A server's replication API and where to print.
struct ReplicationApi<'a> {
    client: Client,
    output: &'a Output,
}

impl<'a> ReplicationApi<'a> {
    fn new(common: &Common, output: &'a Output) -> Result<Self, Failure> {
        let client = Client::new(common).map_err(|error| Failure::new("cannot talk to the server", error))?;
        Ok(Self { client, output })
    }

    /// A path of our own.
    fn own(&self, rest: &[&str]) -> Result<Url> {
        self.client.url(&[&["haulier", "v1", "replication"], rest].concat())
    }

    /// A bucket, or an object in it. The slashes of an object's name stay slashes.
    fn stored(&self, bucket: &str, object: Option<&str>) -> Result<Url> {
        let segments = object.into_iter().flat_map(|object| object.split('/'));
        self.client.url(&["cloudclonestore", bucket].into_iter().chain(segments).collect::<Vec<_>>())
    }

    /// A request in the name of a client.
    fn by(&self, who: &AsClient, method: Method, url: Url) -> Result<RequestBuilder> {
        Ok(self.client.request(method, url)?.header(CLIENT_ID, &who.id))
    }

    /// Sends a request and reads the answer's JSON; none when it has no body.
    async fn json(&self, request: RequestBuilder) -> Result<Value> {
        let bytes = self.client.sent(request).await?.bytes().await.map_err(broken_off)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let read = serde_json::from_slice(&bytes);
        read.map_err(|error| Error::internal("the server's answer is not JSON").caused_by(error))
    }

    async fn ask(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value> {
        Ok(self.client.send(method, url, body, None).await?.body)
    }

    /// Prints an answer, if there is one.
    fn shown(&self, answer: &Value) -> Exit {
        if !answer.is_null() {
            self.output.document(answer);
        }
        Exit::Done
    }
}
