//! One backup after the other of the same thing: what a record says of its size and of what could not be read. Pure.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::Object;

/// Members that may say how much there was to back up, in bytes; the first that says it counts.
const SIZES: [&str; 2] = ["backup_size_uncompressed", "total_backup_session_size"];
/// The member that may say how many files could not be read.
const UNREADABLE: &str = "unreadable_files";

/// Sizes are counted up to this, so that they can be multiplied, bytes.
const SIZE_MAX: i64 = 1 << 53;
/// Characters of a name that are kept.
const NAME_CHARS_MAX: usize = 255;

/// What a record says that the next one is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The same for all backups of the same thing.
    pub(crate) series: String,
    pub(crate) host: String,
    pub(crate) name: String,
    /// In bytes; none when the record does not say it, or is not a whole backup.
    pub(crate) size: Option<i64>,
    /// Files that could not be read.
    pub(crate) unreadable: i64,
}

/// Reads the metadata of a record; none when it is not that of a backup.
pub(crate) fn run(metadata: &Object) -> Option<Run> {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    if !["", "backup"].contains(&text("action")) {
        return None;
    }
    let host = if text("hostname").is_empty() { text("host_name") } else { text("hostname") };
    let (name, container) = (text("backup_name"), text("container"));
    let mut hash = Sha256::new();
    for part in [host, name, container] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let series = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let number = |names: &[&str]| names.iter().find_map(|name| whole_number(metadata.get(*name)?));
    let size = number(&SIZES).filter(|size| *size > 0 && is_whole(metadata)).map(|size| size.min(SIZE_MAX));
    let unreadable = number(&[UNREADABLE]).unwrap_or(0).max(0);
    // Names are shown to people, and databases take no control characters.
    let shown = |name: &str| name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    Some(Run { series, host: shown(host), name: shown(name), size, unreadable })
}

/// Whether a record is about everything, and not only about what changed: Freezer's own agents write the changes only
/// above level 0, while a snapshot is always whole.
fn is_whole(metadata: &Object) -> bool {
    let level = ["curr_backup_level", "level"].iter().find_map(|name| whole_number(metadata.get(*name)?));
    level.unwrap_or(0) == 0 || metadata.get("snapshot_id").is_some_and(|id| !id.is_null() && id != "")
}

/// An integer or a text of digits.
fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(more: Value) -> Option<Run> {
        let mut metadata = json!({ "container": "c", "hostname": "h", "backup_name": "n" });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run(metadata.as_object().unwrap())
    }

    #[test]
    fn sizes_are_those_of_whole_backups() {
        let size = |more: Value| of(more).unwrap().size;
        assert_eq!(size(json!({"backup_size_uncompressed": 9, "total_backup_session_size": 7})), Some(9));
        assert_eq!(size(json!({"total_backup_session_size": "7"})), Some(7));
        assert_eq!(size(json!({"backup_size_uncompressed": ""})), None);
        assert_eq!(size(json!({"backup_size_uncompressed": 0})), None);
        assert_eq!(size(json!({})), None);
        for level in [json!(1), json!("1")] {
            assert_eq!(size(json!({"backup_size_uncompressed": 9, "curr_backup_level": level})), None);
            assert_eq!(size(json!({"backup_size_uncompressed": 9, "level": level})), None);
            let snapshot = json!({"backup_size_uncompressed": 9, "curr_backup_level": level, "snapshot_id": "ab"});
            assert_eq!(size(snapshot), Some(9));
        }
        assert_eq!(size(json!({"backup_size_uncompressed": 9, "curr_backup_level": ""})), Some(9));
    }

    #[test]
    fn the_same_thing_is_one_series() {
        let series = |more: Value| of(more).unwrap().series;
        assert_eq!(series(json!({"time_stamp": 1})), series(json!({"time_stamp": 2, "mode": "fs"})));
        assert_eq!(series(json!({"hostname": "", "host_name": "h"})), series(json!({})));
        let others = [
            json!({"hostname": "i"}),
            json!({"backup_name": "m"}),
            json!({"container": "d"}),
            json!({"hostname": "hn", "backup_name": ""}),
        ];
        for other in others {
            assert_ne!(series(other.clone()), series(json!({})), "{other}");
        }
        let odd = of(json!({"hostname": "a\0b", "backup_size_uncompressed": i64::MAX})).unwrap();
        assert_eq!((odd.host.as_str(), odd.size), ("ab", Some(SIZE_MAX)));
        assert_eq!(of(json!({"action": "restore"})), None);
        assert_eq!(of(json!({"action": "backup", "unreadable_files": 3})).unwrap().unreadable, 3);
    }
}
