//! The verbs people ask for; one verb, one transaction.

use std::sync::Arc;
use std::time::Duration;

use haulier_access::locations::Request;
use haulier_access::{Caller, Locations, idempotency};
use haulier_base::{Error, ErrorKind, Page, Result};
use haulier_catalog::{Catalog, Tx, queue};
use haulier_mover::ByteBudget;
use serde_json::json;

use crate::config::TransferConfig;
use crate::events::{Happened, publish};
use crate::model::{NewTransfer, Transfer, TransferEvent, TransferId, TransferState, no_such_transfer};
use crate::store::{self, Selection};
use crate::tasks::{COPY, CopyTask, DISCARD, DiscardTask, HELD};

/// How long `async: false` waits for CANCELED (transfer contract §4.2).
const CANCEL_WAIT: Duration = Duration::from_secs(30);
/// How often a waiting cancel looks at the record.
const CANCEL_LOOK: Duration = Duration::from_millis(50);
/// How long a delete waits for temporary data to go before it answers 202.
const DISCARD_WAIT: Duration = Duration::from_secs(5);
/// How long what a given-up copy left is kept for a restart (transfer contract §5.4 lets it stay until DELETE; an
/// object store charges for it).
const KEEP_UNFINISHED: Duration = Duration::from_secs(24 * 3600);
/// How many rows one read of a list fetches.
pub(crate) const LIST_CHUNK: usize = 500;
/// Name of this room in the table of idempotency keys.
const ROOM: &str = "transfer";

/// The transfer room. Cheap to clone.
#[derive(Clone)]
pub struct Transfers {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) catalog: Catalog,
    pub(crate) locations: Locations,
    pub(crate) config: TransferConfig,
    pub(crate) node_budget: Arc<ByteBudget>,
}

/// What a client asks of an existing transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop it.
    Cancel {
        /// Wait up to 30 s for the end.
        wait: bool,
    },
    /// Leave ERROR and go on from the last safe byte.
    Restart,
    /// Start a transfer that waits on a node which starts nothing by itself.
    Start,
}

/// Whether the effect of a request is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is.
    Done,
    /// It is accepted and will complete by itself.
    UnderWay,
}

/// A filter of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these states; empty means all.
    pub states: Vec<TransferState>,
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListTransfers {
    /// How many at most; none is all.
    pub limit: Option<usize>,
    /// The page starts after this transfer.
    pub next: Option<String>,
    /// Which ones.
    pub filter: Filter,
}

/// A list that has been begun: where it starts, and where the page after it does.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) owner: String,
    pub(crate) selection: Selection,
    pub(crate) left: Option<usize>,
    pub(crate) next: Option<TransferId>,
}

impl Transfers {
    /// Builds the room.
    pub fn new(catalog: Catalog, locations: Locations, config: TransferConfig) -> Self {
        let node_budget = Arc::new(ByteBudget::new(config.rate_bytes_per_second));
        Self { inner: Arc::new(Inner { catalog, locations, config, node_budget }) }
    }

    /// The settings in force.
    pub fn config(&self) -> &TransferConfig {
        &self.inner.config
    }

    /// Accepts a transfer. With a key that the owner used within 24 hours, returns the transfer of that time.
    ///
    /// # Errors
    /// `Invalid` when the request can never work, or the key stands for another request.
    pub async fn submit(&self, caller: &Caller, new: NewTransfer, key: Option<&str>) -> Result<Transfer> {
        let inner = &self.inner;
        let (source, target) = ends(&new);
        inner.locations.check_copy(&caller.user, source, target).await?;
        let request_hash = request_hash(&new);
        let mut transfer = Transfer::accepted(&caller.user, new, inner.catalog.now());
        seal(&inner.locations, &mut transfer).await?;
        let mut tx = inner.catalog.begin("transfer.submit").await?;
        if let Some(key) = key {
            if let Some(earlier) = self.find_recorded(&mut tx, caller, key, &request_hash).await? {
                return Ok(earlier);
            }
            idempotency::record(&mut tx, &caller.user, ROOM, key, &request_hash, transfer.id.as_str()).await?;
        }
        store::insert(&mut tx, &transfer).await?;
        let kind = if inner.config.autostart { COPY } else { HELD };
        queue::enqueue(&mut tx, CopyTask::new_task(kind, &transfer.id, &transfer.owner, transfer.created_at)).await?;
        publish(&mut tx, &transfer, Happened::Submitted).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        Ok(transfer)
    }

