//! Wire types of contract §6.5: requests of runs and their progress, and the lines of listings.

use haulier_base::{Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hash::read_sha256;
use super::instant::Instant;
use crate::compare::{Code, Entry, Need};
use crate::model::{Metadata, ObjectName, SiteId};
use crate::run::{Run, RunId, RunKind, RunState, Scope};
use crate::store::actions::Named;
use crate::store::findings::Finding;

/// Which objects a run is about. All bounds are inclusive; a size of 0 bounds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReconciliationFilter {
    /// The beginning of the names.
    pub(crate) name_prefix: Option<String>,
    /// The states; none means all.
    pub(crate) statuses: Option<Vec<String>>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) creation_before: Option<Instant>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) creation_after: Option<Instant>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_before: Option<Instant>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_after: Option<Instant>,
    pub(crate) size_less_than: Option<u64>,
    pub(crate) size_greater_than: Option<u64>,
    /// Every pair must be among the object's metadata.
    pub(crate) metadata_filter: Option<Metadata>,
}

impl ReconciliationFilter {
    pub(crate) fn to_scope(&self) -> Result<Scope> {
        let at = |at: Option<Instant>| at.map(|at| at.0);
        let size = |size: Option<u64>| size.filter(|size| *size > 0);
        let scope = Scope {
            prefix: self.name_prefix.clone().unwrap_or_default(),
            statuses: self.statuses.clone().unwrap_or_default(),
            created: (at(self.creation_after), at(self.creation_before)),
            expires: (at(self.expires_after), at(self.expires_before)),
            size_bytes: (size(self.size_greater_than), size(self.size_less_than)),
            metadata: self.metadata_filter.clone().unwrap_or_default(),
        };
        scope.check().map_err(|error| Error::invalid(format!("filter.statuses: {error}")))?;
        Ok(scope)
    }

    pub(crate) fn new(scope: &Scope) -> Option<Self> {
        if *scope == Scope::default() {
            return None;
        }
        let scope = scope.clone();
        Some(Self {
            name_prefix: Some(scope.prefix).filter(|text| !text.is_empty()),
            statuses: Some(scope.statuses).filter(|list| !list.is_empty()),
            creation_before: scope.created.1.map(Instant),
            creation_after: scope.created.0.map(Instant),
            expires_before: scope.expires.1.map(Instant),
            expires_after: scope.expires.0.map(Instant),
            size_less_than: scope.size_bytes.1,
            size_greater_than: scope.size_bytes.0,
            metadata_filter: Some(scope.metadata).filter(|pairs| !pairs.is_empty()),
        })
    }
}

/// A run: what is asked for, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReconciliationRequest {
    /// Given by the central site.
    pub(crate) id: Option<String>,
    /// Whose request it is; the owner of the bucket when absent.
    pub(crate) client_id: Option<String>,
    /// The bucket.
    #[schema(required = true)]
    pub(crate) bucket: Option<String>,
    pub(crate) filter: Option<ReconciliationFilter>,
    /// The central site.
    pub(crate) from_site: Option<String>,
    /// The site that answers.
    pub(crate) current_site: Option<String>,
    /// The sites that are compared; this site and all its members when absent. One that is named must answer.
    pub(crate) context_sites: Option<Vec<String>>,
    /// When it began. What is newer is left alone.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) start: Option<Instant>,
    /// Names looked at.
    pub(crate) checked: u64,
    /// Records looked at.
    pub(crate) checked_db: u64,
    /// Looks at bytes in the store.
    pub(crate) checked_driver: u64,
    /// What other sites said of names.
    pub(crate) checked_remote: u64,
    /// What is to be done.
    pub(crate) actions: u64,
    /// Computes and changes nothing.
    pub(crate) dry_run: bool,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) stop: Option<Instant>,
    /// Reads every byte and compares its hash. Haulier's own.
    pub(crate) deep: bool,
    /// `central`, `local`, `purge`, `import` or `sync`. Haulier's own.
    #[serde(skip_deserializing)]
    pub(crate) kind: Option<&'static str>,
    /// `running`, `paused`, `done`, `failed` or `canceled`. Haulier's own.
    pub(crate) state: Option<String>,
    /// What is wrong, for people. Haulier's own.
    pub(crate) problem: Option<String>,
}

impl ReconciliationRequest {
    pub(crate) fn new(run: &Run, here: &SiteId) -> Self {
        let asked = &run.asked;
        let central = run.kind == RunKind::Central;
        Self {
            id: Some(run.id.asked().to_owned()),
            client_id: Some(run.client.to_string()),
            bucket: run.bucket.as_ref().map(ToString::to_string),
            filter: ReconciliationFilter::new(&asked.scope),
            from_site: asked.from.clone().or_else(|| central.then(|| here.to_string())),
            current_site: Some(here.to_string()),
            context_sites: (!asked.sites.is_empty()).then(|| asked.sites.clone()),
            start: Some(Instant(asked.start.unwrap_or(run.started_at))),
            checked: run.counts.checked,
            checked_db: run.counts.checked_db,
            checked_driver: run.counts.checked_driver,
            checked_remote: run.counts.checked_remote,
            actions: run.counts.actions,
            dry_run: asked.dry_run,
            stop: run.stopped_at.map(Instant),
            deep: asked.deep,
            kind: Some(run.kind.as_str()),
            state: Some(run.state.to_string()),
            problem: run.problem.clone(),
        }
    }

