//! The fields of a calendar, from the words that Freezer's scheduler understands to those of the cron library. Pure.
//!
//! They differ in the days of the week (Monday is 0 there), in `a/b`, in how a weekday of a month is named, and in that
//! every field given must allow a date. Fields left out mean "every" before the last one given, and the smallest
//! value after it; weeks and days of the week mean "every" always.

use std::collections::BTreeSet;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use haulier_base::{Error, Result};
use serde_json::{Map, Value};

/// A field: its member, its values, what it is when it is left out after the last one given, and its names.
struct Field {
    member: &'static str,
    min: u16,
    max: u16,
    rest: &'static str,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const PLACES: [(&str, &str); 6] = [("1st", "1"), ("2nd", "2"), ("3rd", "3"), ("4th", "4"), ("5th", "5"), ("last", "L")];

const FIELDS: [Field; 8] = [
    Field { member: "schedule_year", min: 1970, max: 4999, rest: "*", names: &[] },
    Field { member: "schedule_month", min: 1, max: 12, rest: "1", names: MONTHS },
    Field { member: "schedule_day", min: 1, max: 31, rest: "1", names: &[] },
    Field { member: "schedule_week", min: 1, max: 53, rest: "*", names: &[] },
    Field { member: "schedule_day_of_week", min: 0, max: 6, rest: "*", names: DAYS },
    Field { member: "schedule_hour", min: 0, max: 23, rest: "0", names: &[] },
    Field { member: "schedule_minute", min: 0, max: 59, rest: "0", names: &[] },
    Field { member: "schedule_second", min: 0, max: 59, rest: "0", names: &[] },
];
const DAY: usize = 2;
const WEEK: usize = 3;
const DAY_OF_WEEK: usize = 4;

/// The fields as the cron library has them, and the weeks of the year, which it does not know.
pub(super) struct Fields {
    pub(super) cron: Cron,
    pub(super) weeks: Option<BTreeSet<u8>>,
}

/// A part of a field: values from one to another in steps.
struct Range {
    first: u16,
    last: u16,
    step: u16,
}

impl Field {
    fn wrong(&self, part: &str) -> Error {
        let shown: String = part.chars().take(40).collect();
        Error::invalid(format!("{}: \"{shown}\" cannot be understood", self.member))
    }

    fn value(&self, text: &str) -> Option<u16> {
        let named = self.names.iter().position(|name| *name == text).and_then(|place| u16::try_from(place).ok());
        let value = named.map(|place| place + self.min).or_else(|| text.parse().ok())?;
        (self.min..=self.max).contains(&value).then_some(value)
    }

    /// `*`, `a`, `a-b`, each with `/step`.
    fn range(&self, part: &str) -> Result<Range> {
        let wrong = || self.wrong(part);
        let (values, step) = match part.split_once('/') {
            Some((values, step)) => {
                (values, Some(step.trim().parse::<u16>().ok().filter(|s| *s > 0).ok_or_else(wrong)?))
            }
            None => (part, None),
        };
        let value = |text: &str| self.value(text.trim()).ok_or_else(wrong);
        let (first, last) = match values.split_once('-') {
            _ if values.trim() == "*" => (self.min, self.max),
            Some((first, last)) => (value(first)?, value(last)?),
            // From there on, if there are steps.
            None => (value(values)?, if step.is_some() { self.max } else { value(values)? }),
        };
        if first > last {
            return Err(wrong());
        }
        Ok(Range { first, last, step: step.unwrap_or(1) })
    }
}

/// Reads the fields; none when there are none.
pub(super) fn read(schedule: &Map<String, Value>) -> Result<Option<Fields>> {
    let given = FIELDS.each_ref().map(|field| {
        let text = schedule.get(field.member).and_then(Value::as_str).map(|text| text.trim().to_lowercase());
        text.filter(|text| !text.is_empty())
    });
    let Some(last) = given.iter().rposition(Option::is_some) else { return Ok(None) };
    let mut texts = Vec::new();
    for (place, field) in FIELDS.iter().enumerate() {
        let text = given[place].as_deref().unwrap_or(if place < last { "*" } else { field.rest });
        texts.push(text.to_owned());
    }
    let weeks = weeks(&texts[WEEK])?;
    let (mut day, mut day_of_week) = (String::from("*"), list(&FIELDS[DAY_OF_WEEK], &texts[DAY_OF_WEEK])?);
    match weekdays_of_month(&texts[DAY])? {
        None => day = list(&FIELDS[DAY], &texts[DAY])?,
        Some(places) if day_of_week == "*" => day_of_week = places,
        Some(_) => {
            return Err(Error::invalid(
                "schedule_day names a weekday of the month, so that schedule_day_of_week cannot be given too",
            ));
        }
    }
    let plain = |place: usize| list(&FIELDS[place], &texts[place]);
    let pattern = format!("{} {} {} {day} {} {day_of_week} {}", plain(7)?, plain(6)?, plain(5)?, plain(1)?, plain(0)?);
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required).dom_and_dow(true).build();
    let cron = parser
        .parse(&pattern)
        .map_err(|error| Error::invalid("the fields of the schedule cannot be understood").caused_by(error))?;
    Ok(Some(Fields { cron, weeks }))
}

/// A field in the words of the cron library.
fn list(field: &Field, text: &str) -> Result<String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    // Its days of the week go from 1 to 7, if Monday is to be the first.
    let shift = u16::from(field.member == FIELDS[DAY_OF_WEEK].member);
    let part = |part: &str| -> Result<String> {
        let part = part.trim();
        if field.member == FIELDS[DAY].member && part == "last" {
            return Ok("L".to_owned());
        }
        let Range { first, last, step } = field.range(part)?;
        Ok(match (first == last, step) {
            (true, _) => format!("{}", first + shift),
            (false, 1) => format!("{}-{}", first + shift, last + shift),
            (false, step) => format!("{}-{}/{step}", first + shift, last + shift),
        })
    };
    let parts: Vec<_> = text.split(',').map(part).collect::<Result<_>>()?;
    Ok(parts.join(","))
}

/// `2nd fri, last mon` as the cron library has them among the days of the week; none when the field is not of that sort.
fn weekdays_of_month(text: &str) -> Result<Option<String>> {
    let field = &FIELDS[DAY];
    let place = |part: &str| -> Option<String> {
        let (place, day) = part.trim().split_once(char::is_whitespace)?;
        let (_, number) = PLACES.iter().find(|(word, _)| *word == place)?;
        let day = DAYS.iter().position(|name| *name == day.trim())? + 1;
        Some(format!("{day}#{number}"))
    };
    let parts: Vec<_> = text.split(',').map(place).collect();
    match parts.iter().flatten().count() {
        0 => Ok(None),
        count if count == parts.len() => Ok(Some(parts.into_iter().flatten().collect::<Vec<_>>().join(","))),
        _ => Err(field.wrong(text)),
    }
}

fn weeks(text: &str) -> Result<Option<BTreeSet<u8>>> {
    if text == "*" {
        return Ok(None);
    }
    let field = &FIELDS[WEEK];
    let mut weeks = BTreeSet::new();
    for part in text.split(',') {
        let Range { first, last, step } = field.range(part.trim())?;
        weeks.extend((first..=last).step_by(step.into()).filter_map(|week| u8::try_from(week).ok()));
    }
    Ok(Some(weeks))
}
