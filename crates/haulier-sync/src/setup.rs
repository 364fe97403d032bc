//! Entries and rules as a configuration gives them, and the `setup.json` of §6. Reads text; opens nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use haulier_base::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::model::EntryName;
use crate::rules::RuleSet;

/// An entry as it is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// Its name.
    pub name: EntryName,
    /// Its driver.
    pub driver: String,
    /// The driver's options, secrets in clear.
    pub options: Value,
}

/// All that a configuration says of sync.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setup {
    /// The session: the state of different ones is separate.
    pub name: Option<String>,
    /// In the order of the configuration.
    pub entries: Vec<NewEntry>,
    /// A list of rules; none when nothing is said about them.
    pub rules: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    entries: InOrder,
    #[serde(default)]
    rules: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryDocument {
    driver: String,
    #[serde(default = "no_options")]
    options: Value,
}

fn no_options() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The members of an object in the order in which they are written.
#[derive(Default)]
struct InOrder(Vec<(String, EntryDocument)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = InOrder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a member for each entry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut members: Vec<(String, EntryDocument)> = Vec::new();
                while let Some((name, entry)) = map.next_entry::<String, EntryDocument>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format_args!("entries: {name:?} is there twice")));
                    }
                    members.push((name, entry));
                }
                Ok(InOrder(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Setup {
    /// Reads a `setup.json` that lies in a folder: relative roots start there.
    ///
    /// # Errors
    /// `Invalid` with what is wrong and where.
    pub fn read(text: &str, folder: &Path) -> Result<Self> {
        let document: Document = serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
        if let Some(name) = &document.name {
            check_session(name)?;
        }
        let entry = |(name, entry): (String, EntryDocument)| {
            let name = EntryName::new(name).map_err(|error| Error::invalid(format!("entries: {}", error.message())))?;
            Ok(NewEntry { name, options: beside(folder, &entry.driver, entry.options), driver: entry.driver })
        };
        let entries = document.entries.0.into_iter().map(entry).collect::<Result<_>>()?;
        let setup = Self { name: document.name, entries, rules: document.rules };
        setup.check()?;
        Ok(setup)
    }

    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    /// `Invalid` with the first fault of the rules.
    pub fn check(&self) -> Result<()> {
        let known: BTreeSet<_> = self.entries.iter().map(|entry| entry.name.clone()).collect();
        match &self.rules {
            Some(rules) => RuleSet::read(rules, Some(&known)).map(drop),
            None => Ok(()),
        }
    }
}

/// The name of a session is also that of a folder.
fn check_session(name: &str) -> Result<()> {
    let plain = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    match !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(plain) {
        true => Ok(()),
        false => {
            Err(Error::invalid("name: a session's name is 1 to 64 letters, digits, spaces, \"-\", \"_\" or \".\""))
        }
    }
}

/// The options of a driver, with a relative root of local files taken from a folder.
pub fn beside(folder: &Path, driver: &str, mut options: Value) -> Value {
    if driver == "local_storage"
        && let Some(Value::String(root)) = options.get_mut("root")
        && !root.is_empty()
    {
        let place = folder.join(&*root);
        *root = std::path::absolute(&place).unwrap_or(place).to_string_lossy().into_owned();
    }
    options
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_sample_of_the_contract_is_read() {
        let text = r#"{
            "name": "example",
            "entries": {
                "B": {"driver": "local_storage", "options": {"root": "example/B"}},
                "A": {"driver": "local_storage", "options": {"root": "/x/A"}}
            },
            "rules": [
                {"match": {"path": "/"}, "sync": ["A"]},
                {"match": {"path": "/backedup/", "mime": ["application/pdf"]}, "sync": ["B"]}
            ]
        }"#;
        let setup = Setup::read(text, Path::new("/etc/onitu")).unwrap();
        assert_eq!(setup.name.as_deref(), Some("example"));
        let names: Vec<_> = setup.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["B", "A"], "the order of the file");
        assert_eq!(setup.entries[0].options, json!({ "root": "/etc/onitu/example/B" }));
        assert_eq!(setup.entries[1].options, json!({ "root": "/x/A" }));
        assert_eq!(setup.rules.unwrap().as_array().unwrap().len(), 2);
    }

    #[test]
    fn faults_are_told() {
        let fault = |text: &str| Setup::read(text, Path::new("/")).unwrap_err().message().to_owned();
        assert!(fault("{").contains("line 1"));
        assert!(fault(r#"{"entrys": {}}"#).contains("unknown field `entrys`"));
        assert!(fault(r#"{"entries": {"a:b": {"driver": "x"}}}"#).contains("contains ':' or '/'"));
        assert!(fault(r#"{"entries": {"A": {"driver": "x"}, "A": {"driver": "x"}}}"#).contains("there twice"));
        assert!(fault(r#"{"name": "../x"}"#).starts_with("name: "));
        let unknown = r#"{"entries": {"A": {"driver": "x"}}, "rules": [{"match": {}, "sync": ["Z"]}]}"#;
        assert_eq!(fault(unknown), "rules[0].sync: unknown entry \"Z\"");
    }
}
