//! SQL for the table `replication_sites`: the topology.

use haulier_base::Result;
use haulier_catalog::{Row, Sql, Tx, args};
use serde_json::Value;

use super::word;
use crate::model::{Site, SiteId, SiteStatus};

/// A site and the sealed token that it takes.
#[derive(Clone, Debug)]
pub(crate) struct SiteRow {
    pub(crate) site: Site,
    pub(crate) token: Option<Value>,
}

/// One site.
pub(crate) async fn find(tx: &mut Tx, id: &SiteId) -> Result<Option<SiteRow>> {
    const FIND: Sql = Sql::both("SELECT * FROM replication_sites WHERE id = $1");
    tx.fetch_optional(FIND, args![id.as_str()]).await?.map(|row| site(&row)).transpose()
}

/// All sites in the order of their ids, of one status or of any. An operator enters them: there are few.
pub(crate) async fn list(tx: &mut Tx, status: Option<SiteStatus>) -> Result<Vec<SiteRow>> {
    const LIST: Sql = Sql::both("SELECT * FROM replication_sites WHERE $1 = '' OR status = $1 ORDER BY id");
    let status = status.map_or("", SiteStatus::as_str);
    tx.fetch_all(LIST, args![status]).await?.iter().map(site).collect()
}

/// Adds a site; false when there is one of that id.
pub(crate) async fn insert(tx: &mut Tx, row: &SiteRow) -> Result<bool> {
    const INSERT: Sql = Sql::both(
        "INSERT INTO replication_sites (id, name, uri, status, token, failures, created_at) \
         VALUES ($1, $2, $3, $4, $5, 0, $6) ON CONFLICT (id) DO NOTHING",
    );
    let (site, now) = (&row.site, tx.now());
    let token = row.token.as_ref();
    let args = args![site.id.as_str(), &site.name, &site.uri, site.status.as_str(), token, now];
    Ok(tx.execute(INSERT, args).await? == 1)
}

/// Changes a site; false when there is none. A token that is not given stays.
pub(crate) async fn update(tx: &mut Tx, row: &SiteRow) -> Result<bool> {
    const UPDATE: Sql = Sql::both(
        "UPDATE replication_sites SET name = $2, uri = $3, status = $4, token = COALESCE($5, token) WHERE id = $1",
    );
    let site = &row.site;
    let args = args![site.id.as_str(), &site.name, &site.uri, site.status.as_str(), row.token.as_ref()];
    Ok(tx.execute(UPDATE, args).await? == 1)
}

/// Forgets a site; false when there is none.
pub(crate) async fn delete(tx: &mut Tx, id: &SiteId) -> Result<bool> {
    const DELETE: Sql = Sql::both("DELETE FROM replication_sites WHERE id = $1");
    Ok(tx.execute(DELETE, args![id.as_str()]).await? == 1)
}

fn site(row: &Row) -> Result<SiteRow> {
    let token = row.text_or_null("token")?.map(|_| row.json("token")).transpose()?;
    let site = Site {
        id: SiteId::stored(row.text("id")?),
        name: row.text("name")?,
        uri: row.text("uri")?,
        status: word(row, "status")?,
    };
    Ok(SiteRow { site, token })
}
