//! `haulier replica`: how far other sites lag behind, what went wrong on the way, and repairs.

use std::time::Duration;

use clap::{Args, Subcommand};
use haulier_base::{Error, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::{Common, Exit, Failure, Format, Outcome, Output};
use super::{AsClient, ReplicationApi};

const LAG: &[(&str, &str)] = &[
    ("SITE", "site"),
    ("BUCKET", "bucket"),
    ("ORDERS", "orders_pending"),
    ("BYTES", "bytes_pending"),
    ("OLDEST (S)", "oldest_seconds"),
    ("LAST SUCCESS", "last_success_at"),
    ("IN SYNC", "in_sync"),
    ("REASON", "reason"),
];
const ORDERS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("FROM", "from_site"),
    ("TO", "to_site"),
    ("ACTION", "action"),
    ("BUCKET", "bucket"),
    ("OBJECT", "object"),
    ("STATE", "state"),
    ("PROBLEM", "problem"),
];
const CONFLICTS: &[(&str, &str)] = &[
    ("ID", "id"),
    ("BUCKET", "bucket"),
    ("OBJECT", "name"),
    ("SIZE", "size_bytes"),
    ("ORIGIN", "origin"),
    ("KEPT UNTIL", "until"),
];
const RUNS: &[(&str, &str)] = &[
    ("RUN", "run"),
    ("KIND", "kind"),
    ("BUCKET", "bucket"),
    ("STATE", "state"),
    ("CHECKED", "checked"),
    ("ACTIONS", "actions"),
    ("START", "start"),
    ("STOP", "stop"),
    ("PROBLEM", "problem"),
];
/// How often a run that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What can be asked about replicas.
#[derive(Subcommand)]
pub(crate) enum ReplicaCommand {
    /// How far each other site lags behind this one
    #[command(after_help = "Example:\n  haulier replica lag --check && echo everything is everywhere")]
    Lag {
        /// Say by the exit code whether every site has confirmed everything: 0, or 6
        #[arg(long)]
        check: bool,
    },
    /// List orders that are not done: those that wait, and those that were refused for good
    #[command(after_help = "Example:\n  haulier replica orders --state FAILED")]
    Orders(OrdersArgs),
    /// Try an order again that was given up, or drop it
    #[command(after_help = "Example:\n  haulier replica order r17 retry")]
    Order {
        /// As `replica orders` names it
        id: String,
        /// What to do with it
        #[arg(value_enum)]
        verb: OrderVerb,
    },
    /// List contents that lost against others of the same name, and are kept for a while
    #[command(after_help = "Example:\n  haulier replica conflicts")]
    Conflicts,
    /// Compare a bucket at all sites and repair what is missing, damaged or not deleted
    #[command(after_help = "Example:\n  haulier replica reconcile photos --deep --wait")]
    Reconcile(ReconcileArgs),
    /// Bring every object of a bucket to an empty site
    #[command(after_help = "Example:\n  haulier replica sync photos nice")]
    Sync {
        /// The bucket
        bucket: String,
        /// The site
        site: String,
        #[command(flatten)]
        client: AsClient,
    },
    /// List reconciliations and the like
    #[command(after_help = "Example:\n  haulier replica runs")]
    Runs,
    /// Pause, resume or cancel a run
    #[command(after_help = "Example:\n  haulier replica run 0190… pause")]
    Run {
        /// The run
        id: String,
        /// What to do with it
        #[arg(value_enum)]
        verb: RunVerb,
    },
}

/// What can be done with an order.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum OrderVerb {
    /// Try it again
    Retry,
    /// Forget it
    Drop,
}

/// What can be done with a run.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum RunVerb {
    /// Hold it where it is
    Pause,
    /// Go on
    Resume,
    /// End it
    Cancel,
}

