//! The tables of §8 B and C row by row, and what holds for any sites whatever they have.

use std::collections::BTreeMap;

use haulier_base::Timestamp;
use proptest::prelude::*;

use super::*;

fn site(name: &str) -> SiteId {
    SiteId::new(name).unwrap()
}

fn sites() -> Vec<SiteId> {
    ["a", "b", "c"].map(site).to_vec()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn entry(name: &str, code: Code, seconds: i64) -> Entry {
    let sha256 = code.is_had().then(|| format!("hash of {seconds}"));
    let at = at(seconds);
    Entry { site: site(name), code, event_at: at, created_at: at, size_bytes: 1, sha256, origin: Some(site("a")) }
}

/// What is to be done, as `site NEED from,from`.
fn told(entries: &[Entry]) -> Vec<String> {
    let line = |deed: Deed| {
        let from: Vec<_> = deed.from.iter().map(SiteId::as_str).collect();
        format!("{} {} {}", deed.site, deed.need.as_str(), from.join(",")).trim().to_owned()
    };
    judge(entries, &sites()).into_iter().map(line).collect()
}

#[test]
fn a_record_and_its_bytes() {
    use Status as S;
    for (status, with, without) in [
        (S::Ready, (Code::Ready, Fix::Verify), (Code::Upload, Fix::Miss)),
        (S::Upload, (Code::Update, Fix::Refresh), (Code::Upload, Fix::Miss)),
        (S::ErrUpl, (Code::Update, Fix::Refresh), (Code::Upload, Fix::Miss)),
        (S::Deleting, (Code::Delete, Fix::Bury), (Code::Deleted, Fix::Bury)),
        (S::Deleted, (Code::Delete, Fix::Bury), (Code::Deleted, Fix::Leave)),
        (S::ErrDel, (Code::Delete, Fix::Bury), (Code::Deleted, Fix::Bury)),
    ] {
        assert_eq!(at_site(status, true), Some(with), "{status}");
        assert_eq!(at_site(status, false), Some(without), "{status}");
    }
    assert_eq!(at_site(S::Unknown, true), None);
}

#[test]
fn e49_nothing_is_done_where_all_agree() {
    let ready: Vec<_> = ["a", "b", "c"].map(|name| entry(name, Code::Ready, 5)).to_vec();
    assert!(told(&ready).is_empty());
    let gone: Vec<_> = ["a", "b"].map(|name| entry(name, Code::Deleted, 5)).to_vec();
    assert!(told(&gone).is_empty(), "a site that never heard of it has nothing to forget");
}

#[test]
fn a_copy_made_late_is_not_a_newer_version() {
    let mut copy = entry("b", Code::Ready, 5);
    copy.event_at = at(9);
    assert!(told(&[entry("a", Code::Ready, 5), copy.clone(), entry("c", Code::Ready, 5)]).is_empty());
    assert_eq!(told(&[entry("a", Code::Deleted, 7), copy]), ["b DELETE"]);
}

#[test]
fn e48_the_newer_tombstone_wins() {
    let tombstone = entry("b", Code::Deleted, 8);
    assert_eq!(told(&[entry("a", Code::Ready, 5), tombstone.clone()]), ["a DELETE"]);
    assert_eq!(told(&[entry("a", Code::Ready, 8), tombstone.clone()]), ["a DELETE"], "equal: the delete wins");
    assert_eq!(told(&[entry("a", Code::Ready, 9), tombstone]), ["b UPLOAD a", "c UPLOAD a"]);
    assert_eq!(told(&[entry("a", Code::Delete, 5)]), ["a DELETE"]);
}

#[test]
fn a_record_without_bytes_neither_undoes_nor_follows_a_delete() {
    let all = [entry("a", Code::Ready, 5), entry("b", Code::Deleted, 7), entry("c", Code::Upload, 9)];
    assert_eq!(told(&all), ["c ERROR", "a DELETE"]);
}

#[test]
fn the_absent_and_the_damaged_get_it() {
    assert_eq!(told(&[entry("a", Code::Ready, 5)]), ["b UPLOAD a", "c UPLOAD a"]);
    let all = [entry("a", Code::Ready, 5), entry("b", Code::Upload, 5), entry("c", Code::Ready, 5)];
    assert_eq!(told(&all), ["b UPLOAD a,c"]);
    let all = [entry("a", Code::Ready, 5), entry("b", Code::Update, 5), entry("c", Code::Ready, 5)];
    assert_eq!(told(&all), ["b UPDATE a,c"]);
}

#[test]
fn only_unrefreshed_bytes() {
    assert_eq!(told(&[entry("a", Code::Update, 5)]), ["b UPLOAD a", "c UPLOAD a"]);
    assert_eq!(told(&[entry("a", Code::Update, 5), entry("b", Code::Upload, 6)]), ["b UPLOAD a", "c UPLOAD a"]);
}

#[test]
fn what_nobody_has_needs_a_person() {
    assert_eq!(told(&[entry("a", Code::Upload, 5), entry("b", Code::Upload, 6)]), ["b ERROR", "a ERROR"]);
    assert_eq!(told(&[entry("a", Code::Upload, 6), entry("b", Code::Deleted, 5)]), ["a ERROR"]);
}

#[test]
fn different_contents() {
    let all = [entry("a", Code::Ready, 5), entry("b", Code::Ready, 6), entry("c", Code::Ready, 5)];
    assert_eq!(told(&all), ["a UPDATE b", "c UPDATE b"]);
    let (mut low, mut high) = (entry("a", Code::Ready, 5), entry("b", Code::Ready, 5));
    (low.origin, high.origin) = (Some(site("a")), Some(site("b")));
    low.sha256 = Some("ff".to_owned());
    assert_eq!(told(&[low.clone(), high.clone()]), ["a UPDATE b", "c UPLOAD b"], "the greater site wins");
    low.origin = Some(site("b"));
    high.sha256 = Some("0".to_owned());
    assert_eq!(told(&[low, high]), ["b UPDATE a", "c UPLOAD a"], "the greater hash wins");
}

/// Does what an order would do at its site, as §5.3 has it, and says whether it was possible.
fn apply(world: &mut BTreeMap<SiteId, Entry>, deed: &Deed) {
    let here = world.get(&deed.site).cloned();
    let new = match deed.need {
        Need::Error => return,
        Need::Delete => {
            let newer = here.as_ref().is_some_and(|here| !here.code.is_buried() && deed.event_at < here.created_at);
            assert!(!newer, "a delete for what is newer: {deed:?} {here:?}");
            let (event_at, created_at) = (deed.event_at, deed.event_at);
            Entry { code: Code::Deleted, event_at, created_at, sha256: None, site: deed.site.clone(), ..here.unwrap() }
        }
        Need::Upload | Need::Update => {
            let source = &world[&deed.from[0]];
            assert!(source.code.is_had());
            let buried = here.as_ref().is_some_and(|h| h.code.is_buried() && h.event_at >= source.created_at);
            assert!(!buried, "an object back from the dead: {deed:?} {here:?}");
            Entry { site: deed.site.clone(), code: Code::Ready, ..source.clone() }
        }
    };
    world.insert(deed.site.clone(), new);
}

fn anything() -> impl Strategy<Value = Vec<Entry>> {
    let one = (0..5_usize, 0..6_i64, 0..4_i64, 0..3_u8, 0..3_usize);
    let at_each = prop::collection::vec(prop::option::of(one), 3);
    at_each.prop_map(|all| {
        let made = all.into_iter().zip(sites()).filter_map(|(one, site)| {
            let (code, created, later, hash, origin) = one?;
            let code = Code::ALL[code];
            let created_at = at(created);
            let event_at = if code.is_buried() { created_at } else { at(created + later) };
            let sha256 = (!code.is_buried()).then(|| format!("{hash}"));
            Some(Entry {
                site,
                code,
                event_at,
                created_at,
                size_bytes: 1,
                sha256,
                origin: sites().get(origin).cloned(),
            })
        });
        made.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_deeds_make_the_sites_equal_and_a_second_run_finds_nothing(entries in anything()) {
        let newest = |pick: fn(&Entry) -> bool| entries.iter().filter(|e| pick(e)).map(Entry::at).max();
        let (buried, had) = (newest(|e| e.code.is_buried()), newest(|e| e.code.is_had()));
        let mut world: BTreeMap<_, _> = entries.iter().map(|e| (e.site.clone(), e.clone())).collect();
        // Sources are those before any deed, so those who must become right first are asked last.
        for _ in 0..2 {
            let now: Vec<_> = world.values().cloned().collect();
            let mut deeds = judge(&now, &sites());
            deeds.sort_by_key(|deed| deed.need != Need::Delete);
            for deed in &deeds {
                apply(&mut world, deed);
            }
        }
        let now: Vec<_> = world.values().cloned().collect();
        let left = judge(&now, &sites());
        prop_assert!(left.iter().all(|deed| deed.need == Need::Error), "{left:?}");
        if had.is_some() && had > buried {
            let hashes: std::collections::BTreeSet<_> = now.iter().map(|e| e.sha256.clone()).collect();
            prop_assert_eq!((now.len(), hashes.len()), (3, 1), "{:?}", now);
        } else if buried.is_some() {
            prop_assert!(now.iter().all(|e| !e.code.is_had()), "{now:?}");
        }
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter(entries in anything()) {
        let sorted = |mut deeds: Vec<Deed>| {
            deeds.sort_by(|one, other| one.site.cmp(&other.site));
            deeds.iter_mut().for_each(|deed| deed.from.sort());
            deeds
        };
        let mut turned = entries.clone();
        turned.reverse();
        prop_assert_eq!(sorted(judge(&entries, &sites())), sorted(judge(&turned, &sites())));
    }
}
