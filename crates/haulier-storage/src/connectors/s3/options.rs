//! `s3:` URLs and their options: parsed once, refused by name. Nothing here touches a network.

use std::path::Path;

use haulier_base::{Error, Result, Secret};
use serde_json::{Map, Value};
use url::Url;

use super::checksum::Kind;
use super::plan::{PART_DEFAULT, PART_MAX, PART_MIN};
use super::wire;
use crate::connector::Environment;

/// Members whose values are never shown.
pub(super) const SECRET_MEMBERS: &[&str] = &["secret_access_key", "session_token"];

/// A certificate bundle is no larger.
const CA_BYTES_MAX: u64 = 1 << 20;
/// No key is longer.
pub(super) const KEY_BYTES_MAX: usize = 1024;

/// What an `s3:` URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct S3Url {
    pub(super) bucket: String,
    /// Everything behind the slash after the bucket, as it is written: nothing is decoded, nothing is cut off.
    /// Empty for the bucket itself, which can only be listed.
    pub(super) key: String,
}

impl S3Url {
    pub(super) fn parse(url: &str) -> Result<Self> {
        let rest = url.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
        let (bucket, key) = match rest {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => return Err(Error::invalid("is not of the form s3://bucket/key")),
        };
        if bucket.contains('@') {
            return Err(Error::invalid(
                "has credentials before the bucket: give them as the options access_key_id and secret_access_key",
            ));
        }
        let well_formed = bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
            && bucket.len() <= 255
            && bucket.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !well_formed {
            return Err(Error::invalid(format!("has no bucket that could exist, \"{bucket}\"")));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::invalid(format!(
                "has a key of {} bytes; a store takes {KEY_BYTES_MAX} at most",
                key.len()
            )));
        }
        if key.contains('\0') {
            return Err(Error::invalid("has a key with a zero byte"));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// A URL with what may be a password before the bucket shown as `***`.
    pub(super) fn redact(url: &str) -> String {
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let (place, key) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        match place.rsplit_once('@') {
            Some((_, bucket)) => format!("{scheme}://***@{bucket}{key}"),
            None => url.to_owned(),
        }
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// Anybody.
    Anonymous,
    /// An access key.
    Keys { id: String, secret: Secret<String>, session_token: Option<Secret<String>> },
}

/// How a store is reached. Equal settings share a client.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// Scheme, host and port, perhaps with a path; none is AWS.
    pub(super) endpoint: Option<Url>,
    pub(super) region: String,
    pub(super) identity: Identity,
    pub(super) path_style: bool,
    /// Certificates to trust instead of those of the system, as PEM.
    pub(super) ca: Option<String>,
}

impl Settings {
    /// Whether requests travel encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| endpoint.scheme() == "https")
    }

    /// The store in which this account's objects can be copied; the same for equal endpoints and keys.
    pub(super) fn store(&self) -> String {
        let place = match &self.endpoint {
            Some(endpoint) => endpoint.as_str(),
            None => &self.region,
        };
        match &self.identity {
            Identity::Anonymous => format!("s3 {place}"),
            Identity::Keys { id, .. } => format!("s3 {id}@{place}"),
        }
    }
}

/// What the options say.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) settings: Settings,
    /// Bytes of a part, before it is fitted to the size of an object.
    pub(super) part_size: u64,
    pub(super) checksum: Kind,
}

