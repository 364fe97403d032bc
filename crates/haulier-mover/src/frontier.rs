//! How far the bytes reach without a gap, when parts arrive in any order.
//!
//! Pure.

use std::collections::BTreeMap;

/// The contiguous run from the start, and the islands beyond it.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    reached: u64,
    islands: BTreeMap<u64, u64>,
}

impl Frontier {
    /// Starts with everything below `reached` present.
    pub(crate) fn at(reached: u64) -> Self {
        Self { reached, islands: BTreeMap::new() }
    }

    /// Adds `[start, end)`; adjacent, overlapping and contained pieces merge.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        if end <= start {
            return;
        }
        let (mut start, mut end) = (start, end);
        while let Some((&from, &to)) = self.islands.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.islands.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        if start <= self.reached {
            self.reached = self.reached.max(end);
        } else {
            self.islands.insert(start, end);
        }
    }

    /// How many bytes are present from the start without a gap.
    pub(crate) fn reached(&self) -> u64 {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reached(pieces: &[(u64, u64)]) -> u64 {
        let mut frontier = Frontier::default();
        pieces.iter().for_each(|(start, end)| frontier.add(*start, *end));
        frontier.reached()
    }

    #[test]
    fn a_gap_stops_the_count() {
        assert_eq!(reached(&[(0, 5), (10, 20)]), 5);
        assert_eq!(reached(&[(10, 20)]), 0);
    }

    #[test]
    fn adjacent_overlapping_and_contained_pieces_merge() {
        assert_eq!(reached(&[(0, 5), (5, 10)]), 10);
        assert_eq!(reached(&[(5, 10), (0, 7)]), 10);
        assert_eq!(reached(&[(0, 20), (5, 10)]), 20);
        assert_eq!(reached(&[(10, 20), (30, 40), (15, 35), (0, 10)]), 40);
    }

    proptest! {
        #[test]
        fn agrees_with_counting_bytes(pieces in prop::collection::vec((0u64..60, 0u64..20), 0..20)) {
            let mut bytes = [false; 80];
            let mut frontier = Frontier::default();
            for (start, length) in pieces {
                frontier.add(start, start + length);
                bytes[start as usize..(start + length) as usize].fill(true);
                let counted = bytes.iter().take_while(|present| **present).count() as u64;
                prop_assert_eq!(frontier.reached(), counted);
            }
        }
    }
}
