//! The drivers of entries and the options each of them takes (§5). Pure; nothing is opened here.

use haulier_base::{Error, Result};
use serde_json::{Map, Value};

/// What a hidden value is shown as (§1.3).
const SHOWN_SECRET: &str = "***";

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    /// A number from 1 on.
    Count,
    Flag,
}

impl Kind {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Count => value.as_u64().is_some_and(|number| number > 0),
            Self::Flag => value.is_boolean(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Count => "an integer from 1 on",
            Self::Flag => "true or false",
        }
    }
}

/// One option.
#[derive(Debug)]
struct Setting {
    name: &'static str,
    kind: Kind,
    required: bool,
    secret: bool,
}

const fn text(name: &'static str) -> Setting {
    Setting { name, kind: Kind::Text, required: false, secret: false }
}

const fn required(name: &'static str) -> Setting {
    Setting { name, kind: Kind::Text, required: true, secret: false }
}

const fn secret(name: &'static str, required: bool) -> Setting {
    Setting { name, kind: Kind::Text, required, secret: true }
}

const fn count(name: &'static str) -> Setting {
    Setting { name, kind: Kind::Count, required: false, secret: false }
}

const fn flag(name: &'static str) -> Setting {
    Setting { name, kind: Kind::Flag, required: false, secret: false }
}

/// Understood by every driver.
const COMMON: &[Setting] = &[count("chunk_size")];

struct Table {
    driver: &'static str,
    built: bool,
    settings: &'static [Setting],
}

const DRIVERS: &[Table] = &[
    Table { driver: "local_storage", built: true, settings: &[required("root")] },
    Table {
        driver: "amazon_s3",
        built: true,
        settings: &[
            required("bucket"),
            required("aws_access_key"),
            secret("aws_secret_key", true),
            text("root"),
            count("changes_timer"),
            text("endpoint"),
            text("region"),
            flag("path_style"),
        ],
    },
    Table {
        driver: "sftp",
        built: true,
        settings: &[
            required("hostname"),
            required("username"),
            secret("password", false),
            count("port"),
            text("private_key_path"),
            secret("private_key_passphrase", false),
            count("changes_timer"),
            text("root"),
            text("host_key"),
            flag("host_key_check"),
        ],
    },
    Table {
        driver: "webdav",
        built: true,
        settings: &[
            required("hostname"),
            text("username"),
            secret("password", false),
            count("changes_timer"),
            text("root"),
            text("ca_pem"),
        ],
    },
    Table {
        driver: "dropbox",
        built: false,
        settings: &[required("access_key"), secret("access_secret", true), text("root"), count("changes_timer")],
    },
    Table {
        driver: "hubic",
        built: false,
        settings: &[
            required("root"),
            secret("refresh_token", true),
            count("changes_timer"),
            text("client_id"),
            secret("client_secret", false),
        ],
    },
    Table {
        driver: "flickr",
        built: false,
        settings: &[required("oauth_token"), secret("oauth_token_secret", true), count("changes_timer"), text("root")],
    },
];

fn table(driver: &str) -> Option<&'static Table> {
    DRIVERS.iter().find(|table| table.driver == driver)
}

/// Why an entry with these options cannot start; none when nothing is wrong that can be told without opening it.
pub(crate) fn fault(driver: &str, options: &Value) -> Option<String> {
    let Some(table) = table(driver) else {
        let built: Vec<_> = DRIVERS.iter().filter(|table| table.built).map(|table| table.driver).collect();
        return Some(format!("the driver {driver:?} is not known; known are {}", built.join(", ")));
    };
    if !table.built {
        return Some(format!("the driver {driver:?} is not part of this program"));
    }
    let Value::Object(members) = options else { return Some("options: must be an object".to_owned()) };
    let settings = || table.settings.iter().chain(COMMON);
    if let Some(name) = members.keys().find(|name| !settings().any(|setting| setting.name == **name)) {
        let known: Vec<_> = settings().map(|setting| setting.name).collect();
        return Some(format!("options.{name}: the driver {driver} has no such option; it has {}", known.join(", ")));
    }
    for setting in settings() {
        match members.get(setting.name) {
            None if setting.required => return Some(format!("options.{}: is missing", setting.name)),
            Some(value) if !setting.kind.holds(value) => {
                return Some(format!("options.{}: must be {}", setting.name, setting.kind.as_str()));
            }
            Some(Value::String(text)) if setting.required && text.is_empty() => {
                return Some(format!("options.{}: is empty", setting.name));
            }
            _ => {}
        }
    }
    None
}

