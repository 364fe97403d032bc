//! The agent: asks for jobs, does them when they are due, and tells the server, now or later.
//!
//! One task owns everything; children and pauses report to it. Whatever it decides is in the journal before it acts.

mod run;
mod sync;
mod tell;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Clock, Error, ErrorKind, Result, Timestamp};
use haulier_schedule::Schedule;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::Api;
use crate::config::AgentConfig;
use crate::journal::{JobState, Journal};
use crate::work::Done;

/// How often a job that runs is looked at, for an abort.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// After a server could not be reached, it is left alone for so long.
const SILENCE: Duration = Duration::from_secs(5);
/// No job is slept over for longer than this, whatever the clocks say.
const NAP_MAX: Duration = Duration::from_secs(30);

/// How an agent starts the children that do its work: a program, and the arguments that make it one.
#[derive(Clone, Debug)]
pub struct ChildCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<&'static str>,
}

/// An agent.
pub struct Agent {
    config: AgentConfig,
    api: Api,
    journal: Journal,
    clock: Arc<dyn Clock>,
    zone: TimeZone,
    child: ChildCommand,
    jobs: BTreeMap<String, Job>,
    registered: bool,
    silent_until: Instant,
    tasks: JoinSet<()>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

/// A job, and what of it is only in memory.
#[derive(Default)]
struct Job {
    state: JobState,
    /// The child or the pause under way; sending true, or dropping it, ends it.
    abort: Option<watch::Sender<bool>>,
    /// Not begun before this, after its session held it off.
    not_before: Option<Instant>,
    /// How often its session held off the run that is due.
    held_off: u32,
}

/// What a task reports.
enum Event {
    /// A child ended.
    Ended { job: String, run: String, result: Result<Done> },
    /// A pause is over.
    Rested { job: String, run: String },
}

impl Agent {
    /// Opens the journal of an agent. `server` goes before that of the settings.
    ///
    /// # Errors
    /// `Invalid` when there is no server, `Conflict` when another agent uses the data directory.
    pub fn new(config: AgentConfig, server: Option<&str>, clock: Arc<dyn Clock>, child: ChildCommand) -> Result<Self> {
        let server = server.or(config.server.as_deref()).ok_or_else(|| Error::invalid("no server is named"))?;
        let token = config.token.as_ref().map(|token| token.read()).transpose()?;
        let api = Api::new(server, token.as_ref())?;
        let journal = Journal::open(&config.data_dir)?;
        let jobs = journal.load()?.into_iter().map(|(id, state)| (id, Job { state, ..Job::default() })).collect();
        Ok(Self {
            config,
            api,
            journal,
            clock,
            zone: TimeZone::system(),
            child,
            jobs,
            registered: false,
            silent_until: Instant::now(),
            tasks: JoinSet::new(),
            events: mpsc::channel(64),
        })
    }

    /// Runs until `stop` resolves. Children are ended then; what they did not finish is done again next time.
    ///
    /// # Errors
    /// When the journal cannot be written: to go on would be to forget.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<()> {
        tokio::pin!(stop);
        self.take_up().await?;
        let (mut next_poll, mut next_watch) = (Instant::now(), Instant::now());
        loop {
            if Instant::now() >= next_poll {
                self.poll().await?;
                next_poll = Instant::now() + Duration::from_secs(self.config.interval).min(self.soon());
            }
            if Instant::now() >= next_watch {
                self.watch().await?;
                next_watch = Instant::now() + WATCH_EVERY;
            }
            let due = self.start_due().await?;
            self.tell().await?;
            let wake = (Instant::now() + due.min(NAP_MAX)).min(next_poll);
            let wake = if self.is_busy() { wake.min(next_watch) } else { wake };
            tokio::select! {
                () = &mut stop => break,
                event = self.events.1.recv() => if let Some(event) = event { self.heard(event).await? },
                () = tokio::time::sleep_until(wake) => {}
                Some(ended) = self.tasks.join_next() => if let Err(panic) = ended {
                    tracing::error!(%panic, "a task of the agent crashed");
                },
            }
        }
        // Dropping their senders ends the children, in good order.
        for job in self.jobs.values_mut() {
            job.abort = None;
        }
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// How long until a server that was not reached is asked again.
    fn soon(&self) -> Duration {
        if self.silent_until > Instant::now() { SILENCE } else { Duration::MAX }
    }

    fn is_busy(&self) -> bool {
        self.jobs.values().any(|job| job.state.run.is_some())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn seconds(&self) -> i64 {
        self.now().as_micros().div_euclid(1_000_000)
    }

    fn save(&self, id: &str) -> Result<()> {
        match self.jobs.get(id) {
            Some(job) => self.journal.save(id, &job.state),
            None => Ok(()),
        }
    }

    /// Whether the server may be asked now.
    fn is_open(&self) -> bool {
        Instant::now() >= self.silent_until
    }

    /// Notes that the server could not be asked, and says whether that is what happened.
    fn gone_silent(&mut self, error: &Error) -> bool {
        let silent = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unauthenticated | ErrorKind::Forbidden);
        if silent {
            tracing::warn!("{error}; trying again in {} s", SILENCE.as_secs());
            self.silent_until = Instant::now() + SILENCE;
        }
        silent
    }

    async fn register(&mut self) -> Result<()> {
        if self.registered {
            return Ok(());
        }
        let client = json!({
            "client_id": self.config.client(),
            "hostname": self.config.host(),
            "description": "haulier agent",
            "supported_actions": ["backup", "restore", "info", "admin", "exec"],
            "supported_modes": ["fs", "postgres", "mysql", "mariadb"],
            "supported_storages": ["local", "s3", "ssh", "webdav"],
            "supported_engines": ["restic"],
        });
        self.api.register(&client).await?;
        self.registered = true;
        Ok(())
    }
}

/// The schedule of a job's document.
fn schedule(doc: &Value, zone: &TimeZone) -> Result<Schedule> {
    match doc["job_schedule"].as_object() {
        Some(schedule) => Schedule::read(schedule, zone),
        None => Schedule::read(&serde_json::Map::new(), zone),
    }
}

/// A text of a job's schedule; nothing is an empty one.
fn word<'a>(doc: &'a Value, name: &str) -> &'a str {
    doc["job_schedule"][name].as_str().unwrap_or_default()
}
