//! Did what was read arrive? Checksums that can be saved half-way and run beside the copy.
//!
//! Knows no storage.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use haulier_base::{Checksum, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

/// Below this length a hop to another thread costs more than the hash.
const INLINE: usize = 64 << 10;
/// The same for a CRC-64 alone, of which ten times as much takes no longer.
const INLINE_CRC: usize = 1 << 20;

/// How the bytes at the target are to be proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// The strongest proof that needs no second pass over the bytes: a checksum of what is in the target where
    /// the store or this machine's memory gives one, else a hash of the bytes as they were handed over.
    #[default]
    Store,
    /// Every byte is read from the target again.
    ReadBack,
    /// Length only.
    None,
}

/// How the bytes at the target were proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Their SHA-256 was computed from what is in the target.
    ReadBack,
    /// The store's own checksum of what it holds is that of the bytes it was given; names the kind.
    Store(&'static str),
    /// They have the checksum that the store of their source computed of it; names the kind.
    Source(&'static str),
    /// A checksum was computed on the way, and the store took each of them; it computes none itself.
    Written,
    /// Their number is right.
    Length,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadBack => f.write_str("read-back"),
            Self::Store(kind) => write!(f, "store:{kind}"),
            Self::Source(kind) => write!(f, "source:{kind}"),
            Self::Written => f.write_str("written"),
            Self::Length => f.write_str("length"),
        }
    }
}

/// Running checksums and how many bytes they have seen.
#[derive(Clone, Debug)]
pub(crate) struct Hasher {
    sha: Option<Sha256>,
    crc: Option<Crc>,
    at: u64,
}

/// A running CRC-64/NVME, and the one that the store of the source says the whole has.
#[derive(Clone, Debug)]
struct Crc {
    so_far: crc_fast::Digest,
    whole: u64,
}

impl Crc {
    fn new(whole: u64) -> Self {
        Self { so_far: crc_fast::Digest::new(Crc64Nvme), whole }
    }

    fn restore(text: &str) -> Option<Self> {
        let (state, whole) = text.split_once('/')?;
        let state = u64::from_str_radix(state, 16).ok()?;
        let so_far = crc_fast::Digest::new_with_init_state(Crc64Nvme, state);
        Some(Self { so_far, whole: u64::from_str_radix(whole, 16).ok()? })
    }
}

impl Hasher {
    /// Has seen nothing: with a SHA-256 if it is wanted, and with a CRC-64/NVME if one is known for the whole.
    pub(crate) fn new(sha: bool, crc64: Option<u64>) -> Self {
        Self { sha: sha.then(Sha256::new), crc: crc64.map(Crc::new), at: 0 }
    }

    /// A SHA-256 that has seen nothing.
    pub(crate) fn sha256() -> Self {
        Self::new(true, None)
    }

    /// The same checksums, of nothing yet.
    pub(crate) fn afresh(&self) -> Self {
        Self::new(self.sha.is_some(), self.crc.as_ref().map(|crc| crc.whole))
    }

    /// Goes on from a saved state; none when the text is not one.
    pub(crate) fn restore(state: &str, at: u64) -> Option<Self> {
        let (sha, crc) = state.split_once('+').map_or((state, None), |(sha, crc)| (sha, Some(crc)));
        let crc = crc.map(|text| Crc::restore(text).ok_or(())).transpose().ok()?;
        if sha.is_empty() && crc.is_some() {
            return Some(Self { sha: None, crc, at });
        }
        let bytes = hex::decode(sha).ok()?;
        let state = SerializedState::<Sha256>::try_from(bytes.as_slice()).ok()?;
        Some(Self { sha: Some(Sha256::deserialize(&state).ok()?), crc, at })
    }

    /// The state as text.
    pub(crate) fn state(&self) -> String {
        let sha = self.sha.as_ref().map(|sha| hex::encode(sha.serialize())).unwrap_or_default();
        match &self.crc {
            Some(crc) => format!("{sha}+{:016x}/{:016x}", crc.so_far.get_state(), crc.whole),
            None => sha,
        }
    }

    /// Whether there is a SHA-256 among the checksums.
    pub(crate) fn has_sha(&self) -> bool {
        self.sha.is_some()
    }

    /// How many bytes were hashed.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Hashes the next bytes, on another thread unless they are few.
    pub(crate) async fn update(self, bytes: Bytes) -> Result<Self> {
        self.update_all(vec![bytes]).await
    }

