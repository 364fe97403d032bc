//! Histories that random ones once failed with, cut down to what matters.

use super::world::{World, entry, name};
use crate::model::{EntryName, FileName};

fn entries() -> [EntryName; 3] {
    ["A", "B", "C"].map(entry)
}

fn f() -> FileName {
    name("f")
}

/// Takes work up, does it, and records it.
fn carry(world: &mut World, at: &EntryName) {
    (0..3).for_each(|_| world.carry(at, 0));
}

#[test]
fn what_went_and_came_back_is_no_earlier_version_on_its_way() {
    let [a, _, c] = entries();
    let mut world = World::new(&["A", "B", "C"]);
    world.write(&a, &f(), 1);
    world.scan(&a);
    // Seen to be gone, and then there again, but seen only after C made another one.
    world.rename(&a, &f(), &name("g"));
    world.look(&a, &f(), true);
    world.rename(&a, &name("g"), &f());
    world.write(&c, &f(), 2);
    world.look(&c, &f(), true);
    world.tell(0);
    world.tell(0);
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().len(), 2, "both are kept");
}

#[test]
fn the_loser_of_a_conflict_that_went_and_came_back_is_kept() {
    let [a, _, c] = entries();
    let mut world = World::new(&["A", "B", "C"]);
    world.write(&c, &f(), 1);
    world.scan(&c);
    world.write(&a, &f(), 2);
    world.scan(&a);
    world.rename(&c, &f(), &name("g"));
    world.scan(&c);
    world.rename(&c, &name("g"), &f());
    world.scan(&c);
    world.rest();
    world.check_rest();
    assert_eq!(world.same_everywhere().into_values().collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_restored_loser_that_was_just_replaced_is_current_nowhere() {
    let [a, b, _] = entries();
    let mut world = World::new(&["A", "B", "C"]);
    world.write(&a, &f(), 1);
    world.write(&b, &f(), 2);
    world.scan(&a);
    world.scan(&b);
    world.carry(&a, 0);
    world.carry(&a, 0);
    // A's version is aside, and its place taken, but nobody told, when the winner is deleted.
    world.delete(&b, &f());
    world.scan(&b);
    carry(&mut world, &a);
    world.rest();
    world.check_rest();
    world.same_everywhere();
}
