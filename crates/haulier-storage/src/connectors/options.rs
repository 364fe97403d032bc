//! Reading the options of a connector: members by name and type, unknown ones refused.
//!
//! Knows no connector; each brings the list of the members it knows.

use haulier_base::{Error, Result};
use serde_json::{Map, Value};

use crate::connector::{COPY_OPTIONS, join_encoded};

/// The members of one options object.
pub(crate) struct Members<'a>(Option<&'a Map<String, Value>>);

impl<'a> Members<'a> {
    /// Takes an object with no other members than the known ones and those that every target has.
    pub(crate) fn read(options: &'a Value, known: &[&str]) -> Result<Self> {
        let members = match options {
            Value::Null => None,
            Value::Object(members) => Some(members),
            _ => return Err(Error::invalid("has options that are not an object")),
        };
        let unknown = members.and_then(|all| all.keys().find(|name| !is_known(name, known)));
        match unknown {
            None => Ok(Self(members)),
            Some(name) => {
                let known = known.join(", ");
                Err(Error::invalid(format!("has an unknown option, \"{name}\": it is not one of {known}")))
            }
        }
    }

    /// A text, when there is one.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::invalid(format!("has an option \"{name}\" that is not a string"))),
        }
    }

    /// True or false, as it is unless said otherwise.
    pub(crate) fn flag(&self, name: &str, otherwise: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(otherwise),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Error::invalid(format!("has an option \"{name}\" that is neither true nor false"))),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }
}

/// Appends a path to a URL, with everything encoded that a parser of web addresses would change.
pub(crate) fn join_strictly(url: &str, path: &str) -> Result<String> {
    let joined = join_encoded(url, path)?;
    let (base, added) = joined.split_at(url.trim_end_matches('/').len());
    Ok(format!("{base}{}", added.replace('\\', "%5C").replace(' ', "%20")))
}

fn is_known(name: &str, known: &[&str]) -> bool {
    known.contains(&name) || COPY_OPTIONS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn appended_paths_are_read_as_they_were_written() {
        let url = join_strictly("sftp://u@h/a b/", "c\\d/e%3F? ").unwrap();
        assert_eq!(url, "sftp://u@h/a b/c%5Cd/e%253F%3F%20");
        join_strictly("webdav://h/a", "../b").unwrap_err();
    }

    #[test]
    fn members_are_read_by_name_and_type() {
        let options = json!({"a": "x", "b": true, "c": null, "create_parents": true});
        let members = Members::read(&options, &["a", "b", "c"]).unwrap();
        assert_eq!((members.text("a").unwrap(), members.text("c").unwrap()), (Some("x"), None));
        assert!(members.flag("b", false).unwrap() && members.flag("c", true).unwrap());
        assert!(members.text("b").unwrap_err().message().contains("\"b\""));
        assert!(members.flag("a", false).unwrap_err().message().contains("\"a\""));
        let refused = |options| Members::read(&options, &["a"]).map(|_| ()).unwrap_err().to_string();
        assert!(refused(json!({"aa": 1})).contains("\"aa\""));
        assert!(refused(json!([])).contains("object"));
    }
}
