//! Cutting work off: a handler that is dropped in the middle of its run, as a crash would.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use haulier_base::{Error, Result};
use haulier_catalog::Tx;
use haulier_work::{TaskContext, TaskHandler};
use serde_json::Value;

/// Runs another handler, but drops its first run when that was polled a given number of times.
///
/// A run stops only where it waits, so dropping it after 0, 1, 2 … polls in turn cuts it off before and after
/// every statement, commit and storage call. Nothing of it is settled: the lease has to run out.
pub struct CutOff {
    inner: Arc<dyn TaskHandler>,
    polls: AtomicUsize,
    cut: Arc<AtomicBool>,
}

impl CutOff {
    /// Wraps a handler; `cut` becomes true when a run really was cut off.
    pub fn after_polls(inner: Arc<dyn TaskHandler>, polls: usize, cut: Arc<AtomicBool>) -> Self {
        Self { inner, polls: AtomicUsize::new(polls), cut }
    }
}

#[async_trait]
impl TaskHandler for CutOff {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return self.inner.run(ctx, payload).await;
        }
        let mut run = pin!(self.inner.run(ctx, payload));
        let ended = poll_fn(|cx| {
            if self.polls.load(Ordering::SeqCst) == 0 {
                return Poll::Ready(None);
            }
            self.polls.fetch_sub(1, Ordering::SeqCst);
            run.as_mut().poll(cx).map(Some)
        })
        .await;
        ended.unwrap_or_else(|| {
            self.cut.store(true, Ordering::SeqCst);
            // Nothing is settled for a lost lease, just as nothing is settled by a dead process.
            Err(Error::lost_lease("cut off by a test"))
        })
    }

    async fn give_up(&self, ctx: &TaskContext, tx: &mut Tx, payload: Value, why: &Error) -> Result<()> {
        self.inner.give_up(ctx, tx, payload, why).await
    }
}
