//! Tries a location: does it open, can it be looked into, can it be written to?

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use haulier_base::{Error, Result, id};
use haulier_storage::{Location, ObjectPath, ReadRequest, Storages, WriteRequest};
use tokio::time::{Instant, timeout};

use super::open::{self, End, Resolved};

/// How long one step may take.
const STEP_TIME: Duration = Duration::from_secs(15);
const CONTENT: &[u8] = b"written by Haulier to try this location; it may be deleted\n";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What was tried, in order, up to the first failure.
    pub steps: Vec<TrialStep>,
}

/// One step of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialStep {
    /// "open", "list", "write", "read" or "delete".
    pub step: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Why it failed; none when it worked.
    pub error: Option<String>,
}

impl Trial {
    /// Whether every step worked.
    pub fn worked(&self) -> bool {
        self.steps.iter().all(|step| step.error.is_none())
    }

    async fn step<T>(&mut self, step: &'static str, work: impl Future<Output = Result<T>>) -> Option<T> {
        let began = Instant::now();
        let late = |_| Error::unavailable(format!("no answer within {} s", STEP_TIME.as_secs()));
        let done = timeout(STEP_TIME, work).await.map_err(late).and_then(|done| done);
        let error = done.as_ref().err().map(|error| error.message().to_owned());
        self.steps.push(TrialStep { step, took: began.elapsed(), error });
        done.ok()
    }
}

/// Tries the place that `base` names.
pub(super) async fn run(storages: &Storages, base: Resolved, write: bool) -> Trial {
    let mut trial = Trial { steps: Vec::new() };
    let name = format!(".haulier-trial-{}", id::random_uuid());
    let tried = async {
        let end = if write { End::Target } else { End::Source };
        let url = storages.join(&base.url, &name)?;
        open::open(storages, end, Resolved { url, ..base.clone() }).await
    };
    let Some(object) = trial.step("open", tried).await else { return trial };
    let capabilities = object.storage.capabilities();
    if capabilities.list {
        trial.step("list", look(&object)).await;
    } else if capabilities.read {
        trial.step("list", missing_is_fine(&object)).await;
    }
    if write && trial.worked() && trial.step("write", put(&object)).await.is_some() {
        trial.step("read", read(&object)).await;
        trial.step("delete", object.storage.delete(&object.path)).await;
    }
    trial
}

/// The first entry of the folder is enough to know that it can be listed.
async fn look(object: &Location) -> Result<()> {
    let folder = object.path.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut entries = object.storage.list(&ObjectPath::new(folder)).await?;
    entries.next().await.transpose().map(drop)
}

async fn missing_is_fine(object: &Location) -> Result<()> {
    match object.storage.stat(&object.path).await {
        Err(error) if error.kind() == haulier_base::ErrorKind::NotFound => Ok(()),
        looked => looked.map(drop),
    }
}

async fn put(object: &Location) -> Result<()> {
    let request =
        WriteRequest { label: "trial".to_owned(), size: Some(CONTENT.len() as u64), ..WriteRequest::default() };
    let writer = object.storage.write(&object.path, request).await?;
    writer.put_at(0, Bytes::from_static(CONTENT)).await?;
    writer.finish(CONTENT.len() as u64).await.map(drop)
}

async fn read(object: &Location) -> Result<()> {
    let mut read = object.storage.read(&object.path, ReadRequest::default()).await?;
    let mut found = Vec::new();
    while let Some(chunk) = read.stream.next().await {
        found.extend_from_slice(&chunk?);
    }
    if found == CONTENT { Ok(()) } else { Err(Error::corrupt("what was read is not what was written")) }
}