impl Options {
    pub(super) fn parse(environment: &Environment, options: &Value) -> Result<Self> {
        let empty = Map::new();
        let members = Members(match options {
            Value::Null => &empty,
            Value::Object(members) => members,
            _ => return Err(Error::invalid("has options that are not an object")),
        });
        members.refuse_unknown()?;
        let endpoint = members.text("endpoint")?.map(|text| endpoint_of(&text)).transpose()?;
        let path_style = members.flag("path_style")?.unwrap_or(endpoint.is_some());
        let part_size = match members.value("part_size") {
            None => PART_DEFAULT,
            Some(value) => value.as_u64().filter(|size| (PART_MIN..=PART_MAX).contains(size)).ok_or_else(|| {
                Error::invalid(format!(
                    "has an option \"part_size\" that is not a number of bytes from {PART_MIN} to {PART_MAX}"
                ))
            })?,
        };
        let checksum = match members.text("checksum_algorithm")? {
            None => Kind::Crc64Nvme,
            Some(text) => Kind::parse(&text).ok_or_else(|| {
                Error::invalid(
                    "has an option \"checksum_algorithm\" that is none of \"auto\", \"crc64nvme\", \"crc32c\", \
                     \"sha256\", \"md5\" and \"none\"",
                )
            })?,
        };
        let region = members.text("region")?.unwrap_or_else(|| "us-east-1".to_owned());
        if region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(Error::invalid("has an option \"region\" that is not the name of a region"));
        }
        let settings =
            Settings { endpoint, region, identity: members.identity()?, path_style, ca: members.ca(environment)? };
        Ok(Self { settings, part_size, checksum })
    }
}

struct Members<'a>(&'a Map<String, Value>);

impl Members<'_> {
    fn refuse_unknown(&self) -> Result<()> {
        const OURS: &[&str] = &[
            "endpoint",
            "region",
            "access_key_id",
            "secret_access_key",
            "session_token",
            "anonymous",
            "path_style",
            "ca_file",
            "ca_pem",
            "part_size",
            "checksum_algorithm",
        ];
        match self.0.keys().find(|name| !OURS.contains(&name.as_str()) && !crate::COPY_OPTIONS.contains(&name.as_str()))
        {
            Some(name) => {
                Err(Error::invalid(format!("has an option \"{name}\" that is not one of {}", OURS.join(", "))))
            }
            None => Ok(()),
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Error::invalid(format!("has an option \"{name}\" that is not a string"))),
        }
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Error::invalid(format!("has an option \"{name}\" that is not true or false"))),
        }
    }

    /// The node's own identity is never borrowed: whoever may ask this node is not this node.
    fn identity(&self) -> Result<Identity> {
        let (id, secret) = (self.text("access_key_id")?, self.text("secret_access_key")?);
        let session_token = self.text("session_token")?.map(Secret::new);
        match (self.flag("anonymous")?.unwrap_or(false), id, secret) {
            (true, None, None) if session_token.is_none() => Ok(Identity::Anonymous),
            (true, ..) => Err(Error::invalid("has both keys and the option \"anonymous\"")),
            (false, Some(id), Some(secret)) if !id.is_empty() && !secret.is_empty() => {
                Ok(Identity::Keys { id, secret: Secret::new(secret), session_token })
            }
            (false, ..) => Err(Error::invalid(
                "has no credentials: give the options \"access_key_id\" and \"secret_access_key\", or \"anonymous\": true",
            )),
        }
    }

    fn ca(&self, environment: &Environment) -> Result<Option<String>> {
        let (name, pem) = match (self.text("ca_pem")?, self.text("ca_file")?) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(Error::invalid("has both the options \"ca_file\" and \"ca_pem\"")),
            (Some(pem), None) => ("ca_pem", Some(pem)),
            (None, Some(path)) => {
                // Files that may not be copied may not be looked at in this way either.
                environment.roots.check(Path::new(&path))?;
                ("ca_file", read_file(Path::new(&path)))
            }
        };
        let usable = pem.as_ref().is_some_and(|pem| wire::authorities(pem).is_some());
        match pem {
            Some(pem) if usable => Ok(Some(pem)),
            _ => Err(Error::invalid(format!("has an option \"{name}\" that leads to no PEM certificate"))),
        }
    }
}

fn read_file(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    if !found.is_file() || found.len() > CA_BYTES_MAX {
        return None;
    }
    std::fs::read_to_string(path).ok()
}

fn endpoint_of(text: &str) -> Result<Url> {
    let wrong = |what: &str| Error::invalid(format!("has an option \"endpoint\" that {what}"));
    let url = Url::parse(text).map_err(|_| wrong("is not a URL such as https://s3.example.org"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("is not an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has credentials: give them as access_key_id and secret_access_key"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment"));
    }
    Ok(url)
}
