//! The one loop behind every tree: many copies at once, past errors, until all is done or somebody interrupts.
//!
//! Knows no storage: what is to be copied comes as a stream, and how as a function.

use std::pin::pin;
use std::sync::Arc;

use futures::stream::{Stream, StreamExt};
use haulier_base::{Error, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::summary::Summary;
use crate::cli::interrupted;

/// Large entries copied at once, each with its parts on the way.
const AT_ONCE: u32 = 16;
/// Small ones, which wait for answers and flushes more than they do anything: those that end together share a flush.
const SMALL_AT_ONCE: u32 = 64;
/// The share of the room that an entry takes.
pub(super) const LARGE: u32 = SMALL_AT_ONCE / AT_ONCE;
pub(super) const SMALL: u32 = 1;

/// What was done for one entry.
#[derive(Debug)]
pub(super) enum Done {
    /// It was copied, with so many bytes.
    Copied(u64),
    /// A dry run found that it would be copied; its length, when that is known.
    WouldCopy(String, Option<u64>),
    /// It was there already.
    There,
    /// It does not count, as folders do not.
    Uncounted,
}

/// Does what is to be done for every entry. Cancels `stop` when the user interrupts; whoever acts then comes to an
/// end by itself, after saving how far it came.
pub(super) async fn each<E, F>(
    entries: impl Stream<Item = Result<E>>,
    share: impl Fn(&E) -> u32,
    act: impl Fn(E) -> F,
    stop: &CancellationToken,
    summary: &mut Summary<'_>,
) where
    F: Future<Output = Result<Done>> + Send + 'static,
{
    let interrupt = async {
        interrupted().await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = all(entries, share, act, stop, summary) => {}
        () = interrupt => unreachable!("interrupted copies end by themselves"),
    }
}

async fn all<E, F>(
    entries: impl Stream<Item = Result<E>>,
    share: impl Fn(&E) -> u32,
    act: impl Fn(E) -> F,
    stop: &CancellationToken,
    summary: &mut Summary<'_>,
) where
    F: Future<Output = Result<Done>> + Send + 'static,
{
    let mut entries = pin!(entries);
    let room = Arc::new(Semaphore::new(SMALL_AT_ONCE as usize));
    // Tasks of their own, so that they use all cores.
    let mut running = JoinSet::new();
    let (mut more, mut next) = (true, None);
    while more || next.is_some() || !running.is_empty() {
        let wanted = next.as_ref().map_or(0, &share);
        tokio::select! {
            () = stop.cancelled(), if more || next.is_some() => (more, next) = (false, None),
            entry = entries.next(), if more && next.is_none() => match entry {
                Some(Ok(entry)) => next = Some(entry),
                Some(Err(error)) => summary.take(Err(error)),
                None => more = false,
            },
            Ok(place) = room.clone().acquire_many_owned(wanted), if next.is_some() => {
                if let Some(acting) = next.take().map(&act) {
                    running.spawn(async move {
                        let _place = place;
                        acting.await
                    });
                }
            }
            Some(done) = running.join_next() => {
                let panicked = |panic| Err(Error::internal("a copy broke off").caused_by(panic));
                summary.take(done.unwrap_or_else(panicked));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use haulier_base::ErrorKind;
    use tokio::sync::Barrier;

    use super::*;
    use crate::cli::{Exit, Format, Output};

    #[tokio::test]
    async fn many_are_under_way_at_once_and_what_fails_fails_alone() {
        let output = Output::new(Format::Table, true);
        let (mut summary, stop) = (Summary::begin(&output, false), CancellationToken::new());
        // Nobody gets through before as many wait as may be under way.
        let at_once = AT_ONCE as usize;
        let gate = Arc::new(Barrier::new(at_once));
        let entries = (0..3 * at_once).map(|n| if n == 5 { Err(Error::forbidden("a folder")) } else { Ok(n) });
        let entries = entries.chain([Ok(0)]);
        let act = |n: usize| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                match n % 3 {
                    0 => Ok(Done::Copied(7)),
                    1 => Ok(Done::There),
                    _ => Err(Error::unavailable("it broke")),
                }
            }
        };
        each(stream::iter(entries), |_| LARGE, act, &stop, &mut summary).await;
        let counted = (summary.copied, summary.skipped, summary.failed, summary.bytes);
        assert_eq!(counted, (17, 16, 16, 17 * 7));
        assert_eq!(summary.end(), Exit::Partial);
    }

    #[tokio::test]
    async fn more_small_ones_are_under_way_than_large_ones() {
        let output = Output::new(Format::Table, true);
        let (mut summary, stop) = (Summary::begin(&output, false), CancellationToken::new());
        // Eight large ones leave room for half of the small ones, and for none more.
        let gate = Arc::new(Barrier::new((AT_ONCE / 2 + SMALL_AT_ONCE / 2) as usize));
        let entries = [LARGE; 8].into_iter().chain([SMALL; 32]).map(Ok);
        let act = |_| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                Ok(Done::There)
            }
        };
        each(stream::iter(entries), |share| *share, act, &stop, &mut summary).await;
        assert_eq!(summary.skipped, 40);
    }

    #[tokio::test]
    async fn a_stop_lets_end_what_is_under_way_and_begins_nothing_new() {
        let output = Output::new(Format::Table, true);
        let (mut summary, stop) = (Summary::begin(&output, false), CancellationToken::new());
        let act = |()| {
            let stop = stop.clone();
            async move {
                stop.cancel();
                Err(Error::new(ErrorKind::Canceled, "stopped"))
            }
        };
        each(stream::repeat_with(|| Ok(())), |()| LARGE, act, &stop, &mut summary).await;
        assert_eq!((summary.copied, summary.failed), (0, 0), "what was stopped has not failed");
    }
}
