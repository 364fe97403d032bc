//! How an object is cut into parts: at most 10,000 of them, and 5 TiB in all.
//!
//! Pure. A cut is decided once and kept in the token, since a later writer has to cut at the same places.

use haulier_base::{Error, Result};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
/// The smallest part that is not the last one.
pub(super) const PART_MIN: u64 = 5 * MIB;
/// The largest part, and the largest object that is put or copied at once.
pub(super) const PART_MAX: u64 = 5 << 30;
/// How large parts are when nothing else is asked for.
pub(super) const PART_DEFAULT: u64 = 16 * MIB;
/// The most parts an object has.
const PARTS_MAX: u64 = 10_000;
/// The largest object.
pub(super) const OBJECT_MAX: u64 = 5 << 40;

/// Where the parts of one object end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Bytes of the first part.
    first: u64,
    /// After so many parts, parts become longer by `first`; none when all have one length.
    grows_every: Option<u64>,
}

impl Cut {
    /// The cut for an object of a size, or of one that nobody knows.
    ///
    /// Parts of an unknown object grow slowly: small ones for what is likely small, and 5 TiB still fit.
    pub(super) fn new(part_size: u64, size: Option<u64>) -> Self {
        let part_size = part_size.clamp(PART_MIN, PART_MAX);
        match size {
            Some(size) => {
                let needed = size.min(OBJECT_MAX).div_ceil(PARTS_MAX).next_multiple_of(MIB);
                Self { first: part_size.max(needed), grows_every: None }
            }
            None => {
                // The sum of n parts is about first * (n + n * n / (2 * every)), which has to reach 5 TiB at 10,000.
                let wanted = OBJECT_MAX / part_size;
                let every = (wanted > PARTS_MAX).then(|| (PARTS_MAX * PARTS_MAX / 2 / wanted).max(1));
                Self { first: part_size, grows_every: every }
            }
        }
    }

    /// The cut as a token holds it.
    pub(super) fn to_json(self) -> Value {
        json!({ "part_size": self.first, "grows_every": self.grows_every })
    }

    /// What `to_json` gave; none for anything else.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let first = value["part_size"].as_u64().filter(|size| (PART_MIN..=PART_MAX).contains(size))?;
        let grows_every = match &value["grows_every"] {
            Value::Null => None,
            every => Some(every.as_u64().filter(|every| *every > 0)?),
        };
        Some(Self { first, grows_every })
    }

    /// Start and end of a part, which are counted from 0.
    pub(super) fn part(&self, number: u64) -> (u64, u64) {
        let Some(every) = self.grows_every else {
            let start = number.saturating_mul(self.first);
            return (start, start.saturating_add(self.first));
        };
        let (block, inside) = (number / every, number % every);
        // Blocks before this one have parts of 1, 2, ... times the first length.
        let before = (block * (block + 1) / 2).saturating_mul(every).saturating_mul(self.first);
        let length = (block + 1).saturating_mul(self.first);
        let start = before.saturating_add(inside.saturating_mul(length));
        (start, start.saturating_add(length))
    }

    /// The part that holds an offset.
    pub(super) fn part_at(&self, offset: u64) -> u64 {
        let Some(every) = self.grows_every else { return offset / self.first };
        // Far beyond any object, where lengths would not fit into numbers any more.
        let offset = offset.min(OBJECT_MAX * 16);
        let mut block = 0;
        while self.part((block + 1) * every).0 <= offset {
            block += 1;
        }
        let start = self.part(block * every).0;
        block * every + (offset - start) / ((block + 1) * self.first)
    }

    /// The number a part has on the wire; an error when there are too many.
    pub(super) fn wire_number(number: u64) -> Result<i32> {
        if number >= PARTS_MAX {
            return Err(Error::too_large(format!(
                "the object needs more than {PARTS_MAX} parts: ask for a larger part_size"
            )));
        }
        Ok(number as i32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    #[test]
    fn known_sizes_fit_into_ten_thousand_parts() {
        for (size, part) in [(0, 16 * MIB), (156 << 30, 16 * MIB), (157 << 30, 17 * MIB), (5 * TIB, 525 * MIB)] {
            let cut = Cut::new(PART_DEFAULT, Some(size));
            assert_eq!(cut.part(0).1, part, "{size}");
            assert!(cut.part_at(size.saturating_sub(1)) < PARTS_MAX);
        }
        assert_eq!(Cut::new(1, Some(10)).part(0), (0, PART_MIN));
        assert!(Cut::wire_number(9_999).is_ok() && Cut::wire_number(10_000).is_err());
    }

    #[test]
    fn unknown_sizes_reach_five_tebibytes_with_growing_parts() {
        for part_size in [PART_MIN, PART_DEFAULT, 100 * MIB, GIB, PART_MAX] {
            let cut = Cut::new(part_size, None);
            let (start, end) = cut.part(PARTS_MAX - 1);
            assert!(start < end && end >= OBJECT_MAX - OBJECT_MAX / 50, "{part_size}: {end}");
            let last = cut.part_at(OBJECT_MAX - OBJECT_MAX / 50);
            assert!(last < PARTS_MAX && cut.part(last).1 - cut.part(last).0 <= PART_MAX, "{part_size}");
        }
    }

    const GIB: u64 = 1 << 30;

    #[test]
    fn parts_follow_each_other_and_are_found_by_offset() {
        for cut in [Cut::new(PART_MIN, None), Cut::new(PART_DEFAULT, None), Cut::new(PART_MIN, Some(TIB))] {
            for number in (0..700).chain(9_900..9_999) {
                let (start, end) = cut.part(number);
                assert_eq!(end, cut.part(number + 1).0);
                assert_eq!((cut.part_at(start), cut.part_at(end - 1), cut.part_at(end)), (number, number, number + 1));
            }
            assert_eq!(Cut::from_json(&cut.to_json()), Some(cut));
            assert!(cut.part_at(u64::MAX) >= PARTS_MAX);
        }
        for bad in [json!({}), json!({"part_size": 5}), json!({"part_size": PART_MIN, "grows_every": 0})] {
            assert_eq!(Cut::from_json(&bad), None, "{bad}");
        }
    }
}