    /// The transfer an idempotency key stands for, unless it has been deleted since.
    async fn find_recorded(&self, tx: &mut Tx, caller: &Caller, key: &str, hash: &str) -> Result<Option<Transfer>> {
        let Some(recorded) = idempotency::find(tx, &caller.user, ROOM, key).await? else { return Ok(None) };
        let Some(found) = store::find(tx, &TransferId::from_text(&recorded.subject)).await? else {
            idempotency::forget(tx, &caller.user, ROOM, key).await?;
            return Ok(None);
        };
        if recorded.request_hash != hash {
            return Err(Error::invalid(
                "this Idempotency-Key was used for another request within the last 24 hours; take a new key",
            ));
        }
        Ok(Some(found.transfer))
    }

    /// One transfer of the caller's.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is another owner's.
    pub async fn get(&self, caller: &Caller, id: &TransferId) -> Result<Transfer> {
        let mut tx = self.inner.catalog.read().await?;
        match store::find(&mut tx, id).await? {
            Some(found) if found.transfer.owner == caller.user => Ok(found.transfer),
            _ => Err(no_such_transfer(id.as_str())),
        }
    }

    /// Begins a list of the caller's transfers, in the order of creation.
    ///
    /// # Errors
    /// `Invalid` when the marker is unknown.
    pub(crate) async fn list(&self, caller: &Caller, list: ListTransfers) -> Result<Listing> {
        let mut tx = self.inner.catalog.read().await?;
        let unknown = |marker: &str| {
            let shown: String = marker.chars().take(64).collect();
            Error::invalid(format!("next: {shown} is not the id of a transfer of yours"))
        };
        let after = match &list.next {
            None => None,
            Some(marker) => {
                let id = TransferId::parse(marker).map_err(|_| unknown(marker))?;
                Some(store::find_place(&mut tx, &caller.user, &id).await?.ok_or_else(|| unknown(marker))?)
            }
        };
        let selection = Selection { states: list.filter.states, after };
        let next = match list.limit {
            Some(limit) if limit > 0 => store::find_page_end(&mut tx, &caller.user, &selection, limit).await?,
            _ => None,
        };
        Ok(Listing { owner: caller.user.clone(), selection, left: list.limit, next })
    }

    /// The next transfers of a list that has been begun; moves the list on.
    pub(crate) async fn list_chunk(&self, listing: &mut Listing) -> Result<Page<Transfer>> {
        let take = listing.left.unwrap_or(LIST_CHUNK).min(LIST_CHUNK);
        if take == 0 {
            return Ok(Page { items: Vec::new(), more: false });
        }
        let mut tx = self.inner.catalog.read().await?;
        let page = store::list(&mut tx, &listing.owner, &listing.selection, take).await?;
        if let Some(last) = page.items.last() {
            listing.selection.after = Some(last.seq);
        }
        listing.left = listing.left.map(|left| left - page.items.len());
        let more = page.more && listing.left != Some(0);
        Ok(Page { items: page.items.into_iter().map(|placed| placed.transfer).collect(), more })
    }

    /// Does what a client asks of an existing transfer.
    ///
    /// # Errors
    /// `NotFound` when it is not the caller's; `Conflict` when its state does not allow it.
    pub async fn act(&self, caller: &Caller, id: &TransferId, action: Action) -> Result<Outcome> {
        match action {
            Action::Cancel { wait } => self.cancel(caller, id, wait).await,
            Action::Restart => self.restart(caller, id).await,
            Action::Start => self.start(caller, id).await,
        }
    }

