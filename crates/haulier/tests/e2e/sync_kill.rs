//! Kills the real server at many moments while people work in three folders that it keeps in step.
//!
//! Whoever looks into a folder sees each file whole at every moment; in the end the folders are alike, nobody's
//! last version is lost, nothing half-made stays, and another start finds nothing to do.

mod world;

use std::time::{Duration, Instant};

use haulier_catalog::DatabaseUrl;
use haulier_testkit::catalog::{Database, TestCatalog};

use crate::kill_loop::{Dice, rounds};
use crate::node::{Node, Scratch};
use world::World;

/// Longer than a lease lasts, which is waited for on PostgreSQL.
const QUIET_PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(10);

struct Story {
    scratch: Scratch,
    /// None: SQLite in the folder.
    postgres: Option<(TestCatalog, String)>,
    dice: Dice,
    world: World,
}

impl Story {
    fn new(postgres: Option<TestCatalog>) -> Self {
        let postgres = postgres.map(|test| {
            let DatabaseUrl::Postgres(url) = &test.url else { panic!("not PostgreSQL") };
            let url = url.reveal().clone();
            (test, url)
        });
        let scratch = Scratch::new();
        let world = World::new(scratch.path());
        Self { scratch, postgres, dice: Dice(1_964), world }
    }

    fn start(&self) -> Node {
        let database = self.postgres.as_ref().map(|(_, url)| url.as_str());
        Node::with_config(self.scratch.path(), database, "local", "sync.toml")
    }

    /// One server, from its start to its violent end, with people at work before and during its life.
    fn live(&mut self) {
        for _ in 0..self.dice.below(4) {
            self.world.work(&mut self.dice);
        }
        if self.dice.below(3) == 0 {
            self.world.disagree(&mut self.dice);
        }
        let node = self.start();
        let end = Instant::now() + Duration::from_millis(self.dice.below(1_500));
        node.process.kill_at(end);
        while Instant::now() < end {
            if self.dice.below(3) == 0 {
                self.world.work(&mut self.dice);
            }
            self.world.look();
            std::thread::sleep(STEP);
        }
        node.process.wait();
        self.world.look();
    }

    /// Lets one server live until the folders are in step, and compares everything.
    fn end_well(&mut self) {
        let (node, begun) = (self.start(), Instant::now());
        while let Err(why) = self.world.is_in_step() {
            self.world.look();
            assert!(begun.elapsed() < QUIET_PATIENCE, "{why}");
            std::thread::sleep(5 * STEP);
        }
        self.world.compare_with_api(&node);
        assert_eq!(node.terminate().code(), Some(0));
        self.world.nothing_is_lost();
        self.a_second_start_does_nothing();
    }

    fn a_second_start_does_nothing(&mut self) {
        let before = self.world.identities();
        let node = self.start();
        self.world.wait_for_scan(&node);
        assert_eq!(node.terminate().code(), Some(0));
        assert_eq!(self.world.identities(), before, "a start with nothing to do has touched files");
    }
}

fn kill_loop(mut story: Story, rounds: u64) {
    let begun = Instant::now();
    for round in 1..=rounds {
        story.live();
        // People pause now and then, and then all must be well before they go on.
        if round % 25 == 0 {
            story.end_well();
            println!("{round} kills in {:?}: {:?}", begun.elapsed(), story.world.tally);
        }
    }
    story.end_well();
    println!("{rounds} kills in {:?}: {:?}", begun.elapsed(), story.world.tally);
    let tally = &story.world.tally;
    let much = tally.works > rounds && tally.seen_arrived > rounds && tally.conflicts > 0;
    assert!(much, "too little happened: {tally:?}");
}

#[test]
fn sync_kill_loop_loses_nothing_on_sqlite() {
    kill_loop(Story::new(None), rounds(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_kill_loop_loses_nothing_on_postgres() {
    let story = Story::new(Some(TestCatalog::new(Database::Postgres).await));
    tokio::task::spawn_blocking(move || kill_loop(story, rounds(6))).await.unwrap();
}
