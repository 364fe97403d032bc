//! Where entries lie, so that no two of them are in one another (§6). Looks at local links; knows no SQL.

use std::path::{Component, Path, PathBuf};

use haulier_base::{Error, Result};
use serde_json::Value;

/// A root, and what it is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Who it is, for people: `entry A`.
    whose: String,
    /// Two places can only meet in the same store.
    store: String,
    path: PathBuf,
}

impl Place {
    /// A folder of this machine. Links on the way are followed; what does not exist yet is taken as it is written.
    pub(crate) fn local(whose: impl Into<String>, folder: &Path) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Self { whose: whose.into(), store: "local".to_owned(), path: resolved(&folder) }
    }

    /// The root of an entry; none when the options do not tell.
    pub(crate) fn of(whose: impl Into<String>, driver: &str, options: &Value) -> Option<Self> {
        let text = |name: &str| options.get(name).and_then(Value::as_str).unwrap_or_default();
        let below = |root: &str| PathBuf::from(root.trim_matches('/'));
        let (store, path) = match driver {
            "local_storage" if !text("root").is_empty() => return Some(Self::local(whose, Path::new(text("root")))),
            "amazon_s3" => (format!("s3 {} {}", text("endpoint"), text("bucket")), below(text("root"))),
            // A root that does not begin with a slash lies in the home of the user.
            "sftp" if text("root").starts_with('/') => {
                (format!("sftp {}:{}", text("hostname"), port(options)), below(text("root")))
            }
            "sftp" => {
                let store = format!("sftp {}@{}:{}", text("username"), text("hostname"), port(options));
                (store, below(text("root")))
            }
            "webdav" => (format!("webdav {}", text("hostname").trim_end_matches('/')), below(text("root"))),
            _ => return None,
        };
        Some(Self { whose: whose.into(), store: store.to_lowercase(), path })
    }

    /// Refuses places of which one is the other or lies in it.
    ///
    /// # Errors
    /// `Invalid`, naming both.
    pub(crate) fn refuse_nested<'a>(places: impl IntoIterator<Item = &'a Self>) -> Result<()> {
        let mut seen: Vec<&Self> = Vec::new();
        for place in places {
            if let Some(other) = seen.iter().find(|other| place.meets(other)) {
                let (one, two) = (&place.whose, &other.whose);
                let how = match () {
                    () if place.path == other.path => format!("{one} and {two} have the same root"),
                    () if place.path.starts_with(&other.path) => format!("the root of {one} lies in that of {two}"),
                    () => format!("the root of {two} lies in that of {one}"),
                };
                return Err(Error::invalid(format!("{how}, {}: give each a folder of its own", place.path.display())));
            }
            seen.push(place);
        }
        Ok(())
    }

    fn meets(&self, other: &Self) -> bool {
        self.store == other.store && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

fn port(options: &Value) -> u64 {
    options.get("port").and_then(Value::as_u64).unwrap_or(22)
}

/// A path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let mut existing = path;
    let mut rest = Vec::new();
    loop {
        if let Ok(real) = std::fs::canonicalize(existing) {
            return rest.into_iter().rev().fold(real, |folder: PathBuf, part| folder.join(part));
        }
        match (existing.parent(), existing.components().next_back()) {
            (Some(parent), Some(Component::Normal(name))) => {
                rest.push(name);
                existing = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clash(one: &Path, two: &Path) -> Option<String> {
        let places = [Place::local("entry A", one), Place::local("entry B", two)];
        Place::refuse_nested(&places).err().map(|error| error.message().to_owned())
    }

    #[test]
    fn equal_and_nested_folders_meet_also_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        let (a, b) = (root.join("a"), root.join("b"));
        std::fs::create_dir_all(a.join("in")).unwrap();
        std::fs::create_dir(&b).unwrap();
        std::os::unix::fs::symlink(&a, root.join("link")).unwrap();
        assert_eq!(clash(&a, &b), None);
        assert_eq!(clash(&a, &root.join("ab")), None, "a prefix of the name is no folder above");
        let shown = a.display();
        let own = "give each a folder of its own";
        assert_eq!(clash(&a, &a), Some(format!("entry B and entry A have the same root, {shown}: {own}")));
        assert!(clash(&a, &a.join("in")).unwrap().starts_with("the root of entry B lies in that of entry A"));
        assert!(!clash(&a.join("in"), &a).unwrap().starts_with("the root of entry B lies in that of entry A"));
        assert!(clash(&a, &root.join("link")).is_some());
        assert!(clash(&a, &root.join("link/in")).is_some());
        assert!(clash(&a, &root.join("link/not-yet/there")).is_some());
        assert!(clash(&a, &root.join("b/../a")).is_some());
    }

    #[test]
    fn remote_roots_meet_in_one_store_only() {
        let s3 = |bucket: &str, root: &str| {
            Place::of(root, "amazon_s3", &json!({ "bucket": bucket, "root": root })).unwrap()
        };
        assert!(Place::refuse_nested(&[s3("b", "x"), s3("c", "x"), s3("b", "xy")]).is_ok());
        assert!(Place::refuse_nested(&[s3("b", "x"), s3("b", "/x/y/")]).is_err());
        assert!(Place::refuse_nested(&[s3("b", ""), s3("b", "y")]).is_err());
        let sftp = |user: &str, root: &str| {
            Place::of(user, "sftp", &json!({ "hostname": "h", "username": user, "root": root })).unwrap()
        };
        assert!(Place::refuse_nested(&[sftp("a", "x"), sftp("b", "x")]).is_ok(), "each in a home of its own");
        assert!(Place::refuse_nested(&[sftp("a", "/x"), sftp("b", "/x")]).is_err());
        assert_eq!(Place::of("A", "floppy", &json!({})), None);
    }
}
