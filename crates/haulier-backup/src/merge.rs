//! Deep merge of JSON objects (backup contract §9.5). Pure.

use serde_json::Value;

use crate::model::Object;

/// Objects are merged member by member; everything else replaces what was there.
pub(crate) fn merge(into: &mut Object, from: Object) {
    for (name, new) in from {
        match (into.get_mut(&name), new) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, new) => {
                into.insert(name, new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(into: Value, from: Value) -> Value {
        let (Value::Object(mut into), Value::Object(from)) = (into, from) else { panic!("not objects") };
        merge(&mut into, from);
        into.into()
    }

    #[test]
    fn objects_are_merged_and_the_rest_is_replaced() {
        assert_eq!(
            merged(json!({"s": {"a": 1, "b": {"c": 2}}, "l": [1, 2]}), json!({"s": {"b": {"d": 3}}, "l": [9]})),
            json!({"s": {"a": 1, "b": {"c": 2, "d": 3}}, "l": [9]})
        );
        assert_eq!(merged(json!({"a": {"b": 1}}), json!({"a": null})), json!({"a": null}));
        assert_eq!(merged(json!({"a": 1}), json!({"a": {"b": 1}})), json!({"a": {"b": 1}}));
    }
}
