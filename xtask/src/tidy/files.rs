//! What is asked of each file: its name, its length, its opening line, and no leftovers.

use std::path::Path;

use super::Findings;

/// Lines of a file, its tests aside, at which one looks again.
const LOOK_AGAIN: usize = 500;
/// Lines of a file, its tests aside, that are too many.
const TOO_LONG: usize = 900;

/// Names that say nothing. The thing has a name; look for it.
const BANNED_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "manager", "core"];

/// What someone meant to come back to. Spelled in halves, so that this file does not contain them.
const LEFTOVERS: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[ig", "nore"),
];

/// Checks the names on the way to a file.
pub(super) fn check_name(path: &Path, findings: &mut Findings) {
    let folders = path.parent().into_iter().flat_map(Path::iter);
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let module = path.file_stem().filter(|_| is_rust);
    for name in folders.chain(module).filter_map(|name| name.to_str()) {
        if BANNED_NAMES.contains(&name) {
            findings.fault(format!("{}: nothing is named {name} here", path.display()));
        }
    }
    if path.to_string_lossy().ends_with(".snap.new") {
        findings.fault(format!("{}: a snapshot nobody has accepted", path.display()));
    }
}

/// Checks the text of a Rust file.
pub(super) fn check_text(path: &Path, text: &str, findings: &mut Findings) {
    let path_shown = path.display();
    if !text.starts_with("//!") {
        findings.fault(format!("{path_shown}: does not open with //!"));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(leftover) = LEFTOVERS.iter().find(|leftover| has_word(line, leftover)) {
            findings.fault(format!("{path_shown}:{}: {leftover} is left over", index + 1));
        }
        let todo = concat!("TO", "DO");
        if has_word(line, todo) && !line.contains(&format!("{todo}(#")) {
            findings.fault(format!("{path_shown}:{}: a {todo} names an issue", index + 1));
        }
    }
    if is_test(path) {
        return;
    }
    match length_without_tests(text) {
        lines if lines > TOO_LONG => findings.fault(format!("{path_shown}: {lines} lines")),
        lines if lines > LOOK_AGAIN => findings.warn(format!("{path_shown}: {lines} lines")),
        _ => {}
    }
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|name| name == "tests" || name == "tests.rs")
}

/// Lines up to the test module, which stands last.
fn length_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ")).unwrap_or(lines.len())
}

/// Whether a line holds a word that is not part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let joins = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let ends_open = word.ends_with(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let longer = joins(before) || (ends_open && joins(after));
        !longer
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Findings {
        let mut findings = Findings::default();
        check_name(Path::new(path), &mut findings);
        check_text(Path::new(path), text, &mut findings);
        findings
    }

    #[test]
    fn a_plain_file_is_fine() {
        let text = "//! A plain file.\n\nfn plain() {}\n";
        assert_eq!(findings("crates/haulier-base/src/id.rs", text), Findings::default());
    }

    #[test]
    fn a_file_says_what_lives_in_it() {
        assert_eq!(findings("src/id.rs", "fn id() {}\n").faults, ["src/id.rs: does not open with //!"]);
    }

    #[test]
    fn length_counts_no_tests() {
        let body = "fn line() {}\n".repeat(510);
        let long = format!("//! Long.\n{body}");
        assert_eq!(findings("src/long.rs", &long).warnings, ["src/long.rs: 511 lines"]);
        let tested = format!("//! Tested.\n#[cfg(test)]\nmod tests {{\n{body}{body}}}\n");
        assert_eq!(findings("src/tested.rs", &tested), Findings::default());
        assert_eq!(findings("tests/it/story.rs", &long), Findings::default());
        let endless = format!("//! Endless.\n{body}{body}");
        assert_eq!(findings("src/endless.rs", &endless).faults, ["src/endless.rs: 1021 lines"]);
    }

    #[test]
    fn leftovers_are_found_with_their_line() {
        for leftover in LEFTOVERS {
            let text = format!("//! Left.\n// {leftover}\n");
            assert_eq!(findings("src/left.rs", &text).faults, [format!("src/left.rs:2: {leftover} is left over")]);
        }
    }

    #[test]
    fn a_pattern_for_temporary_names_is_no_leftover() {
        let text = concat!("//! Names.\nconst PATTERN: &str = \".haulier-XX", "XXXX\";\n");
        assert_eq!(findings("src/names.rs", text), Findings::default());
    }

    #[test]
    fn what_is_to_be_done_names_an_issue() {
        let todo = concat!("TO", "DO");
        assert_eq!(findings("src/a.rs", &format!("//! A.\n// {todo}: later\n")).faults.len(), 1);
        assert_eq!(findings("src/a.rs", &format!("//! A.\n// {todo}(#12): later\n")).faults, [""; 0]);
    }

    #[test]
    fn empty_names_are_refused_for_folders_and_modules() {
        assert_eq!(findings("src/utils.rs", "//! U.\n").faults, ["src/utils.rs: nothing is named utils here"]);
        assert_eq!(findings("tests/common/mod.rs", "//! C.\n").faults.len(), 1);
        assert_eq!(findings("docs/misc.rs.md", "//! A page, not a module.\n").faults, [""; 0]);
    }

    #[test]
    fn snapshots_are_accepted_before_they_are_committed() {
        let mut findings = Findings::default();
        check_name(Path::new("src/snapshots/help.snap.new"), &mut findings);
        assert_eq!(findings.faults.len(), 1);
    }
}
