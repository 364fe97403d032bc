//! The one list of connectors, and the front door that turns URLs into locations.
//!
//! Knows nothing about any scheme: each connector brings its own parsing, checking and opening.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Error, Result};
use serde_json::Value;

use crate::connectors::{http, local, memory, s3, sftp, webdav};
use crate::{Capabilities, Location, MemoryStore, Network};

/// What a node allows its connectors.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The folders that `file:` URLs may touch; none means nothing is allowed.
    pub roots: Vec<PathBuf>,
    /// Whether every local path is allowed, as if `/` were a root.
    pub allow_any_path: bool,
    /// Networks that may be reached although their addresses are not public.
    pub allow_networks: Vec<Network>,
    /// Whether every address may be reached.
    pub allow_private: bool,
    /// How long a connection may bring no byte.
    pub stall: Duration,
    /// The store behind `memory:` URLs; without one the scheme is unknown.
    pub memory: Option<MemoryStore>,
    /// This node's name, which a `file:` URL may carry as its host.
    pub node: String,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            allow_any_path: false,
            allow_networks: Vec::new(),
            allow_private: false,
            stall: Duration::from_secs(30),
            memory: None,
            node: "local".to_owned(),
        }
    }
}

/// Which end of a move a location is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Bytes are read from it.
    Source,
    /// Bytes are written to it.
    Target,
}

/// What all connectors of one node share. Built once.
#[derive(Debug)]
pub struct Environment {
    /// The configuration.
    pub config: StorageConfig,
    /// The allowed folders, open.
    pub roots: Arc<local::Roots>,
    /// The one client for web requests.
    pub web: http::Client,
    /// The clients of object stores.
    pub s3: s3::Clients,
    /// The connections to SSH servers.
    pub sftp: sftp::Pool,
}

/// One kind of place: how its URLs are checked and opened.
pub struct Connector {
    /// The scheme of its URLs, in lower case.
    pub scheme: &'static str,
    /// Whether its objects can be sources.
    pub readable: bool,
    /// Whether its objects can be targets.
    pub writable: bool,
    /// Members of the options that are never shown, at any depth.
    pub secret_members: &'static [&'static str],
    /// Says whether this node offers the connector.
    pub offered: fn(&Environment) -> bool,
    /// Checks cheaply, without touching a network.
    pub check: fn(&Environment, &str, &Value, Side) -> Result<()>,
    /// Opens a location.
    pub open: fn(&Environment, &str, &Value, Side) -> Result<Location>,
    /// An identity that equal objects share, when there is one.
    pub identity: fn(&Environment, &str) -> Option<String>,
    /// The URL without its secrets.
    pub redact_url: fn(&str) -> String,
    /// The URL of an object below a URL.
    pub join: fn(&str, &str) -> Result<String>,
    /// A URL and options, as JSON, that can be opened without a network: what the reference is written from.
    pub example: (&'static str, &'static str),
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.scheme)
    }
}

/// Members of a target's options that mean the same for every connector, and that none of them reads: they are about
/// the copy and not about the place.
pub const COPY_OPTIONS: &[&str] = &["placement", "create_parents", "verify", "rate_bytes_per_second", "checksum"];

/// The one list of connectors.
pub static CONNECTORS: &[Connector] = &[
    local::CONNECTOR,
    http::HTTP,
    http::HTTPS,
    s3::CONNECTOR,
    sftp::CONNECTOR,
    webdav::WEBDAV,
    webdav::WEBDAVS,
    memory::CONNECTOR,
];

/// Finds a connector by its scheme, in any case of letters.
pub fn connector(scheme: &str) -> Option<&'static Connector> {
    CONNECTORS.iter().find(|c| c.scheme.eq_ignore_ascii_case(scheme))
}

/// The scheme of a URL; none when the text has no well-formed one.
pub fn scheme_of(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    well_formed.then_some(scheme)
}

/// Turns URLs into locations. Built once per node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Storages(Arc<Environment>);

impl Storages {
    /// Opens the roots and makes the web client. A root that is no folder is an error.
    pub fn new(config: StorageConfig) -> Result<Self> {
        let roots = Arc::new(local::Roots::open(&config.roots, config.allow_any_path)?);
        let web = http::Client::new(&config)?;
        let s3 = s3::Clients::new(&config);
        let sftp = sftp::Pool::new(&config);
        Ok(Self(Arc::new(Environment { config, roots, web, s3, sftp })))
    }

    /// Checks a source cheaply; the message names the problem but not the field.
    pub fn check_source(&self, url: &str, options: &Value) -> Result<()> {
        let connector = self.find(url, Side::Source)?;
        (connector.check)(&self.0, url, options, Side::Source)
    }

    /// Checks a target cheaply; the message names the problem but not the field.
    pub fn check_target(&self, url: &str, options: &Value) -> Result<()> {
        let connector = self.find(url, Side::Target)?;
        (connector.check)(&self.0, url, options, Side::Target)
    }

    /// Opens a source.
    pub fn open_source(&self, url: &str, options: &Value) -> Result<Location> {
        let connector = self.find(url, Side::Source)?;
        (connector.open)(&self.0, url, options, Side::Source)
    }

    /// Opens a target.
    pub fn open_target(&self, url: &str, options: &Value) -> Result<Location> {
        let connector = self.find(url, Side::Target)?;
        (connector.open)(&self.0, url, options, Side::Target)
    }

