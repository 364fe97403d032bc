//! The calls of the backup API that an agent needs, and what their failures mean to it.

use std::time::Duration;

use haulier_base::{Error, ErrorKind, Result, Secret};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

/// How long a call may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// So many jobs are asked for at once.
const PAGE: usize = 100;
/// An agent has no more jobs than this.
const JOBS_MAX: usize = 10_000;

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    base: Url,
    http: reqwest::Client,
}

impl Api {
    pub(crate) fn new(server: &str, token: Option<&Secret<String>>) -> Result<Self> {
        let base = Url::parse(server).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let base = base.ok_or_else(|| Error::invalid(format!("\"{server}\" is not the URL of a server")))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.reveal())
                .map_err(|_| Error::invalid("the token has characters that cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert("x-auth-token", value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(ANSWER_WITHIN)
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::internal("cannot set up an HTTP client").caused_by(error))?;
        Ok(Self { base, http })
    }

    async fn call(&self, method: Method, path: &[&str], query: &[(&str, String)], body: &Value) -> Result<Value> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::invalid("the URL of the server cannot have a path"))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url).header("accept", "application/json");
        let request = if body.is_null() { request } else { request.json(body) };
        let unreachable =
            |error| Error::unavailable(format!("the server {} cannot be reached", self.base)).caused_by(error);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        let answer = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() { Ok(answer) } else { Err(refusal(status, &answer)) }
    }

    /// Makes the agent known; one that is known already is fine.
    pub(crate) async fn register(&self, client: &Value) -> Result<()> {
        match self.call(Method::POST, &["clients"], &[], client).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    /// All jobs of a client that are not completed.
    pub(crate) async fn jobs(&self, client_id: &str) -> Result<Vec<Value>> {
        let search = json!({"match_not": [{"status": "completed"}], "match": [{"client_id": client_id}]});
        let mut jobs = Vec::new();
        loop {
            let query = [("limit", PAGE.to_string()), ("offset", jobs.len().to_string())];
            let mut answer = self.call(Method::GET, &["jobs"], &query, &search).await?;
            let Value::Array(page) = answer["jobs"].take() else {
                return Err(Error::unavailable("the server's list of jobs is no list"));
            };
            let whole = page.len() == PAGE;
            jobs.extend(page);
            if !whole || jobs.len() >= JOBS_MAX {
                return Ok(jobs);
            }
        }
    }

    /// One job.
    pub(crate) async fn job(&self, id: &str) -> Result<Value> {
        self.call(Method::GET, &["jobs", id], &[], &Value::Null).await
    }

    /// Changes members of a job.
    pub(crate) async fn patch_job(&self, id: &str, patch: &Value) -> Result<()> {
        self.call(Method::PATCH, &["jobs", id], &[], patch).await.map(|_| ())
    }

    /// Leaves a record of a backup.
    pub(crate) async fn post_backup(&self, record: &Value) -> Result<()> {
        self.call(Method::POST, &["backups"], &[], record).await.map(|_| ())
    }

    /// Whether there is a record of that run.
    pub(crate) async fn has_record(&self, run: &str) -> Result<bool> {
        let search = json!({"match": [{"run_id": run}]});
        let answer = self.call(Method::GET, &["backups"], &[("limit", "1".to_owned())], &search).await?;
        Ok(answer["backups"].as_array().is_some_and(|found| !found.is_empty()))
    }

    /// Tells a session that one of its jobs starts or ended: the result, and the tag that counts from now on.
    pub(crate) async fn session(&self, id: &str, action: &Value) -> Result<(String, i64)> {
        let answer = self.call(Method::POST, &["sessions", id, "action"], &[], action).await?;
        Ok((answer["result"].as_str().unwrap_or_default().to_owned(), answer["session_tag"].as_i64().unwrap_or(0)))
    }
}

/// What a refusal means: to try later, or that it is of no use.
fn refusal(status: StatusCode, answer: &Value) -> Error {
    let said = answer["description"].as_str().or(answer["title"].as_str()).unwrap_or("no reason given");
    let kind = match status {
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorKind::Forbidden,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::CONFLICT => ErrorKind::Conflict,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => ErrorKind::Unavailable,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ErrorKind::Unavailable
        }
        _ if status.is_server_error() => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, format!("the server answered {}: {said}", status.as_u16()))
}
