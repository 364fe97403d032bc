//! SQL for the table `replication_actions`: what is to be done at each site, as a central run decided it.

use haulier_base::{Error, Result};
use haulier_catalog::{Row, Sql, Tx, args, placeholders};
use serde_json::json;

use super::{signed, unsigned};
use crate::compare::{Deed, Need};
use crate::model::{ObjectName, SiteId};
use crate::run::RunId;

/// Rows of one `INSERT`.
const BATCH: usize = 100;

/// What is to be done about a name.
pub(crate) type Named = (ObjectName, Deed);

/// Adds actions; one that is there already stays.
pub(crate) async fn insert_all(tx: &mut Tx, run: &RunId, actions: &[Named]) -> Result<()> {
    for batch in actions.chunks(BATCH) {
        let mut args = Vec::with_capacity(batch.len() * 8);
        let mut rows = Vec::with_capacity(batch.len());
        for (name, deed) in batch {
            rows.push(format!("({})", placeholders(args.len() + 1, 8)));
            let sources: Vec<_> = deed.from.iter().map(SiteId::as_str).collect();
            args.extend(args![
                run.as_str(),
                deed.site.as_str(),
                name.as_str(),
                deed.need.as_str(),
                &json!(sources),
                signed(deed.size_bytes),
                deed.sha256.as_deref(),
                deed.event_at
            ]);
        }
        let text = format!(
            "INSERT INTO replication_actions (run, site, name, action, sources, size_bytes, sha256, event_at) \
             VALUES {} ON CONFLICT (run, site, name) DO NOTHING",
            rows.join(", ")
        );
        tx.execute_later(Sql::owned(text), args).await?;
    }
    Ok(())
}

/// Up to `limit` actions of a run at one site after a name, in the order of names.
pub(crate) async fn page(tx: &mut Tx, run: &RunId, site: &SiteId, after: &str, limit: i64) -> Result<Vec<Named>> {
    const PAGE: Sql = Sql::both(
        "SELECT * FROM replication_actions WHERE run = $1 AND site = $2 AND name > $3 ORDER BY name LIMIT $4",
    );
    let rows = tx.fetch_all(PAGE, args![run.as_str(), site.as_str(), after, limit]).await?;
    rows.iter().map(action).collect()
}

/// How many names of a run need a person: one that several sites lack counts once.
pub(crate) async fn count_errors(tx: &mut Tx, run: &RunId) -> Result<u64> {
    const COUNT: Sql =
        Sql::both("SELECT COUNT(DISTINCT name) AS count FROM replication_actions WHERE run = $1 AND action = 'ERROR'");
    let row = tx.fetch_optional(COUNT, args![run.as_str()]).await?;
    row.map_or(Ok(0), |row| unsigned(&row, "count"))
}

fn action(row: &Row) -> Result<Named> {
    let sources: Vec<String> = serde_json::from_value(row.json("sources")?)
        .map_err(|error| Error::corrupt("column \"sources\" is no list of sites").caused_by(error))?;
    let deed = Deed {
        site: SiteId::stored(row.text("site")?),
        need: Need::from_word(&row.text("action")?)?,
        from: sources.into_iter().map(SiteId::stored).collect(),
        event_at: row.time("event_at")?,
        size_bytes: unsigned(row, "size_bytes")?,
        sha256: row.text_or_null("sha256")?,
    };
    Ok((ObjectName::stored(row.text("name")?), deed))
}
