//! SQL for the one row of `sync_identity`: the name that this catalogue writes into the roots of its entries.

use haulier_base::{Error, Result, id};
use haulier_catalog::{Sql, Tx, args};

/// The catalogue's name, which is made up when it is asked for the first time.
pub(crate) async fn ensure(tx: &mut Tx) -> Result<String> {
    const MAKE: Sql = Sql::both("INSERT INTO sync_identity (id, catalogue) VALUES (1, $1) ON CONFLICT (id) DO NOTHING");
    const READ: Sql = Sql::both("SELECT catalogue FROM sync_identity WHERE id = 1");
    tx.execute(MAKE, args![id::random_uuid()]).await?;
    let row = tx.fetch_optional(READ, args![]).await?;
    row.ok_or_else(|| Error::internal("the catalogue has no name"))?.text("catalogue")
}
