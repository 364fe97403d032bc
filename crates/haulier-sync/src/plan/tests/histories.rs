//! Random histories of three entries: whatever happens in whatever order, they come to rest, nothing is lost, and
//! another look finds nothing to do.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{LARGE, Rules, World, entry, name};
use crate::model::{EntryName, FileName};
use crate::plan::ConflictPolicy;

const ENTRIES: [&str; 3] = ["A", "B", "C"];
/// Two cases, and two forms of one letter: all of them different files.
const NAMES: [&str; 5] = ["a", "A", "d/\u{e9}", "d/e\u{301}", "b.txt"];

#[derive(Clone, Debug)]
enum Step {
    Write { at: usize, name: usize, large: bool },
    WriteSame { at: usize, name: usize, from: usize },
    Touch { at: usize, name: usize, mode: u32 },
    Delete { at: usize, name: usize },
    Rename { at: usize, from: usize, to: usize },
    Stop { at: usize },
    Start { at: usize },
    Reload { sync: u8, ban: u8 },
    Crash,
    Look { at: usize, name: usize },
    Tell { which: Index },
    Scan { at: usize },
    Carry { at: usize, which: Index },
    Rest,
}

fn step(with_rules: bool) -> impl Strategy<Value = Step> {
    let at = || 0..ENTRIES.len();
    let named = || 0..NAMES.len();
    let which = any::<Index>;
    prop_oneof![
        6 => (at(), named(), prop::bool::weighted(0.2)).prop_map(|(at, name, large)| Step::Write { at, name, large }),
        2 => (at(), named(), at()).prop_map(|(at, name, from)| Step::WriteSame { at, name, from }),
        1 => (at(), named(), 0o600u32..0o700).prop_map(|(at, name, mode)| Step::Touch { at, name, mode }),
        4 => (at(), named()).prop_map(|(at, name)| Step::Delete { at, name }),
        2 => (at(), named(), named()).prop_map(|(at, from, to)| Step::Rename { at, from, to }),
        1 => at().prop_map(|at| Step::Stop { at }),
        1 => at().prop_map(|at| Step::Start { at }),
        2 => (any::<u8>(), any::<u8>()).prop_map(move |(sync, ban)| match with_rules {
            true => Step::Reload { sync, ban },
            false => Step::Rest,
        }),
        1 => Just(Step::Crash),
        12 => (at(), named()).prop_map(|(at, name)| Step::Look { at, name }),
        14 => which().prop_map(|which| Step::Tell { which }),
        1 => at().prop_map(|at| Step::Scan { at }),
        20 => (at(), which()).prop_map(|(at, which)| Step::Carry { at, which }),
        1 => Just(Step::Rest),
    ]
}

fn some_entries(bits: u8) -> BTreeSet<EntryName> {
    let chosen = ENTRIES.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
    chosen.map(|(_, name)| entry(name)).collect()
}

struct History {
    world: World,
    entries: Vec<EntryName>,
    names: Vec<FileName>,
    contents: u32,
}

impl History {
    fn new() -> Self {
        Self {
            world: World::new(&ENTRIES),
            entries: ENTRIES.iter().map(|name| entry(name)).collect(),
            names: NAMES.iter().map(|text| name(text)).collect(),
            contents: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        let Self { world, entries, names, contents } = self;
        let at = |place: &usize| &entries[*place];
        match step {
            Step::Write { at: place, name, large } => {
                *contents += 1;
                let content = *contents + if *large { LARGE } else { 0 };
                world.write(at(place), &names[*name], content);
            }
            Step::WriteSame { at: place, name, from } => {
                if let Some(file) = world.file(at(from), &names[*name]).filter(|_| place != from) {
                    world.write_same(at(place), &names[*name], file.content);
                }
            }
            Step::Touch { at: place, name, mode } => world.touch(at(place), &names[*name], *mode),
            Step::Delete { at: place, name } => world.delete(at(place), &names[*name]),
            Step::Rename { at: place, from, to } => world.rename(at(place), &names[*from], &names[*to]),
            Step::Stop { at: place } => world.stop(at(place)),
            Step::Start { at: place } => world.start(at(place)),
            Step::Reload { sync, ban } => {
                let ban = if *ban < 60 { some_entries(*ban) } else { BTreeSet::new() };
                world.reload(Rules { sync: some_entries(*sync), ban });
            }
            Step::Crash => world.crash(),
            Step::Look { at: place, name } => world.look(at(place), &names[*name], false),
            Step::Tell { which } => world.tell(which.index(1000)),
            Step::Scan { at: place } => world.scan(at(place)),
            Step::Carry { at: place, which } => world.carry(at(place), which.index(1000)),
            Step::Rest => world.rest(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a soak is, is no setting of the product")]
fn config() -> ProptestConfig {
    let histories = std::env::var("HAULIER_SYNC_HISTORIES").ok().and_then(|number| number.parse().ok());
    ProptestConfig { cases: histories.unwrap_or(400), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn histories_of_three_that_share_everything_end_alike(steps in prop::collection::vec(step(false), 1..80)) {
        let mut history = History::new();
        steps.iter().for_each(|step| history.take(step));
        history.world.rest();
        history.world.check_rest();
        history.world.same_everywhere();
    }

    #[test]
    fn histories_under_changing_rules_come_to_rest(steps in prop::collection::vec(step(true), 1..80)) {
        let mut history = History::new();
        steps.iter().for_each(|step| history.take(step));
        history.world.rest();
        history.world.check_rest();
    }

    #[test]
    fn histories_that_drop_losers_end_alike(steps in prop::collection::vec(step(false), 1..60)) {
        let mut history = History::new();
        history.world.policy = ConflictPolicy::Newest;
        steps.iter().for_each(|step| history.take(step));
        history.world.rest();
        history.world.check_rest();
        let names = history.world.same_everywhere();
        prop_assert!(names.keys().all(|name| !name.contains("sync-conflict")));
    }
}
