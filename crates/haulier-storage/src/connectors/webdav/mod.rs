//! Files on WebDAV servers, `webdav://host/path` over HTTP and `webdavs://host/path` over HTTPS.

mod list;
mod multistatus;
mod server;
mod settings;
mod upload;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use haulier_base::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::connector::{Connector, Environment, Side};
use crate::connectors::http::WebObject;
use crate::connectors::options::join_strictly;
use crate::connectors::temp_name::{is_temp_name, temp_name};
use crate::{
    Capabilities, Guard, ListedObject, Location, ObjectKind, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter,
    Placement, ReadRequest, Storage, WriteRequest,
};
use server::Server;

pub(crate) const WEBDAV: Connector = Connector {
    scheme: "webdav",
    readable: true,
    writable: true,
    secret_members: settings::SECRET_MEMBERS,
    offered: |_| true,
    check: |_, url, options, _| settings::parse(url, options).map(|_| ()),
    open,
    identity: |_, url| settings::identity(url),
    redact_url: settings::redact_url,
    join: join_strictly,
    example: ("webdav://files.example/path", "{}"),
};

pub(crate) const WEBDAVS: Connector = Connector { scheme: "webdavs", ..WEBDAV };

fn open(environment: &Environment, url: &str, options: &Value, _side: Side) -> Result<Location> {
    let settings = settings::parse(url, options)?;
    let path = ObjectPath::new(settings.path.clone());
    let server = Arc::new(Server::new(environment, settings)?);
    Ok(Location { storage: Arc::new(DavStorage { server }), path })
}

/// Everything on one server that one login reaches.
#[derive(Clone, Debug)]
struct DavStorage {
    server: Arc<Server>,
}

fn object(path: &ObjectPath) -> Result<&str> {
    let key = path.as_str();
    if key.is_empty() || key.ends_with('/') { Err(is_a_directory()) } else { Ok(key) }
}

fn is_a_directory() -> Error {
    Error::invalid("the path is a directory")
}

/// Folder, with its slash, and name of an object.
fn split(key: &str) -> (&str, &str) {
    key.split_at(key.rfind('/').map_or(0, |slash| slash + 1))
}

fn temp_key(key: &str, label: &str) -> String {
    let (folder, name) = split(key);
    format!("{folder}{}", temp_name(label, name))
}

fn missing_is_none<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Storage for DavStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            write: true,
            list: true,
            delete: true,
            ranged_read: true,
            rename: true,
            ..Capabilities::default()
        }
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        self.server.stat(path.as_str()).await
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        let key = object(path)?;
        // A server may well answer a GET of a folder, with a page about it.
        if self.server.stat(key).await?.kind == ObjectKind::Directory {
            return Err(is_a_directory());
        }
        let object = WebObject {
            client: self.server.client.clone(),
            url: self.server.url_of(key)?,
            own: self.server.own.clone(),
        };
        object.read(path, request).await
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        if request.placement != Placement::Replace {
            return Err(Error::invalid("webdav cannot write into an existing file, only replace it"));
        }
        Ok(Box::new(write::open(self.server.clone(), object(path)?, &request).await?))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        list::list(self.server.clone(), prefix.clone()).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let key = object(path)?;
        // The server would remove a folder with all that is in it.
        match missing_is_none(self.server.stat(key).await)? {
            None => Ok(()),
            Some(meta) if meta.kind == ObjectKind::Directory => Err(is_a_directory()),
            Some(_) => self.server.delete(key).await,
        }
    }

    async fn remove_guarded(&self, path: &ObjectPath, guard: &Guard, keep_as: Option<&ObjectPath>) -> Result<()> {
        let Some(keep) = keep_as else {
            write::check_target(&self.server, object(path)?, guard).await?;
            return self.delete(path).await;
        };
        match self.rename(path, guard, keep).await {
            Err(error) if error.kind() == ErrorKind::NotFound && guard.is_any() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    async fn rename(&self, from: &ObjectPath, guard: &Guard, to: &ObjectPath) -> Result<ObjectMeta> {
        let (from, to) = (object(from)?, object(to)?);
        write::check_target(&self.server, from, guard).await?;
        write::rename_new(&self.server, from, to).await?;
        self.server.stat(to).await
    }

    // Removing a folder removes all that is in it by then, so no folder is removed.
    async fn remove_folder(&self, _path: &ObjectPath) -> Result<bool> {
        Ok(false)
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        let key = object(path)?;
        let temp = temp_key(key, label);
        if let Some(token) = token.filter(|token| is_temp_name(token)) {
            self.server.delete(&format!("{}{token}", split(key).0)).await?;
        }
        self.server.delete(&temp).await
    }
}
