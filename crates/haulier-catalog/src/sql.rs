//! One text for two dialects: `Sql`, the `Value`s given to it and the `Row`s it gives back.

use std::borrow::Cow;
use std::sync::Arc;

use haulier_base::{Error, Result, Timestamp};

/// Which database is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// One file, one process.
    Sqlite,
    /// A server, many processes.
    Postgres,
}

/// A statement with `$1` placeholders, in the words of both databases.
#[derive(Clone, Debug)]
pub struct Sql {
    sqlite: Cow<'static, str>,
    /// None when both databases take the same words.
    postgres: Option<Cow<'static, str>>,
}

impl Sql {
    /// A text that both databases understand.
    pub const fn both(text: &'static str) -> Self {
        Self { sqlite: Cow::Borrowed(text), postgres: None }
    }

    /// A text for each database, where they truly differ.
    pub const fn each(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite: Cow::Borrowed(sqlite), postgres: Some(Cow::Borrowed(postgres)) }
    }

    /// A text put together at run time, from constant fragments only: values are always arguments.
    pub fn owned(text: String) -> Self {
        Self { sqlite: Cow::Owned(text), postgres: None }
    }

    /// As [`Sql::owned`], with a text for each database.
    pub fn each_owned(sqlite: String, postgres: String) -> Self {
        Self { sqlite: Cow::Owned(sqlite), postgres: Some(Cow::Owned(postgres)) }
    }

    /// The text for one database.
    pub fn text(self, dialect: Dialect) -> Cow<'static, str> {
        match (dialect, self.postgres) {
            (Dialect::Postgres, Some(text)) => text,
            _ => self.sqlite,
        }
    }
}

/// The type of a missing value: PostgreSQL wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// No `TEXT`.
    Text,
    /// No `BIGINT`.
    Int,
    /// No `BOOLEAN`.
    Bool,
    /// No bytes.
    Bytes,
}

/// An argument of a statement, or one field of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `TEXT`.
    Text(String),
    /// `BIGINT`; times are microseconds since 1970.
    Int(i64),
    /// `BOOLEAN`.
    Bool(bool),
    /// `BLOB` or `BYTEA`.
    Bytes(Vec<u8>),
    /// Nothing, of a type.
    Null(Null),
}

/// Types that can be an argument, and what their absence is.
pub trait Argument: Into<Value> {
    /// The null that stands for `None`.
    const NULL: Null;
}

macro_rules! arguments {
    ($($type:ty, $null:ident, |$value:ident| $into:expr;)*) => {
        $(
            impl From<$type> for Value {
                fn from($value: $type) -> Self { $into }
            }
            impl Argument for $type {
                const NULL: Null = Null::$null;
            }
        )*
    };
}

arguments! {
    &str, Text, |value| Self::Text(value.to_owned());
    String, Text, |value| Self::Text(value);
    &String, Text, |value| Self::Text(value.clone());
    &serde_json::Value, Text, |value| Self::Text(value.to_string());
    i64, Int, |value| Self::Int(value);
    i32, Int, |value| Self::Int(value.into());
    u32, Int, |value| Self::Int(value.into());
    Timestamp, Int, |value| Self::Int(value.as_micros());
    bool, Bool, |value| Self::Bool(value);
    Vec<u8>, Bytes, |value| Self::Bytes(value);
    &[u8], Bytes, |value| Self::Bytes(value.to_owned());
}

impl<T: Argument> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::NULL), Into::into)
    }
}

/// Arguments of a statement: `args![id, now, true]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::Value::from($value)),*] };
}

