//! SQL for the tables `replication_*`. Every function takes a `Tx`; none of them decides anything.

pub(crate) mod actions;
pub(crate) mod buckets;
pub(crate) mod deliveries;
pub(crate) mod expired;
pub(crate) mod findings;
pub(crate) mod kept;
pub(crate) mod objects;
pub(crate) mod orders;
pub(crate) mod outbox;
pub(crate) mod ownerships;
pub(crate) mod runs;
pub(crate) mod sites;
pub(crate) mod sweeping;
pub(crate) mod trash;
pub(crate) mod uploads;

use haulier_base::{Error, Result};
use haulier_catalog::Row;

/// Sizes are kept in a `BIGINT`.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row, column: &str) -> Result<u64> {
    u64::try_from(row.int(column)?).map_err(|_| Error::corrupt(format!("column \"{column}\" is negative")))
}

/// A word that was checked when it was stored.
fn word<T: std::str::FromStr<Err = Error>>(row: &Row, column: &str) -> Result<T> {
    row.text(column)?.parse().map_err(|error: Error| Error::corrupt(format!("column \"{column}\": {error}")))
}
