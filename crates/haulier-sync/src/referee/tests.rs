//! Stories of the referee, on both databases: what is told becomes rows, work and events.

use std::collections::VecDeque;

use async_trait::async_trait;
use haulier_catalog::queue::{self, NewTask, Settlement};
use haulier_testkit::both_databases;
use haulier_testkit::catalog::TestCatalog;
use haulier_work::{Handlers, Runner, RunnerConfig, TaskHandler};
use serde_json::{Value, json};

use super::*;
use crate::model::{Attributes, ContentHash, Found, Pending, Seen, Stamp};
use crate::plan::Carried;
use crate::store::entries::{Entry, Wanted};
use crate::store::kept::{KeptReason, KeptRow};
use crate::store::rules::RuleLists;
use crate::store::{conflicts, copies};
use crate::tasks::{CARRY, JudgeTask};

const TOLD: &str = "sync.test.told";

/// What somebody tells the referee.
#[derive(Clone, Debug)]
enum Word {
    Seen(EntryName, Vec<Observation>),
    Done(EntryName, Vec<Done>),
}

/// Tells the referee one thing for each of its tasks.
struct Teller {
    referee: Referee,
    words: Mutex<VecDeque<Word>>,
    answers: Mutex<Vec<Result<Asked>>>,
}

#[async_trait]
impl TaskHandler for Teller {
    fn kind(&self) -> &'static str {
        TOLD
    }

    async fn run(&self, ctx: &TaskContext, _payload: Value) -> Result<()> {
        let word = self.words.lock().unwrap().pop_front().expect("a word for each task");
        let answer = match &word {
            Word::Seen(at, observations) => self.referee.observe(ctx, at, observations).await,
            Word::Done(at, done) => {
                let look_again = self.referee.carried(ctx, at, done).await;
                look_again.map(|look_again| Asked { look_again, read_first: Vec::new() })
            }
        };
        self.answers.lock().unwrap().push(answer);
        let tx = ctx.begin("test.told").await?;
        ctx.finish(tx, Settlement::Done).await
    }

    async fn give_up(&self, _: &TaskContext, _: &mut Tx, _: Value, why: &Error) -> Result<()> {
        panic!("the teller never fails: {why:?}")
    }
}

struct Court<'a> {
    test: &'a TestCatalog,
    referee: Referee,
}

impl<'a> Court<'a> {
    /// Entries that share everything; those named in small letters are stopped.
    async fn new(test: &'a TestCatalog, names: &[&str]) -> Self {
        let court = Self { test, referee: Referee::new(test.catalog.clone(), ConflictPolicy::KeepBoth) };
        let mut tx = test.catalog.begin("test").await.unwrap();
        let now = tx.now();
        for (position, name) in (0..).zip(names) {
            let active = name.chars().all(char::is_uppercase);
            let entry = Entry {
                name: entry(name),
                position,
                driver: "local_storage".to_owned(),
                options: json!({}),
                configured: true,
                wanted: if active { Wanted::Active } else { Wanted::Stopped },
                started_at: Some(now),
                attended_at: Some(now),
                scanned_at: Some(now),
                root_id: None,
                held: None,
                problem: None,
                problem_at: None,
                carrying: false,
                created_at: now,
            };
            entries::insert(&mut tx, &entry).await.unwrap();
        }
        tx.commit().await.unwrap();
        court.rule(json!([{ "match": {}, "sync": names }]), 1).await;
        court
    }

