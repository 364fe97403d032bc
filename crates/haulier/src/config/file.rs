//! The configuration file: its sections as they are written, and their checks. Those of sync and of replication are
//! in files of their own below.

mod replication;
mod sync;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use haulier_access::locations::{NamedLocation, Origin, check_name};
use haulier_backup::BackupConfig;
use haulier_base::Secret;
use haulier_replication::{NewSite, ReplicationConfig};
use haulier_sync::{Setup, SyncConfig};
use haulier_transfer::TransferConfig;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use utoipa::ToSchema;

use super::{Api, Environment, Faults, Listen, Mode, Token, is_network, parse_address, toml_faults};
use replication::ReplicationSection;
use sync::SyncSection;

/// No configuration file is longer, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the file says, checked; what it does not say is empty.
#[derive(Default)]
pub(super) struct FileSettings {
    pub(super) site: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) listen: Vec<Listen>,
    pub(super) database_url: Option<Secret<String>>,
    pub(super) mode: Option<Mode>,
    pub(super) tokens: Vec<Token>,
    pub(super) fronts: Vec<String>,
    pub(super) roots: Vec<PathBuf>,
    pub(super) allow: Vec<String>,
    pub(super) transfer: TransferConfig,
    pub(super) sync: SyncConfig,
    pub(super) sync_setup: Setup,
    pub(super) replication: ReplicationConfig,
    pub(super) replication_sites: Vec<NewSite>,
    pub(super) backup: BackupConfig,
    pub(super) secrets_key: Option<Secret<String>>,
    pub(super) locations: BTreeMap<String, NamedLocation>,
}

