//! Reading the body of a list request (backup contract §8). Pure.

use haulier_base::{Error, Result};
use serde_json::{Map, Value};

use super::{Condition, Query, Scalar, seconds, words};

/// Conditions and words of one search.
const CONDITIONS_MAX: usize = 128;
/// How deep `_all` may hold lists of clauses that hold `_all`.
const NESTING_MAX: usize = 4;
/// The field that stands for all texts of a document.
const EVERYWHERE: &str = "_all";

/// Reads a whole query; unknown members are ignored.
pub(super) fn query(body: &Map<String, Value>) -> Result<Query> {
    let mut query = Query::default();
    for clause in clauses(body, "match")? {
        query.all.extend(conditions(clause, 0)?);
    }
    for clause in clauses(body, "match_not")? {
        // A clause without conditions says nothing, rather than everything.
        query.none.push(conditions(clause, 0)?);
        query.none.retain(|clause| !clause.is_empty());
    }
    query.time_after = bound(body, "time_after")?;
    query.time_before = bound(body, "time_before")?;
    let count = query.all.iter().chain(query.none.iter().flatten()).map(weight).sum::<usize>();
    match count <= CONDITIONS_MAX {
        true => Ok(query),
        false => Err(Error::invalid(format!("a search may have at most {CONDITIONS_MAX} conditions and words"))),
    }
}

fn weight(condition: &Condition) -> usize {
    match condition {
        Condition::Words(words) => words.len().max(1),
        _ => 1,
    }
}

fn clauses<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a [Value]> {
    match body.get(name) {
        None => Ok(&[]),
        Some(Value::Array(clauses)) if clauses.len() <= CONDITIONS_MAX => Ok(clauses),
        Some(Value::Array(_)) => {
            Err(Error::invalid(format!("{name}: a search may have at most {CONDITIONS_MAX} clauses")))
        }
        Some(_) => Err(Error::invalid(format!("{name}: must be a list of objects such as [{{\"status\": \"stop\"}}]"))),
    }
}

fn conditions(clause: &Value, depth: usize) -> Result<Vec<Condition>> {
    let Value::Object(fields) = clause else {
        return Err(Error::invalid("a clause must be an object such as {\"status\": \"stop\"}"));
    };
    let mut found = Vec::new();
    for (field, value) in fields {
        let scalar = Scalar::of(value).ok_or_else(|| {
            let shown: String = field.chars().take(80).collect();
            Error::invalid(format!("{shown}: can be compared with a text, a number, true, false or null only"))
        })?;
        if field == EVERYWHERE {
            found.extend(everywhere(scalar, depth)?);
        } else if field.contains('.') {
            found.push(Condition::Path(field.clone(), scalar));
        } else {
            found.push(Condition::Name(field.clone(), scalar));
        }
    }
    Ok(found)
}

/// `_all`: a text that is a JSON list stands for the clauses in it, any other one for its words.
fn everywhere(value: Scalar, depth: usize) -> Result<Vec<Condition>> {
    let Scalar::Text(text) = value else {
        return Err(Error::invalid("_all: must be a text"));
    };
    let Ok(Value::Array(clauses)) = serde_json::from_str(&text) else {
        return Ok(vec![Condition::Words(words(&text).collect())]);
    };
    if depth >= NESTING_MAX {
        return Err(Error::invalid(format!("_all: lists of clauses may lie {NESTING_MAX} deep in each other")));
    }
    let mut found = Vec::new();
    for clause in &clauses {
        found.extend(conditions(clause, depth + 1)?);
        if found.len() > CONDITIONS_MAX {
            return Err(Error::invalid(format!("a search may have at most {CONDITIONS_MAX} conditions and words")));
        }
    }
    Ok(found)
}

fn bound(body: &Map<String, Value>, name: &str) -> Result<Option<i64>> {
    match body.get(name) {
        None => Ok(None),
        Some(value) => match seconds(value) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Error::invalid(format!("{name}: must be a whole number of seconds"))),
        },
    }
}
