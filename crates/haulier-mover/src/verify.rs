//! Did what was read arrive? A SHA-256 that can be saved half-way and runs beside the copy.
//!
//! Knows no storage.

use bytes::Bytes;
use haulier_base::{Checksum, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

/// Below this length a hop to another thread costs more than the hash.
const INLINE: usize = 64 << 10;

/// How the bytes at the target are proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// SHA-256 of what is in the target.
    #[default]
    Sha256,
    /// Length only.
    None,
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
