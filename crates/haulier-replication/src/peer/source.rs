//! One object of another site, seen as a storage that can only be read, so that the mover brings it.
//!
//! The version of the content is its hash: a copy that began at one site goes on from any that has the same.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, Result};
use haulier_storage::{
    ByteStream, Capabilities, ListedObject, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter, ReadRequest, Storage,
    Version, WriteRequest,
};
use reqwest::{Response, StatusCode};

use super::Peer;
use super::calls::{Asked, Piece, Said};
use crate::content::{Coding, Described, coding, read_described, zstd};
use crate::model::ObjectName;

/// An object at a peer.
pub(crate) struct Source {
    peer: Peer,
    asked: Asked,
    name: ObjectName,
    pub(crate) described: Described,
    /// The answer that told so, whose body is the first that is read.
    first: Mutex<Option<Response>>,
    zstd: bool,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("site", &self.peer.site.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source {
    /// Asks a site for an object, and hears what it is. With `sha256`, another content is as good as none.
    pub(crate) async fn open(
        peer: &Peer,
        asked: Asked,
        name: ObjectName,
        sha256: Option<&str>,
        zstd: bool,
    ) -> Said<Self> {
        let response = match peer.open(&asked, &name, Piece { sha256, zstd, ..Piece::default() }).await {
            Said::Has(response) => response,
            Said::Lacks => return Said::Lacks,
            Said::Deleted => return Said::Deleted,
            Said::Forbidden => return Said::Forbidden,
            Said::Failed(error) => return Said::Failed(error),
        };
        let described = match read_described(response.headers()) {
            Ok(described) => described,
            Err(error) => return Said::Failed(peer.nonsense(error)),
        };
        if sha256.is_some_and(|wanted| wanted != described.sha256) {
            return Said::Lacks;
        }
        Said::Has(Self { peer: peer.clone(), asked, name, described, first: Mutex::new(Some(response)), zstd })
    }

    fn meta(&self) -> ObjectMeta {
        ObjectMeta {
            size: Some(self.described.size_bytes),
            version: Some(Version::from(self.described.sha256.as_str())),
            ..ObjectMeta::default()
        }
    }

    async fn response(&self, start: u64, end: u64) -> Result<Response> {
        let whole = start == 0 && end == self.described.size_bytes;
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(first) = first.filter(|_| start == 0) {
            return Ok(first);
        }
        let piece = Piece {
            start,
            end: (end < self.described.size_bytes).then_some(end),
            sha256: Some(&self.described.sha256),
            zstd: self.zstd && whole,
        };
        match self.peer.open(&self.asked, &self.name, piece).await {
            Said::Has(response) => Ok(response),
            Said::Lacks | Said::Deleted | Said::Forbidden => {
                Err(Error::conflict(format!("the site {} does not have that content any more", self.peer.site.id)))
            }
            Said::Failed(error) => Err(error),
        }
    }
}

#[async_trait]
impl Storage for Source {
    fn capabilities(&self) -> Capabilities {
        // What is compressed comes as one stream.
        Capabilities {
            read: true,
            ranged_read: true,
            one_version: true,
            parallel_reads: !self.zstd,
            ..Capabilities::default()
        }
    }

    async fn stat(&self, _path: &ObjectPath) -> Result<ObjectMeta> {
        Ok(self.meta())
    }

    async fn read(&self, _path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let meta = self.meta();
        if request.version.as_ref().is_some_and(|wanted| meta.version.as_ref() != Some(wanted)) {
            return Err(Error::conflict("the site has another version of the object"));
        }
        let (start, size) = (request.start, self.described.size_bytes);
        if start > size {
            return Err(Error::invalid(format!("the start {start} is beyond the end of the object, {size}")));
        }
        let end = request.end.unwrap_or(size).clamp(start, size);
        let stream = match start == end {
            true => stream::empty().boxed(),
            false => {
                let response = self.response(start, end).await?;
                let described = read_described(response.headers()).map_err(|error| self.peer.nonsense(error))?;
                if described.sha256 != self.described.sha256 {
                    return Err(Error::conflict("the site has another version of the object by now"));
                }
                body(&self.peer, response, start, end)?
            }
        };
        Ok(ObjectRead { meta, start, end: Some(end), stream, handle: None, crc64: None })
    }

    async fn write(&self, _path: &ObjectPath, _request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        only_read()
    }

    async fn list(&self, _prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        only_read()
    }

    async fn delete(&self, _path: &ObjectPath) -> Result<()> {
        only_read()
    }

    async fn discard(&self, _path: &ObjectPath, _label: &str, _token: Option<&str>) -> Result<()> {
        only_read()
    }
}

fn only_read<T>() -> Result<T> {
    Err(Error::invalid("an object of another site can only be read"))
}

/// The bytes of an answer from `start` to `end`, and neither more nor fewer.
fn body(peer: &Peer, response: Response, start: u64, end: u64) -> Result<ByteStream> {
    let partial = response.status() == StatusCode::PARTIAL_CONTENT;
    // A peer that takes no ranges sends everything: what comes before is dropped.
    let skip = if partial { 0 } else { start };
    let packed = coding(response.headers()).map_err(|error| peer.nonsense(error))? == Coding::Zstd;
    let plain = plain_body(peer, response);
    let plain = if packed { zstd::decompressed(plain) } else { plain };
    Ok(exactly(plain, skip, end - start, peer.site.id.to_string()))
}

/// The body of an answer as it comes, an error told as ours.
pub(crate) fn plain_body(peer: &Peer, response: Response) -> ByteStream {
    let peer = peer.clone();
    response.bytes_stream().map(move |piece| piece.map_err(|error| peer.unreachable(error))).boxed()
}

/// Drops `skip` bytes, passes `length`, and takes it ill if there are fewer.
fn exactly(stream: ByteStream, skip: u64, length: u64, site: String) -> ByteStream {
    stream::try_unfold((stream, skip, length), move |(mut stream, mut skip, left)| {
        let site = site.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            loop {
                let Some(piece) = stream.next().await else {
                    return Err(Error::unavailable(format!("the site {site} broke off")).context("missing", left));
                };
                let mut piece: Bytes = piece?;
                let dropped = skip.min(piece.len() as u64);
                skip -= dropped;
                let mut rest = piece.split_off(usize::try_from(dropped).unwrap_or(piece.len()));
                rest.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                if !rest.is_empty() {
                    let left = left - rest.len() as u64;
                    return Ok(Some((rest, (stream, skip, left))));
                }
            }
        }
    })
    .boxed()
}
