//! Settings of a node: flags over `HAULIER_*` environment over one TOML file over defaults.
//!
//! The only file that reads the environment. Every fault is reported at once, with its line.

mod file;
pub(crate) mod reference;
mod toml_faults;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use haulier_access::locations::NamedLocation;
use haulier_backup::BackupConfig;
use haulier_base::Secret;
use haulier_replication::{NewSite, ReplicationConfig};
use haulier_storage::Storages;
use haulier_sync::{Setup, SyncConfig};
use haulier_transfer::TransferConfig;
use serde::{Serialize, Serializer};

/// The port of the one listener a node has when nothing else is said.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:3862";
const DEFAULT_DATA_DIR: &str = "haulier-data";
const SHOWN_SECRET: &str = "***";

/// The flags that say how a node is set up. Each has an environment variable.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct NodeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "HAULIER_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// For a first hour on one's own machine: no authentication, every file, loopback only
    #[arg(long)]
    pub(crate) dev: bool,
    /// This node's name
    #[arg(long, value_name = "NAME", env = "HAULIER_SITE", hide_env_values = true)]
    pub(crate) site: Option<String>,
    /// Where the node keeps its data
    #[arg(long, value_name = "DIR", env = "HAULIER_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// An address to listen on; may be given several times
    #[arg(long, value_name = "ADDR", env = "HAULIER_LISTEN", hide_env_values = true, value_delimiter = ',')]
    pub(crate) listen: Vec<String>,
}

/// What `serve` understands besides.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Entries and rules of sync from a setup.json, in place of those of the configuration file; its name is that of a
    /// session, whose data lies in a folder of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) setup: Option<PathBuf>,
}

/// The effective settings of a node. Serialises to what `config show` prints, without secrets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Config {
    pub(crate) site: String,
    pub(crate) data_dir: PathBuf,
    #[serde(skip)]
    pub(crate) dev: bool,
    pub(crate) listen: Vec<Listen>,
    pub(crate) database: Database,
    pub(crate) auth: Auth,
    pub(crate) files: Files,
    pub(crate) network: Network,
    pub(crate) transfer: TransferConfig,
    pub(crate) sync: SyncConfig,
    /// Entries and rules, which are shown by the API.
    #[serde(skip)]
    pub(crate) sync_setup: Setup,
    pub(crate) replication: ReplicationConfig,
    /// The first topology, which is shown by the API.
    #[serde(skip)]
    pub(crate) replication_sites: Vec<NewSite>,
    pub(crate) backup: BackupConfig,
    #[serde(skip_serializing_if = "Secrets::is_default")]
    pub(crate) secrets: Secrets,
    #[serde(serialize_with = "without_secrets", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) locations: BTreeMap<String, NamedLocation>,
}

/// How stored secrets are kept.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Secrets {
    /// The given key; none when the node keeps its own.
    #[serde(serialize_with = "hidden_if_any")]
    pub(crate) key: Option<Secret<String>>,
}

impl Secrets {
    fn is_default(&self) -> bool {
        self.key.is_none()
    }
}

/// One listener.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) apis: Vec<Api>,
}

/// The APIs a listener can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Api {
    /// The Staccato transfer API.
    Transfer,
    /// The Onitu sync API.
    Sync,
    /// The Clone Cloud Store replication API.
    Replication,
    /// The Freezer backup API.
    Backup,
}

impl Api {
    /// What a listener carries when nothing is said.
    pub(crate) const ALL: &[Self] = &[Self::Transfer, Self::Sync, Self::Replication, Self::Backup];
}

/// Which database holds the catalogue.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Database {
    /// `sqlite`, `sqlite:PATH` or a PostgreSQL URL, which may carry a password.
    #[serde(serialize_with = "without_password")]
    pub(crate) url: Secret<String>,
}

/// Who may ask.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Auth {
    pub(crate) mode: Mode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<Token>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fronts: Vec<String>,
}

/// How callers prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Everybody is the user `admin`.
    Open,
    /// By a token from the list.
    #[default]
    Static,
    /// By a front that has already asked.
    Trusted,
}

/// One static token and whom it stands for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Token {
    #[serde(serialize_with = "hidden")]
    pub(crate) token: Secret<String>,
    pub(crate) user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
}

/// What `file:` URLs may touch.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Files {
    pub(crate) roots: Vec<PathBuf>,
}

/// Which addresses that are not public may be reached.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Network {
    pub(crate) allow: Vec<String>,
    pub(crate) allow_private: bool,
}

fn hidden<S: Serializer>(_: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(SHOWN_SECRET)
}

fn hidden_if_any<S: Serializer>(secret: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| SHOWN_SECRET).serialize(serializer)
}

fn without_secrets<S: Serializer>(
    locations: &BTreeMap<String, NamedLocation>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = locations.iter().map(|(name, location)| {
        let options = Storages::redact_options(&location.url, &location.options);
        (name, serde_json::json!({ "url": Storages::redact_url(&location.url), "options": options }))
    });
    serializer.collect_map(shown)
}

