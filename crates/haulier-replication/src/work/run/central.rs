//! Has every member say what it has in a bucket, compares, and orders what is missing (contract §8 A, C, D).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::http::StatusCode;
use haulier_base::{Backoff, Error, ErrorKind, Result};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::Going;
use super::feed::{ANSWER_WITHIN, Feed, answer};
use crate::api::reconciliation::ReconciliationRequest;
use crate::compare::{Need, judge};
use crate::model::{Action, ClientId, Order, SiteId};
use crate::peer::Peer;
use crate::run::{Run, RunKind, RunState};
use crate::service::runs::begin_run;
use crate::store::actions::Named;
use crate::store::orders::Arrived;
use crate::store::{actions, buckets, orders, outbox, runs, sites};

/// How often a site is asked before it counts as one that cannot be reached: for some eight seconds.
const REACH: Backoff = Backoff { first: Duration::from_millis(250), cap: Duration::from_secs(4), attempts: 6 };
/// Between two looks at how far the members are.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LAST: Duration = Duration::from_secs(2);
/// Names compared in one transaction.
const NAMES: usize = 1000;
/// Orders sent in one transaction.
const ORDERS: i64 = 500;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Ask,
    Wait,
    Merge,
    Send,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Point {
    phase: Phase,
    members: Vec<Member>,
    /// The last name that was compared, or whose order was sent.
    after: String,
    /// The member that is sent orders.
    sent: usize,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Member {
    site: String,
    /// Its listing is complete.
    done: bool,
    /// Why it was left out.
    away: Option<String>,
}

impl Member {
    fn id(&self) -> SiteId {
        SiteId::stored(self.site.clone())
    }
}

pub(super) async fn run(going: &mut Going<'_>) -> Result<Option<String>> {
    let mut point: Point = going.point()?;
    if point.members.is_empty() {
        let member = |site: &String| Member { site: site.clone(), ..Member::default() };
        point.members = going.run.asked.sites.iter().map(member).collect();
    }
    loop {
        match point.phase {
            Phase::Ask => ask(going, &mut point).await?,
            Phase::Wait => wait(going, &mut point).await?,
            Phase::Merge => merge(going, &mut point).await?,
            Phase::Send if going.run.asked.dry_run => break,
            Phase::Send => {
                send(going, &mut point).await?;
                break;
            }
        }
    }
    note(going, &point).await
}

/// What a person should know of a run that ended well.
async fn note(going: &Going<'_>, point: &Point) -> Result<Option<String>> {
    let mut notes: Vec<String> = point.members.iter().filter_map(|member| member.away.clone()).collect();
    let mut tx = going.room.catalog.read().await?;
    let lost = actions::count_errors(&mut tx, &going.run.id).await?;
    if lost > 0 {
        notes.push(format!("no site has the bytes of {lost} object(s): see action 30 in the listings of the sites"));
    }
    Ok(Some(notes.join("; ")).filter(|text| !text.is_empty()))
}

/// Goes on to another phase.
async fn enter(going: &mut Going<'_>, point: &mut Point, phase: Phase) -> Result<()> {
    (point.phase, point.after) = (phase, String::new());
    going.set_point(point)?;
    let tx = going.begin().await?;
    going.save(tx).await
}

/// Another site; none for this one.
async fn peer_of(going: &Going<'_>, site: &SiteId) -> Result<Option<Peer>> {
    let room = going.room;
    if *site == room.site {
        return Ok(None);
    }
    let mut tx = room.catalog.read().await?;
    let row = sites::find(&mut tx, site).await?;
    let row = row.filter(|row| row.site.status.is_member());
    let row = row.ok_or_else(|| Error::not_found(format!("the site {site} is no longer a member")))?;
    room.peer(row).map(Some)
}

/// Does without a site, unless the caller named it (§8 A 2) or it is this one.
fn leave_out(going: &Going<'_>, member: &mut Member, why: &Error) -> Result<()> {
    let own = member.site == going.room.site.as_str();
    if own || going.run.asked.named {
        let site = &member.site;
        let named = if own { "" } else { "; leave it out of contextSites to go on without it" };
        return Err(Error::conflict(format!("the site {site} cannot take part: {why}{named}")));
    }
    tracing::warn!(run = going.run.id.as_str(), site = member.site, why = %why, "a reconciliation goes on without a site");
    member.away = Some(format!("the site {} was left out: {why}", member.site));
    Ok(())
}

async fn ask(going: &mut Going<'_>, point: &mut Point) -> Result<()> {
    for member in &mut point.members {
        if let Err(error) = ask_one(going, &member.id()).await {
            going.check()?;
            leave_out(going, member, &error)?;
        }
    }
    enter(going, point, Phase::Wait).await
}

async fn ask_one(going: &Going<'_>, site: &SiteId) -> Result<()> {
    let Some(peer) = peer_of(going, site).await? else { return ask_own(going).await };
    let request = ReconciliationRequest {
        from_site: Some(going.room.site.to_string()),
        current_site: Some(site.to_string()),
        context_sites: Some(going.run.asked.sites.clone()),
        state: None,
        ..ReconciliationRequest::new(&going.run, &going.room.site)
    };
    let mut asked = 0;
    loop {
        let sent = peer.request(Method::POST, "/reconciliator/local/requests", going.run.id.asked(), None);
        let told = answer(&peer, sent.json(&request)).await.and_then(|response| match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(refused(site, status)),
        });
        asked += 1;
        let Err(error) = told else { return Ok(()) };
        match REACH.wait(asked, 0.0).filter(|_| error.is_temporary()) {
            Some(wait) => going.pause(wait).await?,
            None => return Err(error),
        }
    }
}