    /// The same with bytes in several pieces.
    pub(crate) async fn update_all(mut self, pieces: Vec<Bytes>) -> Result<Self> {
        let inline = if self.has_sha() { INLINE } else { INLINE_CRC };
        if pieces.iter().map(Bytes::len).sum::<usize>() <= inline {
            pieces.iter().for_each(|piece| self.add(piece));
            return Ok(self);
        }
        let hashing = tokio::task::spawn_blocking(move || {
            pieces.iter().for_each(|piece| self.add(piece));
            self
        });
        hashing.await.map_err(|e| Error::internal("the hashing thread failed").caused_by(e))
    }

    fn add(&mut self, bytes: &[u8]) {
        if let Some(sha) = &mut self.sha {
            sha.update(bytes);
        }
        if let Some(crc) = &mut self.crc {
            crc.so_far.update(bytes);
        }
        self.at += bytes.len() as u64;
    }

    /// The SHA-256 of everything hashed, if it was wanted.
    pub(crate) fn checksum(&self) -> Option<Checksum> {
        self.sha.as_ref().map(|sha| Checksum::sha256(sha.clone().finalize().into()))
    }

    /// Whether another one has seen the same bytes, as far as the checksums of both tell.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        let crc = |hasher: &Self| hasher.crc.as_ref().map(|crc| crc.so_far.finalize());
        self.at == other.at && self.checksum() == other.checksum() && crc(self) == crc(other)
    }

    /// Compares with what the store of the source says of the whole; the kind of checksum, if it says one.
    ///
    /// # Errors
    /// `Corrupt` when these are other bytes.
    pub(crate) fn compare_with_source(&self) -> Result<Option<&'static str>> {
        match self.crc.as_ref().map(|crc| (crc.so_far.finalize(), crc.whole)) {
            Some((found, wanted)) if found != wanted => Err(Error::corrupt(format!(
                "the bytes have the CRC-64/NVME {found:016x}, not {wanted:016x} as the source's store has it"
            ))),
            crc => Ok(crc.map(|_| "crc64nvme")),
        }
    }
}

/// States of the hash at the ends of parts, until the store has taken those parts.
#[derive(Debug, Default)]
pub(crate) struct Marks(VecDeque<Hasher>);

impl Marks {
    /// Adds a state behind all others.
    pub(crate) fn add(&mut self, hasher: Hasher) {
        self.0.push_back(hasher);
    }

    /// The last state at or before a length; the ones before it are needed no more.
    pub(crate) fn up_to(&mut self, length: u64) -> Option<Hasher> {
        let beyond = self.0.partition_point(|mark| mark.at() <= length);
        self.0.drain(..beyond.saturating_sub(1));
        self.0.front().filter(|mark| mark.at() <= length).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn goes_on_from_any_place_to_the_same_digest() {
        let bytes = Bytes::from((0..200_000u32).map(|i| i as u8).collect::<Vec<_>>());
        let crc64 = Some(crc_fast::checksum(Crc64Nvme, &bytes));
        for (sha, crc64) in [(true, None), (true, crc64), (false, crc64)] {
            let whole = Hasher::new(sha, crc64).update(bytes.clone()).await.unwrap();
            assert_eq!((whole.checksum().is_some(), whole.at()), (sha, 200_000));
            for cut in [0, 1, 63, 64, 65, 100_000, 199_999, 200_000] {
                let first = Hasher::new(sha, crc64).update(bytes.slice(..cut)).await.unwrap();
                let second = Hasher::restore(&first.state(), first.at()).unwrap();
                assert!(second.agrees_with(&first) && second.afresh().state() == Hasher::new(sha, crc64).state());
                let second = second.update(bytes.slice(cut..)).await.unwrap();
                assert!(second.agrees_with(&whole), "cut at {cut}");
                assert_eq!(second.compare_with_source().unwrap(), crc64.map(|_| "crc64nvme"));
                assert_eq!(first.compare_with_source().is_err(), crc64.is_some() && cut < 200_000);
            }
        }
    }

    #[test]
    fn refuses_what_is_no_state() {
        let state = Hasher::new(true, Some(7)).state();
        for bad in ["", "00", "zz", &state[2..], "+", "+7", "+7/", "+x/7", &state[..state.len() - 17]] {
            assert!(Hasher::restore(bad, 0).is_none(), "{bad}");
        }
        assert!(Hasher::restore(&state, 0).is_some());
    }
}
