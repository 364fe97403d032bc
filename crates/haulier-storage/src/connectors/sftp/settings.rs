//! `sftp:` URLs with their options: who logs in where, and with what.

use std::sync::Arc;

use haulier_base::{Error, Result, Secret};
use percent_encoding::percent_decode_str;
use russh::keys::PrivateKey;
use serde_json::Value;
use url::Url;

use super::host_key::HostKeys;
use crate::connectors::options::Members;

pub(super) const SECRET_MEMBERS: &[&str] = &["password", "private_key", "private_key_passphrase"];
const MEMBERS: &[&str] = &["user", "password", "private_key", "private_key_passphrase", "host_key", "host_key_check"];
const PORT: u16 = 22;
/// The first folder of a path that starts at the account's home.
const HOME: &str = "/~";

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
    path: String,
}

impl Address {
    pub(super) fn identity(&self) -> String {
        let user = self.user.as_deref().unwrap_or_default();
        format!("sftp:{user}@{}:{}{}", self.host, self.port, self.path)
    }
}

/// All that makes one login: connections are shared by those who have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) user: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) password: Option<Secret<String>>,
    pub(super) key: Option<Secret<KeyText>>,
    pub(super) host_keys: HostKeys,
}

/// A private key as it was given, with the words that open it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyText {
    text: String,
    passphrase: Option<String>,
}

impl KeyText {
    /// Takes a while when there is a passphrase.
    pub(super) fn decode(&self) -> Result<Arc<PrivateKey>> {
        match russh::keys::decode_secret_key(&self.text, self.passphrase.as_deref()) {
            Ok(key) if key.is_encrypted() => Err(locked()),
            Ok(key) if key.algorithm().is_rsa() => Err(rsa()),
            Ok(key) => Ok(Arc::new(key)),
            Err(russh::keys::Error::KeyIsEncrypted) => Err(locked()),
            // The cause is left out: it may repeat parts of the key.
            Err(_) if self.passphrase.is_some() => {
                Err(Error::invalid("has a private_key that private_key_passphrase does not open"))
            }
            Err(_) if self.text.contains("BEGIN RSA PRIVATE KEY") => Err(rsa()),
            Err(_) => Err(Error::invalid(
                "has a private_key that cannot be read: it must be the text of an Ed25519 or ECDSA key file",
            )),
        }
    }
}

/// Their signatures would need a library that is not ready; see decision 0007.
fn rsa() -> Error {
    Error::invalid(
        "has a private_key of the kind RSA, which is not supported: make one with `ssh-keygen -t ed25519`, \
         and have its public half added to authorized_keys on the server",
    )
}

fn locked() -> Error {
    Error::invalid("has a private_key that is locked: set private_key_passphrase")
}

/// Login and path of a URL with its options, all that can be checked without a network.
pub(super) fn parse(url: &str, options: &Value) -> Result<(Settings, String)> {
    let (address, url_password) = parse_url(url)?;
    let members = Members::read(options, MEMBERS)?;
    let user = members.text("user")?.map(str::to_owned).or(address.user);
    let user =
        user.ok_or_else(|| Error::invalid("names no user: write sftp://USER@host/path, or set the option user"))?;
    let passphrase = members.text("private_key_passphrase")?.map(str::to_owned);
    let key = members.text("private_key")?.map(|text| KeyText { text: text.to_owned(), passphrase });
    if let Some(key) = key.as_ref().filter(|key| key.passphrase.is_none()) {
        key.decode()?;
    }
    let settings = Settings {
        user,
        host: address.host,
        port: address.port,
        password: members.text("password")?.map(str::to_owned).or(url_password).map(Secret::new),
        key: key.map(Secret::new),
        host_keys: HostKeys::parse(members.text("host_key")?, members.flag("host_key_check", true)?)?,
    };
    Ok((settings, address.path))
}

pub(super) fn address_of(url: &str) -> Result<Address> {
    parse_url(url).map(|(address, _)| address)
}

fn parse_url(url: &str) -> Result<(Address, Option<String>)> {
    let parsed = Url::parse(url).map_err(|error| Error::invalid(format!("is not a URL: {error}")))?;
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| Error::invalid("has no host"))?;
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(Error::invalid("has a ? or # in its path: write %3F or %23"));
    }
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| Error::invalid("is not UTF-8 when decoded"))?;
        if text.contains('\0') { Err(Error::invalid("contains a zero byte")) } else { Ok(text.into_owned()) }
    };
    let path = match parsed.path().strip_prefix(HOME) {
        Some("" | "/") => String::new(),
        Some(rest) if rest.starts_with('/') => decoded(&rest[1..])?,
        _ => decoded(parsed.path())?,
    };
    let user = Some(parsed.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let host = decoded(&host)?;
    let address = Address { user, host, port: parsed.port().unwrap_or(PORT), path };
    Ok((address, parsed.password().map(decoded).transpose()?))
}

/// The URL without a password.
pub(super) fn redact_url(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return "***".to_owned() };
    if parsed.password().is_none() {
        return url.to_owned();
    }
    match parsed.set_password(Some("***")) {
        Ok(()) => parsed.into(),
        Err(()) => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_absolute_or_start_at_home() {
        let path = |url: &str| address_of(url).map(|address| address.path).map_err(|error| error.to_string());
        assert_eq!(path("sftp://u@h/a%20b/c d/%7Ex").as_deref(), Ok("/a b/c d/~x"));
        assert_eq!(path("sftp://u@h/~/a/b").as_deref(), Ok("a/b"));
        assert_eq!(path("sftp://u@h/~").as_deref(), Ok(""));
        assert_eq!(path("sftp://u@h/~other/x").as_deref(), Ok("/~other/x"));
        assert_eq!(path("sftp://u@h/%7E/x").as_deref(), Ok("/~/x"));
        assert_eq!(path("sftp://u@h/100%2541%0A%3F").as_deref(), Ok("/100%41\n?"));
        for bad in ["sftp:/x", "sftp:///x", "sftp://u@h/a?b", "sftp://u@h/a#b", "sftp://u@h/%ff", "sftp://u@h/%00"] {
            assert!(address_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn logins_come_from_url_and_options() {
        let (settings, path) = parse("sftp://a%40b:p%3Aw@H.example:2222/x", &Value::Null).unwrap();
        assert_eq!((settings.user.as_str(), settings.host.as_str(), settings.port), ("a@b", "h.example", 2222));
        assert_eq!((settings.password.as_ref().unwrap().reveal().as_str(), path.as_str()), ("p:w", "/x"));
        let options = json!({"user": "c", "password": "q", "create_parents": true});
        let (settings, _) = parse("sftp://[::1]/x", &options).unwrap();
        assert_eq!((settings.user.as_str(), settings.host.as_str(), settings.port), ("c", "::1", 22));
        assert!(!format!("{settings:?}").contains('q'), "{settings:?}");
        assert_eq!(
            parse("sftp://u@h/x", &json!({"passwrd": "q"})).unwrap_err().kind(),
            haulier_base::ErrorKind::Invalid
        );
        assert!(parse("sftp://h/x", &Value::Null).unwrap_err().message().contains("USER@"));
        let secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n";
        let error = parse("sftp://u@h/x", &json!({"private_key": secret})).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn passwords_are_taken_out_of_urls() {
        assert_eq!(redact_url("sftp://ann:pw@a.example/x"), "sftp://ann:***@a.example/x");
        assert_eq!(redact_url("sftp://ann@a.example/x y"), "sftp://ann@a.example/x y");
    }
}
