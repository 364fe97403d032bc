//! The one list of connectors, and the front door that turns URLs into locations.
//!
//! Knows nothing about any scheme: each connector brings its own parsing, checking and opening.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Error, Result};
use serde_json::Value;

use crate::connectors::{http, local, memory};
use crate::{Location, MemoryStore, Network};

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
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.scheme)
    }
}

/// The one list of connectors.
pub static CONNECTORS: &[Connector] = &[local::CONNECTOR, http::HTTP, http::HTTPS, memory::CONNECTOR];

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
        Ok(Self(Arc::new(Environment { config, roots, web })))
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

    /// The options with every secret shown as `***`.
    pub fn redact(&self, url: &str, options: &Value) -> Value {
        let secrets = scheme_of(url).and_then(connector).map_or(&[][..], |c| c.secret_members);
        redact_members(options, secrets)
    }

    /// The URL with its credentials shown as `***`, for logs and errors.
    pub fn redact_url(&self, url: &str) -> String {
        scheme_of(url).and_then(connector).map_or_else(|| url.to_owned(), |c| (c.redact_url)(url))
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

fn redact_members(options: &Value, secrets: &[&str]) -> Value {
    match options {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let secret = secrets.iter().any(|s| s.eq_ignore_ascii_case(name)) && !value.is_null();
                (name.clone(), if secret { Value::from("***") } else { redact_members(value, secrets) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| redact_members(item, secrets)).collect(),
        other => other.clone(),
    }
}
