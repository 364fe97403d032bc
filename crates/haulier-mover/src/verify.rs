//! Did what was read arrive? A SHA-256 that can be saved half-way and runs beside the copy.
//!
//! Knows no storage.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use haulier_base::{Checksum, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

/// Below this length a hop to another thread costs more than the hash.
const INLINE: usize = 64 << 10;

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
    /// Their SHA-256 was computed on the way, and the store took each of them; it computes no checksum itself.
    Written,
    /// Their number is right.
    Length,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadBack => f.write_str("read-back"),
            Self::Store(kind) => write!(f, "store:{kind}"),
            Self::Written => f.write_str("written"),
            Self::Length => f.write_str("length"),
        }
    }
}

/// A running SHA-256 and how many bytes it has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher {
    sha: Sha256,
    at: u64,
}

impl Hasher {
    /// Goes on from a saved state; none when the text is not one.
    pub(crate) fn restore(state: &str, at: u64) -> Option<Self> {
        let bytes = hex::decode(state).ok()?;
        let state = SerializedState::<Sha256>::try_from(bytes.as_slice()).ok()?;
        Some(Self { sha: Sha256::deserialize(&state).ok()?, at })
    }

    /// The state as text.
    pub(crate) fn state(&self) -> String {
        hex::encode(self.sha.serialize())
    }

    /// How many bytes were hashed.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Hashes the next bytes, on another thread unless they are few.
    pub(crate) async fn update(mut self, bytes: Bytes) -> Result<Self> {
        if bytes.len() <= INLINE {
            self.add(&bytes);
            return Ok(self);
        }
        let hashing = tokio::task::spawn_blocking(move || {
            self.add(&bytes);
            self
        });
        hashing.await.map_err(|e| Error::internal("the hashing thread failed").caused_by(e))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.at += bytes.len() as u64;
    }

    /// The digest of everything hashed.
    pub(crate) fn checksum(&self) -> Checksum {
        Checksum::sha256(self.sha.clone().finalize().into())
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
        let whole = Hasher::default().update(bytes.clone()).await.unwrap().checksum();
        for cut in [0, 1, 63, 64, 65, 100_000, 199_999, 200_000] {
            let first = Hasher::default().update(bytes.slice(..cut)).await.unwrap();
            let second = Hasher::restore(&first.state(), first.at()).unwrap();
            let second = second.update(bytes.slice(cut..)).await.unwrap();
            assert_eq!((second.at(), second.checksum()), (200_000, whole.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn refuses_what_is_no_state() {
        let state = Hasher::default().state();
        for bad in ["", "00", "zz", &state[2..]] {
            assert!(Hasher::restore(bad, 0).is_none(), "{bad}");
        }
        assert!(Hasher::restore(&state, 0).is_some());
    }
}
