//! From what a user wrote to a location that can be opened: names are looked up, secrets are opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use haulier_base::{Error, Result};
use haulier_storage::{COPY_OPTIONS, Location, Storages, connector, scheme_of};
use serde_json::Value;

use super::model::NamedLocation;

/// The locations of a node's configuration, by name.
pub type Configured = Arc<BTreeMap<String, NamedLocation>>;

/// A URL or a named location's object, with options; as a client wrote it, or as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `SCHEME:…` or `NAME:path/to/object`.
    pub url: &'a str,
    /// The options given beside it.
    pub options: &'a Value,
}

/// A plain URL with its options, ready for a connector.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) url: String,
    pub(super) options: Value,
}

/// The name that a reference starts with, unless that is a scheme.
pub(super) fn name_of(url: &str) -> Option<(&str, &str)> {
    let scheme = scheme_of(url).filter(|scheme| connector(scheme).is_none())?;
    Some((scheme, &url[scheme.len() + 1..]))
}

/// Refuses options beside a named location that are not about the copy: with another endpoint, say, its secrets could
/// be had by whoever may use it.
pub(super) fn refuse_other_options(name: &str, options: &Value) -> Result<()> {
    let members = options.as_object().into_iter().flat_map(|members| members.keys());
    match members.into_iter().find(|member| !COPY_OPTIONS.contains(&member.as_str())) {
        Some(other) => Err(Error::invalid(format!(
            "the option \"{other}\" cannot be given beside the named location \"{name}\", which has its own options"
        ))),
        None => Ok(()),
    }
}

/// Which end of a move is opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Source,
    Target,
}

/// Opens a location; looking at paths can block on a slow file system, so this runs aside.
pub(super) async fn open(storages: &Storages, end: End, resolved: Resolved) -> Result<Location> {
    aside(storages, move |storages| match end {
        End::Source => storages.open_source(&resolved.url, &resolved.options),
        End::Target => storages.open_target(&resolved.url, &resolved.options),
    })
    .await
}

pub(super) async fn check(storages: &Storages, end: End, resolved: Resolved) -> Result<()> {
    aside(storages, move |storages| match end {
        End::Source => storages.check_source(&resolved.url, &resolved.options),
        End::Target => storages.check_target(&resolved.url, &resolved.options),
    })
    .await
}

pub(super) async fn aside<T: Send + 'static>(
    storages: &Storages,
    work: impl FnOnce(&Storages) -> Result<T> + Send + 'static,
) -> Result<T> {
    let storages = storages.clone();
    let done = tokio::task::spawn_blocking(move || work(&storages)).await;
    done.map_err(|e| Error::internal("looking at a location failed").caused_by(e))?
}
