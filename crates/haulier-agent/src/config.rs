//! The settings of an agent: one TOML file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use haulier_base::{Error, Result, Secret};
use serde::Deserialize;
use serde_json::Value;

use crate::work::Place;

/// How often an idle agent asks for jobs when nothing is said, seconds.
const INTERVAL: u64 = 60;
/// How long an action waits for others that hold a lock of its repository when nothing is said, seconds.
const PATIENCE: u64 = 600;
/// A file of a secret is no longer than this, bytes.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// The settings of an agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The URL of the server.
    pub server: Option<String>,
    /// The token for the server.
    pub token: Option<SecretFile>,
    /// The name under which jobs are found; the host's name when nothing is said.
    pub client_id: Option<String>,
    /// The name of this machine in records, locks and snapshots; the host's when nothing is said.
    pub hostname: Option<String>,
    /// Where the agent keeps what it must not forget.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// How often an idle agent asks for jobs, seconds.
    #[serde(default = "default_interval")]
    pub interval: u64,
    /// Whether jobs may run commands on this machine.
    #[serde(default)]
    pub allow_exec: bool,
    /// The password of repositories for which none is given.
    pub password: Option<SecretFile>,
    /// How long an action waits for others that hold a lock of its repository, seconds.
    #[serde(default = "default_patience")]
    pub lock_wait: u64,
    /// Repositories by name: what the `container` of an action may name.
    #[serde(default)]
    pub repositories: BTreeMap<String, RepositoryConfig>,
    /// What the connectors of a kind of storage need, for actions that name no repository: `s3`, `ssh`, `webdav`.
    #[serde(default)]
    pub storages: BTreeMap<String, Value>,
}

/// A repository with a name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryConfig {
    /// The URL of its folder.
    pub url: String,
    /// What the connector of the URL needs.
    #[serde(default)]
    pub options: Value,
    /// Its password; that of the agent when nothing is said.
    pub password: Option<SecretFile>,
}

/// A secret that is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// The file; white space at its end is not part of the secret.
    pub file: PathBuf,
}

impl SecretFile {
    /// The secret.
    ///
    /// # Errors
    /// When the file cannot be read, is empty or much too long.
    pub fn read(&self) -> Result<Secret<String>> {
        read_secret(&self.file)
    }
}

/// A secret that is in a file; white space at its end is not part of it.
///
/// # Errors
/// When the file cannot be read, is empty or much too long.
pub fn read_secret(path: &Path) -> Result<Secret<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let error = Error::from(error);
        Error::new(error.kind(), format!("the secret in {} cannot be read: {error}", path.display()))
    })?;
    match text.trim_end() {
        "" => Err(Error::invalid(format!("the file {} holds no secret", path.display()))),
        text if text.len() > SECRET_BYTES_MAX => Err(Error::too_large(format!("{} is no secret", path.display()))),
        text => Ok(Secret::new(text.to_owned())),
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("haulier-agent-data")
}

fn default_interval() -> u64 {
    INTERVAL
}

fn default_patience() -> u64 {
    PATIENCE
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            server: None,
            token: None,
            client_id: None,
            hostname: None,
            data_dir: default_data_dir(),
            interval: INTERVAL,
            allow_exec: false,
            password: None,
            lock_wait: 0,
            repositories: BTreeMap::new(),
            storages: BTreeMap::new(),
        }
    }
}

impl AgentConfig {
    /// Reads a file; relative paths in it are meant from its folder.
    ///
    /// # Errors
    /// `Invalid` with file, line and what is wrong there.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let error = Error::from(error);
            Error::new(error.kind(), format!("the file {} cannot be read: {error}", path.display()))
        })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| Error::invalid(format!("{} is wrong: {}", path.display(), error.to_string().trim())))?;
        if config.interval == 0 {
            return Err(Error::invalid(format!("{}: interval is 0 seconds", path.display())));
        }
        let folder = std::path::absolute(path)?.parent().unwrap_or(Path::new("/")).to_owned();
        config.data_dir = folder.join(&config.data_dir);
        for secret in config.secrets() {
            secret.file = folder.join(&secret.file);
        }
        Ok(config)
    }

    fn secrets(&mut self) -> impl Iterator<Item = &mut SecretFile> {
        let named = self.repositories.values_mut().filter_map(|repository| repository.password.as_mut());
        self.token.iter_mut().chain(self.password.iter_mut()).chain(named)
    }

    /// The name of this machine in records.
    pub fn host(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| {
            let name = rustix::system::uname();
            name.nodename().to_string_lossy().into_owned()
        })
    }

    /// The name under which jobs are found.
    pub fn client(&self) -> String {
        self.client_id.clone().unwrap_or_else(|| self.host())
    }

    /// A repository by its name.
    ///
    /// # Errors
    /// `NotFound` when there is none with that name, `Invalid` when it has no password.
    pub fn repository(&self, name: &str) -> Result<Place> {
        let found = self.repositories.get(name);
        let found = found.ok_or_else(|| Error::not_found(format!("the settings have no repository \"{name}\"")))?;
        let password = found.password.as_ref().map(SecretFile::read).transpose()?;
        self.place(&found.url, found.options.clone(), password)
    }

    /// A repository by its URL; without a password it has that of the agent.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn place(&self, url: &str, options: Value, password: Option<Secret<String>>) -> Result<Place> {
        let password = match (password, &self.password) {
            (Some(password), _) => password,
            (None, Some(file)) => file.read()?,
            (None, None) => return Err(Error::invalid("there is no password for the repository")),
        };
        let far = !url.starts_with("file:");
        Ok(Place {
            url: url.to_owned(),
            options: if options.is_null() { Value::Object(serde_json::Map::new()) } else { options },
            password: password.reveal().clone(),
            cache: far.then(|| self.data_dir.join("cache")),
            hostname: self.host(),
            patience: self.lock_wait,
        })
    }
}
