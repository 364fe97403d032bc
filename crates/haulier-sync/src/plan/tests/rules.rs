//! Numbered rules and edge cases of the contract, each as the smallest story that could break it.

use std::collections::BTreeSet;

use super::world::{LARGE, Rules, World, entry, name};
use crate::model::{EntryName, FileName, Pending};
use crate::plan::ConflictPolicy;

/// A world of some entries that share everything, with the file `f` in all of them.
fn shared(entries: &[&str]) -> World {
    let mut world = World::new(entries);
    world.write(&entry("A"), &f(), 1);
    world.rest();
    world
}

fn f() -> FileName {
    name("f")
}

fn a() -> EntryName {
    entry("A")
}

fn b() -> EntryName {
    entry("B")
}

fn c() -> EntryName {
    entry("C")
}

/// Files made at any entry go to these.
fn to(entries: &[&str]) -> Rules {
    Rules { sync: entries.iter().map(|name| entry(name)).collect(), ban: BTreeSet::new() }
}

fn content(world: &World, at: &EntryName) -> Option<u32> {
    world.file(at, &f()).map(|file| file.content)
}

fn owners(world: &World) -> Vec<String> {
    let copies = world.index.get(&f()).into_iter().flat_map(|state| &state.copies);
    copies.filter(|(_, copy)| copy.owner).map(|(entry, _)| entry.to_string()).collect()
}

/// Does all of the work of an entry.
fn carry(world: &mut World, at: &EntryName) {
    for _ in 0..3 * world.pending(at).len() {
        world.carry(at, 0);
    }
}

#[test]
fn rule_13_a_change_goes_to_its_owners() {
    let mut world = World::new(&["A", "B", "C"]);
    world.rules = to(&["B"]);
    world.write(&a(), &f(), 1);
    world.scan(&a());
    assert_eq!(owners(&world), ["A", "B"]);
    let state = &world.index[&f()];
    assert!(state.is_up_to_date(&a()) && !state.is_up_to_date(&b()));
    assert_eq!(state.copies[&b()].pending, Some(Pending::Fetch));
    world.rest();
    world.check_rest();
    assert_eq!((content(&world, &b()), content(&world, &c())), (Some(1), None));
}

#[test]
fn rule_14_and_case_16_repeated_writes_collapse() {
    let mut world = shared(&["A", "B"]);
    for version in 2..27 {
        world.write(&a(), &f(), version);
        world.scan(&a());
        // The carrier is at another step each time, and what it puts in place is old at once.
        world.carry(&b(), 0);
        if version % 3 == 0 {
            world.scan(&b());
        }
        if version == 20 {
            world.crash();
        }
    }
    world.rest();
    world.check_rest();
    assert_eq!(content(&world, &b()), Some(26));
    assert_eq!((world.conflicts, world.same_everywhere().len()), (0, 1));
}

#[test]
fn rule_17_our_own_writes_come_back_as_nothing() {
    let mut world = World::new(&["A", "B"]);
    world.write(&a(), &f(), LARGE + 1);
    world.scan(&a());
    world.carry(&b(), 0);
    world.carry(&b(), 0);
    // The eyes see what the hands wrote before the hands could tell.
    world.scan(&b());
    world.carry(&b(), 0);
    world.rest();
    world.check_rest();
    assert_eq!((world.conflicts, world.copied), (0, 1));
}

#[test]
fn rule_18_time_and_mode_travel_alone_and_are_no_conflict() {
    let mut world = shared(&["A", "B", "C"]);
    let copied = world.copied;
    world.touch(&a(), &f(), 0o600);
    world.touch(&b(), &f(), 0o640);
    world.rest();
    world.check_rest();
    let seen: BTreeSet<_> = [a(), b(), c()].iter().map(|at| world.file(at, &f()).unwrap().mode).collect();
    assert_eq!((seen, world.copied, world.conflicts), (BTreeSet::from([0o640]), copied, 0));
}

