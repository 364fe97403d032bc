//! SQL for the tables `sync_*`. Every function takes a `Tx`; none of them decides anything.

pub(crate) mod conflicts;
pub(crate) mod copies;
pub(crate) mod entries;
pub(crate) mod files;
pub(crate) mod identity;
pub(crate) mod kept;
pub(crate) mod members;
pub(crate) mod rules;
pub(crate) mod seen;

use haulier_base::{Error, Result};
use haulier_catalog::Row;

use crate::model::{Attributes, ContentHash, EntryName, Found, Stamp};

/// Rows of one statement: its arguments must stay below what both databases take.
const BATCH: usize = 200;

/// Sizes and version numbers are kept in a `BIGINT`.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row, column: &str) -> Result<u64> {
    u64::try_from(row.int(column)?).map_err(|_| Error::corrupt(format!("column \"{column}\" is negative")))
}

fn entry_name(row: &Row, column: &str) -> Result<EntryName> {
    EntryName::new(row.text(column)?).map_err(|error| Error::corrupt(error.message().to_owned()))
}

fn content(row: &Row) -> Result<Option<ContentHash>> {
    Ok(row.text_or_null("content")?.map(ContentHash::from_hex))
}

fn attributes(row: &Row) -> Result<Attributes> {
    let mode = row.int_or_null("mode")?.map(|mode| u32::try_from(mode).unwrap_or_default());
    Ok(Attributes { modified_at: row.time_or_null("modified_at")?, mode })
}

fn found(row: &Row) -> Result<Found> {
    let version = row.text_or_null("stamp")?.unwrap_or_default();
    Ok(Found { stamp: Stamp { size_bytes: unsigned(row, "size_bytes")?, version }, attributes: attributes(row)? })
}
