//! What a named location is. Pure.

use haulier_base::{Error, Result, Timestamp};
use haulier_storage::connector;
use serde_json::Value;

/// Longest name, characters.
const NAME_CHARS_MAX: usize = 63;
/// Longest URL, characters.
const URL_CHARS_MAX: usize = 2048;

/// Where a location was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the node's configuration: everybody may use it, nobody may change it here.
    Configuration,
    /// Through the API: its owner's alone.
    Api,
}

/// A named place with the options that open it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedLocation {
    /// Stands before the colon wherever a URL can: `NAME:path/to/object`.
    pub name: String,
    /// What the path is appended to.
    pub url: String,
    /// The connector's options; secrets are sealed.
    pub options: Value,
    /// Where it was given.
    pub origin: Origin,
    /// When it was created; none from the configuration.
    pub created_at: Option<Timestamp>,
}

/// Checks a new location's name.
///
/// # Errors
/// `Invalid`, saying what is wrong with it.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain);
    if !well_formed || name.len() < 2 || name.len() > NAME_CHARS_MAX {
        return Err(Error::invalid(format!(
            "name: must be 2 to {NAME_CHARS_MAX} lower-case letters, digits or \"-\", a letter first"
        )));
    }
    if connector(name).is_some() {
        return Err(Error::invalid(format!("name: \"{name}\" is the scheme of URLs; take another name")));
    }
    Ok(())
}

/// Checks the length of a new location's URL.
///
/// # Errors
/// `Invalid` when it is empty or too long.
pub(super) fn check_url(url: &str) -> Result<()> {
    match url.chars().count() {
        0 => Err(Error::invalid("url: is missing")),
        count if count > URL_CHARS_MAX => {
            Err(Error::invalid(format!("url: is longer than {URL_CHARS_MAX} characters")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words_that_are_no_schemes() {
        for good in ["archive", "lab-2", "a1"] {
            check_name(good).unwrap();
        }
        for bad in ["", "a", "A1", "1a", "a_b", "a:b", "a/b", "file", "https", &"a".repeat(64)] {
            assert!(check_name(bad).unwrap_err().message().starts_with("name: "), "{bad}");
        }
    }
}
