//! `haulier serve` and `haulier worker`: the order in which a node starts and stops.
//!
//! Stop order: accept no requests, claim nothing, let handlers reach a safe point, release what is left,
//! close the catalogue. Killing the process instead is also correct, only slower to recover from.

mod setup;
pub(crate) mod status;

use std::net::SocketAddr;

use axum::Router;
use haulier_base::{Error, ErrorKind, Result};
use haulier_catalog::DatabaseUrl;
use haulier_http::{Server, ServerConfig};
use haulier_work::{Dispatcher, Runner, WorkMetrics};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{self, App};
use crate::cli::{Exit, Failure, Outcome, Output, load_config};
use crate::config::{Api, Config, NodeArgs, ServeArgs};

/// Runs a node until it is asked to stop.
pub(crate) async fn serve(args: &ServeArgs, output: &Output) -> Outcome {
    let mut config = load_config(&args.node)?;
    let setup = setup::take(args, &mut config)?;
    if args.setup.is_some() && setup.entries.is_empty() {
        output.remark("the setup file has no entries: there is nothing to do");
        return Ok(Exit::Done);
    }
    config.remarks().iter().for_each(|remark| output.remark(remark));
    // Sockets are bound first: a second node started by mistake must not touch the first one's catalogue.
    let mut listeners = Vec::new();
    for listen in &config.listen {
        listeners.push((bind(listen.address).await?, listen.apis.as_slice()));
    }
    let app = App::build(&config).await.map_err(|error| Failure::new("cannot start the node", error))?;
    app.begin_sync(setup).await.map_err(|error| Failure::new("cannot start sync", error))?;
    let sites = std::mem::take(&mut config.replication_sites);
    app.begin_replication(sites).await.map_err(|error| Failure::new("cannot start replication", error))?;
    let work = Work::start(&app, &config, Work::EVERYTHING);
    let mut server = Server::new(ServerConfig::default());
    let mut routers = Routers::default();
    for (listener, apis) in listeners {
        let address = listener.local_addr().map_err(|error| Failure::new("cannot listen", Error::from(error)))?;
        server = server.listen(listener, routers.of(&app, apis));
        output.line(&format!("listening on http://{address}"));
    }
    app.readiness.set(true);
    let stop = stop_on_signal(output).map_err(|error| Failure::new("cannot listen for signals", error))?;
    let served = server.run(stop).await;
    app.readiness.set(false);
    work.finish(&app).await.map_err(|error| Failure::new("cannot stop in order", error))?;
    served.map_err(|error| Failure::new("cannot serve", error))?;
    output.remark("stopped");
    Ok(Exit::Done)
}

/// Runs tasks of a node whose catalogue is shared, without listening.
pub(crate) async fn worker(args: &NodeArgs, output: &Output) -> Outcome {
    let config = load_config(args)?;
    let what = "cannot start a worker";
    let url = app::database_url(&config).map_err(|error| Failure::new(what, error))?;
    if !matches!(url, DatabaseUrl::Postgres(_)) {
        let why = Error::invalid("the catalogue is SQLite, which belongs to one process");
        return Err(
            Failure::new(what, why).advice("set [database] url to the node's PostgreSQL, or raise transfer.slots")
        );
    }
    let app = App::build(&config).await.map_err(|error| Failure::new(what, error))?;
    let stop = stop_on_signal(output).map_err(|error| Failure::new("cannot listen for signals", error))?;
    let work = Work::start(&app, &config, Work::WITHOUT_OWN_PLACES);
    output.line("working");
    stop.cancelled().await;
    work.finish(&app).await.map_err(|error| Failure::new("cannot stop in order", error))?;
    output.remark("stopped");
    Ok(Exit::Done)
}

/// The routers of a node: listeners with the same APIs share one, and with it the names of its metrics.
#[derive(Default)]
struct Routers(Vec<(Vec<Api>, Router)>);

impl Routers {
    fn of(&mut self, app: &App, apis: &[Api]) -> Router {
        if let Some((_, router)) = self.0.iter().find(|(known, _)| known == apis) {
            return router.clone();
        }
        let router = haulier_http::standard(app.router(apis), &app.metrics);
        self.0.push((apis.to_vec(), router.clone()));
        router
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
        let kind = if in_use { ErrorKind::Conflict } else { Error::from(std::io::Error::from(error.kind())).kind() };
        let why = Error::new(kind, error.to_string()).caused_by(error);
        let failure = Failure::new(format!("cannot listen on {address}"), why);
        if in_use {
            failure.advice("stop what listens there, or choose another address with --listen")
        } else {
            failure
        }
    })
}

/// How many tasks that do not end one process has: one for each entry of sync and each site of the topology.
const ATTENDANTS_MAX: usize = 1024;
/// How many reconciliations and the like run at once.
const REPLICATION_RUNS_MAX: usize = 16;

/// The loops behind the listeners.
struct Work {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Work {
    /// Whether the tasks are run too that touch folders of the node's own machine.
    const EVERYTHING: bool = true;
    const WITHOUT_OWN_PLACES: bool = false;

    fn start(app: &App, config: &Config, with_own_places: bool) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let counts = WorkMetrics::default();
        app.metrics.with_registry(|registry| counts.register(registry));
        let mut lines = vec![(app.handlers(), config.transfer.slots)];
        if with_own_places {
            // Attendants do not end, and must not keep from their slots those that do.
            lines.extend([
                (app.sync_handlers(), config.sync.slots),
                (app.replication_handlers(), REPLICATION_RUNS_MAX),
                (app.attendants(), ATTENDANTS_MAX),
            ]);
        }
        for (handlers, slots) in lines {
            let runner_config = app::runner_config(config, slots);
            let runner = Runner::with_metrics(app.catalog.clone(), handlers, runner_config, counts.clone());
            tasks.spawn(runner.run(stop.clone()));
        }
        tasks.spawn(Dispatcher::run(app.catalog.clone(), stop.clone()));
        tasks.close();
        Self { stop, tasks }
    }

    /// The runner lets its handlers reach a safe point within its grace period and releases the rest.
    async fn finish(self, app: &App) -> Result<()> {
        self.stop.cancel();
        self.tasks.wait().await;
        app.catalog.close().await
    }
}

/// A token that the first SIGTERM or SIGINT cancels; the second ends the process at once.
fn stop_on_signal(output: &Output) -> Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, asked, output) = (CancellationToken::new(), CancellationToken::new(), *output);
    let token = stop.clone();
    let watch = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if asked.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            asked.cancel();
            output.remark("stopping: work under way reaches a safe point; a second signal ends it at once");
            stop.cancel();
        }
    };
    // Lives as long as the process, which it alone can cut short.
    TaskTracker::new().spawn(watch);
    Ok(token)
}
