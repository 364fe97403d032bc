//! Walking a folder, one request for each folder in it.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use haulier_base::{Error, Result};
use url::Url;

use super::missing_is_none;
use super::multistatus::{Entries, Entry};
use super::server::Server;
use super::settings::decoded;
use crate::connectors::temp_name::is_temp_name;
use crate::{ListedObject, ObjectKind, ObjectPath};

/// Folders that were seen and not yet looked into; the memory of a listing.
const FOLDERS_WAITING_MAX: usize = 100_000;

pub(super) async fn list(server: Arc<Server>, prefix: ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
    let Some(meta) = missing_is_none(server.stat(prefix.as_str()).await)? else { return Ok(stream::empty().boxed()) };
    if meta.kind != ObjectKind::Directory {
        return Ok(stream::iter([Ok(ListedObject { path: prefix, meta })]).boxed());
    }
    let walk = Walk { server, folders: vec![prefix], open: None };
    Ok(stream::unfold(Some(walk), |state| async move {
        let mut walk = state?;
        match walk.next().await {
            Ok(Some(object)) => Some((Ok(object), Some(walk))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

struct Walk {
    server: Arc<Server>,
    folders: Vec<ObjectPath>,
    open: Option<(ObjectPath, Entries)>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<ListedObject>> {
        loop {
            let Some((folder, entries)) = &mut self.open else {
                let Some(folder) = self.folders.pop() else { return Ok(None) };
                // With its slash, so that no server has to redirect.
                let key = format!("{}/", folder.as_str().trim_end_matches('/'));
                self.open = missing_is_none(self.server.look(&key, true).await)?.map(|entries| (folder, entries));
                continue;
            };
            let Some(entry) = entries.next().await? else {
                self.open = None;
                continue;
            };
            let Some(path) = path_of(folder, &entry)? else { continue };
            let meta = entry.meta();
            if meta.kind != ObjectKind::Directory {
                return Ok(Some(ListedObject { path, meta }));
            }
            if self.folders.len() == FOLDERS_WAITING_MAX {
                return Err(Error::too_large(format!("more than {FOLDERS_WAITING_MAX} folders are to be listed")));
            }
            self.folders.push(path);
        }
    }
}

/// The key of an entry, unless it is the folder itself or left out.
fn path_of(folder: &ObjectPath, entry: &Entry) -> Result<Option<ObjectPath>> {
    let path = match entry.href.starts_with('/') {
        true => entry.href.clone(),
        false => Url::parse(&entry.href).map(|url| url.path().to_owned()).unwrap_or_default(),
    };
    let Ok(path) = decoded(&path) else {
        tracing::warn!(%folder, href = entry.href, "a file whose name is not UTF-8 is not listed");
        return Ok(None);
    };
    let own = folder.as_str().trim_matches('/');
    let rest = path.trim_matches('/').strip_prefix(own);
    match rest.map(|rest| rest.strip_prefix('/').unwrap_or(if own.is_empty() { rest } else { "" })) {
        Some("") if path.trim_matches('/') == own => Ok(None),
        Some(name) if !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".." => {
            Ok(Some(folder.join(name)).filter(|_| !is_temp_name(name)))
        }
        _ => Err(Error::invalid("the server lists things that are not in the folder: is the address the right one?")
            .context("folder", folder)
            .context("href", &entry.href)),
    }
}
