//! The verbs of runs: begin, look at, pause, resume, call off (contract §6.5).

use haulier_base::{Error, Page, Result};
use haulier_catalog::{Tx, queue};
use reqwest::Method;

use super::Replication;
use crate::api::reconciliation::ReconciliationRequest;
use crate::model::{BucketName, ClientId, SiteId, Status};
use crate::run::{Asked, Run, RunId, RunKind, RunState};
use crate::store::actions::{self, Named};
use crate::store::findings::{self, Finding};
use crate::store::{buckets, runs, sites};
use crate::tasks::{RUN, RunTask};

/// Most lines of a listing that are read at once.
const LINES: usize = 500;
/// Most runs of a page.
pub(crate) const RUNS_MAX: usize = 1000;

/// Adds a run and the task that carries it out; one that is there already stays as it is.
pub(crate) async fn begin_run(tx: &mut Tx, run: &Run) -> Result<()> {
    if runs::insert(tx, run).await? {
        let task = RunTask::new_task(run.id.as_str(), run.turn, tx.now());
        queue::enqueue(tx, task).await?;
    }
    Ok(())
}

impl Replication {
    async fn begin_and_read(&self, run: Run) -> Result<Run> {
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("replication.run.begin").await?;
        begin_run(&mut tx, &run).await?;
        let begun = runs::find(&mut tx, &run.id).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        begun.ok_or_else(|| Error::internal("a run that was just begun is gone"))
    }

    /// Begins to bring the members to the same objects in a bucket.
    ///
    /// # Errors
    /// `Invalid`, with the member that is wrong; `NotFound` when no site knows the bucket.
    pub(crate) async fn begin_central(
        &self,
        request: ReconciliationRequest,
        client: Option<ClientId>,
        op_id: &str,
    ) -> Result<Run> {
        let inner = &self.inner;
        let bucket = bucket_of(&request)?;
        let given = request.client_id.as_deref().map(ClientId::new).transpose()?.or(client);
        let mut tx = inner.catalog.read().await?;
        let known = buckets::find(&mut tx, &bucket).await?;
        let members: Vec<SiteId> = sites::list(&mut tx, None)
            .await?
            .into_iter()
            .map(|row| row.site)
            .filter(|site| site.status.is_member() && site.id != inner.site)
            .map(|site| site.id)
            .collect();
        drop(tx);
        let owner = known.as_ref().map(|bucket| bucket.client.clone());
        let client = given.or(owner).ok_or_else(|| Error::invalid("clientId: is missing"))?;
        let named = request.context_sites.as_ref().is_some_and(|sites| !sites.is_empty());
        let chosen = context(&request, &inner.site, &members)?;
        if known.is_none() && !self.is_known_elsewhere(&bucket, &client, &members, op_id).await? {
            return Err(Error::not_found(format!("no site knows the bucket {bucket}")));
        }
        let asked = Asked {
            scope: request.filter.unwrap_or_default().to_scope()?,
            sites: chosen,
            named,
            dry_run: request.dry_run,
            deep: request.deep,
            ..Asked::default()
        };
        let run = Run::new(RunId::fresh(), RunKind::Central, client, asked, inner.catalog.now());
        self.begin_and_read(Run { bucket: Some(bucket), ..run }).await
    }

