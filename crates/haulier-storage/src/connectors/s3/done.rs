//! The parts of an upload that arrived, and what their checksums make together.

use std::collections::BTreeMap;
use std::sync::Mutex;

use haulier_base::{Error, Result};

use super::checksum::{Kind, joined};
use super::client::lock;
use super::trouble::again;
use super::upload::Part;

/// So many joined checksums are remembered: a checkpoint may be a few parts behind what arrived.
const SUMS_KEPT: u64 = 4;

/// What became of the parts, those on their way too.
#[derive(Default)]
pub(super) struct Done {
    state: Mutex<State>,
    failed: Mutex<Option<Error>>,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<u64, Part>,
    /// The joined checksums of the first so many parts, for the last few such numbers.
    sums: Vec<(u64, String)>,
}

impl Done {
    /// What an earlier writer left.
    pub(super) fn resumed(parts: BTreeMap<u64, Part>, sums: Vec<(u64, String)>) -> Self {
        Self { state: Mutex::new(State { parts, sums }), failed: Mutex::default() }
    }

    /// Keeps what became of a part; of several failures the first.
    pub(super) fn add(&self, number: u64, outcome: Result<Part>) {
        match outcome {
            Ok(part) => {
                lock(&self.state).parts.insert(number, part);
            }
            Err(error) => {
                lock(&self.failed).get_or_insert(error);
            }
        }
    }

    /// Parts from here on are put again.
    pub(super) fn forget_from(&self, number: u64) {
        let mut state = lock(&self.state);
        state.parts.split_off(&number);
        state.sums.retain(|(count, _)| *count <= number);
    }

    /// The first failure, for whoever asks.
    pub(super) fn refuse_failed(&self) -> Result<()> {
        match &*lock(&self.failed) {
            Some(error) => Err(again(error)),
            None => Ok(()),
        }
    }

    pub(super) fn parts(&self) -> BTreeMap<u64, Part> {
        lock(&self.state).parts.clone()
    }

    /// How many bytes arrived without a gap; their checksum is remembered.
    pub(super) fn kept(&self, kind: Kind) -> u64 {
        let mut state = lock(&self.state);
        let count = state.parts.iter().zip(0..).take_while(|((number, _), wanted)| *number == wanted).count() as u64;
        let last = state.sums.last().map_or(0, |(known, _)| *known);
        for known in (last + 1).max((count + 1).saturating_sub(SUMS_KEPT))..=count {
            if let Some(sum) = state.joined(kind, known) {
                state.sums.push((known, sum));
            }
        }
        let excess = state.sums.len().saturating_sub(SUMS_KEPT as usize);
        state.sums.drain(..excess);
        state.parts.range(..count).map(|(_, part)| part.size).sum()
    }

    /// The checksums that a token holds.
    pub(super) fn sums(&self) -> Vec<(u64, String)> {
        lock(&self.state).sums.clone()
    }

    /// The checksum of all parts, as far as they are known.
    pub(super) fn whole(&self, kind: Kind) -> Option<String> {
        let state = lock(&self.state);
        state.joined(kind, state.parts.len() as u64)
    }
}

impl State {
    /// Joins the checksums of the first so many parts, from the last remembered one on.
    fn joined(&self, kind: Kind, count: u64) -> Option<String> {
        let known = self.sums.iter().rev().find(|(known, _)| *known <= count);
        let known_count = known.map_or(0, |(known, _)| *known);
        let known_size = self.parts.range(..known_count).map(|(_, part)| part.size).sum();
        let first = known.map(|(_, sum)| (Some(sum.as_str()), known_size));
        let rest = self.parts.range(known_count..count).map(|(_, part)| (part.checksum.as_deref(), part.size));
        joined(kind, first.into_iter().chain(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::s3::checksum::checksum_of;

    async fn part(bytes: &'static [u8]) -> Part {
        let checksum = checksum_of(Kind::Crc64Nvme, &[bytes.into()]).await;
        Part { size: bytes.len() as u64, etag: "e".to_owned(), checksum }
    }

    #[tokio::test]
    async fn checksums_are_joined_across_writers() {
        let kind = Kind::Crc64Nvme;
        let whole = part(b"0123456789").await.checksum;
        let done = Done::default();
        done.add(0, Ok(part(b"0123").await));
        done.add(2, Ok(part(b"89").await));
        assert_eq!(done.kept(kind), 4, "a gap stops the count");
        // The store does not tell the checksums of its parts.
        let silent = done.parts().into_iter().map(|(n, part)| (n, Part { checksum: None, ..part })).collect();
        let later = Done::resumed(silent, done.sums());
        later.forget_from(1);
        later.add(1, Ok(part(b"4567").await));
        later.add(2, Ok(part(b"89").await));
        assert_eq!((later.kept(kind), later.whole(kind)), (10, whole));
        assert_eq!(later.sums().iter().map(|(count, _)| *count).collect::<Vec<_>>(), [1, 2, 3]);
        later.forget_from(0);
        later.add(0, Ok(Part { checksum: None, ..part(b"01").await }));
        assert_eq!((later.kept(kind), later.whole(kind), later.sums()), (2, None, vec![]));
    }
}
