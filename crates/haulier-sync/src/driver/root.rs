//! Whose root it is: a mark in it, so that two entries, two catalogues or an unmounted disk are noticed.
//!
//! Knows no SQL: the catalogue's side of the mark is the caller's.

use bytes::Bytes;
use futures::TryStreamExt;
use haulier_base::{Error, ErrorKind, Result, id};
use haulier_storage::{Guard, ReadRequest, WriteRequest};
use serde::{Deserialize, Serialize};

use super::Driver;
use crate::model::EntryName;

/// The mark's name in our own folder.
const MARK: &str = "entry.json";
/// A longer mark is none of ours.
const MARK_BYTES_MAX: u64 = 64 << 10;

/// What became of claiming a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RootClaim {
    /// It is this entry's; the id that is written in it.
    Held(String),
    /// It was this entry's, and has no mark any more: another folder is in its place, as after a disk was unmounted.
    /// Nothing was written.
    Lost,
}

/// The mark's content.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    catalogue: String,
    entry: String,
    root_id: String,
}

impl Driver {
    /// Makes sure that the root belongs to this entry of this catalogue and to nobody else. `known` is the id that the
    /// catalogue remembers; none claims a root that has no mark, for the first time or by the operator's word.
    ///
    /// # Errors
    /// `Conflict` when it is another's, in words for the operator.
    pub(crate) async fn claim_root(
        &self,
        catalogue: &str,
        entry: &EntryName,
        known: Option<&str>,
    ) -> Result<RootClaim> {
        // Twice, because somebody else may write the first mark between our look and our write.
        for _ in 0..2 {
            if let Some(mark) = self.read_mark().await? {
                return mark.belongs_to(catalogue, entry).map(|()| RootClaim::Held(mark.root_id));
            }
            if known.is_some() {
                return Ok(RootClaim::Lost);
            }
            let mark = Mark { catalogue: catalogue.to_owned(), entry: entry.to_string(), root_id: id::random_uuid() };
            match self.write_mark(&mark).await {
                Ok(()) => return Ok(RootClaim::Held(mark.root_id)),
                Err(error) if Guard::is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable("the mark in the root comes and goes"))
    }

    /// Looks whether the root is still the one that was claimed: cheap enough to be asked before every page of work.
    ///
    /// # Errors
    /// `Unavailable` when it is not.
    pub(crate) async fn check_root(&self, root_id: &str) -> Result<()> {
        let attached = match &self.0.local {
            Some((local, _)) => local.is_in_place().await?,
            None => true,
        };
        match self.read_mark().await? {
            Some(mark) if attached && mark.root_id == root_id => Ok(()),
            _ => Err(Error::unavailable("the root of the entry is not the one it was: is its disk mounted?")),
        }
    }

    async fn read_mark(&self) -> Result<Option<Mark>> {
        let request = ReadRequest { end: Some(MARK_BYTES_MAX), ..ReadRequest::default() };
        let read = match self.0.storage.read(&self.own_path(MARK), request).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let bytes: Vec<Bytes> = read.stream.try_collect().await?;
        let mark = serde_json::from_slice(&bytes.concat());
        mark.map(Some).map_err(|_| Error::conflict("the root has a .haulier/entry.json that cannot be read"))
    }

    async fn write_mark(&self, mark: &Mark) -> Result<()> {
        let text = serde_json::to_vec_pretty(mark)
            .map_err(|error| Error::internal("a mark could not be written as JSON").caused_by(error))?;
        let request = WriteRequest {
            label: mark.root_id.clone(),
            create_parents: true,
            size: Some(text.len() as u64),
            guard: Guard::Absent,
            ..WriteRequest::default()
        };
        let writer = self.0.storage.write(&self.own_path(MARK), request).await?;
        let size = text.len() as u64;
        writer.put_at(0, text.into()).await?;
        writer.finish(size).await.map(|_| ())
    }
}

impl Mark {
    fn belongs_to(&self, catalogue: &str, entry: &EntryName) -> Result<()> {
        let whose = if self.catalogue != catalogue {
            format!("the entry {} of another Haulier", self.entry)
        } else if self.entry != entry.as_str() {
            format!("the entry {}", self.entry)
        } else {
            return Ok(());
        };
        Err(Error::conflict(format!(
            "the root belongs to {whose}; if that one is gone for good, remove .haulier/{MARK} from the root"
        )))
    }
}
