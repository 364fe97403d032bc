//! Files on SSH servers, `sftp://user@host:port/path`.
//!
//! A path is what the server takes it for: what its account may reach is the server's to decide.

mod connect;
mod errors;
mod host_key;
mod list;
mod pool;
mod read;
mod sending;
mod session;
mod settings;
mod target;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use haulier_base::{Error, ErrorKind, Result};
use serde_json::Value;

pub use pool::Pool;

use crate::connector::{Connector, Environment, Side};
use crate::connectors::options::join_strictly;
use crate::{
    Attributes, Capabilities, Guard, ListedObject, Location, ObjectKind, ObjectMeta, ObjectPath, ObjectRead,
    ObjectWriter, Placement, ReadRequest, Storage, WriteRequest, guard,
};
use errors::missing_is_none;
use pool::Endpoint;

pub(crate) const CONNECTOR: Connector = Connector {
    scheme: "sftp",
    readable: true,
    writable: true,
    secret_members: settings::SECRET_MEMBERS,
    offered: |_| true,
    check: |_, url, options, _| settings::parse(url, options).map(|_| ()),
    open,
    identity,
    redact_url: settings::redact_url,
    join: join_strictly,
    example: ("sftp://ann@files.example/path", r#"{"password": "p"}"#),
};

fn open(environment: &Environment, url: &str, options: &Value, _side: Side) -> Result<Location> {
    let (settings, path) = settings::parse(url, options)?;
    let storage = Arc::new(SftpStorage { endpoint: environment.sftp.endpoint(settings) });
    Ok(Location { storage, path: ObjectPath::new(path) })
}

/// Server, account and path; links and other names of one server are not seen through.
fn identity(_: &Environment, url: &str) -> Option<String> {
    settings::address_of(url).ok().map(|address| address.identity())
}

/// Everything that one account reaches on one server. Paths without a leading slash start at its home.
#[derive(Clone, Debug)]
struct SftpStorage {
    endpoint: Arc<Endpoint>,
}

/// Refuses what no server could take.
fn checked(path: &ObjectPath) -> Result<&str> {
    let key = path.as_str();
    if key.contains('\0') {
        return Err(Error::invalid("the path contains a zero byte"));
    }
    Ok(if key.is_empty() { "." } else { key })
}

fn object(path: &ObjectPath) -> Result<&str> {
    let key = checked(path)?;
    if path.as_str().is_empty() || key.ends_with('/') {
        return Err(is_a_directory());
    }
    if key.split('/').any(|name| name.len() > 255) {
        return Err(Error::invalid("the path has a name that is too long"));
    }
    Ok(key)
}

fn is_a_directory() -> Error {
    Error::invalid("the path is a directory")
}

#[async_trait]
impl Storage for SftpStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            write: true,
            list: true,
            delete: true,
            ranged_read: true,
            parallel_reads: true,
            resumable_write: true,
            read_back: true,
            rename: true,
            attributes: true,
            ..Capabilities::default()
        }
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        let key = checked(path)?;
        let lease = self.endpoint.lease().await?;
        match lease.run(lease.raw().stat(key)).await {
            Ok(found) => {
                lease.give_back();
                Ok(session::meta_of(&found.attrs))
            }
            Err(error) => {
                lease.give_back_unless(&error);
                Err(error)
            }
        }
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        read::read(self.endpoint.lease().await?, object(path)?, &request).await
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        if request.placement != Placement::Replace {
            return Err(Error::invalid("sftp cannot write into an existing file, only replace it"));
        }
        Ok(Box::new(write::open(self.endpoint.lease().await?, object(path)?, &request).await?))
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        let key = checked(prefix)?.to_owned();
        list::list(self.endpoint.lease().await?, key, prefix.clone()).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let key = object(path)?;
        let lease = self.endpoint.lease().await?;
        let Some(found) = missing_is_none(lease.run(lease.raw().lstat(key)).await)? else {
            lease.give_back();
            return Ok(());
        };
        match session::meta_of(&found.attrs).kind {
            ObjectKind::Directory => return Err(is_a_directory()),
            ObjectKind::Special if !found.attrs.is_symlink() => {
                return Err(Error::invalid("devices are never removed"));
            }
            ObjectKind::Special | ObjectKind::Regular => {}
        }
        missing_is_none(lease.run(lease.raw().remove(key)).await)?;
        lease.give_back();
        Ok(())
    }

    async fn remove_guarded(&self, path: &ObjectPath, guard: &Guard, keep_as: Option<&ObjectPath>) -> Result<()> {
        let Some(keep) = keep_as else {
            guard::look(self, path, guard).await?;
            return self.delete(path).await;
        };
        match self.rename(path, guard, keep).await {
            Err(error) if error.kind() == ErrorKind::NotFound && guard.is_any() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    async fn rename(&self, from: &ObjectPath, guard: &Guard, to: &ObjectPath) -> Result<ObjectMeta> {
        let (from, to) = (object(from)?, object(to)?);
        let lease = self.endpoint.lease().await?;
        target::expect(&lease, from, guard).await?;
        target::rename_new(&lease, from, to).await?;
        let found = lease.run(lease.raw().lstat(to)).await?;
        lease.give_back();
        Ok(session::meta_of(&found.attrs))
    }

    async fn set_attributes(&self, path: &ObjectPath, guard: &Guard, to: &Attributes) -> Result<ObjectMeta> {
        let path = object(path)?;
        let lease = self.endpoint.lease().await?;
        target::expect(&lease, path, guard).await?;
        lease.run(lease.raw().setstat(path, target::attributes_of(to))).await?;
        let found = lease.run(lease.raw().lstat(path)).await?;
        lease.give_back();
        Ok(session::meta_of(&found.attrs))
    }

    async fn remove_folder(&self, path: &ObjectPath) -> Result<bool> {
        let key = checked(path)?;
        let lease = self.endpoint.lease().await?;
        let gone = match lease.run(lease.raw().rmdir(key)).await {
            Ok(_) => true,
            // The protocol has no word for a folder that is not empty.
            Err(_) => missing_is_none(lease.run(lease.raw().lstat(key)).await)?.is_none(),
        };
        lease.give_back();
        Ok(gone)
    }

    async fn discard(&self, path: &ObjectPath, label: &str, token: Option<&str>) -> Result<()> {
        let key = object(path)?;
        let lease = self.endpoint.lease().await?;
        target::discard(&lease, key, label, token).await?;
        lease.give_back();
        Ok(())
    }
}
