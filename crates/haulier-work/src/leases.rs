//! The leases this process holds: when each one ends by the local clock, and whom to tell.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use haulier_base::Permit;
use haulier_catalog::queue::{Lease, Renewal};
use tokio::time::{Instant, sleep_until};

use crate::handler::{StopReason, StopSignal};

/// Held leases by task id and token. One lock, held for moments only.
#[derive(Debug, Default)]
pub(crate) struct HeldLeases(Mutex<HashMap<String, Held>>);

#[derive(Debug)]
struct Held {
    token: String,
    stop: StopSignal,
    deadline: Arc<Mutex<Instant>>,
}

/// One held lease. Dropping it forgets the lease, so it is renewed no longer.
pub(crate) struct HeldLease<'a> {
    leases: &'a HeldLeases,
    task: String,
    token: String,
    pub(crate) stop: StopSignal,
    deadline: Arc<Mutex<Instant>>,
}

/// The instant after which a lease must be taken for lost.
///
/// Counted from *before* the claim or renewal was sent, and a tenth short, so that it always comes
/// before anybody else can take the lease, however long the database took to answer.
pub(crate) fn local_deadline(sent: Instant, lease: Duration) -> Instant {
    sent + lease - lease / 10
}

impl HeldLeases {
    pub(crate) fn hold(&self, lease: &Lease, deadline: Instant) -> HeldLease<'_> {
        let (task, token, stop) = (lease.task.id.clone(), lease.token.clone(), StopSignal::default());
        let deadline = Arc::new(Mutex::new(deadline));
        let held = Held { token: token.clone(), stop: stop.clone(), deadline: deadline.clone() };
        if let Some(earlier) = self.lock().insert(task.clone(), held) {
            // We took our own expired lease again: the earlier run must not go on.
            earlier.stop.raise(StopReason::Lost);
        }
        HeldLease { leases: self, task, token, stop, deadline }
    }

    /// The leases worth renewing: those not lost yet.
    pub(crate) fn renewable(&self) -> Vec<(String, String)> {
        let held = self.lock();
        let living = held.iter().filter(|(_, held)| held.stop.reason() != Some(StopReason::Lost));
        living.map(|(task, held)| (task.clone(), held.token.clone())).collect()
    }

    /// The leases whose handlers were not told to stop yet.
    pub(crate) fn unstopped(&self) -> Vec<(String, String)> {
        let held = self.lock();
        let running = held.iter().filter(|(_, held)| held.stop.reason().is_none());
        running.map(|(task, held)| (task.clone(), held.token.clone())).collect()
    }

    pub(crate) fn stop(&self, leases: &[(String, String)], reason: StopReason) {
        let held = self.lock();
        for (task, token) in leases {
            if let Some(held) = held.get(task).filter(|held| held.token == *token) {
                held.stop.raise(reason);
            }
        }
    }

    pub(crate) fn renewed(&self, asked: &[(String, String)], answers: &[(String, Renewal)], deadline: Instant) {
        let held = self.lock();
        for (task, token) in asked {
            // The task may have ended, or been claimed anew, while the renewal was under way.
            let Some(held) = held.get(task).filter(|held| held.token == *token) else { continue };
            match answers.iter().find(|(answered, _)| answered == task).map(|(_, renewal)| renewal) {
                Some(Renewal::Held { stop_asked }) => {
                    *lock(&held.deadline) = deadline;
                    if *stop_asked {
                        held.stop.raise(StopReason::Asked);
                    }
                }
                Some(Renewal::Lost) | None => held.stop.raise(StopReason::Lost),
            }
        }
    }

    pub(crate) fn stop_all(&self, reason: StopReason) {
        self.lock().values().for_each(|held| held.stop.raise(reason));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        lock(&self.0)
    }
}

impl HeldLease<'_> {
    /// Resolves once the lease is lost, be it by an answer of the database or by the local clock.
    ///
    /// Every poll looks at the clock. In a process that was frozen other things may be ready before the
    /// timers have fired, so whoever polls this first lets nothing else run on a lease that has run out.
    pub(crate) async fn lost(&self) {
        let mut waiting = pin!(self.wait_for_loss());
        poll_fn(|cx| {
            if Instant::now() >= *lock(&self.deadline) {
                self.stop.raise(StopReason::Lost);
            }
            waiting.as_mut().poll(cx)
        })
        .await;
    }

    /// Holds as long as the lease does, by the local clock.
    pub(crate) fn permit(&self) -> Permit {
        let (stop, deadline) = (self.stop.clone(), self.deadline.clone());
        Permit::new(move || stop.reason() != Some(StopReason::Lost) && Instant::now() < *lock(&deadline))
    }

    async fn wait_for_loss(&self) {
        loop {
            let deadline = *lock(&self.deadline);
            if self.stop.reason() == Some(StopReason::Lost) {
                return;
            }
            if Instant::now() >= deadline {
                self.stop.raise(StopReason::Lost);
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                StopReason::Lost = self.stop.stopped() => return,
            }
        }
    }
}

impl Drop for HeldLease<'_> {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        if held.get(&self.task).is_some_and(|held| held.token == self.token) {
            held.remove(&self.task);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
