//! The tables of §3.3 by row, the grammar of §3.1 fault by fault, and what holds for all rules.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::FileName;

fn entry(name: &str) -> EntryName {
    EntryName::new(name).unwrap()
}

fn entries(names: &[&str]) -> BTreeSet<EntryName> {
    names.iter().map(|name| entry(name)).collect()
}

fn rules(list: Value) -> RuleSet {
    RuleSet::read(&list, Some(&entries(&["A", "B", "C"]))).unwrap()
}

fn owners(rules: &RuleSet, from: &str, name: &str) -> BTreeSet<EntryName> {
    let name = FileName::new(name).unwrap();
    rules.owners(&entry(from), Subject { name: &name, size_bytes: 100, modified_at: None, kind: None })
}

fn matches(when: Value, file: Subject<'_>) -> bool {
    let rules = rules(json!([{ "match": when, "sync": ["B"] }]));
    rules.owners(&entry("A"), file).contains(&entry("B"))
}

fn matches_name(when: Value, name: &str) -> bool {
    let name = FileName::new(name).unwrap();
    matches(when, Subject { name: &name, size_bytes: 100, modified_at: None, kind: None })
}

fn fault(list: Value) -> String {
    let error = RuleSet::read(&list, Some(&entries(&["A", "B"]))).unwrap_err();
    assert_eq!(error.kind(), haulier_base::ErrorKind::Invalid);
    error.message().to_owned()
}

/// The rules of the worked examples.
fn seed() -> RuleSet {
    rules(json!([
        { "match": { "path": "/" }, "sync": ["A"] },
        { "match": { "path": "/backedup/", "mime": ["application/pdf"] }, "sync": ["B"] },
    ]))
}

#[test]
fn worked_examples_have_the_owners_of_the_contract() {
    for (from, name, expected) in [
        ("A", "backedup/x.pdf", &["A", "B"][..]),
        ("A", "backedup/x.txt", &["A"]),
        ("A", "x.pdf", &["A"]),
        ("B", "note.txt", &["A", "B"]),
        ("C", "backedup/y.pdf", &["A", "B", "C"]),
        ("B", "backedup/x.pdf", &["A", "B"]),
        ("A", "backedup/z.pdf", &["A", "B"]),
        ("A", "z.pdf", &["A"]),
    ] {
        assert_eq!(owners(&seed(), from, name), entries(expected), "{from} {name}");
    }
}

#[test]
fn paths_match_at_the_beginning_as_the_contract_tables() {
    let names = ["docs/a", "docsold/a", "x/docs/a"];
    for (path, expected) in [
        ("/docs/", [true, false, false]),
        ("/docs", [true, true, false]),
        (".*docs/", [true, false, true]),
        (r"/docs/.*\.pdf$", [false, false, false]),
    ] {
        assert_eq!(names.map(|name| matches_name(json!({ "path": path }), name)), expected, "{path}");
    }
    assert!(matches_name(json!({ "path": "(?x) /docs/ # folder" }), "docs/a"));
    assert!(matches_name(json!({ "path": "/a|/b" }), "b") && !matches_name(json!({ "path": "/a|/b" }), "x/b"));
}

#[test]
fn one_way_rules_send_to_the_followers_only() {
    let rules = rules(json!([{ "match": { "path": "/out/" }, "sync": ["B"] }]));
    assert_eq!(owners(&rules, "A", "out/f"), entries(&["A", "B"]));
    assert_eq!(owners(&rules, "B", "out/f"), entries(&["B"]));
    assert_eq!(owners(&rules, "B", "in/f"), entries(&["B"]));
}

#[test]
fn rules_add_up_and_only_a_ban_takes_away() {
    let added = rules(json!([
        { "match": {}, "sync": ["A"] },
        { "match": { "path": "/p/" }, "sync": ["B"], "ban": ["A"] },
        { "match": { "path": "/p/q/" }, "sync": ["A"] },
    ]));
    assert_eq!(owners(&added, "C", "x"), entries(&["A", "C"]));
    assert_eq!(owners(&added, "C", "p/x"), entries(&["B", "C"]));
    assert_eq!(owners(&added, "A", "p/x"), entries(&["B"]), "the entry of a change can be banned");
    assert_eq!(owners(&added, "C", "p/q/x"), entries(&["A", "B", "C"]));
    let both = rules(json!([{ "match": {}, "sync": ["A", "B"], "ban": ["B"] }]));
    assert_eq!(owners(&both, "B", "x"), entries(&["A"]), "a ban is applied after the sync of its rule");
    assert_eq!(owners(&rules(json!([])), "A", "x"), entries(&["A"]));
}