fn without_password<S: Serializer>(url: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redact_password(url.reveal()))
}

/// A database URL whose password, in its authority or its query, reads `***`.
fn redact_password(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_owned() };
    if url.password().is_some() && url.set_password(Some(SHOWN_SECRET)).is_err() {
        return SHOWN_SECRET.to_owned();
    }
    if url.query_pairs().any(|(name, _)| name.contains("password")) {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        url.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| {
            (name.as_str(), if name.contains("password") { SHOWN_SECRET } else { value.as_str() })
        }));
    }
    url.into()
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where: `haulier.toml:3:7`, `--listen`, `HAULIER_DATABASE_URL`.
    pub(crate) place: String,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {}", fault.place, fault.message)?;
        }
        Ok(())
    }
}

impl Faults {
    fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault { place: place.into(), message: message.into() });
    }
}

/// The environment, so that tests can bring their own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    /// The settings from flags, environment, file and defaults, or everything that is wrong with them.
    pub(crate) fn load(args: &NodeArgs, environment: Environment<'_>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let file = match &args.config {
            Some(path) => file::read(path, environment, &mut faults),
            None => file::FileSettings::default(),
        };
        let config = Self::merge(args, environment, file, &mut faults);
        config.check_listeners(&mut faults);
        if faults.0.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn merge(args: &NodeArgs, environment: Environment<'_>, file: file::FileSettings, faults: &mut Faults) -> Self {
        let mode = file.mode.unwrap_or(if args.dev { Mode::Open } else { Mode::Static });
        let mut roots = file.roots;
        if args.dev && roots.is_empty() {
            roots.push(PathBuf::from("/"));
        }
        Self {
            site: args.site.clone().or(file.site).unwrap_or_else(|| "local".to_owned()),
            data_dir: args.data_dir.clone().or(file.data_dir).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
            dev: args.dev,
            listen: listeners(&args.listen, file.listen, faults),
            database: Database {
                url: environment("HAULIER_DATABASE_URL")
                    .map(Secret::new)
                    .or(file.database_url)
                    .unwrap_or_else(|| Secret::new("sqlite".to_owned())),
            },
            auth: Auth { mode, tokens: file.tokens, fronts: file.fronts },
            files: Files { roots },
            network: Network { allow: file.allow, allow_private: args.dev },
            transfer: file.transfer,
            sync: file.sync,
            sync_setup: file.sync_setup,
            replication: file.replication,
            replication_sites: file.replication_sites,
            backup: file.backup,
            secrets: Secrets { key: file.secrets_key },
            locations: file.locations,
        }
    }

    /// A node that asks nobody who they are, or that is set up for a first hour, is for this machine only.
    fn check_listeners(&self, faults: &mut Faults) {
        for listen in self.listen.iter().filter(|listen| !listen.address.ip().is_loopback()) {
            let address = listen.address;
            if self.dev {
                faults.add("--dev", format!("{address} is not a loopback address; leave out --dev to listen there"));
            } else if self.auth.mode == Mode::Open {
                faults.add(
                    "auth.mode",
                    format!("\"open\" lets anybody in, so it cannot listen on {address}; use \"static\" or a loopback address"),
                );
            }
        }
    }

    /// What an operator should hear at start because the settings allow much, or nothing.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.dev {
            remarks.push(format!(
                "--dev: no authentication, every local file, private addresses allowed, data in {}",
                self.data_dir.display()
            ));
        }
        if self.auth.mode == Mode::Static && self.auth.tokens.is_empty() {
            remarks.push("no token is configured: every API call is answered 401; see [auth], or try --dev".to_owned());
        }
        if self.files.roots.is_empty() {
            remarks.push("no folder is configured: file:// URLs are refused; see [files] roots".to_owned());
        }
        remarks
    }

    /// Whether `/` is one of the roots, so that every path is allowed.
    pub(crate) fn allows_any_path(&self) -> bool {
        self.files.roots.iter().any(|root| root == Path::new("/"))
    }
}

/// The listeners: those of the flags, which carry everything, or those of the file, or the default one.
fn listeners(flags: &[String], file: Vec<Listen>, faults: &mut Faults) -> Vec<Listen> {
    if flags.is_empty() {
        if !file.is_empty() {
            return file;
        }
        let address = DEFAULT_LISTEN.parse().expect("the default address is well-formed");
        return vec![Listen { address, apis: Api::ALL.to_vec() }];
    }
    let mut listen = Vec::new();
    for text in flags {
        match parse_address(text) {
            Ok(address) => listen.push(Listen { address, apis: Api::ALL.to_vec() }),
            Err(message) => faults.add("--listen", message),
        }
    }
    listen
}

/// An address with a port; `localhost` is understood.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("\"{text}\" is not an address with a port; write one like 127.0.0.1:3862 or [::1]:3862"))
}

/// Whether a text is an address or a network such as `10.0.0.0/8`.
fn is_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|bits| bits <= longest))
}

#[cfg(test)]
mod tests;
