//! The one loop behind every tree: many copies at once, past errors, until all is done or somebody interrupts.
//!
//! Knows no storage: what is to be copied comes as a stream, and how as a function.

use std::pin::pin;

use futures::stream::{Stream, StreamExt};
use haulier_base::{Error, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::summary::Summary;
use crate::cli::interrupted;

/// Copied at once.
pub(super) const AT_ONCE: usize = 16;

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
        () = all(entries, act, stop, summary) => {}
        () = interrupt => unreachable!("interrupted copies end by themselves"),
    }
}

async fn all<E, F>(
    entries: impl Stream<Item = Result<E>>,
    act: impl Fn(E) -> F,
    stop: &CancellationToken,
    summary: &mut Summary<'_>,
) where
    F: Future<Output = Result<Done>> + Send + 'static,
{
    let mut entries = pin!(entries);
    // Tasks of their own, so that they use all cores.
    let mut running = JoinSet::new();
    let mut more = true;
    while more || !running.is_empty() {
        tokio::select! {
            () = stop.cancelled(), if more => more = false,
            entry = entries.next(), if more && running.len() < AT_ONCE => match entry {
                Some(Ok(entry)) => {
                    running.spawn(act(entry));
                }
                Some(Err(error)) => summary.take(Err(error)),
                None => more = false,
            },
            Some(done) = running.join_next() => {
                let panicked = |panic| Err(Error::internal("a copy broke off").caused_by(panic));
                summary.take(done.unwrap_or_else(panicked));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        let gate = Arc::new(Barrier::new(AT_ONCE));
        let entries = (0..3 * AT_ONCE).map(|n| if n == 5 { Err(Error::forbidden("a folder")) } else { Ok(n) });
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
        each(stream::iter(entries), act, &stop, &mut summary).await;
        let counted = (summary.copied, summary.skipped, summary.failed, summary.bytes);
        assert_eq!(counted, (17, 16, 16, 17 * 7));
        assert_eq!(summary.end(), Exit::Partial);
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
        each(stream::repeat_with(|| Ok(())), act, &stop, &mut summary).await;
        assert_eq!((summary.copied, summary.failed), (0, 0), "what was stopped has not failed");
    }
}