#[test]
fn types_are_compared_with_wildcards_and_packings() {
    for (mime, name, expected) in [
        (json!(["application/pdf"]), "a.pdf", true),
        (json!(["application/pdf"]), "a.PDF", true),
        (json!(["Application/PDF"]), "a.pdf", true),
        (json!(["application/pdf", "image/png"]), "a.png", true),
        (json!(["application/pdf"]), "a.png", false),
        (json!(["image/*"]), "a.png", true),
        (json!(["image/*"]), "a.pdf", false),
        (json!(["*/*"]), "a", true),
        (json!(["*"]), "a", true),
        (json!(["application/octet-stream"]), "a.unheard-of", true),
        (json!(["application/x-tar"]), "x.tar.gz", true),
        (json!(["gzip"]), "x.tar.gz", true),
        (json!(["gzip"]), "x.tar", false),
        (json!([]), "a.png", true),
    ] {
        assert_eq!(matches_name(json!({ "mime": mime }), name), expected, "{mime} {name}");
    }
    let both = json!({ "path": "/p/", "mime": ["image/*"] });
    assert!(matches_name(both.clone(), "p/a.png"));
    assert!(!matches_name(both.clone(), "a.png") && !matches_name(both, "p/a.txt"));
}

#[test]
fn extensions_look_at_glob_size_and_time() {
    for (glob, name, expected) in [
        ("*.txt", "a.txt", true),
        ("*.txt", "p/a.txt", false),
        ("**/*.txt", "p/q/a.txt", true),
        ("p/*/a.{txt,md}", "p/q/a.md", true),
        (r"\*", "*", true),
        (r"\*", "x", false),
        ("*.TXT", "a.txt", false),
    ] {
        assert_eq!(matches_name(json!({ "glob": glob }), name), expected, "{glob} {name}");
    }
    let name = FileName::new("a").unwrap();
    let sized = |size_bytes| Subject { name: &name, size_bytes, modified_at: None, kind: None };
    let between = json!({ "min_size": 10, "max_size": "2Ki" });
    for (size, expected) in [(9, false), (10, true), (2048, true), (2049, false)] {
        assert_eq!(matches(between.clone(), sized(size)), expected, "{size}");
    }
    let at = |text: &str| Subject { name: &name, size_bytes: 1, modified_at: amount::instant(text), kind: None };
    let year = json!({ "modified_after": "2026-01-01", "modified_before": "2027-01-01" });
    assert!(matches(year.clone(), at("2026-01-01")) && matches(year.clone(), at("2026-12-31T23:59:59Z")));
    assert!(!matches(year.clone(), at("2025-12-31T23:59:59Z")) && !matches(year.clone(), at("2027-01-01")));
    assert!(!matches(year, sized(1)), "an unknown time is in no year");
}

#[test]
fn every_fault_names_its_place() {
    let ok = json!({ "match": {} });
    for (list, expected) in [
        (json!({}), "rules: must be a list of rules"),
        (json!([ok, 5]), "rules[1]: must be an object"),
        (json!([{ "sync": ["A"] }]), "rules[0].match: is missing; {} matches every file"),
        (json!([{ "match": 5 }]), "rules[0].match: must be an object"),
        (json!([{ "match": {}, "snyc": [] }]), "rules[0]: unknown member \"snyc\"; known are match, sync, ban"),
        (json!([ok, { "match": {}, "sync": ["Z"] }]), "rules[1].sync: unknown entry \"Z\""),
        (json!([{ "match": {}, "ban": ["A", "Z"] }]), "rules[0].ban: unknown entry \"Z\""),
        (json!([{ "match": {}, "sync": "A" }]), "rules[0].sync: must be a list of strings"),
        (json!([{ "match": {}, "sync": ["A", 1] }]), "rules[0].sync[1]: must be a string"),
        (json!([{ "match": { "path": 1 } }]), "rules[0].match.path: must be a string"),
        (
            json!([{ "match": { "mime": ["a b"] } }]),
            "rules[0].match.mime[0]: \"a b\" is not a type such as image/png, image/* or gzip",
        ),
        (json!([{ "match": { "mime": "image/png" } }]), "rules[0].match.mime: must be a list of strings"),
        (
            json!([{ "match": { "glob": "/a" } }]),
            "rules[0].match.glob: begins with \"/\", and names do not; leave it out",
        ),
        (
            json!([{ "match": { "min_size": -1 } }]),
            "rules[0].match.min_size: -1 is not a size such as 1048576, \"15 Mb\" or \"2Gi\"",
        ),
        (
            json!([{ "match": { "min_size": 2, "max_size": 1 } }]),
            "rules[0].match.max_size: is less than min_size, so nothing would match",
        ),
        (
            json!([{ "match": { "modified_after": "soon" } }]),
            "rules[0].match.modified_after: \"soon\" is not an instant such as \"2026-11-21\" or \"2026-11-21T12:00:00Z\"",
        ),
    ] {
        assert_eq!(fault(list), expected);
    }
    let misspelt = fault(json!([{ "match": { "pathh": "/" } }]));
    assert!(misspelt.starts_with("rules[0].match: unknown member \"pathh\"; known are path, mime"), "{misspelt}");
    for pattern in ["(?=a)", "(a)\\1", "(", "[z-a]", "a{1000}{1000}{1000}"] {
        let place = fault(json!([{ "match": { "path": pattern } }]));
        assert!(place.starts_with("rules[0].match.path: is ") && !place.contains('\n'), "{pattern}: {place}");
    }
    assert!(fault(json!([{ "match": { "glob": "{a" } }])).starts_with("rules[0].match.glob: "));
    assert!(fault(Value::Array(vec![ok; RULES_MAX + 1])).starts_with("rules: 1001 rules"));
}

