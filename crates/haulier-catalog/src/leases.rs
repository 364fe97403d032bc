//! Roles that one process at a time may have, such as the dispatcher.

use std::time::Duration;

use haulier_base::Result;

use crate::args;
use crate::db::Tx;
use crate::sql::Sql;

/// Takes a role, or keeps it, for `span` from now. False when somebody else has it.
pub async fn hold(tx: &mut Tx, name: &str, holder: &str, span: Duration) -> Result<bool> {
    const HOLD: Sql = Sql::both(
        "INSERT INTO leases (name, holder, held_until) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
         WHERE leases.holder = excluded.holder OR leases.held_until <= $4",
    );
    let now = tx.now();
    Ok(tx.execute(HOLD, args![name, holder, now.plus(span), now]).await? == 1)
}

/// Gives a role back, if the holder still has it.
pub async fn release(tx: &mut Tx, name: &str, holder: &str) -> Result<()> {
    const RELEASE: Sql = Sql::both("DELETE FROM leases WHERE name = $1 AND holder = $2");
    tx.execute(RELEASE, args![name, holder]).await.map(|_| ())
}

/// Takes every role from whoever had it. Only for when no holder can be alive.
pub async fn release_all(tx: &mut Tx) -> Result<()> {
    // Without the condition SQLite would clear the table by writing a page, which a full disk has no room for.
    const RELEASE: Sql = Sql::both("DELETE FROM leases WHERE held_until IS NOT NULL");
    tx.execute(RELEASE, args![]).await.map(|_| ())
}
