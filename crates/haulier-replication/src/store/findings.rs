//! SQL for the table `replication_findings`: what this site has under each name, as a local run found it.

use haulier_base::Result;
use haulier_catalog::{Row, Sql, Tx, args, placeholders};

use super::{signed, unsigned};
use crate::compare::{Code, Entry};
use crate::model::{BucketName, ObjectName, RecordId, SiteId};
use crate::run::RunId;

/// Rows of one `INSERT`.
const BATCH: usize = 100;

/// What a site has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) name: ObjectName,
    pub(crate) entry: Entry,
    /// Whether the run's filter is about it.
    pub(crate) matched: bool,
}

/// Adds findings; one that is there already stays.
pub(crate) async fn insert_all(tx: &mut Tx, run: &RunId, findings: &[Finding]) -> Result<()> {
    for batch in findings.chunks(BATCH) {
        let mut args = Vec::with_capacity(batch.len() * 9);
        let mut rows = Vec::with_capacity(batch.len());
        for Finding { name, entry, matched } in batch {
            rows.push(format!("({})", placeholders(args.len() + 1, 9)));
            args.extend(args![
                run.as_str(),
                name.as_str(),
                entry.code.number(),
                entry.event_at,
                entry.created_at,
                signed(entry.size_bytes),
                entry.sha256.as_deref(),
                entry.origin.as_ref().map_or("", SiteId::as_str),
                *matched
            ]);
        }
        let text = format!(
            "INSERT INTO replication_findings (run, name, code, event_at, created_at, size_bytes, sha256, origin, \
             matched) VALUES {} ON CONFLICT (run, name) DO NOTHING",
            rows.join(", ")
        );
        tx.execute_later(Sql::owned(text), args).await?;
    }
    Ok(())
}

/// Up to `limit` findings of a run after a name, in the order of names.
pub(crate) async fn page(tx: &mut Tx, run: &RunId, site: &SiteId, after: &str, limit: i64) -> Result<Vec<Finding>> {
    const PAGE: Sql =
        Sql::both("SELECT * FROM replication_findings WHERE run = $1 AND name > $2 ORDER BY name LIMIT $3");
    let rows = tx.fetch_all(PAGE, args![run.as_str(), after, limit]).await?;
    rows.iter().map(|row| finding(row, site)).collect()
}

/// Those of the records of a bucket between two names whose bytes somebody is writing, and those whose bytes are
/// waiting to be removed.
pub(crate) async fn unsettled(
    tx: &mut Tx,
    bucket: &BucketName,
    names: (&ObjectName, &ObjectName),
) -> Result<(Vec<RecordId>, Vec<RecordId>)> {
    const WRITTEN: Sql = Sql::both(
        "SELECT o.id AS id FROM replication_objects o JOIN replication_uploads u ON u.id = o.id \
         WHERE o.bucket = $1 AND o.name >= $2 AND o.name <= $3",
    );
    const REMOVED: Sql = Sql::both(
        "SELECT o.id AS id FROM replication_objects o JOIN replication_trash t ON t.id = o.id \
         WHERE o.bucket = $1 AND o.name >= $2 AND o.name <= $3",
    );
    let args = args![bucket.as_str(), names.0.as_str(), names.1.as_str()];
    let ids = |rows: Vec<Row>| rows.iter().map(|row| Ok(RecordId::from_text(row.text("id")?))).collect::<Result<_>>();
    let written = ids(tx.fetch_all(WRITTEN, args.clone()).await?)?;
    Ok((written, ids(tx.fetch_all(REMOVED, args).await?)?))
}

fn finding(row: &Row, site: &SiteId) -> Result<Finding> {
    let origin = Some(row.text("origin")?).filter(|text| !text.is_empty()).map(SiteId::stored);
    let entry = Entry {
        site: site.clone(),
        code: Code::from_number(row.int("code")?)?,
        event_at: row.time("event_at")?,
        created_at: row.time("created_at")?,
        size_bytes: unsigned(row, "size_bytes")?,
        sha256: row.text_or_null("sha256")?,
        origin,
    };
    Ok(Finding { name: ObjectName::stored(row.text("name")?), entry, matched: row.flag("matched")? })
}
