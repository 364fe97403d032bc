//! Sizes and dates as people write them in rules. Pure.

use haulier_base::Timestamp;

/// A size in bytes, such as `15 Mb` (millions) or `2Gi` (of 1024); none when it is no size.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, step) = match unit.strip_suffix('i') {
        Some(letter) if !letter.is_empty() => (letter, 1024_u64),
        Some(_) => return None,
        None => (unit, 1000),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let factor = step.pow(power);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    // Half a byte is nobody's size, so fractions need a unit.
    let number = number.parse::<f64>().ok().filter(|_| power > 0)?;
    let bytes = number * factor as f64;
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// An instant as `2026-11-21` (midnight, UTC) or `2026-11-21T12:00:00Z`; none when it is no such text.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_once('T') {
        None => (text, [0; 3]),
        Some((date, time)) => (date, numbers(time.strip_suffix('Z')?, ':', [2, 2, 2])?),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let [hour, minute, second] = time;
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years begin in March here, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
    Some(Timestamp::from_micros((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000))
}

/// Three numbers of exactly so many digits.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17 b", 17),
            ("15 Mb", 15_000_000),
            ("15M", 15_000_000),
            ("2Gi", 2 << 30),
            ("2 GiB", 2 << 30),
            ("1.5 kib", 1536),
            (" 3T ", 3_000_000_000_000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "Mb", "-1", "1.5", "5 X", "5 ib", "5i", "1e9", "99999999999999999999", "99999999P", "1 2"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn instants_are_those_that_are_printed() {
        for (text, shown) in [
            ("1970-01-01", "1970-01-01T00:00:00.000000Z"),
            ("2026-11-21T12:34:56Z", "2026-11-21T12:34:56.000000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000000Z"),
            ("2000-12-31T23:59:59Z", "2000-12-31T23:59:59.000000Z"),
            ("1601-03-01", "1601-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(instant(text).unwrap().to_string(), shown);
        }
        for text in ["", "2026", "2026-13-01", "2025-02-29", "2026-1-1", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z"]
        {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
