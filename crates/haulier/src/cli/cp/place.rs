//! What the two ends of a copy are: paths, URLs, or names from the configuration with a path behind.
//!
//! Knows nothing about copying.

use std::collections::BTreeMap;
use std::path::Path;

use haulier_access::locations::NamedLocation;
use haulier_base::{Error, Result};
use haulier_storage::{Storages, connector, scheme_of};
use serde_json::Value;

use super::to_url;

/// A URL and the options that open it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) url: String,
    pub(super) options: Value,
}

impl Place {
    /// Whether it is a file or a folder of this machine.
    pub(super) fn is_local(&self) -> bool {
        scheme_of(&self.url).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file"))
    }
}

/// Name and path of `NAME:path`; none for a URL, and none for a path that exists.
pub(super) fn name_and_path(text: &str) -> Option<(&str, &str)> {
    let name = scheme_of(text).filter(|scheme| connector(scheme).is_none())?;
    let path = &text[name.len() + 1..];
    (!path.starts_with("//") && Path::new(text).symlink_metadata().is_err()).then_some((name, path))
}

/// What a text stands for when this process copies.
///
/// # Errors
/// `Invalid` for options beside a named location, which has its own, and for a path that leads out of it.
pub(super) fn find(
    text: &str,
    options: &Value,
    names: &BTreeMap<String, NamedLocation>,
    storages: &Storages,
) -> Result<Place> {
    let named = name_and_path(text).and_then(|(name, path)| Some((names.get(name)?, path)));
    match named {
        Some((location, _)) if options.as_object().is_none_or(|members| !members.is_empty()) => Err(Error::invalid(
            format!("options cannot be given beside the named location \"{}\", which has its own", location.name),
        )),
        Some((location, path)) => {
            Ok(Place { url: storages.join(&location.url, path)?, options: location.options.clone() })
        }
        None => Ok(Place { url: to_url(text)?, options: options.clone() }),
    }
}

/// What a text stands for on a server, which knows names of its own.
pub(super) fn find_on_server(text: &str) -> Result<String> {
    if name_and_path(text).is_some() { Ok(text.to_owned()) } else { to_url(text) }
}

#[cfg(test)]
mod tests {
    use haulier_access::locations::Origin;
    use haulier_storage::StorageConfig;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_neither_urls_nor_paths_that_exist() {
        assert_eq!(name_and_path("archive:a/b"), Some(("archive", "a/b")));
        for other in ["s3://b/k", "file:/x", "odd://x", "/a:b", "a/b", "archive"] {
            assert_eq!(name_and_path(other), None, "{other}");
        }
        assert_eq!(find_on_server("archive:a b").unwrap(), "archive:a b");
        assert_eq!(find_on_server("/a b").unwrap(), "file:///a%20b");
    }

    #[test]
    fn a_name_stands_for_its_url_and_options() {
        let storages = Storages::new(StorageConfig::default()).unwrap();
        let location = NamedLocation {
            name: "archive".to_owned(),
            url: "s3://bucket/deep".to_owned(),
            options: json!({"region": "here"}),
            origin: Origin::Configuration,
            created_at: None,
        };
        let names = BTreeMap::from([("archive".to_owned(), location)]);
        let found = find("archive:a b", &json!({}), &names, &storages).unwrap();
        assert_eq!((found.url.as_str(), &found.options["region"]), ("s3://bucket/deep/a b", &json!("here")));
        assert!(find("archive:x", &json!({"region": "there"}), &names, &storages).is_err());
        let other = find("other:x", &json!({}), &names, &storages).unwrap();
        assert!(other.is_local() && other.url.ends_with("/other:x"), "{}", other.url);
    }
}
