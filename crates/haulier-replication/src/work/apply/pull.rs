//! An order to have an object: asks who has it, and brings the bytes (contract §5.3 object CREATE and UPDATE).
//!
//! Changes no record: that is the desk's, which judges again.

use std::sync::Arc;

use async_trait::async_trait;
use haulier_base::{Error, ErrorKind, Result};
use haulier_mover::{Checkpoint, Limits, Move, MoveOptions, Progress, ResumePoint, move_object};
use haulier_storage::{Location, ObjectPath};

use super::desk::{Desk, Ending, Request, Settled};
use super::sources::Sources;
use crate::api::hash;
use crate::model::{Action, Bucket, ClientId, Object, ObjectName, OrderState, Site, SiteId, SiteStatus, Status};
use crate::peer::{Asked, Peer, Said, Source};
use crate::resolve::{Arrival, Version, arrive};
use crate::service::{Inner, Replication};
use crate::store::orders::Received;
use crate::store::sites::{self, SiteRow};
use crate::store::{buckets, objects};
use crate::vault::IDLE_MAX;

/// So often is an order carried out again because its record changed meanwhile, before it waits.
const ROUNDS: usize = 4;
/// So often other sites that cannot be reached are waited for, when the source lacks what its order promised.
const DOUBTS_MAX: u32 = 6;

/// One order being carried out.
pub(super) struct Pull<'a> {
    inner: &'a Inner,
    desk: &'a Desk,
    sources: &'a Sources,
    received: &'a Received,
    name: ObjectName,
}

/// What is known here before anybody is asked.
struct Known {
    bucket: Option<Bucket>,
    record: Option<Object>,
    uploading: bool,
    /// The site that the order names, if it is in the topology.
    from: Option<SiteRow>,
}

/// The object at a peer, or how the order ends without.
enum Found {
    Version(Box<Version>, Box<Source>),
    Nowhere(Ending),
}

impl<'a> Pull<'a> {
    pub(super) fn new(
        room: &'a Replication,
        desk: &'a Desk,
        sources: &'a Sources,
        received: &'a Received,
        name: ObjectName,
    ) -> Self {
        Self { inner: &room.inner, desk, sources, received, name }
    }

    /// Carries the order out, up to its being written down what became of it.
    ///
    /// # Errors
    /// As the catalogue says.
    pub(super) async fn carry_out(&self) -> Result<()> {
        for _ in 0..ROUNDS {
            let ending = self.attempt().await?;
            if self.desk.settle(self.received, ending).await? == Settled::Yes {
                return Ok(());
            }
        }
        let why = "the object keeps changing here".to_owned();
        self.desk.settle(self.received, Ending::Wait { why, mismatch: false }).await.map(|_| ())
    }

    async fn attempt(&self) -> Result<Ending> {
        let known = self.look().await?;
        if let Some(ending) = self.settled_already(&known) {
            return Ok(ending);
        }
        let owner = match &known.bucket {
            Some(bucket) if bucket.status == Status::Ready => bucket.client.clone(),
            _ => match self.adopt_bucket(&known).await? {
                Ok(owner) => owner,
                Err(ending) => return Ok(ending),
            },
        };
        let (version, source) = match self.find(&known, &owner).await? {
            Found::Version(version, source) => (version, *source),
            Found::Nowhere(ending) => return Ok(ending),
        };
        let repairs = self.received.order.action == Action::Update;
        let arrive = |stored, repairs| Ending::Arrive { version: version.clone(), stored, repairs };
        match arrive_at(&known, &version) {
            Arrival::Same | Arrival::Describe if repairs => {
                if self.is_intact(known.record.as_ref()).await? {
                    return Ok(arrive(false, false));
                }
                Ok(self.bring(source, &version).await?.unwrap_or_else(|| arrive(true, true)))
            }
            Arrival::Store | Arrival::Replace => {
                Ok(self.bring(source, &version).await?.unwrap_or_else(|| arrive(true, false)))
            }
            // The desk says why.
            _ => Ok(arrive(false, false)),
        }
    }

    async fn look(&self) -> Result<Known> {
        let order = &self.received.order;
        let mut tx = self.inner.catalog.read().await?;
        let bucket = buckets::find(&mut tx, &order.bucket).await?;
        let record = objects::find(&mut tx, &order.bucket, &self.name).await?;
        let uploading = match &record {
            Some(record) if record.status == Status::Upload => objects::is_uploading(&mut tx, &record.id).await?,
            _ => false,
        };
        let from = match &order.from {
            Some(site) if *site != self.inner.site => sites::find(&mut tx, site).await?,
            _ => None,
        };
        Ok(Known { bucket, record, uploading, from })
    }

