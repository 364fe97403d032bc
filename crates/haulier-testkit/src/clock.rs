//! The instant at which tests begin.

use haulier_base::{ManualClock, Timestamp};

/// 2026-11-21T12:00:00Z: any fixed instant does.
pub const START: Timestamp = Timestamp::from_micros(1_795_262_400_000_000);

/// A clock that stands at [`START`] until it is moved.
pub fn manual_clock() -> ManualClock {
    ManualClock::at(START)
}
