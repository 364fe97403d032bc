//! What one site has under each name, name by name: this site's from the catalogue, another one's over its listing.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::{Buf, BytesMut};
use haulier_base::{Error, Result};
use reqwest::{Method, Response};
use tokio::time::timeout;

use super::Going;
use crate::api::reconciliation::SitesListing;
use crate::model::{ObjectName, SiteId};
use crate::peer::Peer;
use crate::run::RunId;
use crate::store::findings::{self, Finding};

/// How long a site may take to begin an answer (contract §4.2).
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Longest line of a listing: a name with every character escaped, and what is said of it.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Findings read at once.
const PAGE: i64 = 1000;

/// The findings of one site, in the order of names.
pub(super) struct Feed {
    pub(super) site: SiteId,
    source: Source,
    /// The last name that was given out.
    after: String,
    /// The next one; none when it must be looked for, or when there are no more.
    head: Option<Finding>,
    over: bool,
}

enum Source {
    Own { ready: VecDeque<Finding> },
    Peer { peer: Box<Peer>, open: Option<Open> },
}

struct Open {
    response: Response,
    rest: BytesMut,
}

impl Feed {
    /// This site's, or another one's, after a name.
    pub(super) fn new(site: SiteId, peer: Option<Peer>, after: &str) -> Self {
        let source = match peer {
            None => Source::Own { ready: VecDeque::new() },
            Some(peer) => Source::Peer { peer: Box::new(peer), open: None },
        };
        Self { site, source, after: after.to_owned(), head: None, over: false }
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(self.source, Source::Own { .. })
    }

    /// The next name.
    pub(super) fn name(&self) -> Option<&ObjectName> {
        self.head.as_ref().map(|head| &head.name)
    }

    /// Gives out the next finding if it is about this name.
    pub(super) fn take(&mut self, name: &ObjectName) -> Option<Finding> {
        let head = self.head.take_if(|head| head.name == *name)?;
        head.name.as_str().clone_into(&mut self.after);
        Some(head)
    }

    /// Looks for the next finding. After an error the same can be tried again.
    ///
    /// # Errors
    /// `Unavailable` when the site cannot be reached; `Corrupt` when its listing is wrong.
    pub(super) async fn fill(&mut self, going: &Going<'_>) -> Result<()> {
        if self.head.is_some() || self.over {
            return Ok(());
        }
        let run = &going.run.id;
        let next = match &mut self.source {
            Source::Own { ready } => {
                if ready.is_empty() {
                    let mut tx = going.room.catalog.read().await?;
                    *ready = findings::page(&mut tx, &run.local(), &self.site, &self.after, PAGE).await?.into();
                }
                ready.pop_front()
            }
            Source::Peer { peer, open } => match listed(peer, open, run, &self.site, &self.after).await {
                Ok(next) => next,
                Err(error) => {
                    *open = None;
                    return Err(error);
                }
            },
        };
        self.over = next.is_none();
        self.head = next;
        Ok(())
    }
}

/// The next line of a listing that is about a name after `after`.
async fn listed(
    peer: &Peer,
    open: &mut Option<Open>,
    run: &RunId,
    site: &SiteId,
    after: &str,
) -> Result<Option<Finding>> {
    let fresh = open.is_none();
    if fresh {
        *open = Some(Open { response: start(peer, run, after).await?, rest: BytesMut::new() });
    }
    let Some(open) = open else { return Ok(None) };
    loop {
        let Some(line) = open.line(peer).await? else { return Ok(None) };
        let wrong = |why: String| Error::corrupt(format!("the listing of the site {site} is wrong: {why}"));
        let line: SitesListing = serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
        let finding = line.to_finding(site).map_err(|error| wrong(error.to_string()))?;
        if finding.name.as_str() > after {
            return Ok(Some(finding));
        }
        // A site that does not know where to start begins at the beginning.
        if !fresh {
            return Err(wrong(format!("{} comes after {after}", finding.name)));
        }
    }
}

async fn start(peer: &Peer, run: &RunId, after: &str) -> Result<Response> {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("after", after).finish();
    let path = format!("/reconciliator/local/requests/{}/listing?{query}", run.asked());
    let request = peer.request(Method::GET, &path, run.asked(), None);
    let response = answer(peer, request).await?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(Error::unavailable(format!("the site {} answers {status} instead of its listing", peer.site.id))),
    }
}

/// Sends a request and waits for the beginning of the answer.
///
/// # Errors
/// `Unavailable` when there is none.
pub(crate) async fn answer(peer: &Peer, request: reqwest::RequestBuilder) -> Result<Response> {
    match timeout(ANSWER_WITHIN, request.send()).await {
        Ok(sent) => sent.map_err(|error| peer.unreachable(error)),
        Err(_) => Err(Error::unavailable(format!("the site {} did not answer in time", peer.site.id))),
    }
}

impl Open {
    async fn line(&mut self, peer: &Peer) -> Result<Option<BytesMut>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(searched + at);
                self.rest.advance(1);
                return Ok(Some(line));
            }
            searched = self.rest.len();
            if searched > LINE_BYTES_MAX {
                return Err(Error::corrupt(format!("the listing of the site {} has no lines", peer.site.id)));
            }
            match self.response.chunk().await.map_err(|error| peer.unreachable(error))? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None if searched == 0 => return Ok(None),
                None => return Err(Error::unavailable(format!("the site {} broke off its listing", peer.site.id))),
            }
        }
    }
}