#[test]
fn stored_rules_may_name_entries_that_are_gone() {
    let stored = RuleSet::stored(r#"[{"match": {}, "sync": ["gone"]}]"#).unwrap();
    assert_eq!(owners(&stored, "A", "x"), entries(&["A", "gone"]));
    assert_eq!(RuleSet::stored("[5]").unwrap_err().kind(), haulier_base::ErrorKind::Corrupt);
}

#[test]
fn an_explanation_tells_each_step() {
    let name = FileName::new("x.pdf").unwrap();
    let steps = seed().explain(&entry("C"), Subject { name: &name, size_bytes: 1, modified_at: None, kind: None });
    assert_eq!(steps.len(), 2);
    assert!(steps[0].matches && steps[0].owners == entries(&["A", "C"]));
    assert!(!steps[1].matches && steps[1].owners == entries(&["A", "C"]));
    assert_eq!(steps[1].why_not.as_deref(), Some("path: does not match the beginning of \"/x.pdf\""));
    let name = FileName::new("backedup/x.tar.gz").unwrap();
    let steps = seed().explain(&entry("C"), Subject { name: &name, size_bytes: 1, modified_at: None, kind: None });
    assert_eq!(steps[1].why_not.as_deref(), Some("mime: the type is application/x-tar, packed as gzip"));
}

fn any_name() -> impl Strategy<Value = FileName> {
    "[a-c]{1,2}(/[a-c.]{1,3}){0,2}(\\.pdf|\\.png)?".prop_filter_map("no name", |text| FileName::new(text).ok())
}

fn any_rule() -> impl Strategy<Value = Value> {
    let some = || prop::collection::vec(prop::sample::select(vec!["A", "B", "C"]), 0..3);
    let path = prop::option::of("/[a-c]{0,2}/?");
    let mime = prop::option::of(prop::sample::select(vec!["application/pdf", "image/*"]));
    (path, mime, some(), some()).prop_map(|(path, mime, sync, ban)| {
        let mut when = serde_json::Map::new();
        when.extend(path.map(|path| ("path".to_owned(), json!(path))));
        when.extend(mime.map(|mime| ("mime".to_owned(), json!([mime]))));
        json!({ "match": when, "sync": sync, "ban": ban })
    })
}

proptest! {
    #[test]
    fn a_plain_path_is_a_prefix_of_characters(path in "/[a-c]{0,2}/?[a-c]{0,1}", name in any_name()) {
        let expected = format!("/{name}").starts_with(&path);
        prop_assert_eq!(matches_name(json!({ "path": path }), name.as_str()), expected);
    }

    #[test]
    fn rules_are_applied_one_after_the_other(list in prop::collection::vec(any_rule(), 0..6), name in any_name()) {
        let from = entry("A");
        let file = Subject { name: &name, size_bytes: 1, modified_at: None, kind: None };
        let set = rules(json!(list));
        let mut expected = BTreeSet::from([from.clone()]);
        for rule in &list {
            if matches(rule["match"].clone(), file) {
                let named = |member: &str| -> Vec<EntryName> {
                    rule[member].as_array().unwrap().iter().map(|name| entry(name.as_str().unwrap())).collect()
                };
                expected.extend(named("sync"));
                named("ban").iter().for_each(|banned| { expected.remove(banned); });
            }
        }
        prop_assert_eq!(set.owners(&from, file), expected.clone());
        let steps = set.explain(&from, file);
        prop_assert_eq!(steps.len(), list.len());
        prop_assert!(steps.last().is_none_or(|last| last.owners == expected));
    }
}
