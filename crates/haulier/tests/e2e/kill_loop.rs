//! Kills the real server at many moments; every acknowledged request must survive all of them, and
//! every copy must go on from what it had.

mod model;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haulier_base::SystemClock;
use haulier_catalog::{Catalog, DatabaseUrl};
use haulier_testkit::catalog::{Database, TestCatalog};

use crate::facts;
use crate::node::{Node, Scratch};
pub(crate) use model::Dice;
use model::Model;

const POSTS_PER_LIFE: usize = 4;
/// How long a life may wait for bytes to become safe before it ends all the same.
const SAFE_PATIENCE: Duration = Duration::from_secs(5);
/// Longer than a lease lasts, which is waited for on PostgreSQL.
const END_PATIENCE: Duration = Duration::from_secs(120);

/// What decides when a server dies.
enum Life {
    /// A while after the start of its process: it may not even listen.
    Started(Duration),
    /// A while after it began to listen.
    Listening(Duration),
    /// A while after bytes that it moved became safe: its death leaves a checkpoint.
    Checkpointed(Duration),
}

impl Life {
    fn throw(dice: &mut Dice) -> Self {
        let below = |dice: &mut Dice, millis| Duration::from_millis(dice.below(millis));
        match dice.below(8) {
            0..=3 => Self::Started(Duration::from_millis(50) + below(dice, 350)),
            4 | 5 => Self::Listening(below(dice, 1_000)),
            _ => Self::Checkpointed(below(dice, 300)),
        }
    }
}

struct Story {
    scratch: Scratch,
    /// None: SQLite in the folder.
    postgres: Option<(TestCatalog, String)>,
    dice: Dice,
    model: Model,
}

impl Story {
    fn new(postgres: Option<TestCatalog>) -> Self {
        let postgres = postgres.map(|test| {
            let DatabaseUrl::Postgres(url) = &test.url else { panic!("not PostgreSQL") };
            let url = url.reveal().clone();
            (test, url)
        });
        let scratch = Scratch::new();
        let model = Model::new(scratch.path());
        Self { scratch, postgres, dice: Dice(3_862), model }
    }

    fn database(&self) -> Option<&str> {
        self.postgres.as_ref().map(|(_, url)| url.as_str())
    }

    fn start(&self) -> Node {
        Node::start(self.scratch.path(), self.database())
    }

    /// One server, from its start to its violent end.
    async fn live(&mut self) {
        let life = Life::throw(&mut self.dice);
        let mut to_be_safe = false;
        let node = match life {
            Life::Started(span) => Node::doomed(self.scratch.path(), self.database(), span),
            Life::Listening(span) => {
                let node = self.start();
                node.process.kill_at(Instant::now() + span);
                Some(node)
            }
            Life::Checkpointed(_) => {
                to_be_safe = true;
                Some(self.start())
            }
        };
        let (mut posts, begun) = (0, Instant::now());
        while let Some(node) = &node {
            let Some(moved) = self.model.look(node) else { break };
            if let Life::Checkpointed(span) = life
                && to_be_safe
                && (moved > 0 || begun.elapsed() > SAFE_PATIENCE)
            {
                to_be_safe = false;
                node.process.kill_at(Instant::now() + span);
            }
            if posts < POSTS_PER_LIFE && self.model.wants_more() {
                posts += 1;
                if !self.model.post(node, &mut self.dice, to_be_safe && posts == 1) {
                    break;
                }
            } else if !self.model.thin_out(node) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(node) = node {
            node.process.wait();
        }
        // Half the time the next server finds everything just as this one left it.
        if to_be_inspected(&mut self.dice) {
            self.inspect_the_dead().await;
        }
    }

    /// Compares the catalogue with the disk while no server runs.
    async fn inspect_the_dead(&mut self) {
        let recorded = match &self.postgres {
            Some((test, _)) => facts::transfers(&test.catalog).await,
            None => {
                let Some(catalog) = open_sqlite(self.scratch.path()).await else { return };
                let recorded = facts::transfers(&catalog).await;
                catalog.close().await.unwrap();
                recorded
            }
        };
        let recorded: Vec<_> = recorded.into_iter().map(|one| (one.destination_url, one.progress)).collect();
        self.model.inspect_the_dead(&recorded);
    }

    /// Lets one server live until all is done, and compares everything.
    async fn end_well(&mut self) {
        self.inspect_the_dead().await;
        let (node, begun) = (self.start(), Instant::now());
        while self.model.look(&node).is_some() && !self.model.is_done() {
            assert!(begun.elapsed() < END_PATIENCE, "not all is complete");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(node.terminate().code(), Some(0));
        self.model.compare_all();
        let left = match &self.postgres {
            Some((test, _)) => facts::leftovers(&test.catalog).await,
            None => facts::leftovers(&open_sqlite(self.scratch.path()).await.unwrap()).await,
        };
        assert_eq!(left, (0, 0), "tasks that are left, and transfers that were completed twice");
    }
}

fn to_be_inspected(dice: &mut Dice) -> bool {
    dice.below(2) == 0
}

/// None while the database is not made.
async fn open_sqlite(folder: &Path) -> Option<Catalog> {
    let url = DatabaseUrl::Sqlite(folder.join("data/catalog.db"));
    Catalog::open(&url, Arc::new(SystemClock)).await.ok()
}

/// `HAULIER_KILL_ROUNDS`, or what a merge can afford.
pub(crate) fn rounds(affordable: u64) -> u64 {
    let mut settings = std::env::vars();
    settings
        .find_map(|(name, value)| (name == "HAULIER_KILL_ROUNDS").then_some(value))
        .map_or(affordable, |text| text.parse().expect("HAULIER_KILL_ROUNDS is a number"))
}

async fn kill_loop(mut story: Story, rounds: u64) {
    let begun = Instant::now();
    let mut round = 0;
    // A busy machine gets less done between two kills, so it is given more of them.
    while round < rounds || (round < 4 * rounds && told_little(&story, rounds)) {
        story.live().await;
        round += 1;
        if round % 100 == 0 {
            println!("{round} kills in {:?}: {:?}", begun.elapsed(), story.model.tally);
        }
    }
    story.end_well().await;
    println!("{round} kills in {:?}: {:?}", begun.elapsed(), story.model.tally);
    assert!(!told_little(&story, rounds), "too little happened to tell anything: {:?}", story.model.tally);
}

/// Whether few transfers came to be, few kills met one half-way, or few went on from a checkpoint.
fn told_little(story: &Story, rounds: u64) -> bool {
    let tally = &story.model.tally;
    // Every second kill is looked at, every fourth one comes after a checkpoint.
    tally.acknowledged < rounds / 2 || tally.half_way < rounds / 8 || tally.resumes < rounds / 4
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loop_loses_nothing_on_sqlite() {
    kill_loop(Story::new(None), rounds(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loop_loses_nothing_on_postgres() {
    let test = TestCatalog::new(Database::Postgres).await;
    kill_loop(Story::new(Some(test)), rounds(12)).await;
}