fn refused(site: &SiteId, status: StatusCode) -> Error {
    let why = format!("the site {site} answers {status}");
    if status.is_server_error() { Error::unavailable(why) } else { Error::conflict(why) }
}

/// The part of the run at this site is a run of its own, as at any other.
async fn ask_own(going: &Going<'_>) -> Result<()> {
    let run = &going.run;
    let mut asked = run.asked.clone();
    (asked.from, asked.start) = (Some(going.room.site.to_string()), Some(run.started_at));
    let mut tx = going.begin().await?;
    let local = Run::new(run.id.local(), RunKind::Local, run.client.clone(), asked, tx.now());
    begin_run(&mut tx, &Run { bucket: run.bucket.clone(), ..local }).await?;
    tx.commit().await?;
    going.room.catalog.wake_workers();
    Ok(())
}

async fn wait(going: &mut Going<'_>, point: &mut Point) -> Result<()> {
    let mut failures = vec![0; point.members.len()];
    let mut pause = LOOK_FIRST;
    loop {
        let mut open = false;
        for (member, failures) in point.members.iter_mut().zip(&mut failures) {
            if member.done || member.away.is_some() {
                continue;
            }
            match state_of(going, &member.id()).await {
                Ok(true) => member.done = true,
                Ok(false) => *failures = 0,
                Err(error) => {
                    going.check()?;
                    *failures += 1;
                    if !error.is_temporary() || REACH.wait(*failures, 0.0).is_none() {
                        leave_out(going, member, &error)?;
                    }
                }
            }
            open |= !member.done && member.away.is_none();
        }
        if !open {
            return enter(going, point, Phase::Merge).await;
        }
        going.pause(pause).await?;
        pause = (pause * 2).min(LOOK_LAST);
    }
}

/// Whether a site's listing is complete.
async fn state_of(going: &mut Going<'_>, site: &SiteId) -> Result<bool> {
    let (state, problem) = match peer_of(going, site).await? {
        None => {
            let mut tx = going.room.catalog.read().await?;
            let own = runs::find(&mut tx, &going.run.id.local()).await?;
            let own = own.ok_or_else(|| Error::not_found("its part of the run is gone"))?;
            going.run.counts.checked_db = own.counts.checked_db;
            going.run.counts.checked_driver = own.counts.checked_driver;
            (own.state, own.problem)
        }
        Some(peer) => {
            let path = format!("/reconciliator/local/requests/{}", going.run.id.asked());
            let request = peer.request(Method::GET, &path, going.run.id.asked(), None);
            let response = answer(&peer, request.timeout(ANSWER_WITHIN)).await?;
            if !response.status().is_success() {
                return Err(refused(site, response.status()));
            }
            let told: ReconciliationRequest = response.json().await.map_err(|error| peer.unreachable(error))?;
            (told.run_state(), told.problem)
        }
    };
    match state {
        RunState::Running | RunState::Paused => Ok(false),
        RunState::Done => Ok(true),
        RunState::Failed | RunState::Canceled => {
            let why = problem.unwrap_or_else(|| format!("its part of the run was {state}"));
            Err(Error::conflict(why))
        }
    }
}

