//! Recognizes a target that an earlier attempt published right before it crashed.
//!
//! The temporary data is gone then, but starting over would take back progress that was shown.

use haulier_base::{Checksum, Result};
use haulier_storage::{ByteStream, ObjectKind, ObjectRead, ObjectWriter, Placement, ReadRequest, WriteRequest};
use tokio::time::timeout;

use crate::gather::Gather;
use crate::open::wants_sha;
use crate::verify::Hasher;
use crate::{Move, ResumePoint};

/// A target that holds exactly the wanted bytes.
pub(crate) struct Published {
    pub(crate) length: u64,
    pub(crate) checksum: Option<Checksum>,
    /// Writes nothing; finishing it makes an unflushed publication survive a crash.
    pub(crate) writer: Box<dyn ObjectWriter>,
}

/// Proves that the target is complete: the saved hash and the source from there on must give what the
/// target gives as a whole. None when it does not, or when that cannot be told.
pub(crate) async fn find_published(
    mv: &Move,
    point: &ResumePoint,
    source: ObjectRead,
    length: Option<u64>,
) -> Result<Option<Published>> {
    let before = point.hash_state.as_deref().and_then(|state| Hasher::restore(state, point.safe));
    let before = before.filter(|before| before.has_sha() || !wants_sha(mv, point.source_version.is_some()));
    let (Some(before), Some(length)) = (before, length) else { return Ok(None) };
    let capabilities = mv.target.storage.capabilities();
    if mv.options.placement != Placement::Replace || !capabilities.read || !capabilities.in_place {
        return Ok(None);
    }
    let Some(target) = read_target(mv, length).await else { return Ok(None) };
    let found = match hash(mv, before.afresh(), target).await {
        Ok(found) if found.at() == length => found,
        _ => return Ok(None),
    };
    let wanted = hash(mv, before, source.stream).await?;
    if !wanted.agrees_with(&found) || found.compare_with_source().is_err() {
        return Ok(None);
    }
    let checksum = found.checksum();
    if mv.options.expected.is_some() && mv.options.expected != checksum {
        return Ok(None);
    }
    let request = WriteRequest {
        label: mv.options.label.clone(),
        placement: Placement::InPlace { offset: 0 },
        size: Some(length),
        ..WriteRequest::default()
    };
    let writer = mv.target.storage.write(&mv.target.path, request).await;
    let writer = writer.ok().filter(|writer| writer.resumed_size() == length);
    Ok(writer.map(|writer| Published { length, checksum, writer }))
}

/// The bytes of the target, if it is a plain object of that length; trouble with it is no reason to fail.
async fn read_target(mv: &Move, length: u64) -> Option<ByteStream> {
    let (storage, path) = (&mv.target.storage, &mv.target.path);
    let looking = async {
        let meta = storage.stat(path).await.ok()?;
        if meta.kind != ObjectKind::Regular || meta.size != Some(length) {
            return None;
        }
        let request = ReadRequest { version: meta.version, ..ReadRequest::default() };
        Some(storage.read(path, request).await.ok()?.stream)
    };
    timeout(mv.options.stall, looking).await.ok()?
}

async fn hash(mv: &Move, mut hasher: Hasher, stream: ByteStream) -> Result<Hasher> {
    let mut stream = Gather::new(stream, mv.options.stall);
    while let Some(bytes) = stream.next().await? {
        hasher = hasher.update(bytes).await?;
    }
    Ok(hasher)
}
