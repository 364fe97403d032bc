//! Instants as the wire has them (contract §1.3): written in UTC with milliseconds, read with any offset.

use std::fmt;
use std::str::FromStr;

use haulier_base::{Error, Result, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::whole_millis;

/// `2024-02-21T11:27:52`, where everybody agrees.
const SECONDS_CHARS: usize = 19;

/// An instant in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 3339 with six digits of a second; the last three are zeros or of no interest.
        let text = self.0.to_string();
        let millis = text.strip_suffix('Z').and_then(|text| text.get(..text.len() - 3)).unwrap_or(&text);
        write!(f, "{millis}Z")
    }
}

impl FromStr for Instant {
    type Err = Error;

    /// Reads RFC 3339 with 0 to 9 digits of a second and any offset; none means UTC. Digits below a millisecond go.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("{text:?} is no instant; write one such as 2024-02-21T11:27:52.867Z"));
        let offset = offset_of(text).ok_or_else(wrong)?;
        let whole = if offset.is_empty() { format!("{text}Z") } else { text.to_owned() };
        let at: jiff::Timestamp = whole.parse().map_err(|_| wrong())?;
        Ok(Self(whole_millis(Timestamp::from_micros(at.as_microsecond()))))
    }
}

/// What follows the seconds and their digits, if the text is laid out as RFC 3339 says.
fn offset_of(text: &str) -> Option<&str> {
    let fits = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        10 => matches!(byte, b'T' | b't' | b' '),
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    };
    let (seconds, rest) = text.split_at_checked(SECONDS_CHARS)?;
    if !seconds.bytes().enumerate().all(fits) {
        return None;
    }
    let Some(digits) = rest.strip_prefix('.') else { return is_offset(rest).then_some(rest) };
    let offset = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let count = digits.len() - offset.len();
    ((1..=9).contains(&count) && is_offset(offset)).then_some(offset)
}

fn is_offset(text: &str) -> bool {
    match text.as_bytes() {
        [] | [b'Z' | b'z'] => true,
        [b'+' | b'-', h, i, b':', m, n] => [h, i, m, n].into_iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_spelling() {
        for (text, expected) in [
            ("2024-02-21T11:27:52.867506", "2024-02-21T11:27:52.867Z"),
            ("2024-02-21T11:27:52.867506999Z", "2024-02-21T11:27:52.867Z"),
            ("2024-02-21t11:27:52z", "2024-02-21T11:27:52.000Z"),
            ("2024-02-21 11:27:52.9", "2024-02-21T11:27:52.900Z"),
            ("2024-02-21T11:27:52+02:00", "2024-02-21T09:27:52.000Z"),
            ("2024-02-29T23:30:00.001-01:30", "2024-03-01T01:00:00.001Z"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text.parse::<Instant>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "yesterday",
            "2024-02-21",
            "2024-02-30T00:00:00Z",
            "2024-02-21T25:00:00Z",
            "2024-02-21T11:27",
            "2024-02-21T11:27:52.",
            "2024-02-21T11:27:52.1234567890Z",
            "2024-02-21T11:27:52Z[Europe/Paris]",
            "2024-02-21T11:27:52+2",
            "20240221T112752Z",
            "1708514872",
            "é024-02-21T11:27:52Z",
        ] {
            assert!(text.parse::<Instant>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_prints(micros in -62_135_596_800_000_000_i64..253_402_300_799_000_000) {
            let at = Instant(whole_millis(Timestamp::from_micros(micros)));
            prop_assert_eq!(at.to_string().parse::<Instant>().unwrap(), at);
        }
    }
}
