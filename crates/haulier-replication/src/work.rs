//! The handlers of this room's tasks; each is in a file below.

mod apply;
mod deliver;
mod run;
mod sweep;

pub(crate) use run::answer;

use std::sync::Arc;

use haulier_work::TaskHandler;

use crate::service::Replication;

impl Replication {
    /// The handlers of tasks that end: runs.
    pub fn handlers(&self) -> Vec<Arc<dyn TaskHandler>> {
        vec![Arc::new(run::Runs { room: self.inner.clone() })]
    }

    /// The handlers of tasks that do not end: deliveries, the application of orders, the sweeper.
    pub fn attendants(&self) -> Vec<Arc<dyn TaskHandler>> {
        vec![
            Arc::new(deliver::Deliver { room: self.clone() }),
            Arc::new(apply::Apply { room: self.clone() }),
            Arc::new(sweep::Sweep { room: self.clone() }),
        ]
    }
}
