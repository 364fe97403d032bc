//! Three sites at which things are created and deleted at random while they are cut off from each other, crash, and
//! have clocks that differ: afterwards all hold the same, and nothing that was acknowledged is missing or back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use haulier_testkit::both_databases;
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::link::Line;
use crate::site::Sites;

/// Rounds unless `HAULIER_KILL_ROUNDS` says another number.
const ROUNDS: u64 = 3;
const STEPS: u64 = 60;
const NAMES: u64 = 8;
/// How long healing may take: longer than any wait between two tries.
const HEALED_WITHIN: Duration = Duration::from_secs(120);

#[expect(clippy::disallowed_methods, reason = "a long run is asked for by the environment")]
fn rounds() -> u64 {
    std::env::var("HAULIER_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one(&mut self) -> usize {
        self.below(3) as usize
    }
}

/// What was acknowledged: by name, when something was created or deleted, and the hash of what was created.
#[derive(Default)]
struct Model {
    told: BTreeMap<String, BTreeSet<Told>>,
    log: String,
}

/// The later one counts; at the same instant, a deletion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    at: String,
    deleted: bool,
    origin: String,
    hash: String,
}

struct World {
    sites: Sites,
    dice: Dice,
    model: Model,
    uploads: u64,
}

impl World {
    async fn step(&mut self) {
        let site = self.dice.one();
        match self.dice.below(19) {
            0..=9 => self.upload(site).await,
            10..=14 => self.delete(site).await,
            15 | 16 => {
                let cut = self.dice.below(2) == 0;
                self.note(&format!("cut {site} {cut}"));
                self.sites.cut_off(site, cut);
            }
            17 => {
                let other = (site + 1 + self.dice.below(2) as usize) % 3;
                let line = [Line::Open, Line::Cut, Line::Silent][self.dice.one()];
                self.note(&format!("line {site} {other} {line:?}"));
                self.sites.line(site, other, line);
            }
            _ => {
                self.note(&format!("crash {site}"));
                self.sites[site].crash().await;
                self.sites[site].start().await;
            }
        }
    }

    fn note(&mut self, what: &str) {
        writeln!(self.model.log, "{what}").unwrap();
    }

    async fn upload(&mut self, site: usize) {
        self.uploads += 1;
        let name = format!("o{}", self.dice.below(NAMES));
        let length = [0, 10, 1000, 300_000][self.dice.below(4) as usize];
        let mut content = format!("{} ", self.uploads).repeat(1 + length / 4).into_bytes();
        content.truncate(length.max(self.uploads.to_string().len()));
        let path = format!("/cloudclonestore/bucket/{name}");
        let answer = self.sites[site].upload(&path, content).await;
        if answer.status != 201 {
            assert!(matches!(answer.status, 404 | 406 | 409), "{} {}", answer.status, answer.text());
            return;
        }
        self.tell(site, name, &answer.json(), false);
    }

    async fn delete(&mut self, site: usize) {
        let name = format!("o{}", self.dice.below(NAMES));
        let path = format!("/cloudclonestore/bucket/{name}");
        let answer = self.sites[site].delete(&path).await;
        if answer.status != 204 {
            assert!(matches!(answer.status, 404 | 409), "{} {}", answer.status, answer.text());
            return;
        }
        let json = [("accept", "application/json")];
        let after = self.sites[site].send(Method::GET, &path, &json, "").await.expect(200).json();
        // Unless it came back at once from elsewhere, with a later creation.
        if after["status"] == "DELETED" {
            self.tell(site, name, &after, true);
        }
    }

    fn tell(&mut self, site: usize, name: String, record: &Value, deleted: bool) {
        let text = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
        let origin = if deleted { String::new() } else { self.sites[site].name.to_owned() };
        let told = Told { at: text("creation"), deleted, origin, hash: text("hash") };
        self.note(&format!("{site} {name} {told:?}"));
        self.model.told.entry(name).or_default().insert(told);
    }

    async fn heal(&mut self) {
        self.note("heal");
        for site in 0..3 {
            self.sites.cut_off(site, false);
        }
        let end = Instant::now() + HEALED_WITHIN;
        loop {
            let mut all = Vec::new();
            for site in self.sites.iter() {
                all.push(site.get("/haulier/v1/replication/status").await.expect(200).json());
            }
            if all.iter().all(|status| status["in_sync"] == true) {
                return;
            }
            assert!(Instant::now() < end, "{}\n{all:#?}", self.model.log);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a site holds: by name the record, of what is READY.
    async fn held(&self, site: usize) -> BTreeMap<String, Value> {
        let ready = [("x-clonecloudstore-statuses", r#"["READY"]"#)];
        let listed = self.sites[site].send(Method::PUT, "/cloudclonestore/bucket", &ready, "").await.expect(200).text();
        let records = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.map(|record| (record["name"].as_str().unwrap().to_owned(), record)).collect()
    }

    async fn compare(&self) {
        let log = &self.model.log;
        let first = self.held(0).await;
        for site in 1..3 {
            let other = self.held(site).await;
            let seen = |held: &BTreeMap<String, Value>| -> Vec<_> {
                held.iter()
                    .map(|(name, record)| (name.clone(), record["hash"].clone(), record["creation"].clone()))
                    .collect()
            };
            assert_eq!(seen(&first), seen(&other), "site {site} differs\n{log}");
        }
        for (name, record) in &first {
            for site in self.sites.iter() {
                let read = site.get(&format!("/replicator/remote/buckets/bucket/{name}")).await.expect(200);
                assert_eq!(read.header("hash"), record["hash"].as_str(), "{log}");
                assert_eq!(read.body.len() as u64, record["size"].as_u64().unwrap(), "{log}");
            }
        }
        for (name, told) in &self.model.told {
            let last = told.last().unwrap();
            let there = first.get(name).map(|record| record["hash"].as_str().unwrap());
            let expected = (!last.deleted).then_some(last.hash.as_str());
            assert_eq!(there, expected, "{name} should be {last:?}\n{log}");
        }
        let unknown: Vec<_> = first.keys().filter(|name| !self.model.told.contains_key(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}\n{log}");
    }
}

async fn chaos(t: haulier_testkit::catalog::TestCatalog) {
    let sites = Sites::with_clocks(t, [0, 120, 290]).await;
    sites[0].send(Method::POST, "/cloudclonestore/bucket", &[], "").await.expect(201);
    for site in sites.iter() {
        site.wait_until("/replicator/remote/buckets/bucket", |answer| answer.status == 200).await;
    }
    let mut world = World { sites, dice: Dice(20_261_122), model: Model::default(), uploads: 0 };
    for round in 0..rounds() {
        world.note(&format!("round {round}"));
        for _ in 0..STEPS {
            world.step().await;
        }
        world.heal().await;
        world.compare().await;
    }
    world.sites.end().await;
}

both_databases! {
    async fn after_healing_all_sites_hold_the_same(t: TestCatalog) {
        chaos(t).await;
    }
}
