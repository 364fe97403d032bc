//! The names given to versions that lost a conflict (§4.5 30).

use std::time::Duration;

use haulier_base::Timestamp;

use crate::model::{EntryName, FileName};

/// The longest part of a name that every storage takes, bytes.
const PART_BYTES_MAX: usize = 255;
/// What follows the last dot and is longer than this is no extension.
const EXTENSION_BYTES_MAX: usize = 32;

/// `<stem>.sync-conflict-<YYYYMMDD>-<HHMMSS>-<entry><ext>`, in UTC. A long stem is cut.
pub(crate) fn conflict_name(name: &FileName, entry: &EntryName, at: Timestamp) -> FileName {
    let (folder, last) = match name.as_str().rsplit_once('/') {
        Some((folder, last)) => (Some(folder), last),
        None => (None, name.as_str()),
    };
    let (stem, extension) = match last.rfind('.') {
        Some(dot) if dot > 0 && last.len() - dot <= EXTENSION_BYTES_MAX => last.split_at(dot),
        _ => (last, ""),
    };
    let mark = format!(".sync-conflict-{}-{entry}", stamp(at));
    let room = PART_BYTES_MAX.saturating_sub(mark.len() + extension.len());
    let last = format!("{}{mark}{extension}", cut(stem, room));
    let whole = folder.map_or(last.clone(), |folder| format!("{folder}/{last}"));
    // Only a name near the limit of paths fails, and only because of its folder.
    FileName::new(whole).or_else(|_| FileName::new(last)).unwrap_or_else(|_| name.clone())
}

/// As [`conflict_name`], but none of those that are taken: later seconds serve as further names.
pub(crate) fn free_conflict_name(
    name: &FileName,
    entry: &EntryName,
    at: Timestamp,
    is_taken: impl Fn(&FileName) -> bool,
) -> FileName {
    let mut at = at;
    loop {
        let aside = conflict_name(name, entry, at);
        if !is_taken(&aside) {
            return aside;
        }
        at = at.plus(Duration::from_secs(1));
    }
}

fn stamp(at: Timestamp) -> String {
    let text = at.to_string();
    let digits = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().replace(['-', ':'], "");
    format!("{}-{}", digits(0..10), digits(11..19))
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, entry: &str) -> String {
        let at = Timestamp::from_micros(1_795_262_400_000_000);
        conflict_name(&FileName::new(name).unwrap(), &EntryName::new(entry).unwrap(), at).to_string()
    }

    #[test]
    fn names_of_losers_say_when_and_whose() {
        assert_eq!(named("a/b.txt", "A"), "a/b.sync-conflict-20261121-120000-A.txt");
        assert_eq!(named("README", "B 1"), "README.sync-conflict-20261121-120000-B 1");
        assert_eq!(named(".bashrc", "B"), ".bashrc.sync-conflict-20261121-120000-B");
        assert_eq!(named("x.tar.gz", "B"), "x.tar.sync-conflict-20261121-120000-B.gz");
    }

    #[test]
    fn names_of_losers_fit_where_the_name_fitted() {
        let long = "\u{e9}".repeat(127);
        let entry = "\u{e9}".repeat(64);
        for name in [format!("{long}x"), format!("d/{}.jpg", &long[..240]), format!(".{}", &long[..254])] {
            let aside = named(&name, &entry);
            assert!(aside.rsplit('/').next().unwrap().len() <= 255, "{aside}");
            assert!(aside.contains("sync-conflict-20261121-120000"), "{aside}");
        }
        assert!(named(&format!("{}.jpg", &long[..240]), "A").ends_with("-A.jpg"));
        let deep = format!("{}x", "d/".repeat(2047));
        assert_eq!(named(&deep, "A"), "x.sync-conflict-20261121-120000-A");
    }

    #[test]
    fn a_taken_name_is_not_given_again() {
        let (name, entry) = (FileName::new("f").unwrap(), EntryName::new("A").unwrap());
        let at = Timestamp::from_micros(1_795_262_400_000_000);
        let first = conflict_name(&name, &entry, at);
        let second = free_conflict_name(&name, &entry, at, |taken| *taken == first);
        assert_eq!(second.as_str(), "f.sync-conflict-20261121-120001-A");
    }
}