    /// Whether another site has a bucket; one that cannot be asked may have it.
    async fn is_known_elsewhere(
        &self,
        bucket: &BucketName,
        client: &ClientId,
        members: &[SiteId],
        op_id: &str,
    ) -> Result<bool> {
        for site in members {
            let mut tx = self.inner.catalog.read().await?;
            let Some(row) = sites::find(&mut tx, site).await? else { continue };
            drop(tx);
            let peer = self.inner.peer(row)?;
            let path = format!("/replicator/remote/buckets/{bucket}");
            let request = peer.request(Method::GET, &path, op_id, Some(client));
            match crate::work::answer(&peer, request).await {
                Ok(response) if response.status() == reqwest::StatusCode::NOT_FOUND => {}
                Ok(_) | Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Begins this site's part of another site's run. The same request again is the same run.
    ///
    /// # Errors
    /// `Invalid`, with the member that is wrong.
    pub(crate) async fn begin_local(&self, request: ReconciliationRequest) -> Result<Run> {
        let id = RunId::new(request.id.clone().ok_or_else(|| Error::invalid("id: is missing"))?)?;
        let bucket = bucket_of(&request)?;
        let client = request.client_id.as_deref().ok_or_else(|| Error::invalid("clientId: is missing"))?;
        let client = ClientId::new(client)?;
        let from = request.from_site.as_deref().map(SiteId::new).transpose()?;
        let asked = Asked {
            scope: request.filter.unwrap_or_default().to_scope()?,
            sites: request.context_sites.unwrap_or_default(),
            from: from.map(|site| site.to_string()),
            dry_run: request.dry_run,
            deep: request.deep,
            start: request.start.map(|at| at.0),
            ..Asked::default()
        };
        let run = Run::new(id.local(), RunKind::Local, client, asked, self.inner.catalog.now());
        self.begin_and_read(Run { bucket: Some(bucket), ..run }).await
    }

    /// Begins to remove what has expired in the buckets of a client.
    ///
    /// # Errors
    /// `NotFound` when the client has no such bucket to archive to.
    pub(crate) async fn begin_purge(
        &self,
        client: ClientId,
        expired_seconds: Option<u64>,
        archive: Option<String>,
    ) -> Result<Run> {
        let inner = &self.inner;
        if let Some(name) = &archive {
            let found = self.bucket_here(&BucketName::new(name.as_str())?).await?;
            if found != client {
                return Err(Error::not_found(format!("the client {client} has no bucket {name} to archive to")));
            }
        }
        let asked = Asked { expired_seconds, archive, ..Asked::default() };
        let run = Run::new(RunId::fresh(), RunKind::Purge, client, asked, inner.catalog.now());
        self.begin_and_read(run).await
    }

    /// Begins to adopt files that were put into the store.
    ///
    /// # Errors
    /// `NotFound` when there is no such bucket; `Forbidden` when it is another client's.
    pub(crate) async fn begin_import(&self, client: ClientId, bucket: BucketName, asked: Asked) -> Result<Run> {
        let inner = &self.inner;
        if self.bucket_here(&bucket).await? != client {
            return Err(Error::forbidden(format!("the bucket {bucket} is another client's")));
        }
        let run = Run::new(RunId::fresh(), RunKind::Import, client, asked, inner.catalog.now());
        self.begin_and_read(Run { bucket: Some(bucket), ..run }).await
    }

    /// Begins to order every object of a bucket at another site.
    ///
    /// # Errors
    /// `NotFound` when there is no such bucket or site; `Invalid` for this site.
    pub(crate) async fn begin_push(&self, bucket: BucketName, target: SiteId) -> Result<Run> {
        let inner = &self.inner;
        if target == inner.site {
            return Err(Error::invalid(format!("{target} is this site, which has what it has")));
        }
        let client = self.bucket_here(&bucket).await?;
        let mut tx = inner.catalog.read().await?;
        let row = sites::find(&mut tx, &target).await?;
        drop(tx);
        if row.is_none_or(|row| !row.site.status.is_member()) {
            return Err(Error::not_found(format!("there is no site {target} among those that take part")));
        }
        let asked = Asked { target: Some(target.to_string()), ..Asked::default() };
        let run = Run::new(RunId::fresh(), RunKind::Sync, client, asked, inner.catalog.now());
        self.begin_and_read(Run { bucket: Some(bucket), ..run }).await
    }

    /// The owner of a bucket that is READY here.
    async fn bucket_here(&self, name: &BucketName) -> Result<ClientId> {
        let mut tx = self.inner.catalog.read().await?;
        let found = buckets::find(&mut tx, name).await?.filter(|bucket| bucket.status == Status::Ready);
        found.map(|bucket| bucket.client).ok_or_else(|| Error::not_found(format!("there is no bucket {name} here")))
    }

    /// A run of a kind, or of any.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn run(&self, id: &RunId, kind: Option<RunKind>) -> Result<Run> {
        let mut tx = self.inner.catalog.read().await?;
        let found = runs::find(&mut tx, id).await?.filter(|run| kind.is_none_or(|kind| kind == run.kind));
        found.ok_or_else(|| Error::not_found(format!("there is no run {}", id.asked())))
    }

    /// Runs, the newest first, up to 1000 before an id.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn runs(&self, before: &str, limit: usize) -> Result<Page<Run>> {
        let limit = limit.clamp(1, RUNS_MAX);
        let mut tx = self.inner.catalog.read().await?;
        let surplus = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        Ok(Page::from_surplus(runs::list(&mut tx, before, surplus).await?, limit))
    }

    /// A piece of what this site has under each name, after a name.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn findings(&self, run: &Run, after: &str) -> Result<Page<Finding>> {
        let mut tx = self.inner.catalog.read().await?;
        let surplus = i64::try_from(LINES + 1).unwrap_or(i64::MAX);
        Ok(Page::from_surplus(findings::page(&mut tx, &run.id, &self.inner.site, after, surplus).await?, LINES))
    }