#[test]
fn rule_20_clearing_a_follower_does_not_empty_the_original() {
    let mut world = World::new(&["A", "B"]);
    world.rules = to(&["B"]);
    world.write(&a(), &f(), 1);
    world.rest();
    world.delete(&b(), &f());
    world.rest();
    world.check_rest();
    assert_eq!(content(&world, &a()), Some(1));
    world.delete(&b(), &f());
    world.write(&a(), &f(), 2);
    world.rest();
    assert_eq!(content(&world, &b()), Some(2), "the next change comes again");
    world.delete(&a(), &f());
    world.rest();
    assert_eq!((content(&world, &b()), world.index.len()), (None, 0));
}

#[test]
fn rule_21_a_deletion_of_an_old_version_is_ignored() {
    let mut world = shared(&["A", "B"]);
    world.write(&a(), &f(), 2);
    world.scan(&a());
    world.delete(&b(), &f());
    world.rest();
    world.check_rest();
    assert_eq!(content(&world, &b()), Some(2));
}

#[test]
fn rule_22_a_tombstone_waits_for_stopped_entries() {
    let mut world = shared(&["A", "B"]);
    world.stop(&b());
    world.delete(&a(), &f());
    world.scan(&a());
    assert!(world.index[&f()].record.as_ref().unwrap().deleted);
    world.start(&b());
    carry(&mut world, &b());
    assert_eq!((content(&world, &b()), world.index.len()), (None, 0));
    assert_eq!(world.kept, BTreeSet::from([1]));
}

#[test]
fn rule_25_a_rename_is_a_deletion_and_a_creation() {
    let mut world = shared(&["A", "B"]);
    world.rename(&a(), &f(), &name("g"));
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().into_iter().collect::<Vec<_>>(), [("g".to_owned(), 1)]);
}

#[test]
fn rule_27_deleted_and_made_again_ends_with_the_new_one() {
    let mut world = shared(&["A", "B"]);
    world.delete(&a(), &f());
    world.scan(&a());
    world.carry(&b(), 0);
    world.carry(&b(), 0);
    // It is gone at B already, and nobody told.
    world.write(&a(), &f(), 1);
    world.scan(&a());
    world.scan(&b());
    world.carry(&b(), 0);
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().into_values().collect::<Vec<_>>(), [1]);
}

#[test]
fn rule_29_the_later_one_wins_and_a_tie_goes_to_the_first_name() {
    for (first, second) in [(a(), b()), (b(), a())] {
        let mut world = World::new(&["A", "B"]);
        world.write(&first, &f(), 1);
        world.write(&second, &f(), 2);
        world.rest();
        world.check_rest();
        assert_eq!(content(&world, &a()), Some(2));
    }
    let mut world = World::new(&["A", "B"]);
    world.write_at_once(&[(&a(), 1), (&b(), 2)], &f());
    world.scan(&b());
    world.rest();
    assert_eq!((content(&world, &a()), content(&world, &b())), (Some(1), Some(1)));
}

#[test]
fn rule_31_and_case_14_a_change_wins_over_a_deletion_in_either_order() {
    for order in [[a(), b()], [b(), a()]] {
        let mut world = shared(&["A", "B"]);
        world.stop(&a());
        world.stop(&b());
        world.delete(&a(), &f());
        world.write(&b(), &f(), 2);
        for at in &order {
            world.start(at);
            carry(&mut world, at);
        }
        world.rest();
        world.check_rest();
        assert_eq!(world.same_everywhere().into_values().collect::<Vec<_>>(), [2], "first {}", order[0]);
    }
}

#[test]
fn rule_33_the_policy_newest_drops_the_loser() {
    let mut world = World::new(&["A", "B"]);
    world.policy = ConflictPolicy::Newest;
    world.write(&a(), &f(), 1);
    world.write(&b(), &f(), 2);
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().into_values().collect::<Vec<_>>(), [2]);
    assert_eq!((world.conflicts, world.kept.contains(&1)), (1, true));
}

#[test]
fn rule_38_and_case_18_another_holder_serves_for_a_stopped_one() {
    let mut world = World::new(&["A", "B", "C"]);
    world.stop(&c());
    world.write(&a(), &f(), 1);
    world.scan(&a());
    carry(&mut world, &b());
    world.stop(&a());
    world.start(&c());
    carry(&mut world, &c());
    assert_eq!(content(&world, &c()), Some(1));
}