/// Everything that a file may say. The comments are the reference of the settings.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// This node's name: 1 to 64 letters, digits, `-`, `_` or `.`. It stands in leases, and `file:` URLs may carry
    /// it as their host.
    #[schema(value_type = Option<String>)]
    site: Option<Spanned<String>>,
    /// The folder that holds the SQLite catalogue.
    #[schema(value_type = Option<String>)]
    data_dir: Option<PathBuf>,
    /// Where the node listens; a table for each address.
    #[schema(inline)]
    #[serde(default)]
    listen: Vec<ListenSection>,
    /// The catalogue.
    #[schema(inline)]
    #[serde(default)]
    database: DatabaseSection,
    /// Who may ask.
    #[schema(inline)]
    #[serde(default)]
    auth: AuthSection,
    /// What `file:` URLs may touch.
    #[schema(inline)]
    #[serde(default)]
    files: FilesSection,
    /// Which networks may be reached.
    #[schema(inline)]
    #[serde(default)]
    network: NetworkSection,
    /// The transfer service.
    #[schema(value_type = TransferConfig, inline)]
    transfer: Option<Spanned<TransferConfig>>,
    /// The sync service.
    #[schema(inline)]
    #[serde(default)]
    sync: SyncSection,
    /// The replication service.
    #[schema(inline)]
    #[serde(default)]
    replication: ReplicationSection,
    /// The backup service.
    #[schema(value_type = BackupConfig, inline)]
    backup: Option<Spanned<BackupConfig>>,
    /// How stored secrets are kept.
    #[schema(inline)]
    #[serde(default)]
    secrets: SecretsSection,
    /// Named locations that every caller may use as `NAME:path`: a table `[locations.NAME]` for each, with `url`
    /// and `options`, in which secrets are given as `{ file = "PATH" }` or `{ env = "NAME" }`.
    #[schema(value_type = Object)]
    #[serde(default)]
    locations: BTreeMap<String, Spanned<LocationSection>>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SecretsSection {
    /// The key that secrets in the catalogue are sealed with, 64 hexadecimal digits: `{ file = "PATH" }` or
    /// `{ env = "NAME" }`. Left out, the node makes one, `secrets.key` in `data_dir`. All processes of one catalogue
    /// need the same.
    #[schema(value_type = Option<Object>)]
    key: Option<Spanned<SecretSource>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocationSection {
    url: String,
    #[serde(default)]
    options: toml::Table,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ListenSection {
    /// Address and port, such as `127.0.0.1:3862`, `[::1]:3862` or `localhost:3862`. With `auth.mode = "open"`
    /// only loopback addresses are allowed.
    #[schema(value_type = String)]
    address: Spanned<String>,
    /// The APIs it carries; all of them when left out.
    #[schema(value_type = Option<Vec<Api>>, inline)]
    apis: Option<Spanned<Vec<Api>>>,
    #[schema(ignore)]
    tls: Option<Spanned<TlsSection>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the keys are known, so that the one fault told is that TLS is not served yet")]
struct TlsSection {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DatabaseSection {
    /// `sqlite` (a file in `data_dir`), `sqlite:PATH`, or `postgres://user@host/name`. The environment variable
    /// `HAULIER_DATABASE_URL` goes before it.
    #[schema(value_type = Option<String>)]
    url: Option<Spanned<String>>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AuthSection {
    /// `open`: everybody is the user `admin`. `static`: by a token of the list. `trusted`: by the identity headers
    /// of a front that has asked already. `--dev` makes it `open` unless it is given.
    #[schema(value_type = Option<Mode>, inline)]
    mode: Option<Spanned<Mode>>,
    /// The tokens of mode `static`; a table for each.
    #[schema(value_type = Vec<TokenSection>, inline)]
    #[serde(default)]
    tokens: Vec<Spanned<TokenSection>>,
    /// The networks whose identity headers are believed in mode `trusted`, such as `10.0.0.0/8`.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    fronts: Vec<Spanned<String>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenSection {
    /// Where the token is: `{ file = "PATH" }` or `{ env = "NAME" }`, never the token itself.
    #[schema(value_type = Object)]
    token: Spanned<SecretSource>,
    /// The user it stands for.
    user: String,
    /// The project it stands for.
    project: Option<String>,
    /// The roles it gives.
    #[serde(default)]
    roles: Vec<String>,
    /// The client it stands for.
    client_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretSource {
    file: Option<PathBuf>,
    env: Option<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FilesSection {
    /// The folders that `file:` URLs may touch; none is allowed when it is empty. `--dev` makes it `/` unless it
    /// is given. Relative paths start from the folder of the file of settings.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    roots: Vec<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NetworkSection {
    /// Networks that sources may be read from although their addresses are not public. `--dev` allows all.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    allow: Vec<Spanned<String>>,
}

/// Reads and checks a file; everything wrong goes into `faults`, ordered by place.
pub(super) fn read(path: &Path, environment: Environment<'_>, faults: &mut Faults) -> FileSettings {
    let text = match std::fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            faults.add(path.display().to_string(), format!("is larger than {FILE_BYTES_MAX} bytes"));
            return FileSettings::default();
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => Reader { path, text: &text, environment, found: Vec::new() }.read(faults),
        Err(error) => {
            faults.add(path.display().to_string(), format!("cannot be read: {}", haulier_base::Error::from(error)));
            FileSettings::default()
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    environment: Environment<'a>,
    found: Vec<(Range<usize>, String)>,
}

impl Reader<'_> {
    fn read(mut self, faults: &mut Faults) -> FileSettings {
        let (document, found) = toml_faults::read::<Document>(self.text);
        self.found = found;
        let settings = self.check(document);
        self.found.sort_by_key(|(span, _)| span.start);
        for (span, message) in &self.found {
            faults.add(self.place(span), message.clone());
        }
        settings
    }

    fn place(&self, span: &Range<usize>) -> String {
        let before = &self.text[..span.start.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{}:{line}:{column}", self.path.display())
    }

    fn fault(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.found.push((span, message.into()));
    }

    fn check(&mut self, document: Document) -> FileSettings {
        let (sync, sync_setup) = self.sync(document.sync);
        let (replication, replication_sites) = self.replication(document.replication);
        FileSettings {
            sync,
            sync_setup,
            replication,
            replication_sites,
            site: document.site.map(|site| self.site(site)),
            data_dir: document.data_dir.map(|dir| self.beside(&dir)),
            listen: document.listen.into_iter().filter_map(|listen| self.listen(listen)).collect(),
            database_url: document.database.url.map(|url| self.database_url(url)),
            mode: self.mode(&document.auth),
            fronts: document.auth.fronts.into_iter().map(|front| self.network(front)).collect(),
            tokens: document.auth.tokens.into_iter().filter_map(|token| self.token(token)).collect(),
            roots: document.files.roots.into_iter().map(|root| self.root(&root)).collect(),
            allow: document.network.allow.into_iter().map(|network| self.network(network)).collect(),
            transfer: self.transfer(document.transfer),
            backup: self.backup(document.backup),
            secrets_key: document.secrets.key.and_then(|key| self.secrets_key(key)),
            locations: self.locations(document.locations),
        }
    }

    fn site(&mut self, site: Spanned<String>) -> String {
        let name = site.get_ref();
        if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            self.fault(site.span(), "a site's name is 1 to 64 letters, digits, \"-\", \"_\" or \".\"");
        }
        site.into_inner()
    }

    fn listen(&mut self, section: ListenSection) -> Option<Listen> {
        if let Some(tls) = &section.tls {
            self.fault(tls.span(), "TLS is not served by this version; put a TLS proxy in front and remove this key");
        }
        let apis = section.apis.map(|apis| {
            if apis.get_ref().is_empty() {
                self.fault(apis.span(), "a listener needs at least one API; leave the key out for all");
            }
            apis.into_inner()
        });
        match parse_address(section.address.get_ref()) {
            Ok(address) => Some(Listen { address, apis: apis.unwrap_or_else(|| Api::ALL.to_vec()) }),
            Err(message) => {
                self.fault(section.address.span(), message);
                None
            }
        }
    }

    fn database_url(&mut self, url: Spanned<String>) -> Secret<String> {
        let text = url.get_ref();
        if text != "sqlite" && !["sqlite:", "postgres://", "postgresql://"].iter().any(|p| text.starts_with(p)) {
            self.fault(url.span(), "a database is \"sqlite\", \"sqlite:PATH\" or \"postgres://user@host/name\"");
        }
        Secret::new(url.into_inner())
    }

    fn mode(&mut self, auth: &AuthSection) -> Option<Mode> {
        let mode = auth.mode.as_ref()?;
        match mode.get_ref() {
            Mode::Trusted if auth.fronts.is_empty() => {
                self.fault(mode.span(), "\"trusted\" needs fronts: the addresses whose identity headers are believed");
            }
            Mode::Open | Mode::Trusted if !auth.tokens.is_empty() => {
                self.fault(mode.span(), "tokens are for mode \"static\" only; remove them or change the mode");
            }
            _ => {}
        }
        Some(*mode.get_ref())
    }

    fn token(&mut self, section: Spanned<TokenSection>) -> Option<Token> {
        let section = section.into_inner();
        let span = section.token.span();
        match self.secret(section.token.into_inner()) {
            Ok(token) => Some(Token {
                token,
                user: section.user,
                project: section.project,
                roles: section.roles,
                client_id: section.client_id,
            }),
            Err(message) => {
                self.fault(span, message);
                None
            }
        }
    }

    fn secret(&self, source: SecretSource) -> Result<Secret<String>, String> {
        let text = match (source.file, source.env) {
            (Some(file), None) => std::fs::read_to_string(self.beside(&file)).map_err(|error| {
                format!("the secret's file {} cannot be read: {}", file.display(), haulier_base::Error::from(error))
            })?,
            (None, Some(name)) => {
                (self.environment)(&name).ok_or_else(|| format!("the environment variable {name} is not set"))?
            }
            _ => return Err("a secret is given as { file = \"…\" } or { env = \"…\" }".to_owned()),
        };
        let text = text.trim();
        if text.is_empty() { Err("the secret is empty".to_owned()) } else { Ok(Secret::new(text.to_owned())) }
    }

    fn secrets_key(&mut self, key: Spanned<SecretSource>) -> Option<Secret<String>> {
        let span = key.span();
        let key = self.secret(key.into_inner()).and_then(|key| match haulier_access::Sealer::from_text(key.reveal()) {
            Ok(_) => Ok(key),
            Err(error) => Err(error.message().to_owned()),
        });
        key.map_err(|message| self.fault(span, message)).ok()
    }

    fn locations(&mut self, sections: BTreeMap<String, Spanned<LocationSection>>) -> BTreeMap<String, NamedLocation> {
        let mut locations = BTreeMap::new();
        for (name, section) in sections {
            let span = section.span();
            if let Err(error) = check_name(&name) {
                self.fault(span.clone(), format!("locations.{name}: {}", error.message()));
            }
            let LocationSection { url, options } = section.into_inner();
            match self.location_options(&url, options) {
                Ok(options) => {
                    let location = NamedLocation {
                        name: name.clone(),
                        url,
                        options,
                        origin: Origin::Configuration,
                        created_at: None,
                    };
                    locations.insert(name, location);
                }
                Err(message) => self.fault(span, format!("locations.{name}: {message}")),
            }
        }
        locations
    }

    /// Options as JSON, secrets fetched from where they are kept.
    fn location_options(&self, url: &str, options: toml::Table) -> Result<Value, String> {
        let options = serde_json::to_value(options).map_err(|error| error.to_string())?;
        let fetch = |secret: &Value| {
            let source = serde_json::from_value::<SecretSource>(secret.clone());
            let source = source.map_err(|_| "a secret is given as { file = \"…\" } or { env = \"…\" }".to_owned());
            let text = source.and_then(|source| self.secret(source)).map_err(haulier_base::Error::invalid)?;
            Ok(Value::from(text.reveal().as_str()))
        };
        haulier_storage::map_secrets(url, &options, fetch).map_err(|error| error.message().to_owned())
    }

    fn root(&mut self, root: &Spanned<PathBuf>) -> PathBuf {
        let path = self.beside(root.get_ref());
        if !path.is_dir() {
            self.fault(root.span(), format!("{} is not a folder", path.display()));
        }
        path
    }

    fn network(&mut self, network: Spanned<String>) -> String {
        if !is_network(network.get_ref()) {
            let message = format!("\"{}\" is not a network; write one like 10.0.0.0/8", network.get_ref());
            self.fault(network.span(), message);
        }
        network.into_inner()
    }

    fn transfer(&mut self, section: Option<Spanned<TransferConfig>>) -> TransferConfig {
        self.of_room(section, TransferConfig::faults)
    }

    fn backup(&mut self, section: Option<Spanned<BackupConfig>>) -> BackupConfig {
        self.of_room(section, BackupConfig::faults)
    }

    /// A section that is a room's own, which knows what is wrong with it.
    fn of_room<Section: Default>(
        &mut self,
        section: Option<Spanned<Section>>,
        faults: impl Fn(&Section) -> Vec<String>,
    ) -> Section {
        let Some(section) = section else { return Section::default() };
        for fault in faults(section.get_ref()) {
            // The room names the key; its value is where the eye should go.
            let key = fault.split(':').next().unwrap_or_default();
            let start = section.span().start;
            let offset = self.text[start..].find(key).map_or(start, |found| start + found);
            self.fault(offset..offset, fault);
        }
        section.into_inner()
    }

    /// Relative paths in a file start from the file's own folder.
    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}
