//! A handler that does as it is told and says what happened to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use haulier_base::{Error, ErrorKind, Result};
use haulier_catalog::queue::Settlement;
use haulier_catalog::{Catalog, Tx};
use haulier_work::{Handlers, StopReason, TaskContext, TaskHandler};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) const KIND: &str = "test.run";

/// What a handler does.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Finish,
    /// Long enough for another runner to get its share.
    FinishSlowly,
    FinishWhenStopped,
    CancelWhenStopped,
    /// As a handler that does not care that its lease is lost.
    WriteWhenStopped,
    Fail(ErrorKind),
    Panic,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Ran { task: String, holder: String },
    Stopped(StopReason),
    BeginFailed(ErrorKind),
    FinishFailed(ErrorKind),
    GaveUp,
}

pub(crate) struct Heard(UnboundedReceiver<Said>);

impl Heard {
    pub(crate) async fn next(&mut self) -> Said {
        let next = tokio::time::timeout(Duration::from_secs(30), self.0.recv()).await;
        next.expect("the handler says something in time").expect("the handler is alive")
    }

    pub(crate) fn all_now(&mut self) -> Vec<Said> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

pub(crate) fn probe(catalog: &Catalog, act: Act) -> (Handlers, Heard) {
    let (say, heard) = unbounded_channel();
    (Handlers::new().register(Arc::new(Probe { act, catalog: catalog.clone(), say })), Heard(heard))
}

struct Probe {
    act: Act,
    catalog: Catalog,
    say: UnboundedSender<Said>,
}

impl Probe {
    fn say(&self, said: Said) {
        // A test that has heard enough hangs up.
        let _ = self.say.send(said);
    }

    async fn stopped(&self, ctx: &TaskContext) {
        self.say(Said::Stopped(ctx.stop_signal().stopped().await));
    }
}

async fn finish(ctx: &TaskContext) -> Result<()> {
    ctx.finish(ctx.begin("probe.finish").await?, Settlement::Done).await
}

#[async_trait]
impl TaskHandler for Probe {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn run(&self, ctx: &TaskContext, _payload: serde_json::Value) -> Result<()> {
        self.say(Said::Ran { task: ctx.task().id.clone(), holder: ctx.holder().to_owned() });
        match self.act {
            Act::Finish => finish(ctx).await,
            Act::FinishSlowly => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                finish(ctx).await
            }
            Act::FinishWhenStopped => {
                self.stopped(ctx).await;
                finish(ctx).await
            }
            Act::CancelWhenStopped => {
                self.stopped(ctx).await;
                Err(Error::canceled("told to stop"))
            }
            Act::WriteWhenStopped => {
                self.stopped(ctx).await;
                if let Err(error) = ctx.begin("probe.late").await {
                    self.say(Said::BeginFailed(error.kind()));
                }
                // Past the fence of `begin`, the settlement itself has to refuse.
                let tx = self.catalog.begin("probe.unfenced").await?;
                let finished = ctx.finish(tx, Settlement::Done).await;
                finished.inspect_err(|error| self.say(Said::FinishFailed(error.kind())))
            }
            Act::Fail(kind) => Err(Error::new(kind, "as told")),
            Act::Panic => panic!("as told"),
        }
    }

    async fn give_up(&self, _: &TaskContext, _: &mut Tx, _: serde_json::Value, _: &Error) -> Result<()> {
        self.say(Said::GaveUp);
        Ok(())
    }
}
