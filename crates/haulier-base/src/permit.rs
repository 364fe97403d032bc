//! The right of running work to go on, carried along to the place where it changes something outside.
//!
//! Knows no leases: whoever runs the work says how long it may go on.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use crate::{Error, Result};

thread_local! {
    static CURRENT: RefCell<Option<Permit>> = const { RefCell::new(None) };
}

/// Says whether work may still go on. Clones share the answer.
#[derive(Clone)]
pub struct Permit(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permit {
    /// A permit that holds as long as `holds` says so. It is asked often, from any thread, and must not block.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    /// The permit of the work that runs on this thread now; outside of any, one that always holds.
    ///
    /// Taken where work is handed to another thread, and checked there right before it is done: a process
    /// may be frozen between the two for longer than its work is its own.
    pub fn current() -> Self {
        CURRENT.with_borrow(Clone::clone).unwrap_or_else(|| Self::new(|| true))
    }

    /// Runs work under this permit.
    pub async fn carry<F: Future>(self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let _outer = Outer(CURRENT.replace(Some(self.clone())));
            work.as_mut().poll(cx)
        })
        .await
    }

    /// # Errors
    /// `LostLease` when the work may not go on.
    pub fn check(&self) -> Result<()> {
        if (self.0)() { Ok(()) } else { Err(Error::lost_lease("the work is somebody else's by now")) }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").finish_non_exhaustive()
    }
}

/// Puts back what was current before.
struct Outer(Option<Permit>);

impl Drop for Outer {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Waker};

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn is_current_while_its_work_runs_and_nowhere_else() {
        let ours = Arc::new(AtomicBool::new(true));
        let holds = ours.clone();
        let work = async { Permit::current() };
        let mut running = pin!(Permit::new(move || holds.load(Ordering::SeqCst)).carry(work));
        let std::task::Poll::Ready(taken) = running.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for nothing");
        };
        assert!(taken.check().is_ok());
        ours.store(false, Ordering::SeqCst);
        assert_eq!(taken.check().unwrap_err().kind(), ErrorKind::LostLease);
        assert!(Permit::current().check().is_ok(), "left behind");
    }
}
