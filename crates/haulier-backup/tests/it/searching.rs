//! What the index finds is what the meaning of a search says, document by document.

use haulier_backup::{Kind, Matcher, Query};
use haulier_testkit::both_databases;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::room::Room;

/// Few names and values, so that documents and searches meet.
fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-1i64..3).prop_map(Value::from),
        prop::sample::select(vec!["1", "a", "a b", "B-a", "", "stop", "x'y\"z"]).prop_map(Value::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "a.b", "backup_metadata"]).prop_map(str::to_owned)
}

fn metadata() -> impl Strategy<Value = Value> {
    let inner = leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..3).prop_map(|members| members.into_iter().collect()),
        ]
    });
    let time = prop::option::of(prop::sample::select(vec![0i64, 1, 4095, 4096, 70_000, 1 << 36]));
    (prop::collection::btree_map(name(), inner, 0..4), time).prop_map(|(members, time)| {
        let mut metadata: Value = members.into_iter().collect();
        metadata.as_object_mut().unwrap().extend([
            ("container".to_owned(), json!("a")),
            ("backup_name".to_owned(), json!("b")),
            ("hostname".to_owned(), json!("c")),
        ]);
        if let Some(time) = time {
            metadata["time_stamp"] = time.into();
        }
        metadata
    })
}

fn clause() -> impl Strategy<Value = Value> {
    let path = (name(), name()).prop_map(|(a, b)| format!("{a}.{b}"));
    let under = name().prop_map(|name| format!("backup_metadata.{name}"));
    let field = prop_oneof![name(), path, under];
    let fields =
        prop::collection::btree_map(field, leaf(), 1..3).prop_map(|fields| fields.into_iter().collect::<Value>());
    let words = prop::sample::select(vec!["a", "A nothing", "stop", "nothing", "", r#"[{"a": 1}]"#]);
    prop_oneof![4 => fields, 1 => words.prop_map(|words| json!({ "_all": words }))]
}

fn search() -> impl Strategy<Value = Value> {
    let clauses = || prop::collection::vec(clause(), 0..3);
    let bound = || prop::option::of(prop::sample::select(vec![-1i64, 0, 2, 4095, 5000, 1 << 36, i64::MAX]));
    (clauses(), clauses(), bound(), bound()).prop_map(|(all, none, after, before)| {
        let mut body = json!({ "match": all, "match_not": none });
        for (name, bound) in [("time_after", after), ("time_before", before)] {
            if let Some(bound) = bound {
                body[name] = bound.into();
            }
        }
        body
    })
}

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: S) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

both_databases! {
    async fn the_index_finds_what_the_meaning_says(t: TestCatalog) {
        let room = Room::new(t);
        let mut runner = TestRunner::deterministic();
        for round in 0..150 {
            let id = room.create("backups", draw(&mut runner, metadata())).await;
            if round % 10 == 9 {
                room.ask("DELETE", &format!("/v1/backups/{id}"), Value::Null).await.ok(204);
            }
        }
        room.ask_as("bob", "POST", "/v1/backups", draw(&mut runner, metadata())).await.ok(201);
        let all = room.list("backups", "limit=1000", Value::Null).await;
        assert_eq!(all.len(), 135);
        let mut hits = 0;
        for _ in 0..300 {
            let search = draw(&mut runner, search());
            let query = Query::read(search.as_object().unwrap()).unwrap();
            let matcher = Matcher::new(&query, Kind::Backup);
            let wanted: Vec<_> = all.iter().filter(|document| matcher.matches(document)).cloned().collect();
            let found = room.list("backups", "limit=1000", search.clone()).await;
            assert_eq!(found, wanted, "{search}");
            hits += usize::from(!wanted.is_empty() && wanted.len() < all.len());
        }
        assert!(hits > 40, "only {hits} searches said something");
    }

    async fn the_index_follows_changes(t: TestCatalog) {
        let room = Room::new(t);
        let mut runner = TestRunner::deterministic();
        for round in 0..120 {
            let name = format!("action-{}", round % 12);
            let mut body = draw(&mut runner, metadata());
            body.as_object_mut().unwrap().remove("backup_name");
            match round % 4 {
                0 => drop(room.ask("DELETE", &format!("/v1/actions/{name}"), Value::Null).await.ok(204)),
                1 => drop(room.ask("PATCH", &format!("/v1/actions/{name}"), body).await),
                _ => drop(room.ask("POST", &format!("/v1/actions/{name}"), body).await.ok(201)),
            }
            let search = draw(&mut runner, search());
            let query = Query::read(search.as_object().unwrap()).unwrap();
            let matcher = Matcher::new(&query, Kind::Action);
            let all = room.list("actions", "limit=100", Value::Null).await;
            let wanted: Vec<_> = all.iter().filter(|document| matcher.matches(document)).cloned().collect();
            assert_eq!(room.list("actions", "limit=100", search.clone()).await, wanted, "{search}");
        }
    }
}
