//! Kills and freezes three real sites at many moments while clients write, delete and read at all of them.
//!
//! Whatever a read gives is whole; in the end all sites hold the same, no acknowledged write or deletion is missing,
//! and no bytes are left that belong to nothing.

mod world;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use haulier_catalog::DatabaseUrl;
use haulier_testkit::catalog::{Database, TestCatalog};
use serde_json::json;

use crate::kill_loop::{Dice, rounds};
use crate::node::{Node, Scratch};
use world::World;

pub(crate) const SITES: [&str; 3] = ["a", "b", "c"];
/// Longer than a lease lasts, which is waited for on PostgreSQL.
const PATIENCE: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(5);

/// Three sites that know each other.
pub(crate) struct Sites {
    scratch: Scratch,
    ports: [u16; 3],
    /// None: SQLite in the folder.
    postgres: Option<[(TestCatalog, String); 3]>,
    pub(crate) nodes: [Option<Node>; 3],
}

impl Sites {
    pub(crate) fn new(postgres: Option<[TestCatalog; 3]>) -> Self {
        let postgres = postgres.map(|tests| {
            tests.map(|test| {
                let DatabaseUrl::Postgres(url) = &test.url else { panic!("not PostgreSQL") };
                let url = url.reveal().clone();
                (test, url)
            })
        });
        // All at once, so that no port is given twice.
        let free = SITES.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.each_ref().map(|port| port.local_addr().unwrap().port());
        drop(free);
        let mut sites = Self { scratch: Scratch::new(), ports, postgres, nodes: [None, None, None] };
        (0..3).for_each(|at| sites.start(at));
        for here in 0..3 {
            for there in (0..3).filter(|there| *there != here) {
                let id = SITES[there];
                let uri = format!("http://127.0.0.1:{}", sites.ports[there]);
                let topology = json!({ "id": id, "name": id, "uri": uri, "status": "UP" });
                let (status, said) = sites.node(here).json("POST", "/administration/topologies", Some(&topology));
                assert_eq!(status, 201, "{said}");
            }
        }
        sites
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.scratch.path()
    }

    pub(crate) fn start(&mut self, at: usize) {
        let database = self.postgres.as_ref().map(|urls| urls[at].1.as_str());
        self.nodes[at] = Some(Node::site(self.scratch.path(), database, SITES[at], self.ports[at]));
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        self.nodes[at].as_ref().expect("the site is running")
    }

    /// Waits until every site says that every other one has applied everything.
    pub(crate) fn wait_until_in_sync(&self) {
        let begun = Instant::now();
        for (at, site) in SITES.iter().enumerate() {
            loop {
                let (status, said) = self.node(at).json("GET", "/haulier/v1/replication/status", None);
                assert_eq!(status, 200, "{said}");
                if said["in_sync"] == true {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{site} does not come in sync: {said}");
                std::thread::sleep(20 * STEP);
            }
        }
    }
}

fn kill_loop(mut sites: Sites, rounds: u64) {
    let (mut dice, begun) = (Dice(1_789), Instant::now());
    let mut world = World::new(&sites);
    for round in 1..=rounds {
        let victim = usize::try_from(dice.below(3)).unwrap();
        let end = Instant::now() + Duration::from_millis(dice.below(700));
        let freezes = dice.below(4) == 0;
        if freezes {
            sites.node(victim).process.signal("STOP");
        } else {
            sites.node(victim).process.kill_at(end);
        }
        while Instant::now() < end {
            // Nobody waits for an answer of one that is frozen.
            world.work(&sites, freezes.then_some(victim), &mut dice);
            std::thread::sleep(STEP);
        }
        if freezes {
            sites.node(victim).process.signal("CONT");
        } else {
            sites.node(victim).process.wait();
            for _ in 0..dice.below(6) {
                world.work(&sites, Some(victim), &mut dice);
            }
            sites.start(victim);
        }
        if round % 25 == 0 {
            world.end_well(&sites);
            println!("{round} kills in {:?}: {:?}", begun.elapsed(), world.tally);
        }
    }
    world.end_well(&sites);
    println!("{rounds} kills in {:?}: {:?}", begun.elapsed(), world.tally);
    let tally = &world.tally;
    assert!(tally.acknowledged > rounds && tally.reads > 0, "too little happened: {tally:?}");
}

#[test]
fn replication_kill_loop_loses_nothing_on_sqlite() {
    kill_loop(Sites::new(None), rounds(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replication_kill_loop_loses_nothing_on_postgres() {
    let [a, b, c] = [Database::Postgres; 3].map(TestCatalog::new);
    let tests = [a.await, b.await, c.await];
    tokio::task::spawn_blocking(move || kill_loop(Sites::new(Some(tests)), rounds(6))).await.unwrap();
}
