//! SQL for an entry that leaves: what it has of all files goes with it.

use haulier_base::Result;
use haulier_catalog::{Sql, Tx, args};

use crate::model::EntryName;

/// Files whose current version is at this entry alone, while others know an earlier one or wait for it.
const ONLY_HERE: &str = "SELECT f.fid FROM sync_files AS f JOIN sync_copies AS c ON c.fid = f.fid AND c.entry = $1 \
     WHERE f.deleted = FALSE AND c.present = TRUE AND c.number = f.number \
     AND NOT EXISTS (SELECT 1 FROM sync_copies AS o WHERE o.fid = f.fid AND o.entry <> $1 AND o.present = TRUE \
         AND o.number = f.number)";

/// How many files others wait for that only this entry has.
pub(crate) async fn count_only_at(tx: &mut Tx, name: &EntryName) -> Result<i64> {
    let text = format!(
        "SELECT COUNT(*) AS files FROM ({ONLY_HERE} AND EXISTS (SELECT 1 FROM sync_copies AS w \
         WHERE w.fid = f.fid AND w.entry <> $1 AND w.owner = TRUE)) AS waiting"
    );
    tx.fetch_optional(Sql::owned(text), args![name.as_str()]).await?.map_or(Ok(0), |row| row.int("files"))
}

/// Forgets what an entry has. Files that nobody else has in their current version are forgotten whole.
pub(crate) async fn forget(tx: &mut Tx, name: &EntryName) -> Result<()> {
    const COPIES: Sql = Sql::both("DELETE FROM sync_copies WHERE entry = $1");
    const KEPT: Sql = Sql::both("DELETE FROM sync_kept WHERE entry = $1");
    const NOBODYS: Sql = Sql::both(
        "DELETE FROM sync_files WHERE NOT EXISTS (SELECT 1 FROM sync_copies AS c WHERE c.fid = sync_files.fid)",
    );
    let orphans = Sql::owned(format!("DELETE FROM sync_files WHERE fid IN ({ONLY_HERE})"));
    tx.execute(orphans, args![name.as_str()]).await?;
    tx.execute(COPIES, args![name.as_str()]).await?;
    const STRAY: Sql = Sql::both(
        "DELETE FROM sync_copies WHERE NOT EXISTS (SELECT 1 FROM sync_files AS f WHERE f.fid = sync_copies.fid)",
    );
    tx.execute(STRAY, args![]).await?;
    tx.execute(NOBODYS, args![]).await?;
    tx.execute(KEPT, args![name.as_str()]).await.map(drop)
}
