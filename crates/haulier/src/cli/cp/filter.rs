//! Which names below a source are copied: globs on the command line, the last one that matches decides.
//!
//! Knows nothing about copying.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use globset::{GlobBuilder, GlobMatcher};

const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";

/// The patterns of `--include` and `--exclude`, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    includes: bool,
    pattern: Pattern,
}

/// One glob, and what lies below that which it matches.
#[derive(Clone, Debug)]
struct Pattern {
    /// None when it is for folders only.
    itself: Option<GlobMatcher>,
    below: GlobMatcher,
}

impl Filter {
    /// Whether a name, relative to the source and with `/` between its parts, is copied.
    pub(super) fn takes(&self, name: impl AsRef<Path>) -> bool {
        let name = name.as_ref();
        match self.0.iter().rev().find(|rule| rule.pattern.matches(name)) {
            Some(rule) => rule.includes,
            None => self.0.first().is_none_or(|first| !first.includes),
        }
    }

    /// Whether nothing in a folder is copied, so that nobody has to look into it.
    pub(super) fn prunes(&self, folder: impl AsRef<Path>) -> bool {
        // What matches one name in it by what lies above that name matches all of them.
        let inside = folder.as_ref().join("x");
        let out = self.0.iter().rposition(|rule| !rule.includes && rule.pattern.below.is_match(&inside));
        // Only a later pattern could bring something back.
        out.is_some_and(|at| !self.0[at..].iter().any(|rule| rule.includes))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('/').unwrap_or(text);
        let folder = inner.strip_suffix("/**").or_else(|| inner.strip_suffix('/'));
        let name = folder.unwrap_or(inner);
        if name.is_empty() {
            return Err("an empty pattern matches nothing; \"*\" matches everything".to_owned());
        }
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("patterns are relative to the source: no part of one is empty, \".\" or \"..\"".to_owned());
        }
        let name = if name.contains('/') || text.starts_with('/') { name.to_owned() } else { format!("**/{name}") };
        let compile = |glob: &str| {
            let built = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build();
            built.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
        };
        let itself = if folder.is_some() { None } else { Some(compile(&name)?) };
        Ok(Self { itself, below: compile(&format!("{name}/**"))? })
    }

    fn matches(&self, name: &Path) -> bool {
        self.itself.as_ref().is_some_and(|itself| itself.is_match(name)) || self.below.is_match(name)
    }
}

impl clap::FromArgMatches for Filter {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rules = Vec::new();
        for (name, includes) in [(INCLUDE, true), (EXCLUDE, false)] {
            let places = matches.indices_of(name).into_iter().flatten();
            let patterns = matches.get_many::<Pattern>(name).into_iter().flatten();
            rules.extend(places.zip(patterns.map(|pattern| Rule { includes, pattern: pattern.clone() })));
        }
        rules.sort_by_key(|(place, _)| *place);
        Ok(Self(rules.into_iter().map(|(_, rule)| rule).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Filter {
    fn augment_args(command: Command) -> Command {
        let argument = |name: &'static str| {
            let argument = Arg::new(name).long(name).value_name("GLOB").action(ArgAction::Append);
            argument.value_parser(Pattern::parse).requires("recursive")
        };
        command
            .arg(argument(INCLUDE).help(
                "With -r, copy names that match. A pattern with a slash is for the whole path below the source, one \
                 without for a name at any depth, and one that matches a folder for all that is in it. The last \
                 pattern that matches decides; what none matches is copied unless the first is an --include",
            ))
            .arg(argument(EXCLUDE).help("With -r, leave out names that match; see --include"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn filter(arguments: &str) -> Filter {
        let command = Command::new("cp").arg(Arg::new("recursive").short('r').action(ArgAction::SetTrue));
        let words = ["cp", "-r"].into_iter().chain(arguments.split_whitespace());
        Filter::from_arg_matches(&Filter::augment_args(command).try_get_matches_from(words).unwrap()).unwrap()
    }

    /// Those of the names that are copied.
    fn taken(arguments: &str, names: &str) -> String {
        let filter = filter(arguments);
        names.split_whitespace().filter(|name| filter.takes(name)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let names = "a.jpg b.txt d/c.jpg d/e.txt";
        for (arguments, wanted) in [
            ("", names),
            ("--exclude *.txt", "a.jpg d/c.jpg"),
            ("--include *.jpg", "a.jpg d/c.jpg"),
            ("--include *.jpg --include b.txt", "a.jpg b.txt d/c.jpg"),
            ("--exclude * --include *.jpg", "a.jpg d/c.jpg"),
            ("--include *.jpg --exclude d/c.jpg", "a.jpg"),
            ("--exclude d --include *.jpg", "a.jpg b.txt d/c.jpg"),
            ("--include *.jpg --exclude *", ""),
        ] {
            assert_eq!(taken(arguments, names), wanted, "{arguments}");
        }
    }

    #[test]
    fn a_slash_ties_a_pattern_to_the_source_and_a_folder_takes_all_it_holds() {
        let names = "x d/x d/e/x n/d/x d.x";
        for (arguments, wanted) in [
            ("--include x", "x d/x d/e/x n/d/x"),
            ("--include /x", "x"),
            ("--include d/x", "d/x"),
            ("--include **/d/x", "d/x n/d/x"),
            ("--include d", "d/x d/e/x n/d/x"),
            ("--include /d", "d/x d/e/x"),
            ("--include d/*", "d/x d/e/x"),
            ("--include x/", ""),
            ("--include d/", "d/x d/e/x n/d/x"),
            ("--include d/**", "d/x d/e/x n/d/x"),
            ("--include {n,d/e}/**", "d/e/x n/d/x"),
            ("--include /?", names.trim_end_matches(" d.x")),
            ("--include [!x]*", "d/x d/e/x n/d/x d.x"),
        ] {
            assert_eq!(taken(arguments, names), wanted, "{arguments}");
        }
        assert_eq!(taken("--include *.x", "d//a.x /b.x c.x/ d/.x"), "d//a.x /b.x c.x/ d/.x", "odd keys too");
        assert_eq!(taken(r"--include \*.x", "a.x *.x"), "*.x");
        assert_eq!(taken("--include *é*", "café.txt e"), "café.txt");
    }

    #[test]
    fn folders_are_left_out_unseen_only_when_nothing_comes_back() {
        assert!(filter("--exclude build").prunes("a/build") && filter("--exclude build/").prunes("build"));
        assert!(filter("--include *.c --exclude build").prunes("build/x"));
        assert!(!filter("--exclude build --include *.c").prunes("build"));
        assert!(!filter("--exclude build/*.o").prunes("build") && !filter("").prunes("build"));
        assert!(!filter("--exclude build/x").prunes("build"), "it is one name and not all");
    }

    #[test]
    fn patterns_that_cannot_match_are_refused() {
        for bad in ["", "/", "a//b", "./a", "a/..", "[a", "{a"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
