//! The type of a file, guessed from its name (§1.2, §3.1). Pure; nothing is read.

/// What nothing is known about.
const UNKNOWN: &str = "application/octet-stream";

/// Endings that say how a file is packed, and what that packing is called.
const PACKINGS: &[(&str, &str)] =
    &[("gz", "gzip"), ("z", "compress"), ("bz2", "bzip2"), ("xz", "xz"), ("br", "br"), ("zst", "zstd")];

/// Endings that stand for two.
const SHORT_FORMS: &[(&str, &str)] =
    &[("tgz", "tar.gz"), ("taz", "tar.gz"), ("tbz2", "tar.bz2"), ("txz", "tar.xz"), ("svgz", "svg.gz")];

/// What a name says about the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    /// The type, such as `image/png`; of what is packed, if that can be told.
    pub(crate) kind: &'static str,
    /// How it is packed, such as `gzip`.
    pub(crate) packing: Option<&'static str>,
}

/// Guesses from the ending of a name; capital letters do not matter.
pub(crate) fn guess(name: &str) -> Guess {
    let last = name.rsplit('/').next().unwrap_or_default();
    let mut endings = endings(last);
    let whole = endings.next();
    let packing = whole.and_then(|ending| find(PACKINGS, ending));
    if let (Some(ending), None) = (whole, packing)
        && let Some(long) = find(SHORT_FORMS, ending)
    {
        return guess_of(&format!("x.{long}"));
    }
    let own = whole.and_then(by_ending);
    let kind = match packing {
        None => own,
        Some(_) => endings.next().and_then(by_ending).or(own),
    };
    Guess { kind: kind.unwrap_or(UNKNOWN), packing }
}

/// As [`guess`], for a name that surely is no short form.
fn guess_of(name: &str) -> Guess {
    let mut endings = endings(name);
    let packing = endings.next().and_then(|ending| find(PACKINGS, ending));
    Guess { kind: endings.next().and_then(by_ending).unwrap_or(UNKNOWN), packing }
}

/// The endings of a name, the last one first; what a dot at the very beginning hides is no ending.
fn endings(name: &str) -> impl Iterator<Item = &str> {
    let mut parts = name.trim_start_matches('.').split('.');
    parts.next();
    parts.rev()
}

fn by_ending(ending: &str) -> Option<&'static str> {
    mime_guess::from_ext(ending).first_raw()
}

fn find(table: &[(&'static str, &'static str)], ending: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_from_endings() {
        for (name, kind, packing) in [
            ("a.pdf", "application/pdf", None),
            ("a.PDF", "application/pdf", None),
            ("photos/foo.jpg", "image/jpeg", None),
            ("x.tar.gz", "application/x-tar", Some("gzip")),
            ("x.TGZ", "application/x-tar", Some("gzip")),
            ("x.svgz", "image/svg+xml", Some("gzip")),
            ("x.txt.bz2", "text/plain", Some("bzip2")),
            ("x.gz", "application/gzip", Some("gzip")),
            ("note", UNKNOWN, None),
            ("a.pdf/note", UNKNOWN, None),
            (".pdf", UNKNOWN, None),
            (".hidden.png", "image/png", None),
            ("x.unheard-of", UNKNOWN, None),
            ("dot.", UNKNOWN, None),
            ("", UNKNOWN, None),
        ] {
            assert_eq!(guess(name), Guess { kind, packing }, "{name}");
        }
    }
}