    /// A piece of what is to be done at a site, after a name.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(crate) async fn actions(&self, run: &Run, site: &SiteId, after: &str) -> Result<Page<Named>> {
        let mut tx = self.inner.catalog.read().await?;
        let surplus = i64::try_from(LINES + 1).unwrap_or(i64::MAX);
        Ok(Page::from_surplus(actions::page(&mut tx, &run.id, site, after, surplus).await?, LINES))
    }

    /// Pauses, resumes or calls off a run. What is so already stays so.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the run is over.
    pub(crate) async fn turn_run(&self, id: &RunId, to: RunState) -> Result<Run> {
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("replication.run.turn").await?;
        let run = runs::find_for_update(&mut tx, id).await?;
        let run = run.ok_or_else(|| Error::not_found(format!("there is no run {}", id.as_str())))?;
        if run.state == to {
            return Ok(run);
        }
        if run.state.is_over() {
            return Err(Error::conflict(format!("the run {} is {}: nothing goes on", id.as_str(), run.state)));
        }
        let stopped_at = (to == RunState::Canceled).then(|| tx.now());
        queue::stop(&mut tx, RUN, id.as_str()).await?;
        runs::turn(&mut tx, id, to, stopped_at).await?;
        if to == RunState::Running {
            let task = RunTask::new_task(id.as_str(), run.turn + 1, tx.now());
            queue::enqueue(&mut tx, task).await?;
        }
        let turned = runs::find(&mut tx, id).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        turned.ok_or_else(|| Error::internal("a run that was just changed is gone"))
    }
}

fn bucket_of(request: &ReconciliationRequest) -> Result<BucketName> {
    BucketName::new(request.bucket.as_deref().ok_or_else(|| Error::invalid("bucket: is missing"))?)
}

/// The sites that a central run is about: those that are named, else this one and all its members.
fn context(request: &ReconciliationRequest, own: &SiteId, members: &[SiteId]) -> Result<Vec<String>> {
    let mut chosen: Vec<String> = request.context_sites.clone().unwrap_or_default();
    if chosen.is_empty() {
        chosen = std::iter::once(own).chain(members).map(ToString::to_string).collect();
    }
    let known = |site: &String| site == own.as_str() || members.iter().any(|member| member.as_str() == site);
    if let Some(unknown) = chosen.iter().find(|site| !known(site)) {
        return Err(Error::invalid(format!("contextSites: {unknown:?} is neither this site nor one that takes part")));
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}