    /// The state of the run at the site that sent this; sites that do not say go by `stop`.
    pub(crate) fn run_state(&self) -> RunState {
        let said = self.state.as_deref().and_then(|word| word.parse().ok());
        said.unwrap_or(if self.stop.is_some() { RunState::Done } else { RunState::Running })
    }
}

/// A run that was begun.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunStarted {
    /// Asks for its progress.
    pub(crate) id: String,
}

/// What one site has under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SingleSiteObject {
    /// The site.
    pub(crate) site: String,
    /// DELETED 1, DELETE 2, READY 10, UPDATE 11, UPLOAD 20.
    pub(crate) nstatus: i64,
    /// When its record last changed.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) event: Instant,
    /// When this version was created at its origin. Haulier's own, as are all below.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) creation: Option<Instant>,
    /// Length of the content, bytes.
    #[serde(default)]
    pub(crate) size: u64,
    /// SHA-256 of the content in hexadecimal.
    #[serde(default)]
    pub(crate) hash: Option<String>,
    /// The site that it was first written at.
    #[serde(default)]
    pub(crate) origin: Option<String>,
    /// Whether the filter of the request is about it; the others are there to be compared with.
    #[serde(default = "yes")]
    pub(crate) matches: bool,
}

fn yes() -> bool {
    true
}

/// A line of a site's listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SitesListing {
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) request_id: String,
    #[serde(default)]
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) local: Vec<SingleSiteObject>,
}

impl SitesListing {
    pub(crate) fn new(run: &Run, finding: Finding) -> Self {
        let Finding { name, entry, matched } = finding;
        Self {
            id: line_id(&run.id, &entry.site, &name),
            request_id: run.id.asked().to_owned(),
            bucket: run.bucket.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: name.to_string(),
            local: vec![SingleSiteObject {
                site: entry.site.to_string(),
                nstatus: entry.code.number(),
                event: Instant(entry.event_at),
                creation: Some(Instant(entry.created_at)),
                size: entry.size_bytes,
                hash: entry.sha256,
                origin: entry.origin.map(|site| site.to_string()),
                matches: matched,
            }],
        }
    }

    /// What a site says of a name.
    ///
    /// # Errors
    /// `Invalid`, with what is wrong.
    pub(crate) fn to_finding(&self, site: &SiteId) -> Result<Finding> {
        let name = ObjectName::received(self.name.clone())?;
        let said = self.local.iter().find(|said| said.site == site.as_str()).or(self.local.first());
        let said = said.ok_or_else(|| Error::invalid(format!("nothing is said of the object {name}")))?;
        let entry = Entry {
            site: site.clone(),
            code: Code::from_number(said.nstatus)?,
            event_at: said.event.0,
            created_at: said.creation.unwrap_or(said.event).0,
            size_bytes: said.size,
            sha256: said.hash.as_deref().map(read_sha256).transpose()?,
            origin: said.origin.clone().map(SiteId::new).transpose()?,
        };
        Ok(Finding { name, entry, matched: said.matches })
    }
}

/// A line of what is to be done at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SitesAction {
    pub(crate) id: String,
    pub(crate) request_id: String,
    pub(crate) bucket: String,
    pub(crate) name: String,
    /// DELETE 2, UPDATE 11, UPLOAD 20, ERROR 30: nobody has the bytes.
    pub(crate) need_action: i64,
    /// The sites that have it.
    pub(crate) need_action_from: Vec<String>,
    /// The site that it is to be done at.
    pub(crate) sites: Vec<String>,
}

impl SitesAction {
    pub(crate) fn new(run: &Run, action: Named) -> Self {
        let (name, deed) = action;
        Self {
            id: line_id(&run.id, &deed.site, &name),
            request_id: run.id.asked().to_owned(),
            bucket: run.bucket.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: name.to_string(),
            need_action: match deed.need {
                Need::Delete => 2,
                Need::Update => 11,
                Need::Upload => 20,
                Need::Error => 30,
            },
            need_action_from: deed.from.iter().map(ToString::to_string).collect(),
            sites: vec![deed.site.to_string()],
        }
    }
}

/// Names a line; nothing more is made of it.
fn line_id(run: &RunId, site: &SiteId, name: &ObjectName) -> String {
    format!("{}/{site}/{name}", run.asked())
}

/// A page of runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunList {
    /// The newest first.
    pub(crate) runs: Vec<RunView>,
    /// What to give as `before` for the next page; none at the end.
    pub(crate) next: Option<String>,
}

/// A run as people see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunView {
    /// The id in this list; the part of a central run at this site has an id of its own.
    pub(crate) run: String,
    #[serde(flatten)]
    pub(crate) request: ReconciliationRequest,
    /// The site that a push goes to.
    pub(crate) target: Option<String>,
}

impl RunView {
    pub(crate) fn new(run: &Run, here: &SiteId) -> Self {
        let request = ReconciliationRequest::new(run, here);
        Self { run: run.id.as_str().to_owned(), request, target: run.asked.target.clone() }
    }
}