    /// Whether two URLs surely name the same object, so that a copy would destroy its own source.
    pub fn same_object(&self, source_url: &str, target_url: &str) -> bool {
        let identity = |url| scheme_of(url).and_then(connector).and_then(|c| (c.identity)(&self.0, url));
        identity(source_url).is_some_and(|source| identity(target_url) == Some(source))
    }

    /// The URL of an object below a URL, such as a named location's; an empty path is the URL itself.
    ///
    /// # Errors
    /// `Invalid` when the path would lead out, or the URL is one that nothing can be appended to.
    pub fn join(&self, url: &str, path: &str) -> Result<String> {
        let scheme = scheme_of(url).ok_or_else(|| Error::invalid("is not a URL: it has no scheme"))?;
        let connector = connector(scheme).filter(|c| (c.offered)(&self.0));
        let connector = connector.ok_or_else(|| Error::invalid(format!("has an unknown scheme, \"{scheme}\"")))?;
        if path.is_empty() {
            return Ok(url.to_owned());
        }
        (connector.join)(url, path)
    }

    /// The options with every secret shown as `***`.
    pub fn redact_options(url: &str, options: &Value) -> Value {
        let hidden = map_members(options, secret_members(url), &mut |_| Ok(Value::from("***")));
        hidden.unwrap_or(Value::Null)
    }

    /// The URL with its credentials shown as `***`.
    pub fn redact_url(url: &str) -> String {
        scheme_of(url).and_then(connector).map_or_else(|| url.to_owned(), |c| (c.redact_url)(url))
    }

    /// What the storages behind each scheme can do, in the order of the list, and whether they copy by themselves.
    ///
    /// # Errors
    /// `Internal` when an example cannot be opened.
    pub fn matrix(&self) -> Result<Vec<(&'static str, Capabilities, bool)>> {
        let open = |connector: &Connector| {
            let (url, options) = connector.example;
            let options = serde_json::from_str(options).unwrap_or_default();
            let opened = (connector.open)(&self.0, url, &options, Side::Source);
            let storage = opened.map_err(|e| Error::internal(format!("{url} cannot be opened")).caused_by(e))?.storage;
            Ok((connector.scheme, storage.capabilities(), storage.store().is_some()))
        };
        CONNECTORS.iter().filter(|connector| connector.scheme != memory::SCHEME).map(open).collect()
    }

    /// The schemes that every node offers.
    pub fn schemes() -> Vec<&'static str> {
        CONNECTORS.iter().map(|c| c.scheme).filter(|scheme| *scheme != memory::SCHEME).collect()
    }

    fn find(&self, url: &str, side: Side) -> Result<&'static Connector> {
        let scheme = scheme_of(url).ok_or_else(|| Error::invalid("is not a URL: it has no scheme"))?;
        let known = connector(scheme).filter(|c| (c.offered)(&self.0));
        let connector = known.ok_or_else(|| Error::invalid(format!("has an unknown scheme, \"{scheme}\"")))?;
        match side {
            Side::Source if !connector.readable => Err(Error::invalid(format!("{scheme} cannot be read from"))),
            Side::Target if !connector.writable => Err(Error::invalid(format!("{scheme} cannot be written to"))),
            _ => Ok(connector),
        }
    }
}

/// The options with every secret of the URL's connector put through `act`.
///
/// # Errors
/// What `act` says.
pub fn map_secrets(url: &str, options: &Value, mut act: impl FnMut(&Value) -> Result<Value>) -> Result<Value> {
    map_members(options, secret_members(url), &mut act)
}

fn secret_members(url: &str) -> &'static [&'static str] {
    scheme_of(url).and_then(connector).map_or(&[][..], |c| c.secret_members)
}

fn map_members(options: &Value, secrets: &[&str], act: &mut dyn FnMut(&Value) -> Result<Value>) -> Result<Value> {
    Ok(match options {
        Value::Object(members) => {
            let mut mapped = serde_json::Map::new();
            for (name, value) in members {
                let secret = secrets.iter().any(|s| s.eq_ignore_ascii_case(name)) && !value.is_null();
                let value = if secret { act(value)? } else { map_members(value, secrets, act)? };
                mapped.insert(name.clone(), value);
            }
            Value::Object(mapped)
        }
        Value::Array(items) => Value::Array(items.iter().map(|i| map_members(i, secrets, act)).collect::<Result<_>>()?),
        other => other.clone(),
    })
}

/// Appends a path to a URL whose path is percent-decoded: what would be read as something else is encoded.
pub(crate) fn join_encoded(url: &str, path: &str) -> Result<String> {
    const PLAIN: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%').add(b'?').add(b'#');
    if url.contains(['?', '#']) {
        return Err(Error::invalid("has a query or a fragment, so nothing can be appended to it"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(Error::invalid("a path in a named location has no \"..\""));
    }
    let path = percent_encoding::utf8_percent_encode(path.trim_start_matches('/'), PLAIN);
    Ok(format!("{}/{path}", url.trim_end_matches('/')))
}

/// Appends a path to a URL that is taken as it is.
pub(crate) fn join_literal(url: &str, path: &str) -> Result<String> {
    Ok(if url.ends_with('/') { format!("{url}{path}") } else { format!("{url}/{path}") })
}
