//! Which clients were heard of lately. A poll must not cost a write of its own, so sightings wait in memory for a few
//! seconds and are written together; what a crash loses is seen again with the next poll.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use haulier_base::Timestamp;

/// How long sightings wait at most while others follow them.
const WAIT: Duration = Duration::from_secs(10);
/// So many are written at once, and no more are kept.
const WAITING_MAX: usize = 10_000;

/// A user, and the client of his that was heard of.
pub(crate) type Name = (String, String);

/// Sightings that are not written yet. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sightings(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    seen: HashMap<Name, Timestamp>,
    written_at: Option<Timestamp>,
}

impl Sightings {
    /// Notes that a client was heard of; gives back what is to be written now, which mostly is nothing.
    pub(crate) fn note(&self, owner: &str, client: &str, now: Timestamp) -> HashMap<Name, Timestamp> {
        let mut waiting = self.waiting();
        waiting.seen.insert((owner.to_owned(), client.to_owned()), now);
        let waited = waiting.written_at.is_none_or(|at| now.since(at) >= WAIT || at > now);
        if !waited && waiting.seen.len() < WAITING_MAX {
            return HashMap::new();
        }
        waiting.written_at = Some(now);
        std::mem::take(&mut waiting.seen)
    }

    /// All that is not written yet.
    pub(crate) fn take(&self) -> HashMap<Name, Timestamp> {
        std::mem::take(&mut self.waiting().seen)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Whoever panicked left a map that is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sightings_are_written_together() {
        let (sightings, at) = (Sightings::default(), |seconds: i64| Timestamp::from_micros(seconds * 1_000_000));
        assert_eq!(sightings.note("o", "a", at(0)).len(), 1, "the first is written at once");
        assert!(sightings.note("o", "b", at(1)).is_empty() && sightings.note("o", "a", at(9)).is_empty());
        let due = sightings.note("o", "b", at(10));
        let name = |client: &str| ("o".to_owned(), client.to_owned());
        assert_eq!(due, HashMap::from([(name("a"), at(9)), (name("b"), at(10))]));
        assert!(sightings.note("o", "a", at(11)).is_empty());
        assert_eq!(sightings.take(), HashMap::from([(name("a"), at(11))]));
        assert!(sightings.take().is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let sightings = Sightings::default();
        sightings.note("o", "first", Timestamp::from_micros(0));
        let written = (0..WAITING_MAX).map(|n| sightings.note("o", &n.to_string(), Timestamp::from_micros(1)).len());
        assert_eq!(written.sum::<usize>(), WAITING_MAX);
    }
}
