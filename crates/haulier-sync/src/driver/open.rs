//! From an entry's driver and options (§5) to an open storage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Error, Result};
use haulier_storage::connectors::local::LocalStorage;
use haulier_storage::{Location, ObjectPath, Storage, Storages};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{Driver, Inner};
use crate::model::EntryName;

/// A private key is no longer.
const KEY_BYTES_MAX: u64 = 64 << 10;
/// What needs no encoding in a part of a URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// And in a path.
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

/// What has to be known of an entry to open it.
#[derive(Clone, Debug)]
pub(crate) struct DriverConfig {
    /// The entry's name.
    pub(crate) entry: EntryName,
    /// `local_storage`, `amazon_s3`, `sftp` or `webdav`.
    pub(crate) driver: String,
    /// Its options, secrets opened.
    pub(crate) options: Value,
    /// Whether the operator's configuration brought it: its root may lie anywhere. Others must lie in the roots that
    /// the node allows.
    pub(crate) configured: bool,
}

/// Opens entries. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Drivers {
    storages: Storages,
}

impl Drivers {
    /// Entries are reached through these storages.
    pub(crate) fn new(storages: Storages) -> Self {
        Self { storages }
    }

    /// Opens an entry. A local root must exist; a remote one is not asked.
    ///
    /// # Errors
    /// `Invalid` with what is wrong about the options; for local roots also what the file system says.
    pub(crate) async fn open(&self, entry: &DriverConfig) -> Result<Driver> {
        let options = Options { entry, members: entry.options.as_object() };
        match entry.driver.as_str() {
            "local_storage" => self.local(&options).await,
            "amazon_s3" => self.s3(&options),
            "sftp" => self.sftp(&options).await,
            "webdav" => self.webdav(&options),
            other => Err(options.fault(&format!("has an unknown driver, \"{other}\""))),
        }
    }

    async fn local(&self, options: &Options<'_>) -> Result<Driver> {
        let root = options.required("root")?;
        if !options.entry.configured {
            let url = format!("file://{}", utf8_percent_encode(root, PLAIN_PATH));
            self.storages.check_target(&url, &Value::Null)?;
        }
        let local = match LocalStorage::confined(Path::new(root)).await {
            Err(error) if is_missing(root.to_owned()).await => {
                return Err(Error::not_found(error.message()).caused_by(error));
            }
            opened => opened?,
        };
        let folder = local.base().to_owned();
        Ok(Driver(Arc::new(Inner {
            storage: Arc::new(local.clone()),
            base: ObjectPath::new(""),
            local: Some((local, folder)),
            velocity: 0.9,
            changes_timer: None,
        })))
    }

    fn s3(&self, options: &Options<'_>) -> Result<Driver> {
        let (bucket, root) = (options.required("bucket")?, options.text("root")?.trim_matches('/'));
        let mut s3 = Map::new();
        s3.insert("access_key_id".to_owned(), options.required("aws_access_key")?.into());
        s3.insert("secret_access_key".to_owned(), options.required("aws_secret_key")?.into());
        options.copy(&["endpoint", "region", "path_style"], &mut s3);
        let location = self.storages.open_target(&format!("s3://{bucket}/{root}"), &Value::Object(s3));
        Ok(options.remote(location?, 0.6, options.seconds("changes_timer", 10)?))
    }

    async fn sftp(&self, options: &Options<'_>) -> Result<Driver> {
        let (host, user) = (options.required("hostname")?, options.required("username")?);
        let port = options.seconds("port", 22)?.as_secs();
        let root = options.text("root")?;
        let place = if root.starts_with('/') { root.to_owned() } else { format!("/~/{root}") };
        let mut sftp = Map::new();
        for (ours, theirs) in [("password", "password"), ("private_key_passphrase", "private_key_passphrase")] {
            match options.text(ours)? {
                "" => {}
                secret => drop(sftp.insert(theirs.to_owned(), secret.into())),
            }
        }
        options.copy(&["host_key", "host_key_check"], &mut sftp);
        if let path @ [_, ..] = options.text("private_key_path")?.as_bytes() {
            let path = String::from_utf8_lossy(path).into_owned();
            sftp.insert("private_key".to_owned(), options.read_key(path).await?.into());
        }
        let (user, host) = (utf8_percent_encode(user, PLAIN), bracketed(host));
        let place = utf8_percent_encode(place.trim_end_matches('/'), PLAIN_PATH);
        let location = self.storages.open_target(&format!("sftp://{user}@{host}:{port}{place}"), &Value::Object(sftp));
        Ok(options.remote(location?, 0.3, options.seconds("changes_timer", 300)?))
    }

