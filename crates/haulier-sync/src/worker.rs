//! The handlers of this room's tasks, and the wrapper that measures what they use.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use haulier_base::{Error, Result};
use haulier_catalog::Tx;
use haulier_mover::ByteBudget;
use haulier_work::{TaskContext, TaskHandler};
use serde_json::Value;

use crate::attend::{Attend, OpenEntry};
use crate::carry::{Carrier, Prune};
use crate::driver::Driver;
use crate::meter::Meters;
use crate::model::EntryName;
use crate::referee::Judge;
use crate::service::{Inner, Syncs};
use crate::store::entries::Entry;

/// A handler of tasks about entries, whose use of the processor is counted for the entry.
struct Metered {
    handler: Arc<dyn TaskHandler>,
    meters: Meters,
}

#[async_trait]
impl TaskHandler for Metered {
    fn kind(&self) -> &'static str {
        self.handler.kind()
    }

    async fn run(&self, ctx: &TaskContext, payload: Value) -> Result<()> {
        let work = self.handler.run(ctx, payload);
        match EntryName::new(ctx.task().subject.clone()) {
            Ok(entry) => self.meters.of(&entry).measure(work).await,
            Err(_) => work.await,
        }
    }

    async fn give_up(&self, ctx: &TaskContext, tx: &mut Tx, payload: Value, why: &Error) -> Result<()> {
        self.handler.give_up(ctx, tx, payload, why).await
    }
}

/// Opens entries with their secrets.
struct Opener(Arc<Inner>);

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

#[async_trait]
impl OpenEntry for Opener {
    async fn open(&self, entry: &Entry) -> Result<Driver> {
        self.0.open(entry).await
    }
}

impl Syncs {
    /// The handlers of tasks that come to an end, for a runner.
    pub fn handlers(&self) -> Vec<Arc<dyn TaskHandler>> {
        let inner = &self.inner;
        let carrier = Carrier {
            catalog: inner.catalog.clone(),
            referee: inner.referee.clone(),
            opener: Arc::new(Opener(inner.clone())),
            budget: Arc::new(ByteBudget::new(inner.config.rate_bytes_per_second)),
            policy: inner.config.conflict.into(),
            keep_for: inner.config.kept_for(),
        };
        vec![self.metered(Arc::new(carrier.clone())), Arc::new(Prune(carrier)), Arc::new(Judge(inner.referee.clone()))]
    }

    /// The handlers of tasks that go on for as long as an entry is active, for a runner of their own, which needs a
    /// slot for each entry.
    pub fn attendants(&self) -> Vec<Arc<dyn TaskHandler>> {
        let inner = &self.inner;
        let attend = Attend {
            catalog: inner.catalog.clone(),
            referee: inner.referee.clone(),
            opener: Arc::new(Opener(inner.clone())),
            catalogue_id: inner.catalogue_id.clone(),
            passes: inner.passes.clone(),
        };
        vec![self.metered(Arc::new(attend))]
    }

    /// A handler that is measured.
    fn metered(&self, handler: Arc<dyn TaskHandler>) -> Arc<dyn TaskHandler> {
        Arc::new(Metered { handler, meters: self.inner.meters.clone() })
    }
}
