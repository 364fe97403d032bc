//! Decides how to move: sizes and capabilities in, a method and parts out.
//!
//! Pure: knows no storage and does no I/O.

use std::ops::Range;

/// Below this length the extra calls of the faster methods cost more than they save.
const SMALL: u64 = 256 << 10;

/// The way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The target shares the blocks of the source.
    Reflink,
    /// The kernel copies between two open files.
    Kernel,
    /// The store copies by itself.
    Within,
    /// Ranges of the source are read and written several at once.
    Parallel,
    /// Ranges of the source are read several at once, and written in order.
    Ahead,
    /// One read, from the first byte to the last.
    Stream,
}

impl Method {
    /// The name in outcomes and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reflink => "reflink",
            Self::Kernel => "kernel",
            Self::Within => "within",
            Self::Parallel => "parallel",
            Self::Ahead => "ahead",
            Self::Stream => "stream",
        }
    }
}

/// What a choice depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Length of the range, when it is known.
    pub length: Option<u64>,
    /// How much of it the target holds already.
    pub safe: u64,
    /// Whether the range is the whole source.
    pub whole: bool,
    /// Whether the source is an open file and the target copies in the kernel.
    pub kernel: bool,
    /// Whether the target's store can copy this source by itself, and that is proof enough.
    pub within: bool,
    /// Whether several ranges can be read at once, all of one version.
    pub parallel_reads: bool,
    /// Whether the target takes bytes in any order.
    pub parallel_writes: bool,
    /// Size of a part.
    pub part_size: u64,
    /// Most parts at once.
    pub parts_in_flight: usize,
}

/// The fastest method that the facts allow.
pub fn choose(facts: &Facts) -> Method {
    let Some(length) = facts.length else { return Method::Stream };
    let left = length.saturating_sub(facts.safe);
    if facts.within {
        Method::Within
    } else if left <= SMALL {
        Method::Stream
    } else if facts.kernel {
        if facts.whole && facts.safe == 0 { Method::Reflink } else { Method::Kernel }
    } else if facts.parallel_reads && facts.parts_in_flight > 1 && left > facts.part_size {
        if facts.parallel_writes { Method::Parallel } else { Method::Ahead }
    } else {
        Method::Stream
    }
}

/// Cuts `[from, to)` into parts of at most `part_size`, in order, each byte in exactly one.
pub fn parts(from: u64, to: u64, part_size: u64) -> impl Iterator<Item = Range<u64>> + Send {
    let part_size = part_size.max(1);
    let mut next = from;
    std::iter::from_fn(move || {
        (next < to).then(|| {
            let start = next;
            next = start.saturating_add(part_size).min(to);
            start..next
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_cover_the_range_exactly_once(from in any::<u64>(), length in 0u64..10_000, part_size in 0u64..3_000) {
            let from = from.min(u64::MAX - length);
            let mut reached = from;
            for part in parts(from, from + length, part_size) {
                prop_assert_eq!(part.start, reached);
                prop_assert!(part.end > part.start && part.end - part.start <= part_size.max(1));
                reached = part.end;
            }
            prop_assert_eq!(reached, from + length);
        }
    }

    #[test]
    fn takes_the_fastest_method_that_the_facts_allow() {
        let big = Facts {
            length: Some(1 << 30),
            parallel_reads: true,
            parallel_writes: true,
            part_size: 16 << 20,
            parts_in_flight: 4,
            ..Facts::default()
        };
        assert_eq!(choose(&big), Method::Parallel);
        assert_eq!(choose(&Facts { kernel: true, ..big }), Method::Kernel);
        assert_eq!(choose(&Facts { kernel: true, whole: true, ..big }), Method::Reflink);
        assert_eq!(choose(&Facts { kernel: true, whole: true, safe: 1, ..big }), Method::Kernel);
        assert_eq!(choose(&Facts { parallel_writes: false, ..big }), Method::Ahead);
        assert_eq!(choose(&Facts { parallel_reads: false, ..big }), Method::Stream);
        assert_eq!(choose(&Facts { within: true, length: Some(10), ..big }), Method::Within);
        assert_eq!(choose(&Facts { parts_in_flight: 1, ..big }), Method::Stream);
        assert_eq!(choose(&Facts { length: Some(16 << 20), ..big }), Method::Stream);
        assert_eq!(choose(&Facts { length: Some(10), kernel: true, ..big }), Method::Stream);
        assert_eq!(choose(&Facts { length: None, kernel: true, ..big }), Method::Stream);
    }
}
