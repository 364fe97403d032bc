//! The verbs people ask for; one verb, one transaction.

mod changes;
mod health;
mod sessions;

use std::sync::Arc;

use haulier_access::Caller;
use haulier_base::{Error, ErrorKind, Page, Result};
use haulier_catalog::{Catalog, Tx};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::config::BackupConfig;
use crate::job::{self, Origin};
use crate::lateness::{self, Watched};
use crate::metrics::BackupMetrics;
use crate::model::{Document, Kind, Object, new_id};
use crate::search::tokens::Tokens;
use crate::search::{Query, taken_at};
use crate::seen::Sightings;
use crate::store::{self, Place, Placed, Selection, Written};
use crate::{rules, series, session};

/// How many documents one read of a list fetches.
const LIST_CHUNK: i64 = 500;

/// The backup room. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backups {
    catalog: Catalog,
    config: Arc<BackupConfig>,
    /// That of the configuration, found once.
    zone: TimeZone,
    sightings: Sightings,
    metrics: BackupMetrics,
}

/// What to list.
#[derive(Clone, Debug)]
pub struct List {
    /// Of which kind.
    pub kind: Kind,
    /// Which ones.
    pub query: Query,
    /// How many at most.
    pub limit: i64,
    /// How many of those found to leave out before.
    pub offset: i64,
}

/// A list that has been begun.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    selection: Selection,
    place: Place,
    left: i64,
}

impl Backups {
    /// Builds the room.
    pub fn new(catalog: Catalog, config: BackupConfig) -> Self {
        let (zone, config) = (config.zone(), Arc::new(config));
        Self { catalog, config, zone, sightings: Sightings::default(), metrics: BackupMetrics::default() }
    }

    /// What the room counts.
    pub fn metrics(&self) -> &BackupMetrics {
        &self.metrics
    }

    /// Keeps a new document of the caller's and returns its identifier. `text` is `body` as it was sent.
    ///
    /// # Errors
    /// `Invalid` when the kind does not allow such a body; `Conflict` when a client is registered already;
    /// `Forbidden` when an action of that name is another owner's.
    pub async fn create(&self, caller: &Caller, kind: Kind, body: Object, text: &str) -> Result<String> {
        match kind {
            Kind::Backup => self.record_backup(caller, body, text).await,
            Kind::Client => self.register_client(caller, body).await,
            Kind::Job => self.create_job(caller, body).await,
            Kind::Action => self.create_action(caller, body).await,
            Kind::Session => {
                let id = new_id();
                let made = session::make(body, &id, &caller.user)?;
                self.insert_alone(Kind::Session, id, &caller.user, &made.into()).await
            }
        }
    }