    async fn rule(&self, list: Value, since: i64) {
        let mut tx = self.test.catalog.begin("test").await.unwrap();
        let lists = RuleLists {
            stored: list.clone(),
            applied: list,
            configured: json!([]),
            changed_at: Timestamp::from_micros(since),
        };
        rules::put(&mut tx, &lists).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Has all of this told, at once.
    async fn tell(&self, words: Vec<Word>) -> Vec<Result<Asked>> {
        let mut tx = self.test.catalog.begin("test").await.unwrap();
        let tasks = words.iter().map(|_| NewTask::now(TOLD, "sync", "test", json!({}), tx.now())).collect();
        queue::enqueue_all(&mut tx, tasks).await.unwrap();
        tx.commit().await.unwrap();
        let (words, answers) = (Mutex::new(words.into()), Mutex::default());
        let teller = Arc::new(Teller { referee: self.referee.clone(), words, answers });
        self.run(teller.clone()).await;
        std::mem::take(&mut *teller.answers.lock().unwrap())
    }

    async fn run(&self, handler: Arc<dyn TaskHandler>) {
        let handlers = Handlers::new().register(handler);
        Runner::new(self.test.catalog.clone(), handlers, RunnerConfig::default()).run_until_idle().await.unwrap();
    }

    async fn see(&self, at: &str, observations: Vec<Observation>) -> Asked {
        self.tell(vec![Word::Seen(entry(at), observations)]).await.remove(0).unwrap()
    }

    async fn state(&self, file: &str) -> FileState {
        let mut tx = self.test.catalog.read().await.unwrap();
        files::find(&mut tx, &name(file).fid()).await.unwrap().unwrap_or_default()
    }

    async fn carriers(&self, at: &str) -> usize {
        let mut tx = self.test.catalog.read().await.unwrap();
        let tasks = queue::find_by_subject(&mut tx, at).await.unwrap();
        tasks.iter().filter(|task| task.kind == CARRY).count()
    }

    /// The kinds of the events there are, and of whom.
    async fn events(&self) -> Vec<String> {
        let mut tx = self.test.catalog.begin("test").await.unwrap();
        haulier_catalog::events::position_pending(&mut tx, 10_000).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = self.test.catalog.read().await.unwrap();
        let events = haulier_catalog::events::read_after(&mut tx, 0, 10_000).await.unwrap();
        events.iter().map(|event| format!("{} {}", event.kind, event.body["filename"].as_str().unwrap())).collect()
    }
}

fn entry(name: &str) -> EntryName {
    EntryName::new(name).unwrap()
}

fn name(name: &str) -> FileName {
    FileName::new(name).unwrap()
}

fn found(version: u32, seconds: i64) -> Found {
    let modified_at = Some(Timestamp::from_micros(seconds * 1_000_000));
    let stamp = Stamp { size_bytes: 5, version: version.to_string() };
    Found { stamp, attributes: Attributes { modified_at, mode: Some(0o644) } }
}

/// A hash that differs from others in its first digits, as real ones do.
fn hash(content: &str) -> ContentHash {
    ContentHash::from_hex(format!("{content:0<64}"))
}

/// A file that is there, in the version that its writer calls so, where the index had another one or none.
fn there(file: &str, content: &str, version: u32, known: Option<u32>) -> Observation {
    let seen = Seen::Present { found: found(version, i64::from(version)), content: Some(hash(content)), kind: None };
    Observation { name: name(file), seen, known: known.map(|version| found(version, 0).stamp) }
}

fn gone(file: &str, known: u32) -> Observation {
    Observation { name: name(file), seen: Seen::Missing, known: Some(found(known, 0).stamp) }
}

both_databases! {
    async fn what_is_seen_becomes_rows_work_and_an_event(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B", "c"]).await;
        let asked = court.see("A", vec![there("f", "1", 1, None), there("g", "2", 2, None)]).await;
        assert_eq!(asked, Asked::default());
        let state = court.state("f").await;
        assert!(state.is_up_to_date(&entry("A")));
        for waiting in ["B", "c"] {
            assert_eq!(state.copies[&entry(waiting)].pending, Some(Pending::Fetch), "{waiting}");
        }
        court.see("A", vec![there("h", "3", 3, None)]).await;
        assert_eq!((court.carriers("A").await, court.carriers("B").await), (0, 1));
        assert_eq!(court.carriers("c").await, 0, "a stopped entry is not worked at (34)");
        let events = court.events().await;
        assert_eq!(events, ["sync.file_changed f", "sync.file_changed g", "sync.file_changed h"]);
        let mut tx = test.catalog.read().await.unwrap();
        let work = copies::page_pending(&mut tx, &entry("B"), Pending::Fetch, None, 10).await.unwrap();
        assert_eq!(work.len(), 3);
        let totals = copies::totals(&mut tx, &entry("B")).await.unwrap();
        assert_eq!((totals.files, totals.bytes), (3, 15));
    }

    async fn what_is_known_changes_nothing(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B"]).await;
        court.see("A", vec![there("f", "1", 1, None)]).await;
        let before = court.state("f").await;
        court.see("A", vec![there("f", "1", 1, Some(1)), gone("never", 1)]).await;
        assert_eq!(court.state("f").await, before);
        assert_eq!(court.events().await.len(), 1);
    }

    async fn a_look_from_before_our_own_write_is_made_again(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B"]).await;
        court.see("A", vec![there("f", "1", 1, None)]).await;
        court.see("A", vec![there("f", "2", 2, Some(1))]).await;
        let asked = court.see("A", vec![there("f", "0", 9, Some(1)), gone("f", 7)]).await;
        assert_eq!(asked.look_again, [name("f")]);
        assert_eq!(court.state("f").await.record.unwrap().content, Some(hash("2")));
    }

    async fn what_a_carrier_did_is_recorded_with_what_it_kept(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B"]).await;
        court.see("B", vec![there("f", "1", 1, None)]).await;
        court.see("A", vec![there("f", "2", 2, None)]).await;
        let state = court.state("f").await;
        let (record, copy) = (state.record.clone().unwrap(), state.copies[&entry("B")].clone());
        let aside = copy.aside.clone().unwrap();
        assert!(aside.as_str().starts_with("f.sync-conflict-20261121-120000-B"), "{aside}");
        let kept = KeptRow {
            id: haulier_base::id::ordered_uuid(),
            entry: entry("B"),
            name: name("f"),
            place: ".haulier/kept/x".to_owned(),
            size_bytes: 5,
            content: Some(hash("1")),
            reason: KeptReason::Replaced,
            kept_at: test.catalog.now(),
        };
        let outcome = Carried::Fetched {
            number: record.number,
            found: found(7, 2),
            content: Some(hash("2")),
            asked: record.attributes,
            aside: Some(aside.clone()),
        };
        let done = Done { name: name("f"), known: copy.stamp().cloned(), outcome, kept: Some(kept.clone()) };
        let told = Word::Done(entry("B"), vec![done.clone()]);
        assert_eq!(court.tell(vec![told.clone()]).await.remove(0).unwrap(), Asked::default());
        let state = court.state("f").await;
        assert!(state.is_up_to_date(&entry("B")) && state.copies[&entry("B")].pending.is_none());
        // Somebody who is cut off tells it again.
        court.tell(vec![told]).await.remove(0).unwrap();
        assert_eq!(court.state("f").await, state);
        let mut tx = test.catalog.read().await.unwrap();
        let open = conflicts::list(&mut tx, false, "", 10).await.unwrap().items;
        let listed: Vec<_> = open.iter().map(|conflict| (&conflict.loser, &conflict.winner, &conflict.aside)).collect();
        assert_eq!(listed, [(&entry("B"), &entry("A"), &Some(aside))]);
        let old = crate::store::kept::list(&mut tx, Some(&name("f").fid()), "", 10).await.unwrap().items;
        assert_eq!(old, [kept]);
    }

    async fn what_is_set_aside_gets_a_name_that_no_file_has(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B"]).await;
        let taken = ["f.sync-conflict-20261121-120000-B", "f.sync-conflict-20261121-120001-B"];
        court.see("A", taken.map(|file| there(file, "9", 9, None)).to_vec()).await;
        court.see("B", vec![there("f", "1", 1, None)]).await;
        court.see("A", vec![there("f", "2", 2, None)]).await;
        let aside = court.state("f").await.copies[&entry("B")].aside.clone().unwrap();
        assert_eq!(aside.as_str(), "f.sync-conflict-20261121-120002-B");
    }

    async fn the_same_name_from_two_sides_at_once_is_one_file(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B", "C"]).await;
        let files: Vec<_> = (0..150).map(|n| format!("f{n}")).collect();
        let seen = |at: &str, content: &str| {
            let all = files.iter().map(|file| there(file, content, 1, None));
            Word::Seen(entry(at), all.collect())
        };
        for answer in court.tell(vec![seen("A", "1"), seen("B", "1"), seen("C", "1")]).await {
            assert_eq!(answer.unwrap(), Asked::default());
        }
        for file in &files {
            let state = court.state(file).await;
            assert_eq!(state.holders().count(), 3, "{file}: {state:?}");
            assert!(state.copies.values().all(|copy| copy.owner && copy.pending.is_none()), "{file}: {state:?}");
        }
        let mut tx = test.catalog.read().await.unwrap();
        assert_eq!(files::count(&mut tx).await.unwrap(), 150);
        drop(tx);
        // All of them are deleted on one side and changed on another.
        let changed = files.iter().map(|file| there(file, "2", 2, Some(1))).collect();
        let deleted = files.iter().map(|file| gone(file, 1)).collect();
        let words = vec![Word::Seen(entry("A"), changed), Word::Seen(entry("B"), deleted)];
        for answer in court.tell(words).await {
            assert_eq!(answer.unwrap(), Asked::default());
        }
        for file in &files {
            let state = court.state(file).await;
            assert_eq!(state.record.as_ref().unwrap().content, Some(hash("2")), "{file}: {state:?}");
            assert_eq!(state.copies[&entry("B")].pending, Some(Pending::Fetch), "{file}: {state:?}");
        }
    }

    async fn a_deleted_file_is_forgotten_when_nobody_has_it(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B"]).await;
        court.see("A", vec![there("f", "1", 1, None)]).await;
        court.see("B", vec![there("f", "1", 4, None)]).await;
        court.see("A", vec![gone("f", 1)]).await;
        let state = court.state("f").await;
        assert!(state.record.as_ref().unwrap().deleted);
        assert_eq!(state.copies[&entry("B")].pending, Some(Pending::Delete));
        let mut tx = test.catalog.read().await.unwrap();
        assert_eq!(files::count(&mut tx).await.unwrap(), 0, "it is not listed any more (22)");
        drop(tx);
        let known = state.copies[&entry("B")].stamp().cloned();
        let done = Done { name: name("f"), known, outcome: Carried::Deleted, kept: None };
        court.tell(vec![Word::Done(entry("B"), vec![done])]).await.remove(0).unwrap();
        assert_eq!(court.state("f").await, FileState::default());
        assert_eq!(court.events().await, ["sync.file_changed f", "sync.file_deleted f"]);
    }

    async fn a_copy_that_has_to_be_read_first_is_asked_for(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B"]).await;
        let unread = |version| {
            let seen = Seen::Present { found: found(version, 1), content: None, kind: None };
            Observation { name: name("f"), seen, known: None }
        };
        court.see("A", vec![unread(1)]).await;
        let asked = court.see("B", vec![unread(2)]).await;
        assert_eq!(asked.read_first, [(entry("B"), name("f"))]);
        let asked = court.see("B", vec![there("f", "1", 2, None)]).await;
        assert_eq!(asked.read_first, [(entry("A"), name("f"))]);
        court.see("A", vec![there("f", "1", 1, Some(1))]).await;
        let asked = court.see("B", vec![there("f", "1", 2, None)]).await;
        assert_eq!(asked, Asked::default());
        assert_eq!(court.state("f").await.holders().count(), 2);
    }

    async fn rules_in_force_are_those_of_this_moment(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B", "C"]).await;
        court.rule(json!([{ "match": { "path": "/x/" }, "sync": ["B"] }]), 2).await;
        court.see("A", vec![there("x/f", "1", 1, None), there("y", "2", 2, None)]).await;
        let owners = async |file: &str| court.state(file).await.copies.keys().cloned().collect::<Vec<_>>();
        assert_eq!(owners("x/f").await, [entry("A"), entry("B")]);
        assert_eq!(owners("y").await, [entry("A")]);
        court.rule(json!([{ "match": {}, "sync": ["C", "Z"] }]), 3).await;
        court.see("A", vec![there("z", "3", 3, None)]).await;
        assert_eq!(owners("z").await, [entry("A"), entry("C")], "an entry that is gone gets nothing");
    }

    async fn after_a_reload_every_file_is_judged_anew(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B", "C"]).await;
        court.rule(json!([{ "match": {}, "sync": ["B"] }]), 2).await;
        let files: Vec<_> = (0..450).map(|n| there(&format!("f{n}"), "1", 1, None)).collect();
        court.see("A", files).await;
        court.rule(json!([{ "match": {}, "sync": ["C"] }]), 3).await;
        let judge = async || {
            let mut tx = test.catalog.begin("test").await.unwrap();
            let task = JudgeTask::default().new_task(tx.now());
            queue::enqueue(&mut tx, task).await.unwrap();
            tx.commit().await.unwrap();
            court.run(Arc::new(Judge(court.referee.clone()))).await;
        };
        judge().await;
        for n in [0, 199, 200, 201, 449] {
            let state = court.state(&format!("f{n}")).await;
            let owners: Vec<_> = state.copies.iter().map(|(entry, copy)| (entry.as_str(), copy.owner)).collect();
            assert_eq!(owners, [("A", true), ("C", true)], "f{n}");
        }
        let mut tx = test.catalog.read().await.unwrap();
        assert_eq!(copies::totals(&mut tx, &entry("C")).await.unwrap().files, 450);
        assert_eq!(copies::totals(&mut tx, &entry("B")).await.unwrap().files, 0);
        drop(tx);
        assert_eq!(court.carriers("C").await, 1);
        let before = court.state("f7").await;
        judge().await;
        assert_eq!(court.state("f7").await, before);
    }

    async fn an_entry_that_is_gone_is_not_heard(test: TestCatalog) {
        let court = Court::new(&test, &["A", "B"]).await;
        let error = court.tell(vec![Word::Seen(entry("Z"), vec![there("f", "1", 1, None)])]).await.remove(0).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "entry Z not found"));
    }
}
