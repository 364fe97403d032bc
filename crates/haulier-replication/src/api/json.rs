//! Reading of JSON bodies: strict JSON, unknown members ignored, faults named by their place (contract §1.4).

use std::fmt;
use std::marker::PhantomData;

use haulier_base::{Error, Result};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads one JSON object.
///
/// # Errors
/// `Invalid`, with the place and what is wrong there.
pub(crate) fn read_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    read::<OnlyObject<T>>(bytes).map(|read| read.0)
}

/// Reads a JSON list of objects.
///
/// # Errors
/// `Invalid`, with the place and what is wrong there.
pub(crate) fn read_list<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>> {
    read::<Vec<OnlyObject<T>>>(bytes).map(|read| read.into_iter().map(|item| item.0).collect())
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut text).map_err(|fault| {
        let path = fault.path().to_string();
        let place = if path == "." { String::new() } else { format!(" at {path}") };
        Error::invalid(format!("the body is not the JSON that is wanted{place}: {}", fault.into_inner()))
    })?;
    text.end().map_err(|fault| Error::invalid(format!("the body goes on after its JSON: {fault}")))?;
    Ok(read)
}

/// An object and nothing else: what serde derives takes a list as well, by position.
struct OnlyObject<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OnlyObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = OnlyObject<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(OnlyObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Pair {
        a: u8,
    }

    #[test]
    fn takes_objects_and_lists_of_them_alone() {
        assert_eq!(read_object::<Pair>(br#"{"b":[], "a":1}"#).unwrap().a, 1);
        assert_eq!(read_list::<Pair>(br#"[{"a":1},{"a":2}]"#).unwrap().len(), 2);
        for bad in ["", "null", "[1]", "1", "{'a':1}", "{a:1}", r#"{"a":1} x"#, r#"{"a":-1}"#] {
            assert!(read_object::<Pair>(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in [r#"{"a":1}"#, "[[1]]", "null"] {
            assert!(read_list::<Pair>(bad.as_bytes()).is_err(), "{bad}");
        }
        let error = read_list::<Pair>(br#"[{"a":1},{"a":"x"}]"#).unwrap_err();
        assert!(error.message().contains("[1].a"), "{error}");
    }
}
