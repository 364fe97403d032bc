//! SQL for the tables `locations` and `sealing_keys`. Every function takes a `Tx`.

use haulier_base::{Error, Result};
use haulier_catalog::{Row, Sql, Tx, args};

use super::model::{NamedLocation, Origin};

pub(super) async fn insert(tx: &mut Tx, owner: &str, location: &NamedLocation) -> Result<bool> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO locations (owner, name, url, options, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (owner, name) DO NOTHING",
    );
    let (options, now) = (location.options.to_string(), tx.now());
    Ok(tx.execute(INSERT, args![owner, &location.name, &location.url, options, now]).await? == 1)
}

pub(super) async fn find(tx: &mut Tx, owner: &str, name: &str) -> Result<Option<NamedLocation>> {
    const FIND: Sql = Sql::both("SELECT name, url, options, created_at FROM locations WHERE owner = $1 AND name = $2");
    tx.fetch_optional(FIND, args![owner, name]).await?.map(|row| read(&row)).transpose()
}

/// The owner's locations after a name, in the order of names.
pub(super) async fn list(tx: &mut Tx, owner: &str, after: &str, limit: i64) -> Result<Vec<NamedLocation>> {
    const LIST: Sql = Sql::both(
        "SELECT name, url, options, created_at FROM locations WHERE owner = $1 AND name > $2 ORDER BY name LIMIT $3",
    );
    tx.fetch_all(LIST, args![owner, after, limit]).await?.iter().map(read).collect()
}

pub(super) async fn count(tx: &mut Tx, owner: &str) -> Result<i64> {
    const COUNT: Sql = Sql::both("SELECT COUNT(*) AS count FROM locations WHERE owner = $1");
    tx.fetch_optional(COUNT, args![owner]).await?.map_or(Ok(0), |row| row.int("count"))
}

pub(super) async fn delete(tx: &mut Tx, owner: &str, name: &str) -> Result<bool> {
    const DELETE: Sql = Sql::both("DELETE FROM locations WHERE owner = $1 AND name = $2");
    Ok(tx.execute(DELETE, args![owner, name]).await? == 1)
}

/// Records the fingerprint of the one sealing key of a catalogue, unless one is recorded.
pub(super) async fn record_key(tx: &mut Tx, fingerprint: &str) -> Result<()> {
    const RECORD: Sql =
        Sql::both("INSERT INTO sealing_keys (id, fingerprint) VALUES (1, $1) ON CONFLICT (id) DO NOTHING");
    tx.execute(RECORD, args![fingerprint]).await.map(drop)
}

/// The fingerprint of the key that the catalogue's secrets are sealed with; none while there are none.
pub(super) async fn find_key(tx: &mut Tx) -> Result<Option<String>> {
    const FIND: Sql = Sql::both("SELECT fingerprint FROM sealing_keys WHERE id = 1");
    tx.fetch_optional(FIND, args![]).await?.map(|row| row.text("fingerprint")).transpose()
}

fn read(row: &Row) -> Result<NamedLocation> {
    let options = row.text("options")?;
    Ok(NamedLocation {
        name: row.text("name")?,
        url: row.text("url")?,
        options: serde_json::from_str(&options)
            .map_err(|e| Error::internal("a location's options are not JSON").caused_by(e))?,
        origin: Origin::Api,
        created_at: Some(row.time("created_at")?),
    })
}
