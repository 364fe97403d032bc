//! The meaning of searches, and that the words of the index say the same.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tokens::Tokens;
use super::*;

fn query(body: Value) -> Query {
    Query::read(body.as_object().unwrap()).unwrap()
}

fn finds(kind: Kind, document: &Value, body: Value) -> bool {
    let query = query(body);
    let matches = Matcher::new(&query, kind).matches(document);
    assert_eq!(matches, index_finds(kind, document, &query), "{query:?}");
    matches
}

/// What an index would answer, with the check of exact bounds that follows it.
fn index_finds(kind: Kind, document: &Value, query: &Query) -> bool {
    let tokens = Tokens::new(kind, "ann");
    let text = tokens.of(document).unwrap();
    let has: BTreeSet<&str> = text.split(' ').collect();
    let formula = tokens.formula(query);
    let mut words =
        formula.replace('(', " ( ").replace(')', " ) ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words.reverse();
    let exact = Query { all: vec![], none: vec![], ..query.clone() };
    holds(&mut words, &has) && Matcher::new(&exact, kind).matches(document)
}

/// Evaluates a formula from the end of a stack; all operators of one level are the same but for a last `NOT`.
fn holds(words: &mut Vec<String>, has: &BTreeSet<&str>) -> bool {
    let one = |words: &mut Vec<String>| match words.pop().unwrap() {
        word if word == "(" => holds(words, has),
        word => has.contains(word.as_str()),
    };
    let mut value = one(words);
    while let Some(operator) = words.pop() {
        match operator.as_str() {
            ")" => break,
            "AND" => value &= one(words),
            "OR" => value |= one(words),
            "NOT" => value &= !one(words),
            other => panic!("{other} is no operator"),
        }
    }
    value
}

fn job() -> Value {
    json!({
        "job_id": "j1", "user_id": "ann", "client_id": "p_host-1.example", "description": "Nightly dump of Db9",
        "job_schedule": { "status": "completed", "time_started": 5, "schedule_interval": "5 minutes" },
        "job_actions": [
            { "freezer_action": { "container": "c1", "max_level": "4", "dry": true, "none": null } },
            { "freezer_action": { "container": "c2", "tags": ["x", "y"] } },
        ],
    })
}

#[test]
fn a_field_is_a_leaf_at_any_depth_or_a_path() {
    let cases = [
        (json!({"status": "completed"}), true),
        (json!({"status": "Completed"}), false),
        (json!({"job_schedule.status": "completed"}), true),
        (json!({"schedule.status": "completed"}), false),
        (json!({"container": "c2"}), true),
        (json!({"job_actions.freezer_action.container": "c2"}), true),
        (json!({"tags": "y"}), true),
        (json!({"max_level": 4}), true),
        (json!({"time_started": "5"}), true),
        (json!({"time_started": 5.0}), true),
        (json!({"time_started": "05"}), false),
        (json!({"dry": true}), true),
        (json!({"dry": "true"}), false),
        (json!({"none": null}), true),
        (json!({"absent": null}), false),
        (json!({"job_schedule": "completed"}), false),
        (json!({"client_id": "p_host-1.example", "status": "completed"}), true),
        (json!({"client_id": "p_host-1.example", "status": "stop"}), false),
        (json!({"client_id": "host"}), false),
        (json!({}), true),
    ];
    for (clause, found) in cases {
        assert_eq!(finds(Kind::Job, &job(), json!({ "match": [clause] })), found, "{clause}");
        let nothing = clause == json!({});
        assert_eq!(finds(Kind::Job, &job(), json!({ "match_not": [clause] })), !found || nothing, "not {clause}");
    }
}

#[test]
fn clauses_of_match_all_hold_and_of_match_not_none() {
    let both = |a: Value, b: Value| (json!({ "match": [a, b] }), json!({ "match_not": [a, b] }));
    let (all, none) = both(json!({"status": "completed"}), json!({"status": "stop"}));
    assert!(!finds(Kind::Job, &job(), all) && !finds(Kind::Job, &job(), none));
    let (all, none) = both(json!({"status": "completed"}), json!({"container": "c1"}));
    assert!(finds(Kind::Job, &job(), all) && !finds(Kind::Job, &job(), none));
    assert!(finds(Kind::Job, &job(), json!({ "match_not": [{"status": "completed", "container": "c9"}] })));
    assert!(finds(Kind::Job, &job(), json!({ "match": [], "match_not": [], "other": 1 })));
}

#[test]
fn words_are_looked_for_in_every_text() {
    for (text, found) in [
        ("nightly", true),
        ("DB9", true),
        ("db", false),
        ("dump nothing", true),
        ("nothing at all", false),
        ("host-1", true),
        ("5", true),
        ("", false),
        ("...", false),
        (r#"[{"status": "completed"}]"#, true),
        (r#"[{"status": "completed"}, {"status": "stop"}]"#, false),
        (r#"[{"_all": "[{\"status\": \"completed\"}]"}]"#, true),
        (r#"{"status": "nothing"}"#, false),
        ("[]", true),
    ] {
        assert_eq!(finds(Kind::Job, &job(), json!({ "match": [{ "_all": text }] })), found, "{text}");
    }
}

#[test]
fn times_have_inclusive_bounds() {
    let backup = |metadata: Value| json!({ "backup_id": "b", "backup_metadata": metadata });
    let at_100 = backup(json!({ "timestamp": "100", "time_stamp": 7 }));
    for (bounds, found) in [
        (json!({ "time_after": 100 }), true),
        (json!({ "time_after": "101" }), false),
        (json!({ "time_before": 100 }), true),
        (json!({ "time_before": 99 }), false),
        (json!({ "time_after": 50, "time_before": 150 }), true),
        (json!({ "time_after": 150, "time_before": 50 }), false),
    ] {
        assert_eq!(finds(Kind::Backup, &at_100, bounds.clone()), found, "{bounds}");
        assert!(finds(Kind::Job, &job(), bounds), "only backups have a time");
    }
    assert!(finds(Kind::Backup, &backup(json!({ "time_stamp": 100 })), json!({ "time_after": 100 })));
    assert!(!finds(Kind::Backup, &backup(json!({ "timestamp": "soon" })), json!({ "time_after": 0 })));
    assert!(!finds(Kind::Backup, &backup(json!({})), json!({ "time_before": 10 })));
    for at in [-5, 0, 4095, 4096, (1i64 << 36) - 1, 1 << 36, i64::MAX, i64::MIN] {
        let one = backup(json!({ "timestamp": at }));
        assert!(finds(Kind::Backup, &one, json!({ "time_after": at, "time_before": at })), "{at}");
        assert!(
            finds(Kind::Backup, &one, json!({ "time_after": at }))
                && finds(Kind::Backup, &one, json!({ "time_before": at }))
        );
    }
}

#[test]
fn an_envelope_changes_nothing() {
    let backup = json!({ "backup_id": "b1", "user_id": "ann",
        "backup_metadata": { "container": "c", "nested": { "container": "d", "level": 0 } } });
    for (clause, found) in [
        (json!({"container": "c"}), true),
        (json!({"container": "d"}), true),
        (json!({"backup_metadata.container": "c"}), true),
        (json!({"backup_metadata.container": "d"}), false),
        (json!({"backup_metadata.nested.container": "d"}), true),
        (json!({"nested.container": "d"}), false),
        (json!({"backup_id": "b1"}), true),
    ] {
        assert_eq!(finds(Kind::Backup, &backup, json!({ "match": [clause] })), found, "{clause}");
    }
}

#[test]
fn wrong_types_are_refused() {
    let deep = (0..6).fold("x".to_owned(), |inner, _| json!([{ "_all": inner }]).to_string());
    for bad in [
        json!({"match": {}}),
        json!({"match": null}),
        json!({"match": ["x"]}),
        json!({"match": [{"a": []}]}),
        json!({"match": [{"_all": null}]}),
        json!({"match": [{"_all": "[1]"}]}),
        json!({"match": [{"_all": deep}]}),
        json!({"match": [{"_all": "x ".repeat(200)}]}),
        json!({"match": vec![json!({}); 200]}),
        json!({"match_not": 1}),
        json!({"time_after": "soon"}),
        json!({"time_after": null}),
        json!({"time_before": 1.5}),
        json!({"time_before": []}),
    ] {
        assert!(Query::read(bad.as_object().unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn users_share_no_words() {
    let of = |kind, owner| Tokens::new(kind, owner).of(&job()).unwrap();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert!(words(&of(Kind::Job, "ann")).is_disjoint(&words(&of(Kind::Job, "bob"))));
    assert!(words(&of(Kind::Job, "ann")).is_disjoint(&words(&of(Kind::Action, "ann"))));
    let many = json!({ "list": (0..30_000).collect::<Vec<_>>() });
    assert!(Tokens::new(Kind::Job, "ann").of(&many).is_err());
}

/// Few names and values, so that they meet.
fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-2i64..3).prop_map(Value::from),
        prop::sample::select(vec!["1", "a", "a b", "B-a", "", "stop"]).prop_map(Value::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "client", "backup_metadata", "a.b", "timestamp", "status"])
        .prop_map(str::to_owned)
}

fn document() -> impl Strategy<Value = Value> {
    let inner = leaf().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    });
    prop::collection::btree_map(name(), inner, 0..4).prop_map(|members| members.into_iter().collect())
}

fn clause() -> impl Strategy<Value = Value> {
    let field = prop_oneof![name(), (name(), name()).prop_map(|(a, b)| format!("{a}.{b}")), Just("_all".to_owned()),];
    prop::collection::btree_map(field, leaf(), 1..3).prop_map(|fields| {
        let fixed = fields.into_iter().map(|(field, value)| match field.as_str() {
            "_all" => (field, Value::from(value.as_str().unwrap_or("a"))),
            _ => (field, value),
        });
        fixed.collect::<Value>()
    })
}

fn search() -> impl Strategy<Value = Value> {
    let clauses = || prop::collection::vec(clause(), 0..3);
    (clauses(), clauses(), prop::option::of(-2i64..3)).prop_map(|(all, none, after)| {
        let mut body = json!({ "match": all, "match_not": none });
        if let Some(after) = after {
            body["time_after"] = after.into();
        }
        body
    })
}

proptest! {
    #[test]
    fn the_words_say_what_the_meaning_says(document in document(), body in search()) {
        for kind in Kind::ALL {
            finds(kind, &document, body.clone());
        }
    }

    #[test]
    fn blocks_hold_exactly_the_times_that_are_near(from in 0i64..1 << 37, length in 0i64..1 << 34, at in 0i64..1 << 37) {
        let document = json!({ "backup_metadata": { "timestamp": at } });
        finds(Kind::Backup, &document, json!({ "time_after": from, "time_before": from.saturating_add(length) }));
        let tokens = Tokens::new(Kind::Backup, "ann");
        let formula = tokens.formula(&query(json!({ "time_after": from, "time_before": from + length })));
        prop_assert!(formula.len() < 4000, "{}", formula.len());
    }
}