/// Compares the listings name by name; each of them is sorted, so that none has to be held.
async fn merge(going: &mut Going<'_>, point: &mut Point) -> Result<()> {
    let mut feeds = Vec::new();
    for member in point.members.iter_mut().filter(|member| member.away.is_none()) {
        match peer_of(going, &member.id()).await {
            Ok(peer) => feeds.push(Feed::new(member.id(), peer, &point.after)),
            Err(error) => leave_out(going, member, &error)?,
        }
    }
    let mut found: Vec<Named> = Vec::new();
    let mut names = 0;
    loop {
        fill(going, point, &mut feeds).await?;
        let Some(name) = feeds.iter().filter_map(Feed::name).min().cloned() else { break };
        let members: Vec<SiteId> = feeds.iter().map(|feed| feed.site.clone()).collect();
        let (mut entries, mut matched) = (Vec::new(), false);
        for feed in &mut feeds {
            let Some(finding) = feed.take(&name) else { continue };
            going.run.counts.checked_remote += u64::from(!feed.is_own());
            matched |= finding.matched;
            entries.push(finding.entry);
        }
        going.run.counts.checked += 1;
        // What changed since is on its way by itself (§8 A 1).
        let start = going.run.started_at;
        if matched && entries.iter().all(|entry| entry.event_at <= start) {
            found.extend(judge(&entries, &members).into_iter().map(|deed| (name.clone(), deed)));
        }
        name.as_str().clone_into(&mut point.after);
        names += 1;
        if names >= NAMES {
            note_down(going, point, &mut found).await?;
            names = 0;
        }
    }
    note_down(going, point, &mut found).await?;
    enter(going, point, Phase::Send).await
}

/// Looks for the next name of every member.
async fn fill(going: &Going<'_>, point: &mut Point, feeds: &mut Vec<Feed>) -> Result<()> {
    let mut at = 0;
    while let Some(feed) = feeds.get_mut(at) {
        let mut tried = 0;
        let error = loop {
            let Err(error) = feed.fill(going).await else { break None };
            if feed.is_own() {
                return Err(error);
            }
            going.check()?;
            tried += 1;
            match REACH.wait(tried, 0.0).filter(|_| error.is_temporary()) {
                Some(wait) => going.pause(wait).await?,
                None => break Some(error),
            }
        };
        let Some(error) = error else {
            at += 1;
            continue;
        };
        let gone = feeds.remove(at);
        let member = point.members.iter_mut().find(|member| member.site == gone.site.as_str());
        if let Some(member) = member {
            leave_out(going, member, &error)?;
        }
    }
    Ok(())
}

async fn note_down(going: &mut Going<'_>, point: &Point, found: &mut Vec<Named>) -> Result<()> {
    going.set_point(point)?;
    going.run.counts.actions += u64::try_from(found.len()).unwrap_or_default();
    let mut tx = going.begin().await?;
    actions::insert_all(&mut tx, &going.run.id, found).await?;
    found.clear();
    going.save(tx).await
}

/// Sends what was found as orders, to this site too (§8 D).
async fn send(going: &mut Going<'_>, point: &mut Point) -> Result<()> {
    let mut tx = going.room.catalog.read().await?;
    let owner = buckets::find(&mut tx, going.run.bucket()?).await?.map(|bucket| bucket.client);
    let client = owner.unwrap_or_else(|| going.run.client.clone());
    drop(tx);
    while let Some(member) = point.members.get(point.sent) {
        let site = member.id();
        let mut tx = going.begin().await?;
        let page = actions::page(&mut tx, &going.run.id, &site, &point.after, ORDERS).await?;
        match page.last() {
            Some((name, _)) => name.as_str().clone_into(&mut point.after),
            None => {
                point.sent += 1;
                point.after.clear();
            }
        }
        for (name, deed) in page.into_iter().filter(|(_, deed)| deed.need != Need::Error) {
            let Some(order) = order(&going.run, &client, (name, deed))? else { continue };
            if site == going.room.site {
                orders::receive(&mut tx, &[Arrived::queued(order)]).await?;
            } else {
                outbox::send(&mut tx, &site, &order).await?;
            }
        }
        going.set_point(point)?;
        going.save(tx).await?;
        going.room.bells.outbox.ring();
        going.room.bells.orders.ring();
    }
    Ok(())
}

/// The order that sees to an action; a source for each name, so that no site has to give everything.
fn order(run: &Run, client: &ClientId, (name, deed): Named) -> Result<Option<Order>> {
    let Some(action) = deed.need.order() else { return Ok(None) };
    let mut hasher = DefaultHasher::new();
    name.as_str().hash(&mut hasher);
    let count = u64::try_from(deed.from.len().max(1)).unwrap_or(1);
    let chosen = usize::try_from(hasher.finish() % count).unwrap_or_default();
    let from = deed.from.get(chosen).cloned();
    if from.is_none() && action != Action::Delete {
        return Err(Error::new(ErrorKind::Internal, format!("an action for {name} has no source")));
    }
    Ok(Some(Order {
        op_id: run.id.asked().to_owned(),
        from,
        client: client.clone(),
        bucket: run.bucket()?.clone(),
        object: Some(name),
        size_bytes: deed.size_bytes,
        sha256: deed.sha256,
        action,
        event_at: Some(deed.event_at),
    }))
}
