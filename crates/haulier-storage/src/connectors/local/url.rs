//! `file:` URLs: what they name, and the connector's entry in the list.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use haulier_base::{Error, Result};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{LocalStorage, NULL_DEVICE, normalize};
use crate::connector::{Connector, Environment, Side, join_encoded};
use crate::{Location, ObjectPath};

pub(crate) const CONNECTOR: Connector = Connector {
    scheme: "file",
    readable: true,
    writable: true,
    secret_members: &[],
    offered: |_| true,
    check,
    open,
    identity,
    redact_url: str::to_owned,
    join: join_encoded,
    example: ("file:///dev/null", "{}"),
};

/// Host and decoded path of a `file:` URL.
#[derive(Debug, PartialEq, Eq)]
struct FileUrl {
    host: String,
    path: String,
}

impl FileUrl {
    fn parse(url: &str) -> Result<Self> {
        let rest = url.split_once(':').map_or("", |(_, rest)| rest);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let path = percent_decode_str(path).decode_utf8();
        let path = path.map_err(|_| Error::invalid("has a path that is not UTF-8"))?.into_owned();
        if !path.starts_with('/') {
            return Err(Error::invalid("is not of the form file:///path"));
        }
        if path.contains('\0') {
            return Err(Error::invalid("has a path with a zero byte"));
        }
        Ok(Self { host: host.to_owned(), path })
    }

    fn full_path(&self) -> PathBuf {
        normalize(Path::new(&self.path))
    }

    fn is_here(&self, node: &str) -> bool {
        self.host.is_empty() || self.host.eq_ignore_ascii_case("localhost") || self.host.eq_ignore_ascii_case(node)
    }
}

fn check(environment: &Environment, url: &str, _options: &Value, side: Side) -> Result<()> {
    let parsed = FileUrl::parse(url)?;
    let full = parsed.full_path();
    if !parsed.is_here(&environment.config.node) || (side == Side::Target && full == Path::new(NULL_DEVICE)) {
        return Ok(());
    }
    environment.roots.check(&full)
}

fn open(environment: &Environment, url: &str, _options: &Value, _side: Side) -> Result<Location> {
    let parsed = FileUrl::parse(url)?;
    if !parsed.is_here(&environment.config.node) {
        return Err(Error::invalid(format!("the files of the host \"{}\" are not here", parsed.host)));
    }
    let storage = Arc::new(LocalStorage::new(environment.roots.clone(), "/"));
    Ok(Location { storage, path: ObjectPath::new(parsed.path) })
}

/// Device and inode of what exists, else the resolved path. Devices are never their own source.
fn identity(environment: &Environment, url: &str) -> Option<String> {
    let parsed = FileUrl::parse(url).ok().filter(|parsed| parsed.is_here(&environment.config.node))?;
    let path = environment.roots.resolve(&parsed.full_path()).ok()?;
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => Some(format!("file:{}:{}", found.dev(), found.ino())),
        Ok(_) => None,
        Err(_) => Some(format!("file:{}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_and_cut() {
        let path = |url| FileUrl::parse(url).map(|parsed| parsed.path).map_err(|error| error.to_string());
        assert_eq!(path("file:///a%20b/c d/é?x=1#y").as_deref(), Ok("/a b/c d/é"));
        assert_eq!(path("FILE:/a%3Fb%23c").as_deref(), Ok("/a?b#c"));
        assert_eq!(path("file:///100%").as_deref(), Ok("/100%"));
        assert_eq!(path("file:///a%0Ab").as_deref(), Ok("/a\nb"));
        for bad in ["file:", "file://", "file://host", "file:a/b", "file:///a%00b", "file:///%ff"] {
            assert!(FileUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_host_is_here() {
        let here = |url: &str| FileUrl::parse(url).unwrap().is_here("paris");
        assert!(here("file:///x") && here("file://LOCALHOST/x") && here("file://Paris/x"));
        assert!(!here("file://london/x"));
    }
}