/// `$first, $first+1, …`: `count` placeholders for an `IN (…)` list.
pub fn placeholders(first: usize, count: usize) -> String {
    (first..first + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// One row, read by column name. Errors name the column.
#[derive(Clone, Debug)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    pub(crate) fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { columns, values }
    }

    fn value(&self, column: &str) -> Result<&Value> {
        let index = self.columns.iter().position(|name| name == column);
        index
            .and_then(|index| self.values.get(index))
            .ok_or_else(|| Error::internal(format!("the row has no column \"{column}\"")))
    }

    fn present<T>(&self, column: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::internal(format!("column \"{column}\" is null")))
    }

    /// A text.
    pub fn text(&self, column: &str) -> Result<String> {
        self.present(column, self.text_or_null(column)?)
    }

    /// A text, or none.
    pub fn text_or_null(&self, column: &str) -> Result<Option<String>> {
        match self.value(column)? {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Null(_) => Ok(None),
            other => Err(unexpected(column, "a text", other)),
        }
    }

    /// A number.
    pub fn int(&self, column: &str) -> Result<i64> {
        self.present(column, self.int_or_null(column)?)
    }

    /// A number, or none.
    pub fn int_or_null(&self, column: &str) -> Result<Option<i64>> {
        match self.value(column)? {
            Value::Int(number) => Ok(Some(*number)),
            Value::Null(_) => Ok(None),
            other => Err(unexpected(column, "a number", other)),
        }
    }

    /// A time.
    pub fn time(&self, column: &str) -> Result<Timestamp> {
        self.int(column).map(Timestamp::from_micros)
    }

    /// A time, or none.
    pub fn time_or_null(&self, column: &str) -> Result<Option<Timestamp>> {
        Ok(self.int_or_null(column)?.map(Timestamp::from_micros))
    }

    /// Yes or no.
    pub fn flag(&self, column: &str) -> Result<bool> {
        match self.value(column)? {
            Value::Bool(flag) => Ok(*flag),
            // SQLite keeps its BOOLEAN as 0 and 1.
            Value::Int(number @ (0 | 1)) => Ok(*number == 1),
            other => Err(unexpected(column, "a flag", other)),
        }
    }

    /// Bytes, or none.
    pub fn bytes_or_null(&self, column: &str) -> Result<Option<Vec<u8>>> {
        match self.value(column)? {
            Value::Bytes(bytes) => Ok(Some(bytes.clone())),
            Value::Null(_) => Ok(None),
            other => Err(unexpected(column, "bytes", other)),
        }
    }

    /// A JSON document kept as text.
    pub fn json(&self, column: &str) -> Result<serde_json::Value> {
        serde_json::from_str(&self.text(column)?)
            .map_err(|error| Error::corrupt(format!("column \"{column}\" is not JSON")).caused_by(error))
    }
}

fn unexpected(column: &str, wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Text(_) => "a text",
        Value::Int(_) => "a number",
        Value::Bool(_) => "a flag",
        Value::Bytes(_) => "bytes",
        Value::Null(_) => "null",
    };
    Error::internal(format!("column \"{column}\" holds {found}, not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_the_type_of_their_nulls() {
        let none: Option<&str> = None;
        let values = args!["a", 1i64, true, Timestamp::from_micros(5), none, None::<i64>, Some("b")];
        let text = |text: &str| Value::Text(text.to_owned());
        let expected = [
            text("a"),
            Value::Int(1),
            Value::Bool(true),
            Value::Int(5),
            Value::Null(Null::Text),
            Value::Null(Null::Int),
            text("b"),
        ];
        assert_eq!(values, expected);
        assert_eq!(placeholders(2, 3), "$2, $3, $4");
    }

    #[test]
    fn a_wrong_read_names_the_column() {
        let row = Row::new(Arc::from(["id".to_owned()]), vec![Value::Null(Null::Text)]);
        assert_eq!(row.text("id").unwrap_err().message(), "column \"id\" is null");
        assert_eq!(row.int("size").unwrap_err().message(), "the row has no column \"size\"");
        assert_eq!(row.flag("id").unwrap_err().message(), "column \"id\" holds null, not a flag");
        assert_eq!(row.text_or_null("id").unwrap(), None);
    }
}
