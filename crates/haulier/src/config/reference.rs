//! Every setting with its type, default and meaning, from the types that read the file.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::PartialSchema;

use super::file::Document;
use super::{Config, NodeArgs};

/// One key of the file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// Its path, such as `transfer.slots`; `[]` stands for each table of a list.
    pub(crate) key: String,
    /// What it takes.
    pub(crate) kind: String,
    /// What it is when it is left out, as TOML; empty when that is nothing.
    pub(crate) default: String,
    /// Whether a table that leaves it out is refused.
    pub(crate) required: bool,
    /// What it does.
    pub(crate) meaning: String,
}

/// Every setting, sections in the order of their names.
pub(crate) fn settings() -> Vec<Setting> {
    let schema = serde_json::to_value(Document::schema()).expect("a schema is JSON");
    let defaults = Config::load(&NodeArgs::default(), &|_| None).expect("no settings at all are good settings");
    let defaults = serde_json::to_value(defaults).expect("settings are JSON");
    let mut found = Vec::new();
    walk(&schema, "", &defaults, &mut found);
    found
}

fn walk(table: &Value, prefix: &str, defaults: &Value, found: &mut Vec<Setting>) {
    let none = Map::new();
    let members = table["properties"].as_object().unwrap_or(&none);
    // Plain keys go before sections, as they must in a file.
    let (sections, keys): (Vec<_>, Vec<_>) = members.iter().partition(|(_, member)| fields_of(member).is_some());
    for (name, member) in keys.into_iter().chain(sections) {
        let (key, default) = (format!("{prefix}{name}"), &defaults[name]);
        let is_list = member["items"].is_object();
        match fields_of(member) {
            Some(fields) => {
                let below = if is_list { format!("{key}[].") } else { format!("{key}.") };
                if is_list {
                    found.push(setting(key, "list of tables".to_owned(), default, false, member));
                }
                walk(fields, &below, if is_list { &Value::Null } else { default }, found);
            }
            None => {
                let required = table["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
                // Whatever is in a list of tables has no default that is known here.
                let required = required && default.is_null();
                found.push(setting(key, kind_of(member), default, required, member));
            }
        }
    }
}

fn setting(key: String, kind: String, default: &Value, required: bool, member: &Value) -> Setting {
    let meaning = member["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Setting { key, kind, default: as_toml(default), required, meaning }
}

/// The schema of a table, or of the tables in a list.
fn fields_of(member: &Value) -> Option<&Value> {
    // A schema that has a comment of its own holds what it stands for in a list of one.
    let inside = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|list| member[list].as_array().into_iter().flatten());
    [member, &member["items"]].into_iter().chain(inside).find(|schema| schema["properties"].is_object())
}

fn kind_of(member: &Value) -> String {
    if let Some(words) = member["enum"].as_array() {
        return words.iter().filter(|word| !word.is_null()).map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    if let Some(one) = member["oneOf"].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null")) {
        return kind_of(one);
    }
    let plain = match &member["type"] {
        Value::Array(types) => types.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match plain {
        Some("array") => format!("list of {}", kind_of(&member["items"])),
        Some("object") => "table".to_owned(),
        Some(plain) => plain.to_owned(),
        None => "value".to_owned(),
    }
}

fn as_toml(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(members) => {
            let pairs: Vec<_> = members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| format!("{name} = {}", as_toml(value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(as_toml).collect::<Vec<_>>().join(", ")),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_type_and_a_meaning() {
        let all = settings();
        for setting in &all {
            assert!(!setting.meaning.is_empty() && setting.kind != "value", "{setting:?}");
        }
        let find =
            |key: &str| all.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{key}: {all:?}"));
        assert_eq!((find("transfer.slots").kind.as_str(), find("transfer.slots").default.as_str()), ("integer", "16"));
        assert_eq!(find("site").default, "\"local\"");
        assert_eq!(find("auth.mode").kind, "\"open\" or \"static\" or \"trusted\"");
        assert_eq!(find("auth.mode").default, "\"static\"");
        assert_eq!(find("listen[].apis").kind, "list of \"transfer\" or \"sync\" or \"replication\" or \"backup\"");
        assert!(find("listen[].address").required && find("auth.tokens[].user").required);
        assert!(!find("auth.tokens[].roles").required && !find("transfer.rate_bytes_per_second").required);
        assert!(all.iter().all(|setting| !setting.key.contains("tls")));
    }
}