#[test]
fn rule_42_what_was_put_in_place_before_a_crash_is_no_conflict() {
    for change in [false, true] {
        let mut world = shared(&["A", "B"]);
        world.write(&a(), &f(), 2);
        world.scan(&a());
        world.carry(&b(), 0);
        world.carry(&b(), 0);
        if change {
            world.write(&a(), &f(), 3);
            world.scan(&a());
        }
        world.crash();
        world.rest();
        world.check_rest();
        assert_eq!((world.conflicts, world.same_everywhere().len()), (0, 1));
    }
}

#[test]
fn rule_43_a_file_that_changed_meanwhile_is_not_replaced() {
    let mut world = shared(&["A", "B"]);
    world.write(&a(), &f(), 2);
    world.scan(&a());
    world.carry(&b(), 0);
    world.write(&b(), &f(), 3);
    world.carry(&b(), 0);
    assert_eq!(content(&world, &b()), Some(3));
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().into_values().collect::<BTreeSet<_>>(), BTreeSet::from([2, 3]));
}

#[test]
fn case_7_new_rules_bring_the_files_there_are() {
    let mut world = World::new(&["A", "B", "C"]);
    world.rules = to(&["A", "B"]);
    world.write(&a(), &f(), 1);
    world.rest();
    world.reload(to(&["A", "B", "C"]));
    world.rest();
    world.check_rest();
    assert_eq!(content(&world, &c()), Some(1));
}

#[test]
fn cases_8_and_9_an_orphan_stays_as_it_is() {
    let mut world = shared(&["A", "B", "C"]);
    world.reload(to(&["A", "B"]));
    world.write(&a(), &f(), 2);
    world.rest();
    world.check_rest();
    assert_eq!((content(&world, &c()), owners(&world)), (Some(1), vec!["A".to_owned(), "B".to_owned()]));
    world.delete(&c(), &f());
    world.rest();
    world.check_rest();
    assert_eq!((content(&world, &a()), content(&world, &b())), (Some(2), Some(2)));
}

#[test]
fn rule_3_4_6_a_file_stays_reachable() {
    let mut world = World::new(&["A", "B"]);
    world.rules = to(&[]);
    world.write(&a(), &f(), 1);
    world.scan(&a());
    world.reload(Rules { sync: BTreeSet::from([b()]), ban: BTreeSet::from([a()]) });
    assert_eq!(owners(&world), ["A", "B"]);
    world.rest();
    assert_eq!(content(&world, &b()), Some(1));
}

#[test]
fn a_banned_entry_still_gives_what_it_made() {
    let mut world = World::new(&["A", "B"]);
    world.rules = Rules { sync: BTreeSet::from([b()]), ban: BTreeSet::from([a()]) };
    world.write(&a(), &f(), 1);
    world.rest();
    world.check_rest();
    assert_eq!((content(&world, &b()), owners(&world)), (Some(1), vec!["B".to_owned()]));
}

#[test]
fn example_3_3_a_follower_that_changed_keeps_its_change_aside() {
    let mut world = World::new(&["A", "B"]);
    world.rules = to(&["B"]);
    world.write(&a(), &f(), 1);
    world.rest();
    world.write(&b(), &f(), 2);
    world.rest();
    world.check_rest();
    assert_eq!((content(&world, &a()), owners(&world)), (Some(1), vec!["B".to_owned()]));
    world.write(&a(), &f(), 3);
    world.rest();
    world.check_rest();
    assert_eq!((content(&world, &b()), owners(&world)), (Some(3), vec!["A".to_owned(), "B".to_owned()]));
    assert_eq!((world.conflicts, world.disks[&b()].values().any(|file| file.content == 2)), (1, true));
    assert_eq!(world.disks[&a()].len(), 1, "the follower's copy goes nowhere else");
}