    /// What the order itself says is enough, now and then.
    fn settled_already(&self, known: &Known) -> Option<Ending> {
        let (order, record) = (&self.received.order, known.record.as_ref()?);
        if order.action != Action::Create {
            return None;
        }
        if known.uploading {
            let why = "an upload of that name is under way".to_owned();
            return Some(Ending::Wait { why, mismatch: false });
        }
        let event = order.event_at?;
        match record.status {
            Status::Ready
                if record.sha256.is_some()
                    && record.sha256 == order.sha256
                    && record.size_bytes == order.size_bytes
                    && record.created_at == event =>
            {
                Some(Ending::Done)
            }
            status if status.is_buried() && event <= record.event_at => {
                Some(Ending::End(OrderState::Ignored, "it was deleted since".to_owned()))
            }
            _ => None,
        }
    }

    /// Makes the bucket here if the order's source has it; says who owns it.
    async fn adopt_bucket(&self, known: &Known) -> Result<Result<ClientId, Ending>> {
        let mut lacking = 0;
        let (peers, unknown) = self.candidates(known).await?;
        let mut trouble = unknown;
        for peer in &peers {
            match self.asking(peer, peer.bucket(&self.asked(&self.received.order.client))).await? {
                Said::Has(bucket) => match bucket.to_bucket() {
                    Ok(bucket) if bucket.status == Status::Ready && bucket.name == self.received.order.bucket => {
                        let owner = bucket.client.clone();
                        self.desk.ask(Request::Bucket(bucket)).await?;
                        return Ok(Ok(owner));
                    }
                    Ok(_) => lacking += 1,
                    Err(error) => trouble = Some(peer.nonsense(error).message().to_owned()),
                },
                Said::Lacks | Said::Deleted => lacking += 1,
                Said::Forbidden => trouble = Some(format!("the site {} may not show its bucket", peer.site.id)),
                Said::Failed(error) => trouble = Some(error.message().to_owned()),
            }
            // What its source does not have is obsolete, whatever others have.
            if known.from.is_some() {
                break;
            }
        }
        Ok(Err(match trouble {
            None if lacking > 0 => Ending::End(OrderState::Ignored, "its bucket is nowhere any more".to_owned()),
            None => Ending::Wait { why: "there is no other site to ask".to_owned(), mismatch: false },
            Some(why) => Ending::Wait { why, mismatch: false },
        }))
    }

    /// Finds the object: where the order says, or at any other site that has the same content.
    async fn find(&self, known: &Known, owner: &ClientId) -> Result<Found> {
        let order = &self.received.order;
        let (peers, unknown) = self.candidates(known).await?;
        let mut trouble = unknown;
        let mut asked = Vec::new();
        for peer in &peers {
            asked.push(peer.site.id.clone());
            match self.asking(peer, self.open(peer, owner, None)).await? {
                Said::Has(source) => return Ok(self.version_at(peer, source)),
                Said::Lacks | Said::Deleted => {}
                Said::Forbidden => {
                    trouble = Some(format!("the site {} does not let {owner} read it", peer.site.id));
                }
                Said::Failed(error) => trouble = Some(error.message().to_owned()),
            }
        }
        let gone = trouble.is_none();
        let mut silent = false;
        if let Some(sha256) = order.sha256.as_deref() {
            for peer in self.others(&asked).await? {
                match self.asking(&peer, self.open(&peer, owner, Some(sha256))).await? {
                    Said::Has(source) => return Ok(self.version_at(&peer, source)),
                    Said::Failed(_) => silent = true,
                    _ => {}
                }
            }
        }
        Ok(Found::Nowhere(match trouble {
            Some(why) => Ending::Wait { why, mismatch: false },
            None if peers.is_empty() => Ending::Wait { why: "there is no other site to ask".into(), mismatch: false },
            // Somebody who cannot be asked may still have it.
            None if gone && silent && self.received.attempts < DOUBTS_MAX => Ending::Wait {
                why: "its source has it no longer, and not every other site answers".into(),
                mismatch: false,
            },
            None => Ending::End(OrderState::Ignored, "no site has it any more".to_owned()),
        }))
    }

    fn version_at(&self, peer: &Peer, source: Source) -> Found {
        let described = source.described.clone();
        // Who does not say where it was first written is asked by an order that says who wrote it.
        let origin = described.origin.clone().or_else(|| self.received.order.from.clone());
        let origin = origin.unwrap_or_else(|| peer.site.id.clone());
        Found::Version(Box::new(Version { described, origin }), Box::new(source))
    }

    /// Whom the order names; without a name, everybody. And why the one it names is not among them.
    async fn candidates(&self, known: &Known) -> Result<(Vec<Peer>, Option<String>)> {
        let named = self.received.order.from.as_ref().filter(|site| **site != self.inner.site);
        let Some(site) = named else { return Ok((self.others(&[]).await?, None)) };
        match &known.from {
            Some(row) if row.site.status != SiteStatus::Deleted => match self.inner.peer(row.clone()) {
                Ok(peer) => Ok((vec![peer], None)),
                Err(error) => Ok((Vec::new(), Some(error.message().to_owned()))),
            },
            _ => Ok((Vec::new(), Some(format!("the site {site} is not in the topology")))),
        }
    }

