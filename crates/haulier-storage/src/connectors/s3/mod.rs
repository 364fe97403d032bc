//! Objects in S3 and in what speaks like it, `s3://bucket/key`.
//!
//! Keys are taken and given exactly: a URL's key is what stands behind the slash after the bucket, undecoded.

mod checksum;
mod client;
mod copy;
mod done;
mod list;
mod options;
mod patience;
mod plan;
mod publish;
mod read;
mod trouble;
mod upload;
mod wire;
mod writer;

#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use haulier_base::{Error, ErrorKind, Result, Timestamp};
use serde_json::Value;

use crate::connector::{Connector, Environment, Side, join_literal};
use crate::{
    Capabilities, Guard, ListedObject, Location, ObjectKind, ObjectMeta, ObjectPath, ObjectRead, ObjectWriter,
    Placement, ReadRequest, Storage, StoreSource, Version, WriteRequest, guard,
};
use client::Store;
use options::{Options, S3Url};

pub use client::Clients;

pub(crate) const CONNECTOR: Connector = Connector {
    scheme: "s3",
    readable: true,
    writable: true,
    secret_members: options::SECRET_MEMBERS,
    offered: |_| true,
    check: |environment, url, options, _side| {
        S3Url::parse(url)?;
        Options::parse(environment, options).map(|_| ())
    },
    open,
    // The same URL may lead to another store with other options.
    identity: |_, _| None,
    redact_url: S3Url::redact,
    join: join_literal,
    example: ("s3://bucket/key", r#"{"anonymous": true}"#),
};

fn open(environment: &Environment, url: &str, options: &Value, _side: Side) -> Result<Location> {
    let url = S3Url::parse(url)?;
    let Options { settings, part_size, checksum } = Options::parse(environment, options)?;
    let store = environment.s3.store(&settings)?;
    let bucket = Arc::new(Bucket { store, name: url.bucket, part_size, checksum });
    Ok(Location { storage: Arc::new(S3Storage(bucket)), path: ObjectPath::new(url.key) })
}

/// One bucket, with the options that its location has.
#[derive(Debug)]
struct Bucket {
    store: Arc<Store>,
    name: String,
    part_size: u64,
    checksum: checksum::Kind,
}

#[derive(Clone)]
struct S3Storage(Arc<Bucket>);

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Storage({} in {})", self.0.name, self.0.store.name)
    }
}

#[async_trait]
impl Storage for S3Storage {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            read: true,
            write: true,
            list: true,
            delete: true,
            any_key: true,
            ranged_read: true,
            one_version: true,
            parallel_reads: true,
            resumable_write: true,
            checksums: self.0.checksum.declared().is_some(),
            ..Capabilities::default()
        }
    }

    async fn stat(&self, path: &ObjectPath) -> Result<ObjectMeta> {
        let found = read::head(&self.0, key_of(path)?, false).await?;
        Ok(meta_of(found.content_length(), found.e_tag(), found.last_modified()))
    }

    async fn read(&self, path: &ObjectPath, request: ReadRequest) -> Result<ObjectRead> {
        read::read(&self.0, key_of(path)?, request).await
    }

    async fn write(&self, path: &ObjectPath, request: WriteRequest) -> Result<Box<dyn ObjectWriter>> {
        if request.placement != Placement::Replace {
            return Err(Error::invalid(
                "an object in a store is replaced as a whole: bytes cannot be put into an existing one",
            ));
        }
        let key = key_of(path)?.to_owned();
        guard::look(self, path, &request.guard).await?;
        let writer: Box<dyn ObjectWriter> = Box::new(writer::S3Writer::open(self.0.clone(), key, &request).await?);
        Ok(match request.guard {
            Guard::Any => writer,
            guard => Box::new(guard::Looking { inner: writer, storage: self.clone(), path: path.clone(), guard }),
        })
    }

    async fn list(&self, prefix: &ObjectPath) -> Result<BoxStream<'static, Result<ListedObject>>> {
        list::list(self.0.clone(), prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<()> {
        let bucket = &self.0;
        let sent = bucket.store.client.delete_object().bucket(&bucket.name).key(key_of(path)?).send();
        match bucket.store.ask(sent).await {
            Err(error) if error.kind() == ErrorKind::NotFound && error.detail("code") != Some("NoSuchBucket") => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    async fn discard(&self, path: &ObjectPath, _label: &str, token: Option<&str>) -> Result<()> {
        upload::discard(&self.0, key_of(path)?, token).await
    }

    fn store(&self) -> Option<String> {
        Some(self.0.store.name.clone())
    }

    async fn store_source(&self, path: &ObjectPath) -> Result<Option<StoreSource>> {
        copy::source(&self.0, key_of(path)?).await
    }
}

/// The key of an object; the bucket itself has none.
fn key_of(path: &ObjectPath) -> Result<&str> {
    match path.as_str() {
        "" => Err(Error::invalid("names a bucket and no object in it")),
        key if key.len() > options::KEY_BYTES_MAX => Err(Error::invalid(format!(
            "the key has {} bytes; a store takes {} at most",
            key.len(),
            options::KEY_BYTES_MAX
        ))),
        key => Ok(key),
    }
}

/// The ETag is the version: listings, lookups, reads and copies all know it, and it tells contents apart.
///
/// It is never taken for a checksum: what it is made of differs between stores, and with encryption.
fn meta_of(size: Option<i64>, etag: Option<&str>, modified: Option<&aws_smithy_types::DateTime>) -> ObjectMeta {
    let strong = etag.map(|tag| tag.trim_matches('"')).filter(|tag| !tag.is_empty() && !tag.starts_with("W/"));
    ObjectMeta {
        size: size.and_then(|size| u64::try_from(size).ok()),
        version: strong.map(Version::from),
        modified: modified.map(timestamp),
        kind: ObjectKind::Regular,
        mode: None,
    }
}

fn timestamp(date: &aws_smithy_types::DateTime) -> Timestamp {
    let micros = date.as_nanos() / 1_000;
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
