//! Proves that the target holds what it was given, as strongly as the move asks for.
//!
//! Reading back is the caller's choice: it costs a second pass over the bytes.

use haulier_base::{Checksum, Error, Result};
use haulier_storage::{ObjectKind, ObjectWriter, ReadRequest, Written};
use tokio::time::timeout;

use crate::Move;
use crate::gather::{Gather, no_byte_for};
use crate::plan::Method;
use crate::verify::{Hasher, Proof, Verify};

/// Read back at once.
const PIECE: u64 = 2 << 20;

/// What is known of the bytes that were moved.
pub(crate) struct Found {
    /// Their SHA-256.
    pub(crate) checksum: Option<Checksum>,
    /// The kind of checksum in which they agree with what the source's store says.
    of_source: Option<&'static str>,
    /// Whether some checksum was computed of them.
    hashed: bool,
}

impl Found {
    /// Looks at what was hashed.
    ///
    /// # Errors
    /// `Corrupt` when the store of the source holds other bytes.
    pub(crate) fn of(mv: &Move, method: Method, hasher: Option<&Hasher>) -> Result<Self> {
        let sent_along = method != Method::Within && mv.target.storage.capabilities().checksums;
        Ok(Self {
            checksum: hasher.and_then(Hasher::checksum),
            of_source: hasher.map(Hasher::compare_with_source).transpose()?.flatten(),
            hashed: hasher.is_some() || sent_along,
        })
    }
}

/// Reads an unpublished target again, where that is asked for and can be done; says whether it was.
pub(crate) async fn unpublished(
    mv: &Move,
    writer: &dyn ObjectWriter,
    length: u64,
    wanted: Option<&Checksum>,
) -> Result<bool> {
    let can = mv.target.storage.capabilities().read_back;
    let (Verify::ReadBack, true, Some(wanted)) = (mv.options.verify, can, wanted) else { return Ok(false) };
    writer.flush().await?;
    writer.forget_cached().await?;
    let mut hasher = Hasher::sha256();
    while hasher.at() < length {
        let reading = writer.read_back(hasher.at(), PIECE.min(length - hasher.at()));
        let read = timeout(mv.options.stall, reading).await.map_err(|_| no_byte_for(mv.options.stall))?;
        match read? {
            Some(bytes) if !bytes.is_empty() => hasher = hasher.update(bytes).await?,
            // A device keeps nothing that could be read again.
            None if hasher.at() == 0 => return Ok(false),
            _ => return Err(differs(&hasher, wanted)),
        }
    }
    if hasher.checksum().as_ref() == Some(wanted) { Ok(true) } else { Err(differs(&hasher, wanted)) }
}

/// Says how a published target was proven; reads it again, where that could not be done before.
///
/// # Errors
/// `Corrupt` when it holds other bytes than it was given: they are visible by now, and the caller removes them.
pub(crate) async fn published(mv: &Move, written: &Written, read_back: bool, found: &Found) -> Result<Proof> {
    let can_again = written.meta.kind == ObjectKind::Regular && mv.target.storage.capabilities().read;
    match (mv.options.verify, &found.checksum) {
        (Verify::None, _) => Ok(Proof::Length),
        (Verify::ReadBack, Some(_)) if read_back => Ok(Proof::ReadBack),
        (Verify::ReadBack, Some(wanted)) if can_again => {
            read_again(mv, written, wanted).await?;
            Ok(Proof::ReadBack)
        }
        _ => Ok(match (written.store_checksum, found.of_source) {
            (Some(kind), _) => Proof::Store(kind),
            (None, Some(kind)) => Proof::Source(kind),
            (None, None) if found.hashed => Proof::Written,
            (None, None) => Proof::Length,
        }),
    }
}

async fn read_again(mv: &Move, written: &Written, wanted: &Checksum) -> Result<()> {
    let (storage, path) = (&mv.target.storage, &mv.target.path);
    let request = ReadRequest { version: written.meta.version.clone(), ..ReadRequest::default() };
    let reading = timeout(mv.options.stall, storage.read(path, request));
    let read = reading.await.map_err(|_| no_byte_for(mv.options.stall))??;
    let (mut stream, mut hasher) = (Gather::new(read.stream, mv.options.stall), Hasher::sha256());
    while let Some(bytes) = stream.next().await? {
        hasher = hasher.update(bytes).await?;
    }
    if hasher.checksum().as_ref() == Some(wanted) { Ok(()) } else { Err(differs(&hasher, wanted)) }
}

fn differs(found: &Hasher, wanted: &Checksum) -> Error {
    let found = found.checksum().map(|found| found.to_string()).unwrap_or_default();
    Error::corrupt(format!("read back, the target has checksum {found}, not {wanted}"))
}