    async fn record_backup(&self, caller: &Caller, metadata: Object, text: &str) -> Result<String> {
        rules::check_backup(&metadata)?;
        let run = series::run(&metadata);
        let id = new_id();
        let user_name = caller.user_name.as_ref().unwrap_or(&caller.user);
        let owners = json!({ "backup_id": id, "user_id": caller.user, "user_name": user_name }).to_string();
        let mut document = json!({ "backup_id": id, "user_id": caller.user, "user_name": user_name });
        document["backup_metadata"] = metadata.into();
        let mut written = written(Kind::Backup, &id, &caller.user, 1, &document)?;
        // The very text that was sent, so that numbers keep all their digits.
        let open = owners.strip_suffix('}').expect("an object ends with a brace");
        written.document.body = format!("{open},\"backup_metadata\":{}}}", text.trim());
        let mut tx = self.catalog.begin("backup.record").await?;
        store::insert(&mut tx, &written).await?;
        if let Some(run) = &run {
            store::watch::note_run(&mut tx, &written.document, run, written.taken_at).await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    async fn register_client(&self, caller: &Caller, mut client: Object) -> Result<String> {
        rules::check_client(&client)?;
        let id = client.get("client_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if client.get("uuid").is_none_or(|uuid| uuid == "") {
            client.insert("uuid".to_owned(), new_id().into());
        }
        let document = json!({ "client": client, "user_id": caller.user });
        let registered = self.insert_alone(Kind::Client, id.clone(), &caller.user, &document).await;
        if registered.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
            // It came back after a restart, and is there.
            self.seen(caller, &id).await;
        }
        registered
    }

    async fn create_job(&self, caller: &Caller, body: Object) -> Result<String> {
        let id = new_id();
        let now = self.now_seconds();
        let mut made = job::make(body, &id, &caller.user, now, Origin::New)?;
        let mut tx = self.catalog.begin("backup.create_job").await?;
        store_actions(&mut tx, caller, &mut made).await?;
        store::insert(&mut tx, &self.written(Kind::Job, &id, &caller.user, 1, &made.into())?).await?;
        tx.commit().await?;
        Ok(id)
    }

    async fn create_action(&self, caller: &Caller, mut body: Object) -> Result<String> {
        if body.is_empty() {
            return Err(Error::invalid("Missing request body"));
        }
        rules::check_action(&body)?;
        match body.get("action_id").and_then(Value::as_str).map(str::to_owned) {
            Some(id) => {
                self.put(caller, Kind::Action, &id, body).await?;
                Ok(id)
            }
            None => {
                let id = new_id();
                own(&mut body, Kind::Action, &id, &caller.user);
                self.insert_alone(Kind::Action, id, &caller.user, &body.into()).await
            }
        }
    }

    async fn insert_alone(&self, kind: Kind, id: String, owner: &str, document: &Value) -> Result<String> {
        let written = written(kind, &id, owner, 1, document)?;
        let mut tx = self.catalog.begin("backup.create").await?;
        store::insert(&mut tx, &written).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// One document of the caller's.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is another owner's.
    pub async fn get(&self, caller: &Caller, kind: Kind, id: &str) -> Result<Document> {
        if !kind.can_be_id(id) {
            return Err(kind.unknown(id));
        }
        let found = store::find(&mut self.catalog.read().await?, kind, id, &caller.user).await?;
        found.filter(|document| document.owner == caller.user).ok_or_else(|| kind.unknown(id))
    }

    /// Forgets a document of the caller's; nothing happens when there is none.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub async fn delete(&self, caller: &Caller, kind: Kind, id: &str) -> Result<()> {
        if !kind.can_be_id(id) {
            return Ok(());
        }
        let mut tx = self.catalog.begin("backup.delete").await?;
        store::delete(&mut tx, kind, id, &caller.user).await?;
        tx.commit().await
    }

    /// Begins a list of the caller's documents, in the order of creation.
    pub(crate) async fn list(&self, caller: &Caller, list: List) -> Listing {
        if list.kind == Kind::Job {
            self.seen_by_poll(caller, &list.query).await;
        }
        let everything = list.query.is_everything();
        let formula = (!everything).then(|| Tokens::new(list.kind, &caller.user).formula(&list.query));
        let bounds = match list.kind {
            Kind::Backup => (list.query.time_after, list.query.time_before),
            _ => (None, None),
        };
        let selection = Selection {
            kind: list.kind,
            owner: caller.user.clone(),
            formula,
            time_after: bounds.0.unwrap_or(i64::MIN),
            time_before: bounds.1.unwrap_or(i64::MAX),
        };
        Listing { selection, place: Place { after: -1, offset: list.offset }, left: list.limit }
    }

    /// The next documents of a list that has been begun; moves the list on.
    pub(crate) async fn list_chunk(&self, listing: &mut Listing) -> Result<Page<String>> {
        let take = listing.left.min(LIST_CHUNK);
        let mut tx = self.catalog.read().await?;
        let found = store::list(&mut tx, &listing.selection, listing.place, take + 1).await?;
        let page = Page::from_surplus(found, usize::try_from(take).unwrap_or(usize::MAX));
        if let Some(Placed { seq, .. }) = page.items.last() {
            listing.place = Place { after: *seq, offset: 0 };
        }
        listing.left -= i64::try_from(page.items.len()).unwrap_or(i64::MAX);
        let more = page.more && listing.left > 0;
        Ok(Page { items: page.items.into_iter().map(|placed| placed.body).collect(), more })
    }

    /// A document as it goes into the catalogue, with what is watched of it.
    fn written(&self, kind: Kind, id: &str, owner: &str, version: i64, document: &Value) -> Result<Written> {
        let mut written = written(kind, id, owner, version, document)?;
        if let (Kind::Job, Value::Object(job)) = (kind, document) {
            written.client = job.get("client_id").and_then(Value::as_str).map(str::to_owned);
            written.watched = lateness::watched(job, self.catalog.now(), &self.zone);
        }
        Ok(written)
    }

    fn now_seconds(&self) -> i64 {
        self.catalog.now().as_micros().div_euclid(1_000_000)
    }
}

/// The same for a document of which nothing is watched.
fn written(kind: Kind, id: &str, owner: &str, version: i64, document: &Value) -> Result<Written> {
    let tokens = Tokens::new(kind, owner).of(document)?;
    let taken_at = (kind == Kind::Backup).then(|| taken_at(document)).flatten();
    let (id, owner, body) = (id.to_owned(), owner.to_owned(), document.to_string());
    let document = Document { kind, id, owner, version, body };
    Ok(Written { document, tokens, taken_at, client: None, watched: Watched::default() })
}

/// Writes the server's own members into a document.
fn own(body: &mut Object, kind: Kind, id: &str, owner: &str) {
    body.remove("_version");
    body.insert(kind.id_member().to_owned(), id.into());
    body.insert("user_id".to_owned(), owner.into());
}

/// Keeps the actions of a job by themselves too (backup contract §9.1). One that is known with another content gets a
/// new identifier.
async fn store_actions(tx: &mut Tx, caller: &Caller, job: &mut Object) -> Result<()> {
    for action in job::actions_of(job) {
        let given = action.get("action_id").and_then(Value::as_str).map(str::to_owned);
        let known = match &given {
            Some(id) => store::find_for_update(tx, Kind::Action, id, &caller.user).await?,
            None => None,
        };
        if let Some(known) = &known
            && known.owner == caller.user
            && known.object()? == *action
        {
            continue;
        }
        let id = given.filter(|_| known.is_none()).unwrap_or_else(new_id);
        own(action, Kind::Action, &id, &caller.user);
        store::insert(tx, &written(Kind::Action, &id, &caller.user, 1, &Value::Object(action.clone()))?).await?;
    }
    Ok(())
}