/// Whether the value of an option is never shown. Of a driver that is not known, whatever sounds like a secret.
fn is_secret(driver: &str, name: &str) -> bool {
    match table(driver).and_then(|table| table.settings.iter().find(|setting| setting.name == name)) {
        Some(setting) => setting.secret,
        None => {
            let name = name.to_ascii_lowercase();
            ["secret", "password", "passphrase", "token", "key"].iter().any(|word| name.contains(word))
        }
    }
}

/// The options with each secret replaced.
///
/// # Errors
/// What `act` says.
pub(crate) fn map_secrets(
    driver: &str,
    options: &Value,
    mut act: impl FnMut(&Value) -> Result<Value>,
) -> Result<Value> {
    let Value::Object(members) = options else { return Ok(options.clone()) };
    let mut mapped = Map::new();
    for (name, value) in members {
        // An empty text is no secret, and says that there is none.
        let hide = is_secret(driver, name) && !value.is_null() && value.as_str() != Some("");
        mapped.insert(name.clone(), if hide { act(value)? } else { value.clone() });
    }
    Ok(Value::Object(mapped))
}

/// The options fit for showing.
pub(crate) fn redact(driver: &str, options: &Value) -> Value {
    map_secrets(driver, options, |_| Ok(Value::from(SHOWN_SECRET))).unwrap_or(Value::Null)
}

/// Refuses options that no entry could ever start with.
///
/// # Errors
/// `Invalid` with the place.
pub(crate) fn check(driver: &str, options: &Value) -> Result<()> {
    fault(driver, options).map_or(Ok(()), |why| Err(Error::invalid(why)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_those_of_the_driver() {
        let s3 = json!({ "bucket": "b", "aws_access_key": "k", "aws_secret_key": "s" });
        for (driver, options) in [
            ("local_storage", json!({ "root": "/x" })),
            ("local_storage", json!({ "root": "/x", "chunk_size": 1 })),
            ("amazon_s3", s3.clone()),
            ("sftp", json!({ "hostname": "h", "username": "u", "port": 2222 })),
            ("webdav", json!({ "hostname": "h", "root": "r" })),
        ] {
            assert_eq!(fault(driver, &options), None, "{driver}");
        }
        for (driver, options, why) in [
            ("local_storage", json!({}), "options.root: is missing"),
            ("local_storage", json!({ "root": "" }), "options.root: is empty"),
            ("local_storage", json!({ "root": 5 }), "options.root: must be a string"),
            (
                "local_storage",
                json!({ "root": "/x", "rooot": 1 }),
                "options.rooot: the driver local_storage has no such option; it has root, chunk_size",
            ),
            (
                "local_storage",
                json!({ "root": "/x", "chunk_size": 0 }),
                "options.chunk_size: must be an integer from 1 on",
            ),
            ("local_storage", json!([]), "options: must be an object"),
            ("amazon_s3", json!({ "bucket": "b", "aws_access_key": "k" }), "options.aws_secret_key: is missing"),
            ("dropbox", json!({}), "the driver \"dropbox\" is not part of this program"),
            (
                "floppy",
                json!({}),
                "the driver \"floppy\" is not known; known are local_storage, amazon_s3, sftp, webdav",
            ),
        ] {
            assert_eq!(fault(driver, &options).as_deref(), Some(why));
        }
        assert!(check("amazon_s3", &s3).is_ok() && check("sftp", &s3).is_err());
    }

    #[test]
    fn secrets_are_shown_as_stars() {
        let shown = redact("amazon_s3", &json!({ "bucket": "b", "aws_access_key": "k", "aws_secret_key": "s" }));
        assert_eq!(shown, json!({ "bucket": "b", "aws_access_key": "k", "aws_secret_key": "***" }));
        let shown = redact("sftp", &json!({ "password": "", "private_key_passphrase": "p", "private_key_path": "/k" }));
        assert_eq!(shown, json!({ "password": "", "private_key_passphrase": "***", "private_key_path": "/k" }));
        assert_eq!(
            redact("floppy", &json!({ "api_token": "t", "root": "r" })),
            json!({ "api_token": "***", "root": "r" })
        );
    }
}
