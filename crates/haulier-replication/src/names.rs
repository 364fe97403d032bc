//! What may be the name of a client, a bucket, an object, a site. Pure.
//!
//! Names are kept exactly as they were given (contract §2).

use std::fmt;

use haulier_base::{Error, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Longest object name, in bytes of UTF-8 (§2.2).
pub(crate) const OBJECT_NAME_BYTES_MAX: usize = 1024;
/// Longest id of a site, in characters.
const SITE_ID_MAX: usize = 64;

/// What an object's name needs in a path; slashes stay.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'+')
    .add(b';');

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, |$text:ident| $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes a valid name.
            ///
            /// # Errors
            /// `Invalid`, with the rule.
            pub fn new(text: impl Into<String>) -> Result<Self> {
                let $text: String = text.into();
                $check?;
                Ok(Self($text))
            }

            /// Takes a name that was checked when it was stored.
            pub(crate) fn stored(text: String) -> Self { Self(text) }

            /// The name.
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    };
}

name!(
    /// Who owns buckets: 3 to 63 of `a-z`, `0-9` and `-` (§1.1).
    ClientId,
    |text| is_label(&text, "x-clonecloudstore-client-id")
);
name!(
    /// A bucket: 3 to 63 of `a-z`, `0-9` and `-` (§2.1).
    BucketName,
    |text| is_label(&text, "the bucket's name")
);
name!(
    /// An object: 1 to 1024 bytes of UTF-8 without control characters, empty segments, `.` and `..` (§2.2).
    ObjectName,
    |text| is_object(&text)
);
name!(
    /// A site: 1 to 64 of letters, digits, `-`, `_` and `.`.
    SiteId,
    |text| is_site(&text)
);

impl BucketName {
    /// A bucket's name from a segment of a path, still percent-encoded (§2.1).
    ///
    /// # Errors
    /// `Invalid`, with the rule.
    pub fn from_path(segment: &str) -> Result<Self> {
        Self::new(decode(segment)?)
    }
}

impl ObjectName {
    /// An object's name from the rest of a path, still percent-encoded (§2.2, rules 1 to 3).
    ///
    /// # Errors
    /// `Invalid`, with the rule.
    pub fn from_path(rest: &str) -> Result<Self> {
        Self::new(decode_path(rest)?)
    }

    /// An object's name as JSON has it, where nothing is percent-encoded; one leading slash is dropped (§2.2).
    ///
    /// # Errors
    /// `Invalid`, with the rule.
    pub fn received(text: String) -> Result<Self> {
        Self::new(text.strip_prefix('/').map(str::to_owned).unwrap_or(text))
    }

    /// The name as a part of a path.
    pub fn to_path(&self) -> String {
        utf8_percent_encode(&self.0, PATH).to_string()
    }
}

/// A name or the beginning of one from the rest of a path: what `HEAD` may ask for (§2.3).
///
/// # Errors
/// `Invalid`, with the rule.
pub(crate) fn prefix_from_path(rest: &str) -> Result<String> {
    let text = decode_path(rest)?;
    is_object(text.strip_suffix('/').unwrap_or(&text))?;
    Ok(text)
}

/// Decodes once and drops one leading slash (§2.2, rules 1 and 2).
fn decode_path(rest: &str) -> Result<String> {
    let decoded = decode(rest)?;
    Ok(decoded.strip_prefix('/').map(str::to_owned).unwrap_or(decoded))
}

/// Decodes what is percent-encoded, once.
///
/// # Errors
/// `Invalid` for a stray `%` and for what is not UTF-8.
pub(crate) fn decode(rest: &str) -> Result<String> {
    let stray =
        |at: usize| !rest.as_bytes().get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if rest.match_indices('%').any(|(at, _)| stray(at)) {
        return Err(Error::invalid(
            "the path has a % that two hexadecimal digits do not follow; write %25 for a % sign",
        ));
    }
    let decoded = percent_decode_str(rest).decode_utf8();
    let decoded = decoded.map_err(|_| Error::invalid("the path is not UTF-8 once it is percent-decoded"))?;
    Ok(decoded.into_owned())
}

fn is_label(text: &str, what: &str) -> Result<()> {
    let fits = (3..=63).contains(&text.len());
    if fits && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} must be 3 to 63 characters of a-z, 0-9 and -")))
}

fn is_object(text: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid(format!("the object's name {why}")));
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.len() > OBJECT_NAME_BYTES_MAX {
        return refuse(&format!("has {} bytes, {OBJECT_NAME_BYTES_MAX} is the most", text.len()));
    }
    if text.chars().any(char::is_control) {
        return refuse("has a control character");
    }
    if text.ends_with('/') {
        return refuse("ends in a slash; there are no folders to make");
    }
    match text.split('/').find(|segment| matches!(*segment, "" | "." | "..")) {
        Some("") => refuse("has two slashes in a row, or one at its beginning"),
        Some(segment) => refuse(&format!("has a segment {segment:?}")),
        None => Ok(()),
    }
}

fn is_site(text: &str) -> Result<()> {
    let fits = (1..=SITE_ID_MAX).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Ok(());
    }
    Err(Error::invalid(format!("the id of a site must be 1 to {SITE_ID_MAX} letters, digits, -, _ and .")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e7_bucket_names() {
        for good in ["abc", "a-b", "0-9", &"a".repeat(63)] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        for bad in ["ab", &"a".repeat(64), "Upper", "a_b", "a.b", "a b", "", "été"] {
            assert!(BucketName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn e8_to_e12_names_are_kept() {
        for (path, name) in [
            ("dir%20one/file%20two.txt", "dir one/file two.txt"),
            ("%C3%A9t%C3%A9/%c3%a7a.txt", "été/ça.txt"),
            ("a@b", "a@b"),
            ("a+b", "a+b"),
            ("a;b", "a;b"),
            ("a%2Fb%2Fc", "a/b/c"),
            ("/x/y", "x/y"),
            ("%5Cx%5Cy", "\\x\\y"),
            ("%252F", "%2F"),
        ] {
            let read = ObjectName::from_path(path).unwrap();
            assert_eq!(read.as_str(), name);
            assert_eq!(ObjectName::from_path(&read.to_path()).unwrap(), read);
        }
    }

    #[test]
    fn e12_to_e15_names_that_are_refused() {
        let long = "é".repeat(512);
        assert!(ObjectName::new(long.clone()).is_ok());
        let longer = format!("{long}a");
        for bad in [
            "",
            "/",
            "x//y",
            "//x",
            "..%2F..%2Fetc",
            "a/%2e%2e/b",
            "a/./b",
            "dir/",
            "a%",
            "a%zz",
            "a%2",
            "%ff",
            "a%0a",
            &longer,
        ] {
            assert!(ObjectName::from_path(bad).is_err(), "{bad}");
        }
        assert_eq!(prefix_from_path("dir/").unwrap(), "dir/");
        assert!(prefix_from_path("dir//").is_err());
    }
}
