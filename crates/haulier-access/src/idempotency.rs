//! The same key from the same owner within 24 hours is the same request.

use std::time::Duration;

use haulier_base::{Result, Timestamp};
use haulier_catalog::{Sql, Tx, args};
use sha2::{Digest, Sha256};

/// How long a key is remembered (transfer contract §2.2).
pub const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Digest of the request that carried it, see [`request_hash`].
    pub request_hash: String,
    /// What the request made.
    pub subject: String,
}

/// A digest that tells requests apart.
pub fn request_hash(request: &[u8]) -> String {
    hex::encode(Sha256::digest(request))
}

/// What the owner's key stands for in a room, if it was used within [`KEY_LIFE`].
pub async fn find(tx: &mut Tx, owner: &str, room: &str, key: &str) -> Result<Option<Recorded>> {
    const FIND: Sql = Sql::both(
        "SELECT request_hash, subject FROM idempotency_keys \
         WHERE owner = $1 AND room = $2 AND key = $3 AND created_at > $4",
    );
    let since = expiry(tx.now());
    tx.fetch_optional(FIND, args![owner, room, key, since])
        .await?
        .map(|row| Ok(Recorded { request_hash: row.text("request_hash")?, subject: row.text("subject")? }))
        .transpose()
}

/// Remembers a key; takes a few keys along whose time is over, so that the table stays as small as a day's requests.
///
/// # Errors
/// `Conflict` when another request with the same key was first.
pub async fn record(tx: &mut Tx, owner: &str, room: &str, key: &str, request_hash: &str, subject: &str) -> Result<()> {
    const PRUNE: Sql = Sql::both(
        "DELETE FROM idempotency_keys WHERE (owner, room, key) IN \
         (SELECT owner, room, key FROM idempotency_keys WHERE created_at <= $1 ORDER BY created_at LIMIT 4)",
    );
    const EXPIRED: Sql =
        Sql::both("DELETE FROM idempotency_keys WHERE owner = $1 AND room = $2 AND key = $3 AND created_at <= $4");
    const RECORD: Sql = Sql::both(
        "INSERT INTO idempotency_keys (owner, room, key, request_hash, subject, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    );
    let now = tx.now();
    tx.execute(EXPIRED, args![owner, room, key, expiry(now)]).await?;
    tx.execute(PRUNE, args![expiry(now)]).await?;
    tx.execute(RECORD, args![owner, room, key, request_hash, subject, now]).await.map(drop)
}

/// Forgets a key, because what it stood for is gone.
pub async fn forget(tx: &mut Tx, owner: &str, room: &str, key: &str) -> Result<()> {
    const FORGET: Sql = Sql::both("DELETE FROM idempotency_keys WHERE owner = $1 AND room = $2 AND key = $3");
    tx.execute(FORGET, args![owner, room, key]).await.map(drop)
}

fn expiry(now: Timestamp) -> Timestamp {
    now.minus(KEY_LIFE)
}