/// Arguments of `replica orders`.
#[derive(Args)]
pub(crate) struct OrdersArgs {
    /// Only those in this state, such as WAIT, CONFLICT, FAILED or DEAD
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

/// Arguments of `replica reconcile`.
#[derive(Args)]
pub(crate) struct ReconcileArgs {
    /// The bucket
    bucket: String,
    #[command(flatten)]
    client: AsClient,
    /// Read and hash every object at every site
    #[arg(long)]
    deep: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Wait until it is over
    #[arg(long)]
    wait: bool,
}

/// Runs `haulier replica`.
pub(crate) async fn run(common: &Common, command: ReplicaCommand, output: &Output) -> Outcome {
    let api = ReplicationApi::new(common, output)?;
    let (what, done) = match command {
        ReplicaCommand::Lag { check } => ("cannot tell the lag", api.lag(check).await),
        ReplicaCommand::Orders(args) => ("cannot list the orders", api.orders(args).await),
        ReplicaCommand::Order { id, verb } => ("cannot change the order", api.order(&id, verb).await),
        ReplicaCommand::Conflicts => ("cannot list the conflicts", api.conflicts().await),
        ReplicaCommand::Reconcile(args) => ("cannot reconcile the bucket", api.reconcile(args).await),
        ReplicaCommand::Sync { bucket, site, client } => {
            ("cannot bring the bucket to the site", api.bring(&bucket, &site, &client).await)
        }
        ReplicaCommand::Runs => ("cannot list the runs", api.runs().await),
        ReplicaCommand::Run { id, verb } => ("cannot change the run", api.change_run(&id, verb).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

impl ReplicationApi<'_> {
    async fn lag(&self, check: bool) -> Result<Exit> {
        let status = self.ask(Method::GET, self.own(&["status"])?, None).await?;
        let in_sync = status["in_sync"] == true;
        let sites = status["sites"].as_array().into_iter().flatten();
        let rows: Vec<Value> = sites.flat_map(lag_of).collect();
        self.output.documents(&rows, LAG);
        if self.output.format() == Format::Table {
            self.output.remark(if in_sync { "in sync: every site has confirmed everything" } else { "not in sync" });
        }
        Ok(if check && !in_sync { Exit::Partial } else { Exit::Done })
    }

    async fn orders(&self, args: OrdersArgs) -> Result<Exit> {
        let mut url = self.own(&["orders"])?;
        if let Some(state) = args.state {
            url.query_pairs_mut().append_pair("state", &state.to_uppercase());
        }
        self.output.documents(&self.client.pages(url, "orders", "after").await?, ORDERS);
        Ok(Exit::Done)
    }

    async fn order(&self, id: &str, verb: OrderVerb) -> Result<Exit> {
        let done = match verb {
            OrderVerb::Retry => self.ask(Method::POST, self.own(&["orders", id, "retry"])?, None).await?,
            OrderVerb::Drop => self.ask(Method::DELETE, self.own(&["orders", id])?, None).await?,
        };
        Ok(self.shown(&done))
    }

    async fn conflicts(&self) -> Result<Exit> {
        self.output.documents(&self.client.pages(self.own(&["conflicts"])?, "conflicts", "after").await?, CONFLICTS);
        Ok(Exit::Done)
    }

    async fn reconcile(&self, args: ReconcileArgs) -> Result<Exit> {
        let body = json!({
            "clientId": args.client.id, "bucket": args.bucket, "dryRun": args.dry_run, "deep": args.deep,
        });
        let url = self.client.url(&["reconciliator", "central", "requests"])?;
        let mut run = self.ask(Method::POST, url, Some(&body)).await?;
        let id = run["id"].as_str().map(str::to_owned);
        let id = id.ok_or_else(|| Error::internal("the server did not name the run"))?;
        let bar = self.output.progress(None);
        while args.wait && run["stop"].is_null() {
            bar.set_message(format!("{} names checked, {} actions", run["checked"], run["actions"]));
            tokio::time::sleep(LOOK_EVERY).await;
            run = self.ask(Method::GET, self.client.url(&["reconciliator", "central", "requests", &id])?, None).await?;
        }
        bar.finish_and_clear();
        Ok(self.shown(&run))
    }

    async fn bring(&self, bucket: &str, site: &str, client: &AsClient) -> Result<Exit> {
        let request = self.by(client, Method::POST, self.client.url(&["reconciliator", "sync", bucket])?)?;
        Ok(self.shown(&self.json(request.header("x-clonecloudstore-target-id", site)).await?))
    }

    async fn runs(&self) -> Result<Exit> {
        self.output.documents(&self.client.pages(self.own(&["runs"])?, "runs", "before").await?, RUNS);
        Ok(Exit::Done)
    }

    async fn change_run(&self, id: &str, verb: RunVerb) -> Result<Exit> {
        let verb = match verb {
            RunVerb::Pause => "pause",
            RunVerb::Resume => "resume",
            RunVerb::Cancel => "cancel",
        };
        let changed: Value = self.ask(Method::POST, self.own(&["runs", id, verb])?, None).await?;
        Ok(self.shown(&changed))
    }
}

/// What a site says, bucket by bucket: what it was not given, and what it was given and has not carried out.
fn lag_of(site: &Value) -> Vec<Value> {
    let row = |bucket: &Value, lag: &Value| {
        let sum = |member: &str| {
            let of = |part: &str| lag[part][member].as_u64().unwrap_or_default();
            of("outgoing") + of("unapplied")
        };
        let ages = ["outgoing", "unapplied"].into_iter().filter_map(|part| lag[part]["oldest_seconds"].as_f64());
        json!({
            "site": site["site"],
            "bucket": bucket,
            "orders_pending": sum("orders"),
            "bytes_pending": sum("bytes"),
            "oldest_seconds": ages.max_by(f64::total_cmp).map(f64::round),
            "dead_letters": lag["dead_letters"],
            "in_sync": site["in_sync"],
            "reason": site["reason"],
            "last_success_at": site["last_success_at"],
            "last_error": site["last_error"],
        })
    };
    let buckets = site["buckets"].as_array().into_iter().flatten();
    let rows: Vec<Value> = buckets.map(|bucket| row(&bucket["bucket"], bucket)).collect();
    if rows.is_empty() { vec![row(&Value::Null, site)] } else { rows }
}
