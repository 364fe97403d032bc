//! Content from the packs of a repository into files: long reads, several at once, each piece proven twice.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use haulier_base::{Error, Result};
use rustic_core::DataId;
use rustic_core::repofile::PackId;
use sha2::{Digest as _, Sha256};

use super::super::lock::Cipher;
use super::super::shelf::Shelf;
use super::plan::Blob;

/// Pieces that lie next to each other are read at once up to so many bytes.
const RUN_MAX: u32 = 4 << 20;
/// So many bytes of nothing but zeros become a hole in a file.
const HOLE: usize = 64 << 10;

/// Neighbours in one pack.
pub(super) struct Run<'a> {
    pub(super) pack: PackId,
    pub(super) blobs: Vec<&'a Blob>,
}

/// Puts neighbours together, in the order of the packs.
pub(super) fn runs<'a>(blobs: impl Iterator<Item = (PackId, &'a Blob)>) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for (pack, blob) in blobs {
        if let Some(run) = runs.last_mut()
            && run.pack == pack
            && let (Some(first), Some(last)) = (run.blobs.first(), run.blobs.last())
            && last.offset + last.length == blob.offset
            && blob.offset + blob.length - first.offset <= RUN_MAX
        {
            run.blobs.push(blob);
        } else {
            runs.push(Run { pack, blobs: vec![blob] });
        }
    }
    runs
}

impl Run<'_> {
    /// Reads the run and gives each piece, proven by its name, to `each`.
    pub(super) fn read(
        &self,
        shelf: &Shelf,
        cipher: &Cipher,
        mut each: impl FnMut(&Blob, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (self.blobs.first(), self.blobs.last()) else { return Ok(()) };
        let end = last.offset + last.length;
        let bytes: Bytes = shelf.pack_part(&self.pack, first.offset, end - first.offset)?;
        for blob in &self.blobs {
            let from = (blob.offset - first.offset) as usize;
            let sealed = bytes.get(from..from + blob.length as usize);
            let damaged = |why: &str| {
                Error::corrupt(format!("pack {} of the repository is damaged: {why}", self.pack.to_hex().as_str()))
            };
            let sealed = sealed.ok_or_else(|| damaged("it is too short"))?;
            let mut data = cipher.open(sealed).map_err(|_| damaged("it cannot be decrypted"))?;
            if blob.compressed {
                data = zstd::decode_all(&data[..]).map_err(|_| damaged("it cannot be decompressed"))?;
            }
            if !is(&blob.id, &data) {
                return Err(damaged("its content is not what its name says"));
            }
            each(blob, &data)?;
        }
        Ok(())
    }
}

/// Whether bytes are those of that name.
pub(super) fn is(id: &DataId, data: &[u8]) -> bool {
    hex::encode(Sha256::digest(data)) == id.to_hex().as_str()
}

/// Writes a piece into a file of zeros, and reads it again.
pub(super) fn put(file: &File, path: &Path, offset: u64, data: &[u8]) -> Result<()> {
    let mut at = 0;
    for part in data.chunks(HOLE) {
        if part.len() < HOLE || part.iter().any(|byte| *byte != 0) {
            file.write_all_at(part, offset + at)?;
        }
        at += part.len() as u64;
    }
    let mut back = vec![0; data.len()];
    file.read_exact_at(&mut back, offset)?;
    if back != data {
        return Err(Error::corrupt(format!("{} does not hold what was written to it", path.display())));
    }
    Ok(())
}