    /// The other sites that take part, but for some.
    async fn others(&self, without: &[SiteId]) -> Result<Vec<Peer>> {
        let rows = sites::list(&mut self.inner.catalog.read().await?, Some(SiteStatus::Up)).await?;
        let named = self.received.order.from.as_ref();
        let other = |site: &Site| {
            site.id != self.inner.site && !without.contains(&site.id) && (without.is_empty() || named != Some(&site.id))
        };
        let rows = rows.into_iter().filter(|row| other(&row.site));
        Ok(rows.filter_map(|row| self.inner.peer(row).ok()).collect())
    }

    fn asked(&self, client: &ClientId) -> Asked {
        let order = &self.received.order;
        Asked { bucket: order.bucket.clone(), client: client.clone(), op_id: order.op_id.clone() }
    }

    async fn open(&self, peer: &Peer, owner: &ClientId, sha256: Option<&str>) -> Said<Source> {
        let zstd = self.inner.config.compression;
        Source::open(peer, self.asked(owner), self.name.clone(), sha256, zstd).await
    }

    /// Asks a site, unless it gave no answer a moment ago.
    async fn asking<T>(&self, peer: &Peer, ask: impl Future<Output = Said<T>>) -> Result<Said<T>> {
        let site = &peer.site.id;
        if let Some(why) = self.sources.trouble(site) {
            return Ok(Said::Failed(Error::unavailable(why)));
        }
        let said = ask.await;
        match &said {
            Said::Failed(error) => self.sources.failed(site, error.message()),
            _ if self.sources.answered(site) => {
                self.desk.ask(Request::Hurry(site.clone())).await?;
            }
            _ => {}
        }
        Ok(said)
    }

    /// Whether the bytes here are what the record says.
    async fn is_intact(&self, record: Option<&Object>) -> Result<bool> {
        let Some(record) = record.filter(|record| record.status == Status::Ready) else { return Ok(false) };
        match self.inner.vault.hash(&record.id).await {
            Ok(Some(stored)) => {
                Ok(stored.size_bytes == record.size_bytes && Some(&stored.sha256) == record.sha256.as_ref())
            }
            Ok(None) => Ok(false),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings the bytes under the order's record id; how the order ends when they do not come.
    async fn bring(&self, source: Source, version: &Version) -> Result<Option<Ending>> {
        let described = &version.described;
        let target = self.inner.vault.location(&self.received.record);
        let source = Location { storage: Arc::new(source), path: ObjectPath::new("object") };
        let resume = self.received.resume.clone().and_then(|point| serde_json::from_value::<ResumePoint>(point).ok());
        let options = MoveOptions {
            label: self.received.record.to_string(),
            create_parents: true,
            stall: IDLE_MAX,
            expected: Some(hash::checksum(&described.sha256)?),
            ..MoveOptions::default()
        };
        let (progress, limits) = (Progress::default(), Limits::none());
        let checkpoint = Points { desk: self.desk, seq: self.received.seq };
        let mv = Move { source, target, range: Default::default(), options, resume };
        let moved = move_object(mv, &checkpoint, &progress, &limits, std::future::pending()).await;
        let (why, mismatch) = match moved {
            Ok(outcome) if outcome.bytes == described.size_bytes => return Ok(None),
            Ok(outcome) => (format!("{} bytes came where {} were promised", outcome.bytes, described.size_bytes), true),
            Err(error) if error.kind() == ErrorKind::LostLease => return Err(error),
            Err(error) => {
                tracing::debug!(order = self.received.seq, error.chain = ?error, "bytes did not come: {error}");
                (error.message().to_owned(), error.kind() == ErrorKind::Corrupt)
            }
        };
        Ok(Some(Ending::Wait { why, mismatch }))
    }
}

fn arrive_at(known: &Known, version: &Version) -> Arrival {
    arrive(known.record.as_ref(), known.uploading, version)
}

/// Keeps the points of a copy with its order.
struct Points<'a> {
    desk: &'a Desk,
    seq: i64,
}

impl Points<'_> {
    async fn keep(&self, point: Option<serde_json::Value>) -> Result<()> {
        self.desk.ask(Request::Point(self.seq, point)).await.map(|_| ())
    }
}

#[async_trait]
impl Checkpoint for Points<'_> {
    async fn save(&self, point: &ResumePoint) -> Result<()> {
        let point = serde_json::to_value(point)
            .map_err(|error| Error::internal("a resume point could not be written as JSON").caused_by(error))?;
        self.keep(Some(point)).await
    }

    async fn start_over(&self) -> Result<()> {
        self.keep(None).await
    }
}