    async fn cancel(&self, caller: &Caller, id: &TransferId, wait: bool) -> Result<Outcome> {
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("transfer.cancel").await?;
        // Tasks before the transfer, as executors lock them; the step to CANCELED may leave a task of its own.
        let stopped = queue::stop(&mut tx, "transfer.", id.as_str()).await?;
        let mut transfer = get_own(&mut tx, caller, id).await?;
        step(&mut tx, &mut transfer, TransferEvent::Cancel).await?;
        // Between two attempts nobody holds the work, so nobody needs to be waited for.
        if transfer.state == TransferState::Canceling && stopped.asked == 0 {
            step(&mut tx, &mut transfer, TransferEvent::Stop).await?;
        }
        let state = transfer.state;
        publish(&mut tx, &transfer, if state.is_final() { Happened::Canceled } else { Happened::CancelAsked }).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        if state.is_final() {
            return Ok(Outcome::Done);
        }
        if wait && self.wait_for_end(caller, id).await? { Ok(Outcome::Done) } else { Ok(Outcome::UnderWay) }
    }

    /// Waits until a transfer that is stopping has stopped; false when it takes too long.
    async fn wait_for_end(&self, caller: &Caller, id: &TransferId) -> Result<bool> {
        let end = tokio::time::Instant::now() + CANCEL_WAIT;
        while tokio::time::Instant::now() < end {
            match self.get(caller, id).await {
                Ok(transfer) if transfer.state != TransferState::Canceling => return Ok(true),
                Ok(_) => tokio::time::sleep(CANCEL_LOOK).await,
                // Deleted meanwhile: it has certainly stopped.
                Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    async fn restart(&self, caller: &Caller, id: &TransferId) -> Result<Outcome> {
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("transfer.restart").await?;
        queue::stop(&mut tx, DISCARD, id.as_str()).await?;
        let mut transfer = get_own(&mut tx, caller, id).await?;
        transfer.error = None;
        transfer.failures = 0;
        step(&mut tx, &mut transfer, TransferEvent::Restart).await?;
        queue::enqueue(&mut tx, CopyTask::new_task(COPY, id, &transfer.owner, inner.catalog.now())).await?;
        publish(&mut tx, &transfer, Happened::Restarted).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        Ok(Outcome::UnderWay)
    }

    async fn start(&self, caller: &Caller, id: &TransferId) -> Result<Outcome> {
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("transfer.start").await?;
        let held = queue::stop(&mut tx, HELD, id.as_str()).await?;
        let transfer = get_own(&mut tx, caller, id).await?;
        transfer.state.on(TransferEvent::Start)?;
        // Only a held task is replaced: one that starts by itself is left where it stands in the line.
        if held.withdrawn > 0 {
            queue::enqueue(&mut tx, CopyTask::new_task(COPY, id, &transfer.owner, transfer.created_at)).await?;
        }
        tx.commit().await?;
        inner.catalog.wake_workers();
        Ok(Outcome::UnderWay)
    }

    /// Forgets a transfer and removes what an unfinished copy left; never the destination, never the source.
    ///
    /// # Errors
    /// `NotFound` when it is not the caller's; `Conflict` while it is worked on.
    pub async fn delete(&self, caller: &Caller, id: &TransferId) -> Result<Outcome> {
        let inner = &self.inner;
        let mut tx = inner.catalog.begin("transfer.delete").await?;
        // Refusals roll this back.
        queue::stop(&mut tx, "transfer.", id.as_str()).await?;
        let transfer = get_own(&mut tx, caller, id).await?;
        transfer.state.on(TransferEvent::Delete)?;
        // What no executor has ever taken, or has finished, left nothing.
        let untouched = transfer.attempts == 0 || transfer.state == TransferState::Complete;
        let discard = (!untouched).then(|| DiscardTask::for_transfer(&transfer, resume_token(&transfer)));
        if let Some(discard) = &discard {
            // The task makes sure of it; the caller below only waits for the usual, quick case.
            queue::enqueue(&mut tx, discard.new_task(&transfer, inner.catalog.now())).await?;
        }
        store::delete(&mut tx, &transfer, inner.catalog.now()).await?;
        publish(&mut tx, &transfer, Happened::Deleted).await?;
        tx.commit().await?;
        inner.catalog.wake_workers();
        let Some(discard) = discard else { return Ok(Outcome::Done) };
        match tokio::time::timeout(
            DISCARD_WAIT,
            discard_leftovers(&inner.locations, &caller.user, id.as_str(), &discard),
        )
        .await
        {
            Ok(Ok(())) => Ok(Outcome::Done),
            _ => Ok(Outcome::UnderWay),
        }
    }
}

/// Removes what an unfinished copy with that label left at its destination. Safe to repeat.
pub(crate) async fn discard_leftovers(
    locations: &Locations,
    owner: &str,
    label: &str,
    discard: &DiscardTask,
) -> Result<()> {
    let target = Request { url: &discard.destination_url, options: &discard.destination_options };
    match locations.open_target(owner, &place_of(label), target).await {
        Ok(target) => target.storage.discard(&target.path, label, discard.token.as_deref()).await,
        // A destination that this node cannot write to is one where it has left nothing.
        Err(error) if error.kind() == ErrorKind::Invalid && discard.token.is_none() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Both ends of a request, as the locations take them.
pub(crate) fn ends(request: &NewTransfer) -> (Request<'_>, Request<'_>) {
    (
        Request { url: &request.source_url, options: &request.source_options },
        Request { url: &request.destination_url, options: &request.destination_options },
    )
}

/// What the secrets of a transfer are sealed for.
pub(crate) fn place_of(id: &str) -> String {
    format!("transfer/{id}")
}

/// Seals the secrets in both options, so that they are never stored in clear.
async fn seal(locations: &Locations, transfer: &mut Transfer) -> Result<()> {
    let place = place_of(transfer.id.as_str());
    let (source, target) = ends(&transfer.request);
    let sealed = (locations.seal(&place, source).await?, locations.seal(&place, target).await?);
    (transfer.request.source_options, transfer.request.destination_options) = sealed;
    Ok(())
}

/// Moves a transfer on in memory and in the catalogue.
pub(crate) async fn step(tx: &mut Tx, transfer: &mut Transfer, event: TransferEvent) -> Result<()> {
    let from = transfer.state;
    let next = from.on(event)?;
    transfer.state = next.ok_or_else(|| Error::internal("a delete is not an update"))?;
    transfer.updated_at = tx.now();
    if transfer.state != TransferState::Running {
        transfer.waiting = None;
    }
    store::update(tx, from, transfer).await?;
    leave(tx, transfer).await
}

/// Sees to it that what an unfinished copy left goes away: at once when nobody can go on with it, and after a while
/// when nobody does.
async fn leave(tx: &mut Tx, transfer: &Transfer) -> Result<()> {
    let wait = match transfer.state {
        TransferState::Canceled if transfer.attempts > 0 => Duration::ZERO,
        TransferState::Error if transfer.resume.is_some() => KEEP_UNFINISHED,
        _ => return Ok(()),
    };
    let discard = DiscardTask::for_transfer(transfer, resume_token(transfer));
    queue::enqueue(tx, discard.new_task(transfer, tx.now().plus(wait))).await.map(drop)
}

/// The token of what an unfinished copy left at the destination.
pub(crate) fn resume_token(transfer: &Transfer) -> Option<String> {
    let point: haulier_mover::ResumePoint = serde_json::from_str(transfer.resume.as_deref()?).ok()?;
    point.token
}

async fn get_own(tx: &mut Tx, caller: &Caller, id: &TransferId) -> Result<Transfer> {
    match store::find_for_update(tx, id).await? {
        Some(transfer) if transfer.owner == caller.user => Ok(transfer),
        _ => Err(no_such_transfer(id.as_str())),
    }
}

/// Tells two requests apart that carry the same idempotency key.
fn request_hash(request: &NewTransfer) -> String {
    let text = json!([
        request.source_url,
        request.destination_url,
        request.source_options,
        request.destination_options,
        request.start_offset,
        request.end_offset
    ]);
    idempotency::request_hash(text.to_string().as_bytes())
}
