//! The type of a file (§1.2, §3.1): told by its name where that says something, else by how its bytes begin. Pure.
//!
//! The name goes first because it is known before anything is read, and means what its owner meant.

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

/// How many bytes from the beginning of a file tell its type.
pub(crate) const TELLING_BYTES: usize = 8 << 10;

/// Whether a name says nothing of what the bytes are, so that they have to be asked.
pub(crate) fn tells_nothing(name: &str) -> bool {
    guess(name) == Guess { kind: UNKNOWN, packing: None }
}

/// The type that the beginning of a file tells; none when it tells nothing either.
pub(crate) fn sniff(beginning: &[u8]) -> Option<&'static str> {
    infer::get(beginning).map(|found| found.mime_type())
}

/// The type by the name, or the one that the bytes tell where the name says nothing.
pub(crate) fn kind_of<'a>(name: &str, told: Option<&'a str>) -> &'a str {
    match told.filter(|_| tells_nothing(name)) {
        Some(told) => told,
        None => guess(name).kind,
    }
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
    fn bytes_tell_where_the_name_says_nothing() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert_eq!(sniff(png), Some("image/png"));
        assert_eq!(sniff(b"%PDF-1.7"), Some("application/pdf"));
        assert_eq!(sniff(b"just some words"), None);
        assert_eq!(sniff(b""), None);
        assert_eq!(kind_of("scan", sniff(png)), "image/png");
        assert_eq!(kind_of("scan.bin", sniff(png)), "image/png", "an ending that says nothing");
        assert_eq!(kind_of("scan.txt", sniff(png)), "text/plain", "the name goes first");
        assert_eq!(kind_of("scan.gz", sniff(png)), "application/gzip");
        assert_eq!(kind_of("scan", None), UNKNOWN);
    }

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