    fn webdav(&self, options: &Options<'_>) -> Result<Driver> {
        let host = options.required("hostname")?.trim_end_matches('/');
        let (scheme, rest) = match host.split_once("://") {
            Some(("http" | "webdav", rest)) => ("webdav", rest),
            Some(("https" | "webdavs", rest)) => ("webdavs", rest),
            Some((other, _)) => return Err(options.fault(&format!("has a hostname with the scheme \"{other}\""))),
            None => ("webdavs", host),
        };
        let mut dav = Map::new();
        if !options.text("username")?.is_empty() {
            dav.insert("user".to_owned(), options.text("username")?.into());
            dav.insert("password".to_owned(), options.text("password")?.into());
        }
        options.copy(&["ca_pem"], &mut dav);
        let root = utf8_percent_encode(options.text("root")?.trim_matches('/'), PLAIN_PATH);
        let location = self.storages.open_target(&format!("{scheme}://{rest}/{root}"), &Value::Object(dav));
        Ok(options.remote(location?, 0.3, options.seconds("changes_timer", 60)?))
    }
}

async fn is_missing(root: String) -> bool {
    let looking = tokio::task::spawn_blocking(move || std::fs::metadata(root));
    looking.await.is_ok_and(|found| found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// An entry's options, read by name. What is unknown was refused when the entry was made.
struct Options<'a> {
    entry: &'a DriverConfig,
    members: Option<&'a Map<String, Value>>,
}

impl<'a> Options<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.members.and_then(|members| members.get(name)).filter(|value| !value.is_null())
    }

    /// A text, empty when it is missing.
    fn text(&self, name: &str) -> Result<&'a str> {
        match self.value(name) {
            None => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.fault(&format!("has an option \"{name}\" that is not a string"))),
        }
    }

    fn required(&self, name: &str) -> Result<&'a str> {
        match self.text(name)? {
            "" => Err(self.fault(&format!("lacks the option \"{name}\""))),
            text => Ok(text),
        }
    }

    fn seconds(&self, name: &str, otherwise: u64) -> Result<Duration> {
        match self.value(name).map(Value::as_u64) {
            None => Ok(Duration::from_secs(otherwise)),
            Some(Some(number @ 1..=65_535)) => Ok(Duration::from_secs(number)),
            Some(_) => Err(self.fault(&format!("has an option \"{name}\" that is not a number from 1 to 65535"))),
        }
    }

    fn copy(&self, names: &[&str], to: &mut Map<String, Value>) {
        for name in names {
            if let Some(value) = self.value(name) {
                to.insert((*name).to_owned(), json!(value));
            }
        }
    }

    async fn read_key(&self, path: String) -> Result<String> {
        let shown = path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            use std::io::Read;
            let mut text = String::new();
            std::fs::File::open(path)?.take(KEY_BYTES_MAX).read_to_string(&mut text).map(|_| text)
        });
        let read = reading.await.map_err(|error| Error::internal("a key could not be read").caused_by(error))?;
        read.map_err(|error| self.fault(&format!("has a private key {shown} that cannot be read: {error}")))
    }

    fn remote(&self, location: Location, velocity: f32, timer: Duration) -> Driver {
        let Location { storage, path } = location;
        let storage: Arc<dyn Storage> = storage;
        Driver(Arc::new(Inner { storage, base: path, local: None, velocity, changes_timer: Some(timer) }))
    }

    fn fault(&self, what: &str) -> Error {
        Error::invalid(format!("the entry {} {what}", self.entry.entry))
    }
}