#[test]
fn case_12_work_of_a_stopped_entry_meets_its_own_changes() {
    let mut world = World::new(&["A", "B"]);
    for (file, content) in [("f", 1), ("g", 2), ("h", 3)] {
        world.write(&a(), &name(file), content);
    }
    world.rest();
    world.stop(&b());
    world.write(&a(), &f(), 4);
    world.delete(&a(), &name("g"));
    world.scan(&a());
    world.write(&b(), &name("h"), 5);
    world.write(&b(), &name("i"), 6);
    world.start(&b());
    world.rest();
    world.check_rest();
    let expected = [("f", 4), ("h", 5), ("i", 6)].map(|(name, content)| (name.to_owned(), content));
    assert_eq!(world.same_everywhere().into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn case_13_the_older_of_two_offline_edits_is_kept_aside_on_both() {
    for order in [[a(), b()], [b(), a()]] {
        let mut world = shared(&["A", "B"]);
        world.stop(&a());
        world.stop(&b());
        world.write(&a(), &f(), 2);
        world.write(&b(), &f(), 3);
        for at in &order {
            world.start(at);
        }
        world.rest();
        world.check_rest();
        let all = world.same_everywhere();
        assert_eq!((all.len(), all.get("f"), world.conflicts), (2, Some(&3), 1));
        let (aside, _) = all.iter().find(|(_, content)| **content == 2).unwrap();
        assert!(aside.starts_with("f.sync-conflict-2026") && aside.ends_with("-A"), "{aside}");
    }
}

#[test]
fn case_15_the_same_new_file_at_both_is_no_copy_and_no_conflict() {
    for content in [1, LARGE + 1] {
        let mut world = World::new(&["A", "B"]);
        world.write(&a(), &f(), content);
        world.write(&b(), &f(), content);
        world.rest();
        world.check_rest();
        assert_eq!((world.copied, world.conflicts, owners(&world).len()), (0, 0, 2));
    }
}

#[test]
fn case_17_a_write_at_the_receiver_wins_and_the_sent_one_is_kept() {
    let mut world = World::new(&["A", "B"]);
    world.write(&a(), &f(), LARGE + 1);
    world.scan(&a());
    world.carry(&b(), 0);
    world.write(&b(), &f(), LARGE + 2);
    world.carry(&b(), 0);
    world.rest();
    world.check_rest();
    let all = world.same_everywhere();
    assert_eq!((all.len(), all.get("f")), (2, Some(&(LARGE + 2))));
}

#[test]
fn a_second_conflict_in_the_same_second_gets_a_name_of_its_own() {
    let mut world = shared(&["A", "B"]);
    let aside = name("f.sync-conflict-20261121-120003-A");
    world.write(&a(), &f(), 2);
    world.write(&b(), &f(), 3);
    world.write_at_once(&[(&a(), 9)], &aside);
    world.rest();
    world.check_rest();
    let all = world.same_everywhere();
    assert_eq!((all.len(), all.get("f"), all.get(aside.as_str())), (3, Some(&3), Some(&9)), "{all:?}");
}

#[test]
fn names_that_differ_in_case_or_form_are_different_files() {
    let mut world = World::new(&["A", "B"]);
    for (content, file) in (1..).zip(["x", "X", "\u{e9}", "e\u{301}"]) {
        world.write(&a(), &name(file), content);
    }
    world.rename(&a(), &name("x"), &name("\u{ff58}"));
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().len(), 4);
}

#[test]
fn an_edit_over_what_was_to_be_set_aside_is_judged_again() {
    let mut world = shared(&["A", "B"]);
    world.write(&b(), &f(), 2);
    world.write(&a(), &f(), 3);
    world.scan(&a());
    world.scan(&b());
    assert!(world.index[&f()].copies[&b()].aside.is_some());
    world.write(&b(), &f(), 4);
    world.rest();
    world.check_rest();
    let all = world.same_everywhere();
    assert_eq!((all.get("f"), all.values().any(|content| *content == 3), all.len()), (Some(&4), true, 2));
}

#[test]
fn the_loser_survives_a_deletion_of_the_winner() {
    let mut world = shared(&["A", "B"]);
    world.write(&b(), &f(), 2);
    world.write(&a(), &f(), 3);
    world.scan(&a());
    world.scan(&b());
    world.delete(&a(), &f());
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().into_values().collect::<Vec<_>>(), [2]);
}
